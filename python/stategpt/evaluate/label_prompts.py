"""Few-shot classification: a prompt of labeled examples, and the log-probability of each label's word after it.

The base model is not trained (Brown et al. 2020, arXiv 2005.14165, section 2.1). A label's word is scored as one
continuation, the sum over its tokens. A model prefers some words whatever the text says, and the last example's label;
with calibration a label's score is relative to that after texts without content (Zhao et al. 2021, arXiv 2102.09690).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.config import ClassifyConfig
from stategpt.config.classify import LABEL, TEXT
from stategpt.data.records import LabeledText
from stategpt.errors import ContextOverflow
from stategpt.model import GPT, CompletionBatch, completion_log_probs
from stategpt.model.policy import sum_by_sample
from stategpt.model.text_batch import beginning, by_length, filler
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer import AnyTokenizer

Ids = NDArray[np.uint32]
BETWEEN = "\n\n"
"""Stands between examples."""
WITHOUT_CONTENT = ("N/A", "", "[MASK]")
"""Texts of the calibration, those of the paper."""
_BATCH_TOKENS = 4096


@documented
@dataclass(frozen=True)
class LabelPrompt:
    """Examples that fit the context with any text after them."""

    tok: AnyTokenizer
    """Tokenizer of the model."""
    config: ClassifyConfig
    """Template, words and lengths."""
    labels: tuple[str, ...]
    """Names of the classes."""
    examples: tuple[LabeledText, ...]
    """In the order shown."""

    __repr__ = short_repr

    @classmethod
    def fitting(
        cls, model: GPT, tok: AnyTokenizer, config: ClassifyConfig, labels: Sequence[str], drawn: Sequence[LabeledText]
    ) -> LabelPrompt:
        """As many of the `drawn` examples, equally many of each class, as leave room for the longest text.

        Raises:
            ContextOverflow: not even a text without examples fits.
        """
        most = min(config.shots, len(drawn)) // len(labels) * len(labels)
        for count in range(most, -1, -len(labels)):
            prompt = cls(tok, config, tuple(labels), tuple(drawn[:count]))
            if prompt.longest(model) <= model.config.context_tokens:
                return prompt
        raise ContextOverflow(
            f"classify.max_tokens = {config.max_tokens}: a text with the template takes up to {prompt.longest(model)} "
            f"tokens, and the context has {model.config.context_tokens}. Lower classify.max_tokens"
        )

    def longest(self, model: GPT) -> int:
        """Most tokens that a prompt and its label can have."""
        whole = self.tok.count(self.document("")) + self.config.max_tokens + max(map(len, self.answers()))
        return len(beginning(model.special_ids)) + whole

    def document(self, text: str) -> str:
        """The examples, then `text` and the template up to the label, without the white space before it."""
        head, _, tail = self.config.template.removesuffix(LABEL).partition(TEXT)
        shown = [
            head + self._cut(each.text, self.config.shot_tokens) + tail + self.config.shown_as(each.label)
            for each in self.examples
        ]
        last = head + self._cut(text, self.config.max_tokens) + tail
        return BETWEEN.join([*shown, last.rstrip()])

    def _cut(self, text: str, tokens: int) -> str:
        """The first tokens of a text, its white space as single spaces; half a character at the end is left out."""
        plain = " ".join(text.split())
        ids = self.tok.encode(plain)
        return plain if len(ids) <= tokens else self.tok.decode(ids[:tokens]).rstrip("\ufffd")

    def answers(self) -> list[Ids]:
        """The tokens of each label's word, with the white space that is before it in the template."""
        head = self.config.template.removesuffix(LABEL)
        space = head[len(head.rstrip()) :]
        return [self.tok.encode(space + self.config.shown_as(label)) for label in self.labels]

    def scores(self, model: GPT, texts: Sequence[str]) -> tuple[NDArray[np.float64], int]:
        """Score of each label for each text, calibrated if the settings say so, and the tokens read. -> [N, C], tokens.

        Scores are log-probabilities among the labels, up to what calibration subtracts.
        """
        found, tokens = self._log_probs(model, [self.document(text) for text in texts])
        if self.config.calibrate:
            empty, _ = self._log_probs(model, [self.document(text) for text in WITHOUT_CONTENT])
            found = found - np.log(np.exp(empty).mean(axis=0))
        return found, tokens

    def _log_probs(self, model: GPT, documents: Sequence[str]) -> tuple[NDArray[np.float64], int]:
        """Log-probability of each label after each document, relative to all labels. -> [N, C], and tokens read."""
        begin, answers = beginning(model.special_ids), self.answers()
        prompts = [np.concatenate([begin, self.tok.encode(document)]) for document in documents]
        found = np.empty((len(prompts), len(answers)))
        tokens = 0
        for batch in by_length(prompts, _BATCH_TOKENS):
            found[batch] = _answer_log_probs(model, [prompts[number] for number in batch], answers)
            tokens += sum(len(prompts[number]) for number in batch)
        return found - np.logaddexp.reduce(found, axis=1, keepdims=True), tokens


@torch.inference_mode()
def _answer_log_probs(model: GPT, prompts: Sequence[Ids], answers: Sequence[Ids]) -> NDArray[np.float64]:
    """Sum of the log-probabilities of the tokens of each answer after each prompt. -> [prompts, answers]."""
    pairs = [(prompt, answer) for prompt in prompts for answer in answers]
    batch = CompletionBatch.of(
        [prompt for prompt, _ in pairs],
        [answer for _, answer in pairs],
        filler(model.special_ids),
        model.device,
        model.config.width,
    )
    values_M, _ = completion_log_probs(model, batch, 1.0, ())
    sums_S = sum_by_sample(values_M.double(), batch.sample_M, batch.samples)
    return np.asarray(sums_S.cpu().numpy().reshape(len(prompts), len(answers)), dtype=np.float64)

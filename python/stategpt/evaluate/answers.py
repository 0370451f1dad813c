"""Measures the SFT model's answers: whether they end, whether they are nearer the reference than the base model's, and
whether they are about the question.

The last is reported and not gated in the default job: at a million tokens answers have the form of the demonstrations
and are rarely true. Two relevance measures say so in numbers: similarity to the right reference against a shuffled one,
and the share of answers that use a word of the subject they were asked about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stategpt.config import RunConfig
from stategpt.data import ChatTemplate, Segment
from stategpt.data.corpus import Corpus
from stategpt.data.few_shot import STOP, choose_examples, few_shot_document
from stategpt.data.prompts import prompts_of
from stategpt.data.records import Prompt
from stategpt.evaluate.chrf import chrf
from stategpt.evaluate.records import AnsweredPrompt, MaskedToken, MentionsSubject, SFTEvaluation
from stategpt.evaluate.statistics import Interval, paired_difference, share_interval
from stategpt.generate import Completion, Engine
from stategpt.progress import progress
from stategpt.randomness import bits, permutation
from stategpt.tokenizer import AnyTokenizer

HeldOut = Literal["validation", "test"]
_NAME_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SHORTEST_WORD = 3


def held_out_prompts(
    corpus: Corpus, side: HeldOut, count: int, seed: int, *, with_openings: bool = True
) -> list[Prompt]:
    """`count` prompts of a held-out side, in an order that is a function of the seed; with or without those that quote
    the opening of their answer.
    """
    prompts = prompts_of(corpus, "evaluate", side)
    chosen = [prompt for prompt in prompts if with_openings or not prompt.opening]
    return [chosen[i] for i in permutation(len(chosen), seed, "held-out")[:count]]


def answer(engine: Engine, prompts: Sequence[Prompt], run: RunConfig, system: str, n: int = 1) -> list[Completion]:
    """Completions of the chat prompts, prompt-major, drawn as `run.sampling` says.

    Each `system` draws its own random numbers: with shared ones two similar policies would tie where they agree.
    """
    return _generate(engine, [engine.dialogue.prompt(prompt) for prompt in prompts], run, system, n=n)


def answer_few_shot(engine: Engine, prompts: Sequence[Prompt], corpus: Corpus, run: RunConfig) -> list[Completion]:
    """The base model's answers when a document of examples prompts it."""
    begin = np.array([engine.control.document_begin], dtype=np.uint32)
    documents = few_shot_documents(prompts, corpus, run)
    encoded = [np.concatenate([begin, engine.tok.encode(document)]) for document in documents]
    return _generate(engine, encoded, run, "prompted_base", stop=[STOP])


def few_shot_documents(prompts: Sequence[Prompt], corpus: Corpus, run: RunConfig) -> list[str]:
    """The document of training examples that ends in each prompt's question."""
    train = [conversation.prompt() for conversation in corpus.conversations["train"]]
    examples = choose_examples(train, run.evaluate.few_shot_examples, run.evaluate.seed)
    return [few_shot_document(examples, prompt.text) for prompt in prompts]


def _generate(
    engine: Engine,
    prompts: Sequence[NDArray[np.uint32]],
    run: RunConfig,
    system: str,
    *,
    n: int = 1,
    stop: Sequence[str] = (),
) -> list[Completion]:
    with progress(f"answers of {system}", len(prompts) * n, "completions") as advance:
        return engine.generate(
            prompts,
            n=n,
            temperature=run.sampling.temperature,
            max_tokens=run.sampling.max_tokens,
            seed=int(bits(run.evaluate.seed, system) >> np.uint64(2)),
            stop=stop,
            progress=lambda done, total: advance(done, ""),
        )


def finished(completion: Completion) -> bool:
    """Whether an answer is complete: end of text, or the line end of a few-shot document; not the token limit."""
    return completion.reason != "length"


def similarities(
    completions: Sequence[Completion], references: Sequence[str], beta: float = 1.0
) -> NDArray[np.float64]:
    """chrF of each completion to its reference."""
    pairs = zip(completions, references, strict=True)
    return np.array([chrf(c.text.strip(), r.strip(), beta=beta) for c, r in pairs])


def mentions_subject(subject: str, text: str) -> bool:
    """Whether `text` uses a word (three letters or more) of the last part of a dotted name."""
    words = {part.lower() for part in _NAME_PART.findall(subject.rpartition(".")[2]) if len(part) >= _SHORTEST_WORD}
    return bool(words & {word.lower() for word in re.findall(r"[A-Za-z]+", text)})


def evaluate_answers(base: Engine, sft: Engine, corpus: Corpus, run: RunConfig) -> SFTEvaluation:
    """Measures the SFT model on test prompts that quote no opening."""
    prompts = held_out_prompts(corpus, "test", run.evaluate.sft_samples, run.evaluate.seed, with_openings=False)
    references = [prompt.reference or "" for prompt in prompts]
    groups = [prompt.group for prompt in prompts]
    answers = {
        "sft": answer(sft, prompts, run, "sft"),
        "base": answer(base, prompts, run, "base"),
        "prompted_base": answer_few_shot(base, prompts, corpus, run),
    }
    chrf_of = {system: similarities(given, references) for system, given in answers.items()}
    # Every answer meets another prompt's reference: a rotation leaves none in place.
    shuffled = similarities(answers["sft"], references[1:] + references[:1])

    def difference(other: NDArray[np.float64]) -> Interval:
        """Returns the paired difference of chrF to another system."""
        return paired_difference(chrf_of["sft"], other, groups, run.evaluate.seed, run.evaluate.bootstrap_resamples)

    return SFTEvaluation(
        samples=len(prompts),
        ended_share=_share(run, [c.ended for c in answers["sft"]], groups),
        base_ended_share=float(np.mean([c.ended for c in answers["base"]])),
        chrf={system: float(values.mean()) for system, values in chrf_of.items()},
        # Recall-weighted, for comparison with other work: it favors longer answers.
        chrf2={system: float(similarities(given, references, beta=2.0).mean()) for system, given in answers.items()},
        chrf_shuffled=float(shuffled.mean()),
        difference_to_base=difference(chrf_of["base"]),
        difference_to_prompted_base=difference(chrf_of["prompted_base"]),
        difference_to_shuffled=difference(shuffled),
        mentions_subject=_mentions(run, prompts, answers["sft"]),
        few_shot_document=few_shot_documents(prompts[:1], corpus, run)[0] if prompts else "",
        training_example=_training_example(sft.tok, sft.dialogue, corpus),
        examples=tuple(
            AnsweredPrompt(
                prompt.text, prompt.reference or "", {name: given[i].text for name, given in answers.items()}
            )
            for i, prompt in enumerate(prompts[: run.evaluate.examples])
        ),
    )


def _training_example(tok: AnyTokenizer, chat: ChatTemplate, corpus: Corpus) -> tuple[MaskedToken, ...]:
    """The first training conversation as the tokens whose prediction the loss counts, or does not."""
    if not corpus.conversations["train"]:
        return ()
    segment = Segment.of(chat, corpus.conversations["train"][0])
    names = {number: name for name, number in tok.special_tokens.items()}
    return tuple(
        MaskedToken(names.get(int(target)) or tok.decode(segment.targets[i : i + 1]), bool(segment.loss_mask[i]))
        for i, target in enumerate(segment.targets)
    )


def _share(run: RunConfig, holds: Sequence[bool], groups: Sequence[str]) -> Interval:
    return share_interval(holds, groups, run.evaluate.seed, run.evaluate.bootstrap_resamples)


def _mentions(run: RunConfig, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> MentionsSubject:
    """Over the prompts that name a subject; empty where none does."""
    asked = [(p, c) for p, c in zip(prompts, completions, strict=True) if p.subject]
    if not asked:
        return MentionsSubject()
    return MentionsSubject(
        sft=_share(run, [mentions_subject(p.subject, c.text) for p, c in asked], [p.group for p, _ in asked]),
        reference=float(np.mean([mentions_subject(p.subject, p.reference or "") for p, _ in asked])),
    )

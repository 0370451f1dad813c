"""How well the SFT model answers: does it stop, is it nearer the reference than the base model, is it about the
question.

The last is reported beside the gates and not gated in the default job: at a million tokens answers have the form of a
docstring and are rarely true. Two relevance measures say so in numbers: similarity to the right reference against a
shuffled one, and the share of answers that use a word of the name they were asked about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stategpt.config import RunConfig
from stategpt.data import chat_prompt
from stategpt.data.few_shot import STOP, choose_examples, few_shot_document
from stategpt.data.sources.python_library import Pair, PythonLibrary
from stategpt.evaluate.chrf import chrf
from stategpt.evaluate.records import AnsweredPrompt, MentionsSubject, SFTEvaluation
from stategpt.evaluate.statistics import Interval, paired_difference, share_interval
from stategpt.generate import Completion, Engine
from stategpt.progress import progress
from stategpt.randomness import bits, permutation

HeldOut = Literal["validation", "test"]
_NAME_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SHORTEST_WORD = 3


def held_out_pairs(library: PythonLibrary, side: HeldOut, kind: str | None, count: int, seed: int) -> list[Pair]:
    """`count` pairs of a held-out side (of one kind, or of both), in an order that is a function of the seed."""
    pairs = [pair for pair in library.pairs(side) if kind is None or pair.kind == kind]
    return [pairs[i] for i in permutation(len(pairs), seed, "held-out")[:count]]


def answer(engine: Engine, pairs: Sequence[Pair], run: RunConfig, system: str, n: int = 1) -> list[Completion]:
    """Completions of the chat prompts, prompt-major, drawn as `run.sampling` says.

    Each `system` draws its own random numbers: with shared ones two like policies would tie where they happen to agree.
    """
    prompts = [chat_prompt(engine.tok, pair.prompt) for pair in pairs]
    return _generate(engine, prompts, run, system, n=n)


def answer_few_shot(engine: Engine, pairs: Sequence[Pair], library: PythonLibrary, run: RunConfig) -> list[Completion]:
    """The base model's answers when a document of examples prompts it."""
    examples = choose_examples(library.pairs_train, run.evaluate.few_shot_examples, run.evaluate.seed)
    end = np.array([engine.control.end_of_text], dtype=np.uint32)
    documents = [few_shot_document(examples, pair.prompt) for pair in pairs]
    prompts = [np.concatenate([end, engine.tok.encode(document)]) for document in documents]
    return _generate(engine, prompts, run, "prompted_base", stop=[STOP])


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
    """Whether an answer came to its end: end of text, or the line end of a few-shot document; not the token limit."""
    return completion.reason != "length"


def similarities(
    completions: Sequence[Completion], references: Sequence[str], beta: float = 1.0
) -> NDArray[np.float64]:
    """chrF of each completion to its reference."""
    pairs = zip(completions, references, strict=True)
    return np.array([chrf(c.text.strip(), r.strip(), beta=beta) for c, r in pairs])


def mentions_name(name: str, text: str) -> bool:
    """Whether `text` uses a word (three letters or more) of the last part of a dotted name."""
    words = {part.lower() for part in _NAME_PART.findall(name.rpartition(".")[2]) if len(part) >= _SHORTEST_WORD}
    return bool(words & {word.lower() for word in re.findall(r"[A-Za-z]+", text)})


def evaluate_answers(base: Engine, sft: Engine, library: PythonLibrary, run: RunConfig) -> SFTEvaluation:
    """Measures the SFT model on "What does ... do?" prompts of test modules."""
    pairs = held_out_pairs(library, "test", "what", run.evaluate.sft_samples, run.evaluate.seed)
    references = [pair.response for pair in pairs]
    modules = [pair.module for pair in pairs]
    answers = {
        "sft": answer(sft, pairs, run, "sft"),
        "base": answer(base, pairs, run, "base"),
        "prompted_base": answer_few_shot(base, pairs, library, run),
    }
    chrf_of = {system: similarities(given, references) for system, given in answers.items()}
    # Every answer meets another prompt's reference: a rotation leaves none in place.
    shuffled = similarities(answers["sft"], references[1:] + references[:1])

    def difference(other: NDArray[np.float64]) -> Interval:
        return paired_difference(chrf_of["sft"], other, modules, run.evaluate.seed, run.evaluate.bootstrap_resamples)

    def share(holds: Sequence[bool]) -> Interval:
        return share_interval(holds, modules, run.evaluate.seed, run.evaluate.bootstrap_resamples)

    return SFTEvaluation(
        samples=len(pairs),
        ended_share=share([c.ended for c in answers["sft"]]),
        base_ended_share=float(np.mean([c.ended for c in answers["base"]])),
        chrf={system: float(values.mean()) for system, values in chrf_of.items()},
        # Recall-weighted, for comparison with other work: it favors longer answers.
        chrf2={system: float(similarities(given, references, beta=2.0).mean()) for system, given in answers.items()},
        chrf_shuffled=float(shuffled.mean()),
        difference_to_base=difference(chrf_of["base"]),
        difference_to_prompted_base=difference(chrf_of["prompted_base"]),
        difference_to_shuffled=difference(shuffled),
        mentions_subject=MentionsSubject(
            sft=share([mentions_name(p.name, c.text) for p, c in zip(pairs, answers["sft"], strict=True)]),
            reference=float(np.mean([mentions_name(p.name, p.response) for p in pairs])),
        ),
        examples=tuple(
            AnsweredPrompt(pair.prompt, pair.response, {system: answers[system][i].text for system in answers})
            for i, pair in enumerate(pairs[: run.evaluate.examples])
        ),
    )

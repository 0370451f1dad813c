"""Classification: how few labels are enough, with a pretrained model and without one.

    loss = - 1/S sum_i log softmax(W h_i)[label_i]      h_i: hidden state of the end of text i

The same base model in three ways, on the same label sets and the same held-out texts: fine-tuned with a linear head
(full: all weights; lora: adapters), and prompted with labeled examples (few_shot). Beside them the same shape from
random weights (random), which shows what pretraining is worth (Radford et al. 2018, section 4; the talk's GPT-1 slide).

Label sets are nested: of one draw, the 10 are among the 100, and these among the 1,000, equally many of each class.
Each draw trains with its seed. Copies of a text were removed when the files were read, before the split, so that no
text is on two sides; where the same texts are documents of `[sources]`, the split keeps those held out from
pretraining.

What a method gave each test text is kept as a part, with its manifest: an interrupted stage continues behind the last
finished one, inside it from its checkpoint. The published model is the fully fine-tuned one of the most labels, first
draw; `arms.json` beside it holds the predictions of all, from which everything is measured.

Differs from the textbook: no setting is chosen by looking at held-out texts, and no method gets its own search; what
its learning rate is, the settings say.

    stategpt run sentiment.toml --out runs/sentiment      # this one lands in runs/sentiment/classify
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stategpt.artifacts import append_line, publish_folder
from stategpt.artifacts.measurement_kinds import TIMING
from stategpt.artifacts.run_folder import RunFolder, write_json
from stategpt.config import RunConfig
from stategpt.evaluate.classification import confusion_matrix, measure_arms, method_gains
from stategpt.evaluate.classifier import classifier_scores
from stategpt.evaluate.records import FORMAT_VERSION, evaluation_json
from stategpt.evaluate.records.classification import ArmResult, Arms, ClassifyEvaluation
from stategpt.json_reader import read_record
from stategpt.json_records import read_versioned
from stategpt.model import GPT, Classifier
from stategpt.model.lora import lora
from stategpt.progress import console
from stategpt.quantities import duration
from stategpt.stages.context import StageContext
from stategpt.stages.label_arms import Arm, Texts, base_model, draw_seed, planned_sets, published_arm
from stategpt.stages.stage import Stage, run_stage
from stategpt.train.classification import ClassifyTask
from stategpt.train.loop import fit

FOLDER, PARTS, RESULT, ARMS = "classify", "classify/checkpoints", "result", "arms.json"


def classify(run: RunConfig, folder: RunFolder) -> None:
    """Trains and measures every method on every label set; returns at once when it is already there."""
    context = StageContext.of(run, folder)
    stage = Stage(
        FOLDER,
        (folder.model("base"), *context.corpus_parts("classify/model")),
        artifact="model",
        make=lambda fingerprint: _make(context, fingerprint),
        save=partial(_save, context),
        measure=lambda _: _measure(context),
    )
    run_stage(context, stage)


@dataclass(frozen=True)
class Made:
    """A classifier, and what every arm gave the test texts."""

    model: Classifier
    arms: Arms


def _make(context: StageContext, fingerprint: str) -> Made:
    texts = Texts(context)
    arms = list(dict.fromkeys(arm for each in planned_sets(texts).values() for arm in each))
    results = []
    for number, arm in enumerate(arms, start=1):
        results.append(_result(texts, arm, fingerprint))
        right = np.mean(np.array(results[-1].predicted) == np.array(texts.numbers(texts.tests)))
        console.print(
            f"classify {number} of {len(arms)}: {arm.method}, {arm.texts:,} labels, draw {arm.seed}: accuracy "
            f"{right:.3f} in {duration(sum(_seconds(context.folder, arm)))}",
            markup=False,
        )
    _log_seconds(context.folder, arms, results)
    truth, groups = tuple(texts.numbers(texts.tests)), tuple(each.group for each in texts.tests)
    model = _trained(texts, published_arm(context.run), fingerprint)[0]  # its last checkpoint is still there
    return Made(model.eval(), Arms(texts.labels, truth, groups, tuple(results)))


def _save(context: StageContext, made: Made, target: Path) -> None:
    made.model.save_pretrained(target, context.tok, manifest=True)
    write_json(target / ARMS, evaluation_json(made.arms))


def _result(texts: Texts, arm: Arm, fingerprint: str) -> ArmResult:
    """What an arm gives the test texts: of its part, where it is finished."""
    folder = texts.context.folder
    target = folder.root / PARTS / arm.name / RESULT
    if not folder.published(target, RESULT, fingerprint):
        found = _prompted(texts, arm) if arm.method == "few_shot" else _fine_tuned(texts, arm, fingerprint)
        publish_folder(
            target,
            lambda temporary: write_json(temporary / "result.json", evaluation_json(found)),
            kind=RESULT,
            fingerprints={"config": fingerprint},
        )
    if arm != published_arm(texts.context.run):
        shutil.rmtree(target.parent / "train" / "checkpoints", ignore_errors=True)
    return read_versioned(target / "result.json", ArmResult, FORMAT_VERSION)


def _fine_tuned(texts: Texts, arm: Arm, fingerprint: str) -> ArmResult:
    folder = texts.context.folder
    with folder.timed(_part(arm, "train")):
        model, tokens = _trained(texts, arm, fingerprint)
    with folder.timed(_part(arm, "test")):
        sequences = texts.ids(texts.tests)
        predicted = classifier_scores(model, sequences).argmax(axis=1)
    read = sum(len(sequence) for sequence in sequences)
    return ArmResult(arm.method, arm.texts, arm.seed, tuple(predicted.tolist()), tokens, read)


def _trained(texts: Texts, arm: Arm, fingerprint: str) -> tuple[Classifier, int]:
    """The classifier of an arm and the tokens that it was trained on, from its newest checkpoint."""
    context, drawn = texts.context, texts.drawn(arm.seed)[: arm.texts]
    seed = draw_seed(context.run.seed, arm.seed)
    torch.manual_seed(seed)
    model = initial_classifier(context, arm, texts.labels)
    name = f"classify {arm.method} {arm.texts}"
    task = ClassifyTask(context.run.classify, model, texts.ids(drawn), texts.numbers(drawn), seed=seed, name=name)
    settings = context.loop("classify", _part(arm, "train"), f"{fingerprint} {arm.name}")
    scale = {"lora": context.run.classify.lora_rate_scale, "random": context.run.classify.random_rate_scale}
    optim = replace(settings.optim, learning_rate=settings.optim.learning_rate * scale.get(arm.method, 1.0))
    state = fit(task, model, replace(settings, optim=optim))
    return model, state.tokens


def initial_classifier(context: StageContext, arm: Arm, labels: Sequence[str]) -> Classifier:
    """The classifier that an arm begins with; torch's random state gives its head, and the random weights."""
    given = context.run.classify
    gpt = base_model(context)
    if arm.method == "random":  # the shape of the base, which may be another family's
        gpt = GPT(gpt.config, gpt.special_ids).to(context.device)
    model = Classifier(gpt, labels)
    if arm.method == "lora":
        lora(model, given.lora_rank, given.lora_alpha, seed=draw_seed(context.run.seed, arm.seed))
    return model


def _prompted(texts: Texts, arm: Arm) -> ArmResult:
    with texts.context.folder.timed(_part(arm, "test")):
        prompt = texts.prompt(arm.texts, arm.seed)
        scores, tokens = prompt.scores(texts.base, [each.text for each in texts.tests])
    return ArmResult(arm.method, arm.texts, arm.seed, tuple(scores.argmax(axis=1).tolist()), 0, tokens)


def _part(arm: Arm, of: str) -> str:
    return f"{PARTS}/{arm.name}/{of}"


def _seconds(folder: RunFolder, arm: Arm) -> tuple[float, float]:
    """Seconds of training and of testing."""
    paths = (folder.root / _part(arm, of) / "timing.json" for of in ("train", "test"))
    train, test = (read_record(path, TIMING)["seconds"] if path.exists() else 0.0 for path in paths)
    return train, test


def _log_seconds(folder: RunFolder, arms: Sequence[Arm], results: Sequence[ArmResult]) -> None:
    """Writes metrics.jsonl: a line for each arm, numbered as in arms.json from 1, with its seconds."""
    path = folder.stage(FOLDER) / "metrics.jsonl"
    path.unlink(missing_ok=True)
    tokens = 0
    for number, (arm, result) in enumerate(zip(arms, results, strict=True), start=1):
        train, test = _seconds(folder, arm)
        tokens += result.train_tokens
        append_line(path, {"step": number, "tokens": tokens, "train_seconds": train, "test_seconds": test})


def _measure(context: StageContext) -> dict[str, Any]:
    run, texts = context.run, Texts(context)
    arms = read_versioned(context.folder.model(FOLDER) / ARMS, Arms, FORMAT_VERSION)
    result_of = {(each.method, each.texts, each.seed): each for each in arms.arms}
    sets: dict[tuple[str, int], list[ArmResult]] = {
        key: [result_of[astuple(arm)] for arm in each] for key, each in planned_sets(texts).items()
    }
    seed, resamples = run.evaluate.seed, run.evaluate.bootstrap_resamples
    published = result_of[astuple(published_arm(run))]
    confusion = confusion_matrix(arms.truth, published.predicted, len(arms.labels))
    corpus = context.corpus()
    most = run.classify.max_tokens
    counted = corpus.found.get("inputs", {}).get("classify.data", {})
    return {
        "evaluation.json": ClassifyEvaluation(
            labels=arms.labels,
            train_texts=len(corpus.labels["train"]),
            test_texts=len(arms.truth),
            duplicates=counted.get("duplicate"),
            max_tokens=most,
            cut_texts=sum(context.tok.count(each.text) > most for each in texts.tests),
            majority_share=float(np.bincount(arms.truth).max() / len(arms.truth)),
            calibrated=run.classify.calibrate,
            measures=tuple(measure_arms(arms, sets, seed, resamples)),
            gains=tuple(method_gains(arms, sets, "full", seed, resamples)),
            confusion={label: tuple(row) for label, row in zip(arms.labels, confusion.tolist(), strict=True)},
            few_shot_document=_shown_prompt(texts),
        )
    }


def _shown_prompt(texts: Texts) -> str:
    """The first draw's few-shot prompt of the most labels with the first test text; empty where nothing is prompted."""
    given = texts.context.run.classify
    if "few_shot" not in given.methods:
        return ""
    return texts.prompt(given.label_counts[-1], 0).document(texts.tests[0].text)

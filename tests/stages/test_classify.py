"""The stage `classify`: who learns from what, what is published, and an interruption that changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from labeled_files import labeled_project, labeled_rows, small_run, write_lines  # noqa: E402
from stategpt.artifacts import RunFolder  # noqa: E402
from stategpt.config import RunConfig, from_dict  # noqa: E402
from stategpt.data.corpus import read_corpus  # noqa: E402
from stategpt.data.formats.labels import normalized  # noqa: E402
from stategpt.errors import ForeignArtifact  # noqa: E402
from stategpt.evaluate.classifier import classifier_scores  # noqa: E402
from stategpt.model import Classifier  # noqa: E402
from stategpt.pipeline import run as run_all  # noqa: E402
from stategpt.stages import classify as stage  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.label_arms import Arm, Texts, draw_seed, planned_sets  # noqa: E402

pytestmark = pytest.mark.xdist_group("classify")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Path]:
    """A run up to the base model; the labeled texts have copies."""
    folder = labeled_project(tmp_path_factory.mktemp("classify"))
    rows = labeled_rows(120)
    write_lines(folder / "labeled.jsonl", rows + [{**row, "text": row["text"].upper()} for row in rows[::7]])
    run = small_run(folder)
    run_all(run, folder / "run", until="pretrain")
    return run, folder / "run"


@pytest.fixture(scope="module")
def finished(pretrained: tuple[RunConfig, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Path]:
    """That run with the stage."""
    run, root = pretrained
    target = tmp_path_factory.mktemp("finished") / "run"
    shutil.copytree(root, target)
    stage.classify(run, RunFolder(target))
    return run, target


@pytest.fixture
def copy(pretrained: tuple[RunConfig, Path], tmp_path: Path) -> tuple[RunConfig, RunFolder]:
    """A copy of the run up to the base model."""
    run, root = pretrained
    return run, RunFolder(Path(shutil.copytree(root, tmp_path / "run")))


def _context(run: RunConfig, root: Path) -> StageContext:
    return StageContext.of(run, RunFolder(root))


def _arms(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / "classify" / "model" / "arms.json").read_text())["arms"]
    return found


def test_no_text_is_on_two_sides_and_none_of_the_tests_is_pretrained_on(pretrained: tuple[RunConfig, Path]) -> None:
    corpus = read_corpus(pretrained[1] / "corpus")
    sides = {side: {normalized(each.text) for each in given} for side, given in corpus.labels.items()}
    assert all(sides.values())
    assert sum(map(len, sides.values())) == len(set.union(*sides.values())) == 120
    assert sum(map(len, corpus.labels.values())) == 120  # copies are gone before the split
    read = {normalized(text) for text in corpus.sources["reviews"].texts("train")}
    assert read == sides["train"]
    assert read.isdisjoint(sides["test"])


def test_copies_are_counted(finished: tuple[RunConfig, Path]) -> None:
    found = json.loads((finished[1] / "classify" / "evaluation" / "evaluation.json").read_text())
    assert (found["duplicates"], found["labels"]) == (18, ["negative", "positive"])
    assert found["train_texts"] + found["test_texts"] <= 120


def test_classifiers_learn_from_the_label_set_of_the_training_side_alone(
    copy: tuple[RunConfig, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = copy
    texts = Texts(StageContext.of(run, folder))
    seen: dict[str, tuple[list[list[int]], list[int]]] = {}

    class Spy(stage.ClassifyTask):
        """Notes what it is given."""

        def __init__(self, config: Any, model: Any, sequences: Any, labels: Any, **more: Any) -> None:
            super().__init__(config, model, sequences, labels, **more)
            seen[f"{self.name} {more['seed']}"] = ([ids.tolist() for ids in sequences], list(labels))

    monkeypatch.setattr(stage, "ClassifyTask", Spy)
    stage.classify(run, folder)
    held = {tuple(ids.tolist()) for ids in texts.ids(texts.tests)}
    for seed in (0, 1):
        drawn = texts.drawn(seed)
        for method in ("full", "lora", "random"):
            for count in (4, 8):
                ids, labels = seen[f"classify {method} {count} {draw_seed(run.seed, seed)}"]
                assert ids == [each.tolist() for each in texts.ids(drawn[:count])]
                assert labels == [("negative", "positive").index(each.label) for each in drawn[:count]]
                assert held.isdisjoint(map(tuple, ids))
    train = {each.text for each in texts.context.corpus().labels["train"]}
    assert {each.text for seed in (0, 1) for each in texts.drawn(seed)} <= train
    assert {each.text for each in texts.drawn(0)} != {each.text for each in texts.drawn(1)}


def test_a_prompt_has_examples_of_the_label_set_and_not_the_label_of_its_text(
    pretrained: tuple[RunConfig, Path],
) -> None:
    texts = Texts(_context(*pretrained))
    prompt = texts.prompt(8, 1)
    assert list(prompt.examples) == texts.drawn(1)[: len(prompt.examples)]
    assert len(prompt.examples) in (2, 4)
    for test in texts.tests[:5]:
        document = prompt.document(test.text)
        assert document.endswith("\nLabel:")
        shown = [each.label for each in prompt.examples]
        assert [document.count(f"Label: {label}") for label in texts.labels] == [shown.count(x) for x in texts.labels]


def _begins_with(context: StageContext, method: Any) -> Classifier:
    torch.manual_seed(1)
    return stage.initial_classifier(context, Arm(method, 4, 0), ("negative", "positive"))


def test_full_begins_with_the_base_and_random_with_random_weights(pretrained: tuple[RunConfig, Path]) -> None:
    context = _context(*pretrained)
    base = dict(context.load_model("base").named_parameters())
    for name, parameter in _begins_with(context, "full").gpt.named_parameters():
        assert torch.equal(parameter, base[name]), name
    random = dict(_begins_with(context, "random").gpt.named_parameters())
    matrices = [name for name, parameter in base.items() if parameter.ndim == 2]
    assert not any(torch.equal(random[name], base[name]) for name in matrices)
    assert matrices


def test_lora_begins_as_full_does_and_trains_adapters_and_head_alone(pretrained: tuple[RunConfig, Path]) -> None:
    context = _context(*pretrained)
    full, lora = _begins_with(context, "full").eval(), _begins_with(context, "lora").eval()
    texts = Texts(context)
    sequences = texts.ids(texts.tests)
    assert np.array_equal(classifier_scores(lora, sequences), classifier_scores(full, sequences))
    trained = {name for name, parameter in lora.named_parameters() if parameter.requires_grad}
    assert "head.weight" in trained
    assert all("lora_" in name for name in trained - {"head.weight"})
    ranks = {min(p.shape) for name, p in lora.named_parameters() if name in trained - {"head.weight"}}
    assert ranks == {context.run.classify.lora_rank}


def test_the_published_classifier_is_the_full_one_of_most_labels_and_the_first_draw(
    finished: tuple[RunConfig, Path],
) -> None:
    run, root = finished
    texts = Texts(_context(run, root))
    model = Classifier.from_pretrained(root / "classify" / "model")
    predicted = classifier_scores(model, texts.ids(texts.tests)).argmax(axis=1).tolist()
    of = {(each["method"], each["texts"], each["seed"]): each["predicted"] for each in _arms(root)}
    assert of["full", 8, 0] == predicted
    assert model.labels == ("negative", "positive")
    assert len({tuple(of["full", 8, seed]) for seed in (0, 1)}) == 2  # another draw, another classifier


def test_what_is_measured_follows_from_the_predictions(finished: tuple[RunConfig, Path]) -> None:
    run, root = finished
    arms = json.loads((root / "classify" / "model" / "arms.json").read_text())
    found = json.loads((root / "classify" / "evaluation" / "evaluation.json").read_text())
    truth = np.array(arms["truth"])
    texts = Texts(_context(run, root))
    assert truth.tolist() == [("negative", "positive").index(each.label) for each in texts.tests]
    assert arms["groups"] == [each.group for each in texts.tests]
    right = {
        (each["method"], each["texts"], each["seed"]): float(np.mean(np.array(each["predicted"]) == truth))
        for each in arms["arms"]
    }
    rows = {(row["method"], row["labels"]): row for row in found["measures"]}
    assert list(rows) == [(method, count) for method in ("full", "lora", "few_shot", "random") for count in (4, 8)]
    for (method, count), row in rows.items():
        used = row["used"]
        assert used == count if method != "few_shot" else used in (2, 4)
        assert row["by_seed"] == pytest.approx([right[method, used, seed] for seed in (0, 1)])
        assert row["accuracy"]["mean"] == pytest.approx(np.mean(row["by_seed"]))
    gains = {(row["other"], row["labels"]): row["accuracy"]["mean"] for row in found["gains"]}
    assert gains["random", 8] == pytest.approx(
        rows["full", 8]["accuracy"]["mean"] - rows["random", 8]["accuracy"]["mean"]
    )
    assert sum(map(sum, found["confusion"].values())) == len(truth)


def test_seconds_and_tokens_are_in_the_log_a_line_an_arm(finished: tuple[RunConfig, Path]) -> None:
    _, root = finished
    lines = [json.loads(line) for line in (root / "classify" / "log" / "metrics.jsonl").read_text().splitlines()]
    arms = _arms(root)
    assert [line["step"] for line in lines] == list(range(1, len(arms) + 1))
    assert [line["tokens"] for line in lines] == np.cumsum([each["train_tokens"] for each in arms]).tolist()
    assert all(
        line["train_seconds"] > 0 for line, each in zip(lines, arms, strict=True) if each["method"] != "few_shot"
    )
    assert not (root / "classify" / "checkpoints").exists()


class Interrupted(Exception):
    """In the place of a signal."""


def _stops_after(fits: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets `fits` arms train, and the next one `steps` steps; returns the names of the arms that were trained."""
    real, trained = stage.fit, []

    def cut(task: Any, model: Any, settings: Any) -> Any:
        trained.append(Path(settings.folder).parent.name)
        if len(trained) <= fits:
            return real(task, model, settings)

        def hook(step: int) -> None:
            if step == steps + 1:
                raise Interrupted

        return real(task, model, settings, hook=hook)

    monkeypatch.setattr(stage, "fit", cut)
    return trained


def test_an_interrupted_stage_continues_behind_its_last_finished_arm_with_the_same_bits(
    copy: tuple[RunConfig, RunFolder], finished: tuple[RunConfig, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = copy
    with monkeypatch.context() as patched:
        first = _stops_after(3, 1, patched)
        with pytest.raises(Interrupted):
            stage.classify(run, folder)
    assert first == ["full_4_0", "full_4_1", "full_8_0", "full_8_1"]
    with monkeypatch.context() as patched:
        second = _stops_after(99, 0, patched)
        stage.classify(run, folder)
    lora = ["lora_4_0", "lora_4_1", "lora_8_0", "lora_8_1"]
    assert second == ["full_8_1", *lora, "random_4_0", "random_4_1", "random_8_0", "random_8_1", "full_8_0"]
    for name in ("model.safetensors", "arms.json"):
        whole = (finished[1] / "classify" / "model" / name).read_bytes()
        assert (folder.root / "classify" / "model" / name).read_bytes() == whole, name


def test_a_finished_stage_is_only_checked_and_measured_again_from_its_predictions(
    finished: tuple[RunConfig, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, root = finished
    folder = RunFolder(Path(shutil.copytree(root, tmp_path / "run")))
    before = (folder.root / "classify/evaluation/evaluation.json").read_bytes()
    shutil.rmtree(folder.evaluation("classify"))
    monkeypatch.setattr(stage, "fit", lambda *given: pytest.fail("trained again"))
    stage.classify(run, folder)
    assert (folder.root / "classify/evaluation/evaluation.json").read_bytes() == before


def test_settings_of_finished_arms_are_locked(
    copy: tuple[RunConfig, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = copy
    with monkeypatch.context() as patched:
        _stops_after(1, 1, patched)
        with pytest.raises(Interrupted):
            stage.classify(run, folder)
    changed = replace(run, classify=replace(run.classify, epochs=2.0))
    with pytest.raises(ForeignArtifact, match=r"classify\.epochs was 1\.0, now 2\.0"):
        run_all(changed, folder.root)


def test_a_start_model_is_classified_with_in_the_place_of_pretraining(
    pretrained: tuple[RunConfig, Path], tmp_path: Path
) -> None:
    run, root = pretrained
    classify = {"data": list(run.classify.data), "label_counts": [4], "methods": ["full"], "min_steps": 1, "seeds": 1}
    table = {
        "start": {"model": str(root / "base" / "model")},
        "corpus": {"validation_share": 0.1, "test_share": 0.3},
        "data": {"row_tokens": 64},
        "evaluate": {"bootstrap_resamples": 20},
        "classify": {**classify, "max_tokens": 40, "batch_texts": 4, "micro_batch_texts": 4, "epochs": 1.0},
    }
    given = from_dict(table)
    assert given.stages == ("prepare", "classify")
    run_all(given, tmp_path / "run")
    (arm,) = _arms(tmp_path / "run")
    assert (arm["method"], arm["texts"], arm["seed"]) == ("full", 4, 0)
    assert "Classification" in (tmp_path / "run" / "report" / "index.html").read_text()


def test_methods_counts_and_draws_are_all_planned_once(pretrained: tuple[RunConfig, Path]) -> None:
    sets = planned_sets(Texts(_context(*pretrained)))
    assert [[arm.name for arm in arms] for (method, _), arms in sets.items() if method == "full"] == [
        ["full_4_0", "full_4_1"],
        ["full_8_0", "full_8_1"],
    ]
    prompts = [arm for (method, _), arms in sets.items() if method == "few_shot" for arm in arms]
    assert {arm.seed for arm in prompts} == {0, 1}
    assert len(prompts) == 4

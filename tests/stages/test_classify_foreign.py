"""The stage `classify` on models of other families: where texts and prompts begin and end, and what is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")
transformers = pytest.importorskip("transformers", reason="writes the models and reads what is published")

import stategpt as sg  # noqa: E402
from foreign_folders import FOREIGN, Foreign  # noqa: E402
from labeled_files import labeled_rows, write_lines  # noqa: E402
from stategpt.artifacts.run_folder import RunFolder  # noqa: E402
from stategpt.config import load  # noqa: E402
from stategpt.evaluate import label_prompts  # noqa: E402
from stategpt.model import Classifier  # noqa: E402
from stategpt.stages import classify as stage  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.label_arms import Arm, Texts  # noqa: E402

pytestmark = pytest.mark.xdist_group("classify_foreign")

RUN = """
[start]
model = "given"
[corpus]
validation_share = 0.1
test_share = 0.3
[evaluate]
bootstrap_resamples = 20
[classify]
data = ["labeled.jsonl"]
label_counts = [2, 4]
seeds = 1
methods = ["full", "lora", "few_shot", "random"]
lora_rank = 2
max_tokens = 24
shot_tokens = 12
min_steps = 2
epochs = 1.0
batch_texts = 4
micro_batch_texts = 3
checkpoint_every_steps = 1
"""
BEGINS = {
    "llama, ChatML, no token left": "<|endoftext|>",  # its chats begin with a message, so no token begins a text
    "qwen2, Llama 3's template, reserved tokens": "<|begin_of_text|>",
    "gemma2, spare rows": "<bos>",
    "llama 2, pieces with a space before each text": "<s>",
    "mistral, pieces and Gemma's template": "<bos>",
}


def project(folder: Path, name: str) -> Foreign:
    """A model of that kind, labeled texts and a file of a run."""
    foreign = FOREIGN[name]
    foreign.write(folder / "given")
    write_lines(folder / "labeled.jsonl", labeled_rows(60))
    engine = f'model = "given"\nengine = "{foreign.engine}"\n' if foreign.pieces else 'model = "given"\n'
    (folder / "mine.toml").write_text(RUN.replace('model = "given"\n', engine))
    return foreign


@pytest.fixture(scope="module", params=list(BEGINS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, StageContext]:
    """A finished run."""
    folder = tmp_path_factory.mktemp("classify_foreign")
    project(folder, request.param)
    sg.run(load(folder / "mine.toml"), folder / "run")
    return request.param, StageContext.of(load(folder / "run" / "run.toml"), RunFolder(folder / "run"))


def _arms(context: StageContext) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((context.folder.model("classify") / "arms.json").read_text())
    return found


def test_all_methods_are_measured_on_all_counts(made: tuple[str, StageContext]) -> None:
    context = made[1]
    arms = _arms(context)
    assert {each["method"] for each in arms["arms"]} == {"full", "lora", "few_shot", "random"}
    assert {(each["method"], each["texts"]) for each in arms["arms"] if each["method"] != "few_shot"} == {
        (method, count) for method in ("full", "lora", "random") for count in (2, 4)
    }
    assert {len(each["predicted"]) for each in arms["arms"]} == {len(arms["truth"])}
    assert "Classification" in (context.folder.root / "report" / "index.html").read_text()


def test_texts_begin_as_the_model_s_documents_and_are_read_at_its_end(made: tuple[str, StageContext]) -> None:
    name, context = made
    special, texts = context.tok.special_tokens, Texts(context)
    begin, end = special[BEGINS[name]], special[FOREIGN[name].ends[0]]
    assert context.control.document_begin == begin
    sequences = texts.ids(texts.tests)
    assert max(map(len, sequences)) == 24  # some are cut, and they end all the same
    assert {(ids[0], ids[-1]) for ids in sequences} == {(begin, end)}
    assert not any({begin, end} & set(ids[1:-1].tolist()) for ids in sequences)
    for method in ("full", "lora", "random"):
        model = stage.initial_classifier(context, Arm(method, 2, 0), ("negative", "positive"))
        assert model.gpt.special_ids == texts.base.special_ids
        assert (model.gpt.special_ids.bos, model.gpt.special_ids.eos[0]) == (begin, end)


def test_a_prompt_begins_as_the_model_s_documents(
    made: tuple[str, StageContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, context = made
    real, seen = label_prompts._answer_log_probs, []

    def spy(model: Any, prompts: Any, answers: Any) -> Any:
        seen.extend(prompts)
        return real(model, prompts, answers)

    monkeypatch.setattr(label_prompts, "_answer_log_probs", spy)
    texts = Texts(context)
    texts.prompt(4, 0).scores(texts.base, [each.text for each in texts.tests[:3]])
    begin = context.tok.special_tokens[BEGINS[name]]
    assert {int(ids[0]) for ids in seen} == {begin}
    assert not any(begin in ids[1:] for ids in seen)
    documents = {context.tok.decode(ids[1:].tolist()) for ids in seen}
    assert {texts.prompt(4, 0).document(each.text) for each in texts.tests[:3]} < documents


def test_transformers_predicts_what_the_stage_measured(made: tuple[str, StageContext]) -> None:
    context = made[1]
    folder, texts = context.folder.model("classify"), Texts(context)
    read = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    given = [each.text for each in texts.tests]
    batch = read(given, return_tensors="pt", padding=True, truncation=True, max_length=24)
    assert [row[mask == 1].tolist() for row, mask in zip(*batch.values(), strict=True)] == [
        ids.tolist() for ids in texts.ids(texts.tests)
    ]
    with torch.inference_mode():
        predicted = theirs(**batch).logits.argmax(dim=1).tolist()
    of = {(each["method"], each["texts"]): each["predicted"] for each in _arms(context)["arms"]}
    assert of["full", 4] == predicted
    assert theirs.config.id2label == {0: "negative", 1: "positive"}
    again = Classifier.from_pretrained(folder)
    assert again.gpt.special_ids == texts.base.special_ids
    assert again.gpt.special_ids.pad not in (None, again.gpt.special_ids.eos[0])


class Interrupted(Exception):
    """In the place of a signal."""


def test_each_arm_continues_from_its_own_checkpoints_of_this_start_model(
    made: tuple[str, StageContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, context = made
    if name != next(iter(FOREIGN)):
        pytest.skip("the same for every family")
    seen: dict[str, list[str]] = {}

    def fingerprints(root: Path, key: str, stop: int) -> None:
        real = stage.fit

        def spy(task: Any, model: Any, settings: Any) -> Any:
            seen.setdefault(key, []).append(settings.fingerprint)

            def hook(step: int) -> None:
                if len(seen[key]) == stop and step == 2:
                    raise Interrupted

            return real(task, model, settings, hook=hook)

        with monkeypatch.context() as patched:
            patched.setattr(stage, "fit", spy)
            sg.run(load(root.parent / "mine.toml"), root)

    for key, pad in (("one", None), ("other", "<|endoftext|>")):
        folder = tmp_path / key
        project(folder, name)
        if pad:  # another start model: its rows have another padding
            path = folder / "given" / "generation_config.json"
            found = json.loads(path.read_text())
            found["pad_token_id"] = context.tok.special_tokens[pad]
            path.write_text(json.dumps(found))
        if key == "one":
            with pytest.raises(Interrupted):
                fingerprints(folder / "run", "cut", 3)
        fingerprints(folder / "run", key, 99)
    names = ["full_2_0", "full_4_0", "lora_2_0", "lora_4_0", "random_2_0", "random_4_0"]
    trained = [*names[2:], "full_4_0"]  # behind the last finished arm; the published one again from its checkpoint
    assert [each.rpartition(" ")[2] for each in seen["one"]] == trained
    assert len(set(seen["cut"] + seen["one"])) == 6
    assert not set(seen["one"]) & set(seen["other"])
    whole = context.folder.model("classify")
    for file in ("model.safetensors", "arms.json"):
        assert (tmp_path / "one" / "run" / "classify" / "model" / file).read_bytes() == (whole / file).read_bytes()

"""Whatever the files of a run folder hold, the report is rendered or refused with a typed error, safe to print."""

import json
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="the report needs the train extra")
pytest.importorskip("jinja2", reason="the report needs the train extra")

from stategpt.artifacts import publish_folder
from stategpt.errors import CorruptArtifact, DataError, ForeignArtifact, StategptError, StorageError
from stategpt.report import canvas, page, render, summary
from stategpt.report.page import render_page
from stategpt.report.run_files import RunFiles

WriteRun = Callable[..., Path]
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**15, -(10**30), 1e39, -1e39, 1e-300, 1e308, "", "x", "\x1b[31m\u202e", "\ud800",
    "best_of_x", "nan", "y" * 5000, [], [None], [[]], {}, {"": {}}, {"mean": None}, {"mean": "x"}, {"mean": 1e39},
    {"step": 1}, [1, 2, 3, 4], [["a", 0, True, "b"]], {"text": 1}, {"x": {"y": {"z": []}}}, list(range(30)),
    {"kl": 1e39, "win_rate": -1e39, "reward_mean": 0}, {f"name{i}": {"mean": i} for i in range(70)},
)  # fmt: skip
TEXTS = (
    "",
    "{",
    "nul",
    "NaN",
    '{"mean": NaN}',
    "[" * 100_000,
    '{"a": 1, "a": 2}',
    "\ufeff{}",
    '{"a": 1e999}',
    "9" * 5000,
)
FILES = (
    "base/evaluation/evaluation.json", "base/evaluation/samples.jsonl", "base/evaluation/mixture.json",
    "base/evaluation/rows.json", "base/log/metrics.jsonl", "base/log/timing.json", "sft/evaluation/evaluation.json",
    "rankings/evaluation/evaluation.json", "reward/evaluation/evaluation.json", "rl/log/metrics.jsonl",
    "comparison/evaluation/evaluation.json", "gates/gates.json", "lineage.json", "base/evaluation/validation.jsonl",
    "base/evaluation/loss_references.json", "rl/evaluation/completions.jsonl", "log/environment.json",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


def write(root: Path, name: str, text: str) -> None:
    """Puts `text` into a file of the run, and signs its folder again."""
    path = root / name
    kind = path.parent.name
    if path.parent == root:
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        return
    held = {p.name: p.read_bytes() for p in path.parent.iterdir() if p.name != "manifest.json"}
    held[path.name] = text.encode("utf-8", "surrogatepass")
    parents = tuple(json.loads((path.parent / "manifest.json").read_text())["parents"])

    def fill(temporary: Path) -> None:
        for file, content in held.items():
            (temporary / file).write_bytes(content)

    publish_folder(path.parent, fill, kind=kind, parents=parents)


def small(name: str, content: Any) -> Any:
    """Logs and lists of the fixture cut short: the mutations matter, not the length."""
    if name.endswith(".jsonl"):
        return content[:3]
    if name == "reward/evaluation/evaluation.json":
        return content | {"rewards": {key: values[:5] for key, values in content["rewards"].items()}}
    return {"rows": [content["rows"][0][:6]]} if name.endswith("rows.json") else content


@pytest.fixture(scope="module")
def small_run(write_run: WriteRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("small") / "run", change=small)


def data_of(sketch: canvas.Sketch) -> str:
    return repr((sketch.name, sketch.caption, getattr(sketch.paint, "keywords", None)))


def report_of(root: Path, drawn: set[str]) -> bool:
    """Words and figures of the report; whether they could be made. Anything but a typed error is raised.

    `drawn` holds the data of figures that need not be painted again.
    """
    try:
        files = RunFiles(root)
        for sketch in page.all_sketches(files):
            if data_of(sketch) not in drawn:
                drawn.add(data_of(sketch))
                paint_small(sketch)
        assert_safe(render_page(files, []) + summary(root))
    except StategptError as error:
        assert_safe(str(error))
        return False
    return True


def paint_small(sketch: canvas.Sketch) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1), dpi=20)
    drawn = FigureCanvasAgg(figure)
    sketch.paint(figure.subplots(), canvas.LIGHT)
    drawn.draw()


def assert_safe(text: str) -> None:
    assert not set(text) & set("\x1b\x07\u202e\u2066\x9b\x00")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_any_value_in_the_place_of_any_other_is_drawn_or_refused(small_run: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "run"
    shutil.copytree(small_run, root)
    text = (root / name).read_text()
    whole = [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else json.loads(text)
    if name != "lineage.json":  # which would refuse every folder that is signed again
        (root / "lineage.json").unlink()
    draw = random.Random(name)
    everywhere = list(places(whole))
    outcomes = []
    drawn = {data_of(sketch) for sketch in page.all_sketches(RunFiles(root))}
    for _ in range(50):
        value = changed(whole, draw.choice(everywhere), draw.choice(VALUES))
        lines = isinstance(value, list) and name.endswith(".jsonl")
        write(root, name, "".join(json.dumps(v) + "\n" for v in value) if lines else json.dumps(value) + "\n")
        outcomes.append(report_of(root, drawn))
    assert set(outcomes) == {True, False}
    for content in TEXTS:
        write(root, name, content + "\n")
        # In a log the same may be a line that a crash tore, and an unknown field may hold anything.
        assert not report_of(root, drawn) or content == '{"a": 1e999}' or name.endswith(".jsonl")


@pytest.mark.filterwarnings("ignore")
def test_a_deeply_nested_file_and_one_of_another_type_are_data_errors(small_run: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(small_run, root)
    for content in ("[" * 100_000, "[]", '"text"', "1"):
        write(root, "base/evaluation/evaluation.json", content)
        with pytest.raises(DataError, match=r"evaluation\.json"):
            _ = RunFiles(root).evaluations


@pytest.mark.parametrize("name", [name for name in FILES if name != "lineage.json"])
def test_a_changed_digit_that_is_not_signed_is_found(small_run: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "run"
    shutil.copytree(small_run, root)
    path = root / name
    text = path.read_text()
    digit = next(character for character in text if character.isdigit())
    path.chmod(0o644)
    path.write_text(text.replace(digit, str((int(digit) + 1) % 10), 1))
    with pytest.raises(CorruptArtifact, match=path.name.replace(".", r"\.")):
        render(root)


def test_a_changed_digit_of_lineage_or_settings_is_found(small_run: Path, tmp_path: Path) -> None:
    for name, old, new in (("lineage.json", '"b3:', '"b3:0'), ("run.toml", "beta = 0.8", "beta = 0.2")):
        root = tmp_path / name
        shutil.copytree(small_run, root)
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))
        with pytest.raises((CorruptArtifact, DataError), match=name.replace(".", r"\.")):
            render(root)


def test_an_evaluation_of_another_model_is_found(small_run: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(small_run, root)
    publish_folder(root / "base" / "model", lambda folder: (folder / "w").write_text("other") and None, kind="model")
    with pytest.raises(CorruptArtifact, match="not measured on the model next to it"):
        _ = RunFiles(root).evaluations


def test_a_run_folder_of_an_earlier_version_says_what_to_do(small_run: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(small_run, root)
    (root / "sft" / "evaluation.json").write_text("{}")
    with pytest.raises(ForeignArtifact, match=r"earlier version.*sft/evaluation\.json.*delete"):
        render(root)


def test_the_report_is_not_written_through_a_link(small_run: Path, tmp_path: Path) -> None:
    root, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(small_run, root)
    outside.mkdir()
    shutil.rmtree(root / "report", ignore_errors=True)
    (root / "report").symlink_to(outside)
    with pytest.raises(StorageError, match="report is a link"):
        render(root)
    assert not list(outside.iterdir())


@pytest.mark.filterwarnings("ignore")
def test_no_control_character_of_any_string_reaches_page_or_terminal(write_run: WriteRun, tmp_path: Path) -> None:
    hostile = "\x1b]0;x\x07\u202e\u2066\x9b"
    touched = 0

    def poisoned(value: Any, key: str = "") -> Any:
        nonlocal touched
        if isinstance(value, dict):
            return {
                (name + hostile if key in ("planned", "drawn", "parts", "parts_mean", "sources", "elo") else name): (
                    poisoned(item, name)
                )
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [poisoned(item, key) for item in value]
        touched += isinstance(value, str)
        return value + hostile if isinstance(value, str) else value

    root = write_run(tmp_path / f"run{hostile}", change=lambda name, content: poisoned(small(name, content)))
    found = json.loads((root / "gates" / "gates.json").read_text())
    gates = [poisoned(gate) | {"severity": gate["severity"]} for gate in found["gates"]]
    write(root, "gates/gates.json", json.dumps(found | {"gates": gates}))
    nodes = [
        {"id": f"b3:{n}{hostile}", "kind": f"k{hostile}", "path": f"p{n}{hostile}", "fingerprints": {hostile: hostile},
         "parents": [f"b3:0{hostile}"] * n}
        for n in range(2)
    ]  # fmt: skip
    (root / "lineage.json").write_text(json.dumps({"schema_version": 1, "nodes": nodes}))
    for text in ("", f'name = "{hostile}"\n', "broken [" + hostile):
        (root / "run.toml").write_text(text)
        files = RunFiles(root)
        assert_safe(render_page(files, []))
        assert_safe(summary(root))
        assert_safe("".join(s.title + s.caption for s in page.all_sketches(files)))
    assert touched > 100


def test_odd_glyphs_give_one_warning(write_run: WriteRun, tmp_path: Path) -> None:
    def odd(name: str, content: Any) -> Any:
        text = (
            json.dumps(small(name, content))
            .replace("best_of_", "\u4e00\u4e01\u4e03")
            .replace('"code"', '"\u5317\u4eac"')
        )
        return json.loads(text)

    root = write_run(tmp_path / "run", change=odd)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        render(root)
    assert len([one for one in caught if "Glyph" in str(one.message)]) == 1

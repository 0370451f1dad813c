"""benches/kernels without a GPU: it rehearses, counts the pairs that the reference sees, writes tables as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="kernels need the train extra (torch)")
pytest.importorskip("triton", reason="kernels need the train extra (triton)")

from stategpt.kernels._shared.configs import MAX_ENTRIES, Launch, Table, read_table  # noqa: E402
from stategpt.kernels.attention.reference import visible_keys  # noqa: E402

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "benches" / "kernels"
TABLES = sorted((ROOT / "triton_kernels").glob("*/configs.json"))


@pytest.fixture(autouse=True)
def _benches_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def test_a_rehearsal_writes_a_record_with_every_row(tmp_path: Path) -> None:
    # No part runs out of its share of the time on a busy machine.
    options = ["--rehearse", "--time", "100", "--out", str(tmp_path)]
    command = [sys.executable, "-W", "error", str(BENCH / "bench.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (data,) = tmp_path.glob("*-kernels-cpu-interpreter.json")
    made = json.loads(data.read_text())
    assert made["command"].endswith(" ".join(options))
    assert {"torch", "triton", "numpy", "python"} <= made["versions"].keys()
    parts = {name: part["rows"] for name, part in made["parts"].items()}
    assert list(parts) == ["correctness", "peers", "decode", "training", "tune"]
    assert len(parts["correctness"]) == 5
    assert all(row["good"] for row in parts["correctness"])
    check_peers(parts["peers"])
    assert all(row["values"] for row in parts["decode"] + parts["training"])
    assert {row["kernel"] for row in parts["tune"]} == {"forward", "backward_q", "backward_kv"}
    assert all(isinstance(trial, float) for row in parts["tune"] for trial in row["trials"].values())
    assert read_table(tmp_path / "configs.json").fields == read_table(TABLES[0]).fields
    page = data.with_suffix(".md").read_text()
    assert all(f"| {row['axis']} | {row['input']} |" in page for row in parts["peers"] + parts["decode"])


def check_peers(rows: list[dict[str, Any]]) -> None:
    """Who runs on a CPU was measured and agreed; who does not, says why."""
    ceiling, *rows = rows
    assert ceiling["values"]["torch"] > 0
    assert [row["axis"].split(",")[0] for row in rows] == ["forward", "backward", "mask", "forward", "backward"]
    for row in rows:
        assert row["values"].keys() >= {"stategpt", "reference"}
        assert ("sdpa-flash" in row["values"]) == ("causal" in row["axis"])
        assert row["failed"]["varlen_attn"] == "needs a CUDA device"
        assert row["failed"].keys().isdisjoint(row["values"])
        for goal in row["goals"]:
            assert (goal["reached"] is None) == (goal["peer"] not in row["ratios"])


def test_without_a_gpu_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench

    monkeypatch.setattr(sys, "argv", ["bench.py"])
    monkeypatch.setattr(bench, "prepare", lambda rehearsal: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.main() == bench.NO_DEVICE
    said = capsys.readouterr().out
    assert "no CUDA device" in said
    assert said.count("\n") == 1


def test_a_wrong_output_ends_it_before_anything_is_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import bench

    def must_not_run(run: object) -> list[dict[str, Any]]:
        raise AssertionError("timed")

    wrong = {"case": "packed", "good": False, "errors": {"dq": [0.5, 6e-3]}}
    monkeypatch.setattr(sys, "argv", ["bench.py", "--rehearse", "--out", str(tmp_path)])
    monkeypatch.setattr(bench, "prepare", lambda rehearsal: None)
    monkeypatch.setattr(bench, "PARTS", {"correctness": lambda run: [wrong], "peers": must_not_run})
    assert bench.main() == bench.WRONG
    (page,) = tmp_path.glob("*.md")
    assert "0 of 1 good" in page.read_text()
    assert "packed" in page.read_text()


@pytest.mark.parametrize("window", [None, 1, 5, 100])
def test_operations_are_counted_from_the_pairs_that_the_reference_sees(window: int | None) -> None:
    import problems

    small = {"heads": 2, "kv_heads": 1, "head_dim": 16, "window": window}
    for problem in (
        problems.Problem(((5, 1, 10), (16,)), 16, **small),
        problems.Problem(((3, 4, 2),), 16, **small, prefix=6),  # one pad token sees itself
    ):
        layout = problem.layout()
        bounds = zip(layout.segment_start, layout.prefix_end, layout.branch_start, strict=True)
        pairs = sum(len(visible_keys(token, *map(int, of), window)) for token, of in enumerate(bounds))
        assert problems.visible_pairs(layout, window) == pairs
        assert problem.flops() == (4 * pairs * 2 * 16, 10 * pairs * 2 * 16)


def test_blank_tokens_count_no_pair() -> None:
    import problems

    layout = problems.Problem(((4,),), 4).layout()
    layout.branch_start[3] = 4
    layout.position[3] = 0
    assert problems.visible_pairs(layout, None) == 6


def test_log_normal_documents_fill_their_rows_and_have_the_mean_asked_for() -> None:
    import problems

    rows = problems.log_normal_rows(16, 65536, seed=0)
    assert {sum(row) for row in rows} == {65536}
    assert all(length > 0 for row in rows for length in row)
    documents = sum(map(len, rows))
    assert 900 < 16 * 65536 / documents < 1100


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.parent.name)
def test_a_table_is_written_as_it_was_read(path: Path) -> None:
    import table

    assert table.text_of(read_table(path)) == path.read_text()


def launches(block_q: int) -> dict[str, Launch]:
    return {"forward": Launch(block_q, 64, 4, 2)}


def attention_table(**blocks: int) -> Table:
    """Entries by mask and length, `causal_any` standing for sm_90/16bit/128/*/causal/*; the number is block_q."""
    parts = {name: [part.replace("any", "*") for part in name.split("_")] for name in blocks}
    fields = ("arch", "dtype", "head_dim", "group", "mask", "length")
    return Table(fields, {("sm_90", "16bit", "128", "*", *parts[name]): launches(n) for name, n in blocks.items()})


def found(table: Table, mask: str, length: str) -> int:
    launch = table.find(arch="sm_90", dtype="16bit", head_dim="128", group="4", mask=mask, length=length)["forward"]
    return launch.block_q


def changed(shipped: Table, **best: int) -> dict[str, int]:
    """Entries that are written after these were the best."""
    import table as tables

    written = tables.collapsed(shipped, attention_table(**best).entries)
    after = tables.with_entries(shipped, written)
    for name, block_q in best.items():
        assert found(after, *name.split("_")) == block_q
    return {"/".join(key[4:]): entry["forward"].block_q for key, entry in written.items()}


def test_only_what_differs_is_written_and_once_where_lengths_agree() -> None:
    shipped = attention_table(any_any=128, softcap_any=16)
    assert changed(shipped, causal_short=128, causal_long=128) == {}
    assert changed(shipped, causal_short=64, causal_long=64) == {"causal/*": 64}
    assert changed(shipped, causal_short=64, causal_long=128) == {"causal/short": 64}
    assert changed(shipped, causal_short=64, causal_long=32) == {"causal/short": 64, "causal/long": 32}


def test_masks_that_agree_change_the_general_entry_and_no_other_mask() -> None:
    plain = {"causal_short": 64, "causal_long": 64, "window_short": 64, "window_long": 64}
    shipped = attention_table(any_any=128, softcap_any=16)
    assert changed(shipped, **plain, prefix_short=128, prefix_long=128) == {"*/*": 64, "prefix/*": 128}
    assert changed(shipped, **plain, prefix_short=64, prefix_long=32) == {"*/*": 64, "prefix/long": 32}
    assert changed(attention_table(any_any=128, causal_any=32), **plain) == {"*/*": 64, "causal/*": 64}


def test_an_entry_of_all_lengths_replaces_those_of_one() -> None:
    import table as tables

    before = attention_table(any_any=128, causal_long=32, softcap_any=16)
    after = tables.with_entries(before, attention_table(causal_any=64).entries)
    assert [key[4:] for key in after.entries] == [("*", "*"), ("softcap", "*"), ("causal", "*")]
    assert found(after, "causal", "long") == 64
    assert changed(before, causal_short=128, causal_long=128) == {"causal/*": 128}


def test_entries_without_room_are_left_out_smallest_gain_first(monkeypatch: pytest.MonkeyPatch) -> None:
    import table as tables

    written, shipped = (
        attention_table(any_any=64, causal_short=32, causal_long=16).entries,
        attention_table(any_any=128),
    )
    gains = {key: 1.1 if key[5] == "short" else 1.05 for key in written}
    monkeypatch.setattr(tables, "entries_of_all", lambda table: MAX_ENTRIES - 1)
    assert [key[4:] for key in tables.affordable(shipped, written, gains)] == [("causal", "short"), ("*", "*")]


def test_a_candidate_must_be_faster_by_three_per_cent() -> None:
    from tune import Trial, winner

    shipped, other, refused = Launch(128, 64, 8, 2), Launch(64, 64, 4, 2), Launch(32, 32, 4, 1)
    trials = [Trial("forward", refused, None, "spills"), Trial("forward", shipped, 1.0)]
    assert winner([*trials, Trial("forward", other, 0.98)]) == (shipped, 1.0)
    assert winner([*trials, Trial("forward", other, 0.8)]) == (other, 1.25)


def test_ratios_are_of_medians_and_goals_are_met_or_not_measured() -> None:
    from rows import Goal, Row

    row = Row("forward", "T", "TFLOP/s", goals=(Goal("flex", 1.2, 1.5), Goal("sdpa-flash", 1.2)))
    row.add({"stategpt": [2.0, 1.0, 4.0], "flex": [3.0, 2.6, 2.6]}, 10.0)
    assert row.values == {"stategpt": 5.0, "flex": 10.0 / 2.6}
    assert row.ratios["flex"].median == 1.3
    assert row.met(row.goals[0]) == (True, False)
    assert row.met(row.goals[1]) == (None, None)


def test_a_library_that_fails_or_differs_becomes_a_reason() -> None:
    import attention_rows
    import peers
    import problems

    class Broken(peers.Reference):
        def attend(self, *arguments: object) -> Any:
            raise AssertionError("no such kernel")

    class Wrong(peers.Reference):
        def attend(self, *arguments: Any) -> Any:
            return super().attend(*arguments) * 1.01

    problem = problems.packed(1, 16, 0, heads=2, kv_heads=1, head_dim=8)
    inputs = problem.inputs(torch.device("cpu"), torch.float32)
    right = peers.Reference()
    expected = attention_rows.outputs(right, right.mask(problem), inputs)
    for make, reason in ((Broken, "AssertionError: no such kernel"), (Wrong, "differs from ours by 1.0e-02")):
        with pytest.raises(peers.Refused, match=reason):
            attention_rows.agreeing(make, problem, inputs, expected)
    library, _ = attention_rows.agreeing(peers.Reference, problem, inputs, expected)
    assert not library.repeats

"""docs/examples/smollm2_lora: the made orders and their score; the run files name settings that exist."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stategpt.config import RunConfig
from stategpt.config.schema import flatten

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "smollm2_lora"


@pytest.fixture(scope="module")
def orders() -> ModuleType:
    spec = importlib.util.spec_from_file_location("orders", FOLDER / "orders.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["orders"] = module
    spec.loader.exec_module(module)
    return module


def test_made_orders_are_the_same_each_time_and_held_out_ones_are_worded_otherwise(
    orders: ModuleType, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        orders.make(tmp_path / name)
    texts = [(tmp_path / name / "chats.jsonl").read_text() for name in ("a", "b")]
    assert texts[0] == texts[1]
    chats = [json.loads(line)["messages"] for line in texts[0].splitlines()]
    held = [json.loads(line) for line in (tmp_path / "a" / "held_out.jsonl").read_text().splitlines()]
    assert (len(chats), len(held)) == (orders.TRAIN, orders.HELD_OUT)
    trained = [json.loads(answer["content"]) for _, answer in chats]
    for question, fields in [(chat[0]["content"], fields) for chat, fields in zip(chats, trained, strict=True)] + [
        (each["prompt"], json.loads(each["reference"])) for each in held
    ]:
        assert tuple(fields) == orders.FIELDS
        assert all(str(fields[name]) in question for name in ("item", "quantity", "customer", "city"))
    for name in ("item", "customer", "city"):
        assert not {fields[name] for fields in trained} & {json.loads(each["reference"])[name] for each in held}
    assert not {chat[0]["content"] for chat in chats} & {each["prompt"] for each in held}


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"item": "tea", "quantity": 2, "customer": "A", "city": "B", "due": "01-02"}', 1.0),
        ('Sure: {"item": "tea", "quantity": "2", "customer": "A", "city": "C"} and more', 0.6),
        ('{"item": "tea", "quantity"', 0.0),
        ("no JSON", 0.0),
        ('{"item": {"a": 1}}', 0.0),
    ],
)
def test_the_score_is_the_share_of_right_fields(orders: ModuleType, answer: str, score: float) -> None:
    reference = '{"item": "tea", "quantity": 2, "customer": "A", "city": "B", "due": "01-02"}'
    assert orders.right_fields(answer, reference) == pytest.approx(score)


@pytest.mark.parametrize("name", ["orders.toml", "preferences.toml"])
def test_the_run_files_name_settings_that_exist(name: str) -> None:
    known = flatten(RunConfig())

    def keys(found: dict[str, Any], before: str = "") -> list[str]:
        return [
            key
            for part, value in found.items()
            for key in (keys(value, f"{before}{part}.") if isinstance(value, dict) else [f"{before}{part}"])
        ]

    assert not set(keys(tomllib.loads((FOLDER / name).read_text()))) - set(known)

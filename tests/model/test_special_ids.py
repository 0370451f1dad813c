"""Special ids: which file decides, what each spelling means, and that saving again loses none."""

import json

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import CorruptArtifact  # noqa: E402
from stategpt.model import GPT, RewardModel, SpecialIds  # noqa: E402

SHAPE = GPTConfig(vocab_size=31, depth=1, width=16, heads=2, kv_heads=1, head_dim=8, mlp_width=24, context_tokens=32)
LLAMA = GPTConfig(**{**SHAPE.__dict__, "qk_norm": False})
ABSENT = object()


def change(path, **changes):
    found = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not ABSENT}))


def ids(tmp_path, config=None, generation=None, shape=SHAPE) -> SpecialIds:
    GPT(shape).save_pretrained(tmp_path)
    change(tmp_path / "config.json", **(config or {}))
    if generation is None:
        (tmp_path / "generation_config.json").unlink()
    else:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    return GPT.from_pretrained(tmp_path).special_ids


def test_a_new_model_has_no_ids_until_a_tokenizer_says_which(tmp_path):
    assert GPT(SHAPE).special_ids == SpecialIds(bos=None, eos=(), pad=None)
    assert ids(tmp_path, {}) == SpecialIds(bos=None, eos=(), pad=None)


@pytest.mark.parametrize(
    ("config", "generation", "expected"),
    [
        ({"eos_token_id": 2}, None, (2,)),
        ({"eos_token_id": [2, 7, 2]}, None, (2, 7)),
        ({"eos_token_id": 2}, {}, (2,)),
        ({"eos_token_id": 2}, {"eos_token_id": None}, (2,)),
        ({"eos_token_id": 2}, {"eos_token_id": [7, 2]}, (7, 2)),
        ({"eos_token_id": 2}, {"eos_token_id": 7}, (7,)),
        ({"eos_token_id": None}, {"eos_token_id": [2, 7]}, (2, 7)),
        ({"eos_token_id": None}, None, ()),
        ({"eos_token_id": ABSENT}, None, ()),
        ({"eos_token_id": []}, None, ()),
    ],
)
def test_end_ids_of_both_files(tmp_path, config, generation, expected):
    assert ids(tmp_path, config, generation).eos == expected


def test_absent_keys_of_a_llama_mean_what_transformers_takes(tmp_path):
    absent = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), ABSENT)
    assert ids(tmp_path, absent, shape=LLAMA) == SpecialIds(bos=1, eos=(2,), pad=None)
    assert ids(tmp_path, dict.fromkeys(absent), shape=LLAMA) == SpecialIds(bos=None, eos=(), pad=None)


def test_minus_one_means_none(tmp_path):
    assert ids(tmp_path, {"pad_token_id": -1}).pad is None


NO_IDS = ["2", 2.0, True, [[2]], {}, -2, 2**31, [2, "7"], [0] * 1025]


@pytest.mark.parametrize("value", NO_IDS, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_values_that_are_no_ids_are_corrupt(tmp_path, file, value):
    GPT(SHAPE).save_pretrained(tmp_path)
    change(tmp_path / file, eos_token_id=value)
    with pytest.raises(CorruptArtifact, match=rf"{file}: .*eos_token_id"):
        GPT.from_pretrained(tmp_path)


@pytest.mark.parametrize("key", ["bos_token_id", "eos_token_id", "pad_token_id"])
def test_an_id_outside_the_vocabulary_is_corrupt(tmp_path, key):
    with pytest.raises(CorruptArtifact, match=f"{key} is 31, the vocabulary has 31"):
        ids(tmp_path, {key: 31})


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff", '{"eos_token_id": 1, "eos_token_id": 2}'])
def test_a_damaged_generation_config_is_corrupt(tmp_path, content):
    GPT(SHAPE).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CorruptArtifact, match=r"generation_config\.json"):
        GPT.from_pretrained(tmp_path)


@pytest.mark.parametrize("reward", [False, True], ids=["gpt", "reward"])
@pytest.mark.parametrize("odd", [SpecialIds(3, (2, 7), 5), SpecialIds(None, (), None)], ids=["odd", "none"])
def test_ids_come_back_and_are_written_again(tmp_path, odd, reward):
    model = RewardModel(GPT(SHAPE, odd)) if reward else GPT(SHAPE, odd)
    for folder in (tmp_path / "first", tmp_path / "again"):
        model.save_pretrained(folder)
        files = ["config.json"] if reward else ["config.json", "generation_config.json"]
        for file in files:
            assert odd.to_json().items() <= json.loads((folder / file).read_text()).items()
        model = type(model).from_pretrained(folder)
        assert (model.gpt if reward else model).special_ids == odd

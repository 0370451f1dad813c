"""`save_gguf`: the bytes that llama.cpp's converter writes, the way back, and what is refused."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
pytest.importorskip("transformers", reason="the models are of transformers (extra dev)")
gguf = pytest.importorskip("gguf", reason="files are written with the package `gguf` (extra hf)")

from dataclasses import replace  # noqa: E402

from family_models import CASES, VOCABULARY  # noqa: E402
from gguf_models import FILES, case_model, write  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.config.families import FAMILIES  # noqa: E402
from stategpt.config.gguf_names import gguf_family_of  # noqa: E402
from stategpt.data.chats import ChatTemplate  # noqa: E402
from stategpt.errors import ForeignArtifact, InvalidArgument, MissingExtra, StorageError  # noqa: E402
from stategpt.gguf_file import GgufFile, read_metadata  # noqa: E402
from stategpt.model import GPT, RewardModel, SpecialIds  # noqa: E402
from stategpt.model.gguf_export import save_gguf  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

Kind = gguf.GGMLQuantizationType
TOKENIZER = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": [f"t{number}" for number in range(90)],
    "tokenizer.ggml.token_type": [1] * 90,
    "tokenizer.ggml.merges": ["t 0"],
    "tokenizer.ggml.add_bos_token": False,
}
OPTIONAL = {"rope.dimension_count", "vocab_size", "attention.key_length", "attention.value_length"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gguf"


def loaded(theirs, folder) -> GPT:
    theirs.save_pretrained(folder)
    return GPT.from_pretrained(folder)


def data_of(path) -> dict[str, np.ndarray]:
    return {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("name", FILES, ids=lambda name: name.replace(" ", "_").replace(",", ""))
def test_files_are_those_of_the_converter(name, path, tmp_path):
    theirs = case_model(name)
    model = loaded(theirs, tmp_path / "folder")
    save_gguf(model, path, dtype="f32")
    write(tmp_path / "expected.gguf", theirs)
    found, expected = data_of(path), data_of(tmp_path / "expected.gguf")
    assert found.keys() == expected.keys()
    for tensor in found:
        if tensor == "rope_freqs.weight":
            np.testing.assert_allclose(found[tensor], expected[tensor], rtol=1e-6)
        else:
            assert np.array_equal(found[tensor], expected[tensor]), tensor
    ours, known = read_metadata(path), read_metadata(tmp_path / "expected.gguf")
    further = {key.split(".", 1)[1] for key in ours.keys() - known.keys()}
    assert further <= OPTIONAL | {"type", "file_type"}
    ignored = {"phi3.rope.scaling.original_context_length"}  # without a scaling
    assert {key: ours.get(key) for key in known.keys() - ignored} == {key: known[key] for key in known.keys() - ignored}


@pytest.mark.parametrize("name", FILES, ids=lambda name: name.replace(" ", "_").replace(",", ""))
def test_a_model_comes_back_bit_for_bit(name, path, tmp_path):
    model = loaded(case_model(name), tmp_path / "folder")
    save_gguf(model, path, dtype="f32")
    back = GPT.from_pretrained(path)
    plus_one = model.config.architecture.norm == "rms_plus_one"
    for name, weight in back.state_dict().items():
        plus = 1.0 if plus_one and name.endswith("norm.weight") else 0.0
        assert torch.equal(plus + weight, plus + model.state_dict()[name]), name
    back.save_pretrained(tmp_path / "again")
    again = GPT.from_pretrained(tmp_path / "again")
    assert all(map(torch.equal, again.parameters(), back.parameters()))
    assert again.special_ids == model.special_ids


@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
@pytest.mark.parametrize(("dtype", "kind"), [("f16", Kind.F16), ("q8_0", Kind.Q8_0)])
def test_matrices_are_quantized_as_the_package_does(name, dtype, kind, path, tmp_path):
    changes = (
        {"n_embd": 64} if name == "gpt2" else {"hidden_size": 64, "num_attention_heads": 4, "query_pre_attn_scalar": 16}
    )
    theirs = CASES[name].model(**changes)
    save_gguf(loaded(theirs, tmp_path / "folder"), path, dtype=dtype)

    def expected_form(tensor: str, values: np.ndarray):
        if values.ndim == 1 or tensor.startswith("position_embd"):
            return values, Kind.F32
        form = kind if values.shape[-1] % 32 == 0 else Kind.F16
        return gguf.quants.quantize(values, form), form

    write(tmp_path / "expected.gguf", theirs, expected_form)
    found, expected = data_of(path), data_of(tmp_path / "expected.gguf")
    assert all(np.array_equal(found[tensor], expected[tensor]) for tensor in expected)
    metadata = read_metadata(path)
    assert metadata["general.file_type"] == {"f16": 1, "q8_0": 7}[dtype]
    with GgufFile(path) as file:
        forms = {tensor.dtype for tensor in file.tensors.values()}
    assert forms >= {"F32", dtype.upper()}


def test_a_tied_matrix_is_written_twice_where_llama_cpp_wants_it(path, tmp_path):
    model = loaded(CASES["olmo2"].model(tie_word_embeddings=True), tmp_path / "folder")
    save_gguf(model, path, dtype="f32")
    found = data_of(path)
    assert np.array_equal(found["output.weight"], found["token_embd.weight"])
    assert GPT.from_pretrained(path).lm_head is None


def test_rows_that_are_no_blocks_become_f16(path, tmp_path):
    save_gguf(loaded(CASES["qwen3"].model(), tmp_path / "folder"), path, dtype="q8_0")  # width 48
    with GgufFile(path) as file:
        assert {tensor.dtype for tensor in file.tensors.values()} == {"F16", "F32"}


def test_our_own_models_come_back(path):
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=101, depth=2)).eval()
    save_gguf(model, path, dtype="f32")
    back = GPT.from_pretrained(path)
    assert back.config == model.config
    assert back.special_ids == model.special_ids
    assert all(map(torch.equal, back.parameters(), model.parameters()))
    assert read_metadata(path)["general.architecture"] == "qwen3"


def test_bfloat16_weights_are_widened_exactly(path):
    model = GPT(GPTConfig(vocab_size=101, depth=1)).bfloat16()
    save_gguf(model, path, dtype="f32")
    assert all(
        torch.equal(a, b.float())
        for a, b in zip(GPT.from_pretrained(path).parameters(), model.parameters(), strict=True)
    )


def test_tokenizer_and_template_are_in_the_metadata(path):
    class Chat:
        def jinja(self) -> str:
            return "{{ messages }}"

    model = GPT(GPTConfig(vocab_size=VOCABULARY, depth=1), SpecialIds(3, (4, 5), 6))
    save_gguf(model, path, TOKENIZER, Chat())
    found = read_metadata(path)
    assert found["tokenizer.chat_template"] == "{{ messages }}"
    assert found["tokenizer.ggml.tokens"] == [
        *TOKENIZER["tokenizer.ggml.tokens"],
        *(f"[PAD{n}]" for n in range(90, 97)),
    ]
    assert found["tokenizer.ggml.token_type"] == [1] * 90 + [5] * 7
    for key in ("model", "pre", "merges", "add_bos_token"):
        assert found[f"tokenizer.ggml.{key}"] == TOKENIZER[f"tokenizer.ggml.{key}"]
    assert [found[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos", "eot", "padding")] == [3, 4, 5, 6]
    save_gguf(model, path, TOKENIZER, "{{ text }}")
    assert read_metadata(path)["tokenizer.chat_template"] == "{{ text }}"


def test_a_tokenizer_and_a_chat_format_come_back(path):
    tok = Tokenizer.train(["user\nassistant\n"] * 4, vocab_size=300, special_tokens=["<|im_start|>", "<|im_end|>"])
    template = (
        "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    save_gguf(GPT(GPTConfig(vocab_size=tok.vocab_size, depth=1), SpecialIds(None, (1,), None)), path, tok, template)
    back = Tokenizer.load(path)
    assert back.special_tokens == tok.special_tokens
    assert back.encode("user says\n a").tolist() == tok.encode("user says\n a").tolist()
    assert ChatTemplate.load(path).prompt("a").tolist() == ChatTemplate.named("chatml", tok).prompt("a").tolist()


REFUSED = {
    "a window of Mistral": ("mistral", {}, "sliding_window is 5"),
    "dynamic positions": ("dynamic rope", {}, "rope_type 'dynamic'"),
    "yarn of other bounds": ("yarn rope, all settings", {}, "truncate = false"),
    "other layers without positions": ("smollm3 by a list", {}, "rotated_layers"),
    "a Gemma without caps": ("gemma2 without caps", {"query_pre_attn_scalar": 16}, "attention_softcap is None"),
    "another scale of scores": ("gemma2", {}, "query_scale is 24.0, llama.cpp computes 16.0"),
    "other layers with the window": ("gemma3 with a scaled rope", {"query_pre_attn_scalar": 16}, "windowed_layers"),
    "an untied Gemma 2": (
        "gemma2",
        {"query_pre_attn_scalar": 16, "tie_word_embeddings": False},
        "tied_embeddings is false",
    ),
    "heads of another width": ("olmo2", {"head_dim": 16}, "heads x head_dim is 96"),
    "llama3's bounds": (
        "llama3 rope",
        {
            "rope_parameters": {
                **CASES["llama3 rope"].settings["rope_parameters"],
                "low_freq_factor": 1.5,
            }
        },
        "rope_freqs.weight is none of",
    ),
}


@pytest.mark.parametrize(("case", "changes", "message"), REFUSED.values(), ids=REFUSED)
def test_shapes_that_llama_cpp_does_not_compute_are_refused_before_anything_is_written(
    case, changes, message, path, tmp_path
):
    model = loaded(CASES[case].model(**changes), tmp_path / "folder")
    with pytest.raises(ForeignArtifact, match=message):
        save_gguf(model, path)
    assert not path.exists()


def test_an_attention_factor_of_yarn_is_said(path, tmp_path):
    model = loaded(CASES["yarn rope, attention factor"].model(), tmp_path / "folder")
    save_gguf(model, path, dtype="f32")
    assert GPT.from_pretrained(path).rotary.factor == pytest.approx(1.5, rel=1e-6)


def test_arguments_are_checked(path):
    model = GPT(GPTConfig(vocab_size=80, depth=1))
    for arguments, error, message in (
        ((RewardModel(model), path), InvalidArgument, "a reward model cannot be a GGUF file"),
        ((model, path.with_suffix(".bin")), InvalidArgument, r"does not end in \.gguf"),
        ((model, path, {"general.name": "x"}), InvalidArgument, "general.name"),
        ((model, path, TOKENIZER), ForeignArtifact, "90 ids and the model embeds 80"),
        ((model, path, None, None, "q4_0"), InvalidArgument, "q4_0"),
        (("model", path), InvalidArgument, "GPT"),
    ):
        with pytest.raises(error, match=message):
            save_gguf(*arguments)
    model.special_ids = SpecialIds(0, (1, 2, 3, 4), None)
    with pytest.raises(ForeignArtifact, match="4 ids end a text"):
        save_gguf(model, path)
    model.more = torch.nn.Linear(2, 2)
    with pytest.raises((InvalidArgument, ForeignArtifact), match=r"more\.|4 ids"):
        save_gguf(model, path)
    assert not path.exists()


def test_weights_that_the_format_does_not_hold_leave_the_old_file(path):
    model = GPT(GPTConfig(vocab_size=80, depth=1))
    path.write_bytes(b"old")
    with torch.no_grad():
        model.layers[0].mlp.up_proj.weight[0, 0] = 7e4
    with pytest.raises(InvalidArgument, match=r"blk\.0\.ffn_up\.weight holds values of .* to 70000\.0, which f16"):
        save_gguf(model, path)
    assert path.read_bytes() == b"old"
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    save_gguf(model, path, dtype="q8_0")
    with torch.no_grad():
        model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(InvalidArgument, match=r"blk\.0\.ffn_up\.weight holds"):
        save_gguf(model, path, dtype="f32")
    with pytest.raises(StorageError):
        save_gguf(GPT(GPTConfig(vocab_size=80, depth=1)), path / "below.gguf")


def test_the_missing_package_is_named(path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"gguf.*hf"):
        save_gguf(GPT(GPTConfig(vocab_size=80, depth=1)), path)


def test_every_family_has_a_way_out():
    assert all(gguf_family_of(family) is not None for family in FAMILIES.values())
    assert gguf_family_of(replace(FAMILIES["llama"], model_type="x")) is None


def test_the_format_of_a_file_is_kept_on_the_way_back(path):
    model = GPT(GPTConfig(vocab_size=80, depth=1)).half()
    save_gguf(model, path, dtype="f16")
    back = GPT.from_pretrained(path)
    assert {parameter.dtype for parameter in back.parameters()} == {torch.float16}
    assert all(map(torch.equal, back.parameters(), model.parameters()))

"""GGUF files as `GPT.from_pretrained` reads them: every family, every format of weights, and what is refused."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
pytest.importorskip("transformers", reason="the files hold models of transformers (extra dev)")
gguf = pytest.importorskip("gguf", reason="the files are written with the package `gguf` (extra hf)")

from family_models import CASES, CONTEXT, VOCABULARY  # noqa: E402
from gguf_models import FILES, case_model, exact, quantized, write  # noqa: E402
from stategpt.config.gguf_names import GGUF_FAMILIES  # noqa: E402
from stategpt.errors import (  # noqa: E402
    CorruptArtifact,
    ForeignArtifact,
    InvalidArgument,
    MissingFile,
    StategptError,
)
from stategpt.model import GPT, RewardModel, SpecialIds  # noqa: E402
from stategpt.model.gguf_weights import QUANTIZED  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

Kind = gguf.GGMLQuantizationType
F32 = Kind.F32


def logits(model, seed: int = 0):
    tokens = torch.from_numpy(np.random.default_rng(seed).integers(2, VOCABULARY, CONTEXT))
    with torch.no_grad():
        return model(tokens, TensorLayout.of(Layout.packed([[CONTEXT]], CONTEXT)))


@pytest.fixture(scope="module")
def llama():
    """A Llama whose rows divide into the blocks of every format."""
    return CASES["llama"].model(
        hidden_size=256, intermediate_size=512, num_attention_heads=8, head_dim=32, num_hidden_layers=1
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gguf"


def test_there_is_a_file_of_every_architecture():
    families = {CASES[case].model_type for case, _ in FILES.values()}
    assert {record.model_type for record in GGUF_FAMILIES.values()} == families - {"mistral"}


@pytest.mark.parametrize("name", FILES, ids=lambda name: name.replace(" ", "_").replace(",", ""))
def test_a_file_of_float32_gives_exactly_the_model_of_the_folder(name, path, tmp_path):
    theirs = case_model(name)
    theirs.save_pretrained(tmp_path / "folder")
    write(path, theirs)
    ours, folder = GPT.from_pretrained(path), GPT.from_pretrained(tmp_path / "folder")
    found, expected = ours.config, folder.config
    assert found.architecture == expected.architecture or name.startswith("mistral")
    assert {**vars(found), "architecture": None} == {**vars(expected), "architecture": None}
    for (name, weight), other in zip(ours.state_dict().items(), folder.state_dict().values(), strict=True):
        # Files of Gemma hold 1 + weight, rounded to float32; so rounded it is what the norm multiplies by.
        plus = 1.0 if folder.config.architecture.norm == "rms_plus_one" and name.endswith("norm.weight") else 0.0
        assert torch.equal(plus + weight, plus + other), name
    assert torch.equal(logits(ours), logits(folder))
    with torch.no_grad():
        tokens = torch.from_numpy(np.random.default_rng(0).integers(2, VOCABULARY, CONTEXT))
        torch.testing.assert_close(logits(ours), theirs(tokens[None]).logits[0], rtol=1e-5, atol=1e-5)
    assert ours.special_ids == SpecialIds(1, (2,), None)
    assert not ours.training


def crafted(kind):
    """Random bytes as blocks of a format that the package does not write, with scales that are sensible numbers."""
    values, size = gguf.GGML_QUANT_SIZES[kind]

    def convert(name: str, matrix: np.ndarray):
        if matrix.ndim == 1:
            return exact(name, matrix)
        draw = np.random.default_rng(len(name))
        count = matrix.size // values
        blocks = draw.integers(0, 256, (count, size), dtype=np.uint8)
        for at in {Kind.Q2_K: (80, 82), Kind.Q3_K: (108,), Kind.Q4_K: (0, 2), Kind.Q5_K: (0, 2), Kind.Q6_K: (208,)}[
            kind
        ]:
            blocks[:, at : at + 2] = draw.uniform(1e-4, 2e-4, (count, 1)).astype(np.float16).view(np.uint8)
        return blocks.reshape(len(matrix), -1), kind

    return convert


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_weights_are_what_the_package_makes_of_their_blocks(name, llama, path):
    kind = Kind[name]
    convert = crafted(kind) if name.endswith("_K") else quantized(kind)
    written = {}

    def remember(tensor: str, values: np.ndarray):
        data, form = convert(tensor, values)
        written[tensor] = gguf.dequantize(data, form)
        return data, form

    write(path, llama, remember)
    model = GPT.from_pretrained(path)
    assert model.embed_tokens.weight.dtype == torch.float32
    layer = model.layers[0]
    for tensor, ours in (("token_embd", model.embed_tokens), ("blk.0.ffn_down", layer.mlp.down_proj)):
        assert np.array_equal(ours.weight.detach().numpy(), written[f"{tensor}.weight"]), tensor
    for tensor, ours, heads in (("attn_q", layer.self_attn.q_proj, 8), ("attn_k", layer.self_attn.k_proj, 2)):
        theirs = written[f"blk.0.{tensor}.weight"].reshape(heads, 16, 2, 256).swapaxes(1, 2)
        assert np.array_equal(ours.weight.detach().numpy(), theirs.reshape(heads * 32, 256)), tensor
    rounded = GPT.from_pretrained(path, dtype=torch.bfloat16)
    for ours, exact_one in zip(rounded.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, exact_one.bfloat16())


def test_long_tensors_are_read_piece_by_piece(llama, path, monkeypatch):
    write(path, llama, quantized(Kind.Q8_0))
    whole = GPT.from_pretrained(path)
    monkeypatch.setattr("stategpt.model.gguf_weights._PIECE", 3 * 256)  # three rows, and then some are left
    pieces = GPT.from_pretrained(path)
    assert all(map(torch.equal, pieces.parameters(), whole.parameters()))


@pytest.mark.parametrize(("kind", "dtype"), [(Kind.F16, torch.float16), (Kind.BF16, torch.bfloat16)])
def test_16_bit_weights_keep_their_format_where_it_holds_the_vectors(kind, dtype, path):
    theirs = CASES["gemma2"].model(query_pre_attn_scalar=16).to(dtype)
    write(path, theirs, quantized(kind))
    model = GPT.from_pretrained(path)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, theirs.state_dict()[f"model.{name}"]), name
    theirs = theirs.float()
    with torch.no_grad():
        theirs.model.norm.weight[0] = 1.0 + 2.0**-20  # float32, which 16 bits do not hold
    write(path, theirs, quantized(kind))
    wide = GPT.from_pretrained(path)
    assert {parameter.dtype for parameter in wide.parameters()} == {torch.float32}
    assert torch.equal(wide.norm.weight, theirs.model.norm.weight)


def test_a_tied_matrix_that_is_there_twice_is_one(path):
    theirs = CASES["llama"].model()

    theirs.config.tie_word_embeddings = False  # the state has the matrix under both names
    write(path, theirs)
    model = GPT.from_pretrained(path)
    assert model.lm_head is None
    theirs.lm_head.weight = torch.nn.Parameter(theirs.lm_head.weight + 1)
    write(path, theirs)
    assert torch.equal(GPT.from_pretrained(path).lm_head.weight, theirs.lm_head.weight)


def test_a_llama_with_biases_is_read_with_their_rows_in_order(path, tmp_path):
    theirs = CASES["llama"].model(attention_bias=True)
    with torch.no_grad():
        for layer in theirs.model.layers:
            layer.self_attn.o_proj.bias.zero_()
    theirs.save_pretrained(tmp_path / "folder")
    write(path, theirs)
    with pytest.raises(ForeignArtifact, match=r"blk\.0\.attn_output\.bias"):
        GPT.from_pretrained(path)


def test_qwens_biases_are_read(path, tmp_path):
    theirs = CASES["qwen2"].model()
    write(path, theirs)
    ours = GPT.from_pretrained(path).layers[2].self_attn.k_proj.bias
    assert torch.equal(ours, theirs.model.layers[2].self_attn.k_proj.bias)


def test_ends_of_turns_end_texts_too(path):
    ids = {"eos": 2, "eot": 5, "eom": 5, "bos": 2**32 - 1, "padding": 7}
    write(
        path, CASES["llama"].model(), metadata={f"tokenizer.ggml.{name}_token_id": each for name, each in ids.items()}
    )
    assert GPT.from_pretrained(path).special_ids == SpecialIds(None, (2, 5), 7)


ANSWERS = {
    "llama.rope.freq_base": (123.0, lambda config: config.rope_theta == 123.0),
    "llama.attention.layer_norm_rms_epsilon": (0.25, lambda config: config.norm_epsilon == 0.25),
    "llama.context_length": (50, lambda config: config.context_tokens == 50),
    "llama.rope.scale_linear": (3.0, lambda config: config.architecture.rope_scaling.factor == 3.0),
}


@pytest.mark.parametrize("key", ANSWERS)
def test_metadata_decide_the_shape(key, path):
    value, holds = ANSWERS[key]
    write(path, CASES["llama"].model(), metadata={key: value})
    assert holds(GPT.from_pretrained(path).config)


def test_what_metadata_leave_out_is_what_llama_cpp_computes(path):
    left_out = ("rope.freq_base", "vocab_size", "rope.dimension_count", "attention.head_count_kv")
    theirs = CASES["llama"].model(num_key_value_heads=6)
    write(path, theirs, metadata={f"llama.{key}": None for key in left_out})
    config = GPT.from_pretrained(path).config
    assert (config.rope_theta, config.kv_heads, config.head_dim) == (10_000.0, 6, 8)
    gemma = case_model("gemma2")
    keys = ("attention.sliding_window", "attn_logit_softcapping", "final_logit_softcapping")
    write(path, gemma, metadata={f"gemma2.{key}": None for key in keys})
    switches = GPT.from_pretrained(path).config.architecture
    assert (switches.window, switches.attention_softcap, switches.logit_softcap) == (4096, 50.0, 30.0)
    assert switches.windowed_layers == (True, False, True, False)


@pytest.mark.parametrize("pattern", [3, [True, True, False] * 3])
def test_a_pattern_says_which_layers_have_the_window(pattern, path):
    write(path, case_model("gemma3"), metadata={"gemma3.attention.sliding_window_pattern": pattern})
    switches = GPT.from_pretrained(path).config.architecture
    assert switches.windowed_layers == (True, True, False, True, True, False, True)


def test_gemma_without_a_window_sees_everything(path):
    write(path, case_model("gemma3"), metadata={"gemma3.attention.sliding_window": None})
    assert GPT.from_pretrained(path).config.architecture.window is None


def test_scores_of_the_largest_gemma_have_their_scale(path):
    theirs = CASES["gemma2"].model(num_hidden_layers=46, query_pre_attn_scalar=8)
    write(path, theirs)  # 46 layers: width / heads = 48 / 6
    assert GPT.from_pretrained(path).config.architecture.query_scale == 8


FOREIGN = {
    "another architecture": ({"general.architecture": "mamba"}, r"general\.architecture is 'mamba'"),
    "experts": ({"llama.expert_count": 8}, r"llama\.expert_count"),
    "metadata that nothing here knows": (
        {"llama.attention.clamp_kqv": 2.0},
        r"'llama\.attention\.clamp_kqv' is not known",
    ),
    "a window where none is computed": ({"llama.attention.sliding_window": 4}, r"sliding_window' is not known"),
    "half of a head is rotated": ({"llama.rope.dimension_count": 4}, r"llama\.rope\.dimension_count is 4"),
    "values of another width": ({"llama.attention.value_length": 4}, r"llama\.attention\.value_length is 4"),
    "another vocabulary": ({"llama.vocab_size": 96}, r"llama\.vocab_size is 96"),
    "scaling of longer contexts": ({"llama.rope.scaling.type": "longrope"}, r"rope\.scaling\.type is 'longrope'"),
    "a layer with other heads": ({"llama.attention.head_count": [6, 6, 3]}, r"llama\.attention\.head_count"),
    "no depth": ({"llama.block_count": None}, r"llama\.block_count"),
    "a text as a number": ({"llama.block_count": "3"}, r"llama\.block_count"),
    "no layers": ({"llama.block_count": 0}, r"llama\.block_count"),
    "more layers than tensors": ({"llama.block_count": 65000}, r"the file's metadata says 65000 layers"),
    "fewer layers": ({"llama.block_count": 2}, r"blk\.2\.attn_k\.weight"),
    "another width": ({"llama.feed_forward_length": 96}, r"blk\.0\.ffn_gate\.weight is \[80, 48\]"),
    "sizes that do not fit": ({"llama.attention.head_count": 7}, r"sizes do not fit|is \[48, 48\]|dimension_count"),
    "an id outside": ({"tokenizer.ggml.eos_token_id": 97}, r"tokenizer\.ggml\.eos_token_id is 97"),
    "an id that is a text": ({"tokenizer.ggml.bos_token_id": "1"}, r"tokenizer\.ggml\.bos_token_id"),
}


@pytest.mark.parametrize(("metadata", "message"), FOREIGN.values(), ids=FOREIGN)
def test_metadata_that_are_not_computed_are_refused_by_key(metadata, message, path):
    write(path, CASES["llama"].model(), metadata=metadata)
    with pytest.raises((ForeignArtifact, CorruptArtifact), match=rf"model\.gguf.*{message}"):
        GPT.from_pretrained(path)


def test_factors_of_frequencies_that_no_scaling_gives_are_refused(path):
    theirs = CASES["llama3 rope"].model()

    def other(name: str, values: np.ndarray):
        return exact(name, values * 1.01 if name == "rope_freqs.weight" else values)

    write(path, theirs, other)
    with pytest.raises(ForeignArtifact, match=r"rope_freqs\.weight is none of llama3's scalings"):
        GPT.from_pretrained(path)
    write(path, theirs, metadata={"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0})
    with pytest.raises(ForeignArtifact, match=r"llama\.rope\.scaling\.type and the tensor rope_freqs\.weight"):
        GPT.from_pretrained(path)


def test_weights_of_other_formats_or_not_finite_are_refused_by_tensor(path):
    theirs = CASES["llama"].model()

    def whole_numbers(name: str, values: np.ndarray):
        return (values.astype(np.int32), Kind.I32) if name == "blk.1.ffn_up.weight" else exact(name, values)

    write(path, theirs, whole_numbers)
    with pytest.raises(ForeignArtifact, match=r"blk\.1\.ffn_up\.weight is I32; only F32"):
        GPT.from_pretrained(path)
    with torch.no_grad():
        theirs.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    write(path, theirs)
    with pytest.raises(CorruptArtifact, match=r"blk\.1\.ffn_up\.weight holds values that are not finite"):
        GPT.from_pretrained(path)
    with torch.no_grad():
        theirs.model.layers[1].mlp.up_proj.weight[0, 0] = 1e30
    write(path, theirs)
    with pytest.raises(CorruptArtifact, match=r"not finite as float16"):
        GPT.from_pretrained(path, dtype=torch.float16)


def test_another_format_a_missing_file_and_a_reward_model_are_refused(path):
    with pytest.raises(MissingFile):
        GPT.from_pretrained(path)
    with pytest.raises(InvalidArgument, match="dtype"):
        GPT.from_pretrained(path, dtype=torch.float64)
    with pytest.raises(ForeignArtifact, match="hold language models"):
        RewardModel.from_pretrained(path)


def test_a_file_cut_or_changed_anywhere_is_refused_or_read_as_it_is(path):
    """Every 64th length, and changed bytes of the header: a typed error, or the same model."""
    write(path, CASES["llama"].model(num_hidden_layers=1, vocab_size=8), metadata=_WITHOUT_IDS)
    content = path.read_bytes()
    expected = {name: weight.clone() for name, weight in GPT.from_pretrained(path).state_dict().items()}
    refused = 0
    for end in range(0, len(content), 64):
        path.write_bytes(content[:end])
        refused += _is_refused(path, expected)
    assert refused >= len(range(0, len(content), 64)) - 1  # the last cut may take padding only
    draw = np.random.default_rng(0)
    for at in draw.integers(0, 1800, 400):
        changed = bytearray(content)
        changed[at] ^= 1 << int(draw.integers(8))
        path.write_bytes(changed)
        _is_refused(path, None)


_WITHOUT_IDS = {f"tokenizer.ggml.{name}_token_id": None for name in ("bos", "eos", "padding")}


def _is_refused(path, expected) -> bool:
    try:
        model = GPT.from_pretrained(path)
    except StategptError as error:
        message = str(error)
    else:
        for name, weight in model.state_dict().items() if expected else ():
            assert torch.equal(weight, expected[name]), name
        return False
    assert str(path) in message
    return True


def test_settings_of_the_case_are_in_its_file(path, tmp_path):
    """Guards the files of this module: a setting that the writer forgot would be forgotten twice."""
    theirs = case_model("gemma3 with a scaled rope")
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    write(path, theirs)
    fields = gguf.GGUFReader(path).fields
    assert fields["gemma3.rope.scaling.factor"].contents() == 8.0
    assert (
        fields["gemma3.rope.freq_base_swa"].contents() == config["rope_parameters"]["sliding_attention"]["rope_theta"]
    )

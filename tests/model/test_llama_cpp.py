"""llama.cpp computes our exported files as we compute the models: greedy tokens and log-probabilities, every family."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
pytest.importorskip("transformers", reason="the models are of transformers (extra dev)")
pytest.importorskip("gguf", reason="files are written with the package `gguf` (extra hf)")
if importlib.util.find_spec("xllamacpp") is None:
    pytest.skip("the wheel `xllamacpp` (llama.cpp) is not installed", allow_module_level=True)

from family_models import CASES, VOCABULARY  # noqa: E402
from gguf_models import FILES, case_model  # noqa: E402
from paged_decoding import Decoding  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.model import GPT, SpecialIds  # noqa: E402
from stategpt.model.gguf_export import save_gguf  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

PROGRAM = Path(__file__).parents[1] / "llama_cpp.py"
TOKENIZER = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": ["<0>", "<1>", "<2>", *(chr(33 + number) for number in range(VOCABULARY - 3))],
    "tokenizer.ggml.token_type": [3] * 3 + [1] * (VOCABULARY - 3),
    "tokenizer.ggml.merges": ["! !"],
    "tokenizer.ggml.add_bos_token": False,
}
TOKENS = 8
IGNORES_WINDOW = "phi3 with a window"
"""llama.cpp computes Phi-3 without its window (its pull request 13676)."""


def of_llama_cpp(path, prompt):
    command = [sys.executable, str(PROGRAM), str(path), json.dumps(prompt), str(TOKENS)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.strip().splitlines()[-1])


def ours(model, prompt):
    """Each step's log-probabilities, and its likeliest token but the ends of text: it is told not to end."""
    decode = Decoding(model)
    tokens, steps = torch.tensor([prompt]), []
    with torch.no_grad():
        for _ in range(TOKENS):
            logits = model.unembed(decode(tokens))[0, -1]
            steps.append((torch.log_softmax(logits, 0), logits))
            logits[list(model.special_ids.eos)] = -math.inf
            tokens = logits.argmax().view(1, 1)
    return [(log_probs, int(logits.argmax())) for log_probs, logits in steps]


def compare(model, path, tolerance):
    prompt = np.random.default_rng(0).integers(3, VOCABULARY, 24).tolist()
    for (log_probs, token), found in zip(ours(model, prompt), of_llama_cpp(path, prompt), strict=True):
        assert found["id"] == token
        ids, values = zip(*found["top"], strict=True)
        assert len(ids) == 20
        torch.testing.assert_close(torch.tensor(values), log_probs[list(ids)], rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "name", [name for name in FILES if name != IGNORES_WINDOW], ids=lambda name: name.replace(" ", "_")
)
def test_llama_cpp_computes_the_same(name, tmp_path):
    case_model(name).save_pretrained(tmp_path / "folder")
    model = GPT.from_pretrained(tmp_path / "folder")
    save_gguf(model, tmp_path / "model.gguf", TOKENIZER, dtype="f32")
    # llama.cpp takes GELU from a table of float16.
    compare(model, tmp_path / "model.gguf", 2e-4 if model.config.architecture.mlp == "swiglu" else 3e-3)


def test_llama_cpp_reads_text_with_our_tokenizer(tmp_path):
    text = "def f(x): it's 12 o'clock, naïve 東京 1234567\n\n  x"
    tok = Tokenizer.train(
        [text, "the clock is naive, f of x is 1234 "] * 4, vocab_size=300, special_tokens=["<|endoftext|>"]
    )
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=tok.vocab_size + 3, depth=2), SpecialIds(0, (0,), 0)).eval()
    with torch.no_grad():
        model.embed_tokens.weight.mul_(4)  # far enough apart for one likeliest token
    save_gguf(model, tmp_path / "model.gguf", tok, dtype="f32")
    prompt = [int(number) for number in tok.encode(text)]
    of_text, of_ids = (of_llama_cpp(tmp_path / "model.gguf", each) for each in (text, prompt))
    assert of_text == of_ids
    assert [step["id"] for step in of_ids] == [token for _, token in ours(model, prompt)]
    assert Tokenizer.load(tmp_path / "model.gguf").encode(text).tolist() == prompt


def test_llama_cpp_computes_q8_0_as_we_read_it(tmp_path):
    CASES["llama"].model(hidden_size=96, intermediate_size=128, head_dim=16).save_pretrained(tmp_path / "folder")
    save_gguf(GPT.from_pretrained(tmp_path / "folder"), tmp_path / "model.gguf", TOKENIZER, dtype="q8_0")
    compare(GPT.from_pretrained(tmp_path / "model.gguf"), tmp_path / "model.gguf", 0.1)  # it rounds activations too

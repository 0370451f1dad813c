"""LoRA adapters and several models behind one server: each request is computed by the weights that it names."""

from __future__ import annotations

import argparse
import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the server needs the train extra (torch)")
pytest.importorskip("uvicorn", reason="the server needs the serve extra")

import torch

from live_server import CONFIG, WAIT_SECONDS, LiveServer, live_server
from stategpt.cli import serve as command
from stategpt.cli.parser import build_parser
from stategpt.cli.settings import split_settings
from stategpt.errors import ConfigError
from stategpt.generate import Engine
from stategpt.model import GPT, save_adapter
from stategpt.model.lora import lora, lora_layers
from stategpt.serve.host import Host, with_adapter
from tiny_models import TEXT, raw_log_probs, tiny_model, tiny_tokenizer

NAMES = ("tiny", "loud", "calm")
CONTEXT = 512


def adapted(seed: int) -> GPT:
    """The tiny model with an adapter that changes what it says."""
    model = lora(tiny_model(context_tokens=CONTEXT), rank=2)
    torch.manual_seed(seed)
    with torch.no_grad():
        for _, layer in lora_layers(model):
            layer.lora_B.normal_(std=0.5)
    return model.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for seed, name in enumerate(NAMES[1:], 1):
        found[name] = tmp_path_factory.mktemp(name) / "adapter"
        save_adapter(adapted(seed), found[name])
    return found


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    models = {"tiny": tiny_model(context_tokens=CONTEXT), "loud": adapted(1), "calm": adapted(2)}
    return {name: Engine(model, tiny_tokenizer()) for name, model in models.items()}


@pytest.fixture(scope="module")
def live(folders: dict[str, Path]) -> Iterator[LiveServer]:
    base = Host(tiny_model(context_tokens=CONTEXT), tiny_tokenizer(), None, replace(CONFIG, batch_rows=4))
    served = {"tiny": base.served("tiny")}
    for name, folder in folders.items():
        served[name] = with_adapter(base, folder).served(name, root="tiny")
    with live_server(served) as running:
        yield running


def ask(live: LiveServer, name: str | None, prompt: Any, **settings: Any) -> Any:
    body = {"prompt": prompt, "max_tokens": 12, **({} if name is None else {"model": name}), **settings}
    status, answer = live.post("/v1/completions", body)
    assert status == 200, answer
    return answer


def test_an_adapter_says_what_the_engine_with_it_says(live: LiveServer, engines: dict[str, Engine]) -> None:
    texts = {}
    for name, engine in engines.items():
        answer = ask(live, name, "Return", seed=3, n=2)
        texts[name] = [choice["text"] for choice in answer["choices"]]
        assert texts[name] == [c.text for c in engine.generate(["Return"], n=2, max_tokens=12, seed=3)]
        assert answer["model"] == name
    assert len({tuple(each) for each in texts.values()}) == 3
    assert [choice["text"] for choice in ask(live, None, "Return", seed=3, n=2)["choices"]] == texts["tiny"]


def test_requests_to_base_and_adapters_at_a_time_mix_neither_weights_nor_prefixes(
    live: LiveServer, engines: dict[str, Engine]
) -> None:
    """All prompts begin alike, so a prefix of other weights would be found if it could be."""

    def both(number: int) -> tuple[str, Any, str, Any]:
        name, prompt = NAMES[number % 3], TEXT * 2 + str(number // 3 % 4)
        return name, number, prompt, ask(live, name, prompt, seed=number, temperature=0.8)

    with ThreadPoolExecutor(9) as pool:
        found = list(pool.map(both, range(36)))
    for name, seed, prompt, answer in found:
        (expected,) = engines[name].generate([prompt], seed=seed, temperature=0.8, max_tokens=12)
        assert answer["choices"][0]["text"] == expected.text, f"request {seed} to {name}"
    assert sum(answer["usage"]["prompt_tokens_details"]["cached_tokens"] > 0 for *_, answer in found) > 18


def test_a_prefix_of_the_base_is_not_known_to_an_adapter(live: LiveServer) -> None:
    prompt = TEXT * 3 + "alone"
    cached = [ask(live, name, prompt)["usage"]["prompt_tokens_details"]["cached_tokens"] for name in (*NAMES, *NAMES)]
    assert all(again > first for first, again in zip(cached[:3], cached[3:], strict=True))
    assert max(cached[:3]) < len(tiny_tokenizer().encode(TEXT * 3))


def test_log_probabilities_and_embeddings_are_those_of_the_adapter(
    live: LiveServer, engines: dict[str, Engine]
) -> None:
    ids = tiny_tokenizer().encode("Return the length of").tolist()
    rows = {}
    for name, engine in engines.items():
        answer = ask(live, name, ids, echo=True, logprobs=0, max_tokens=0)
        values = answer["choices"][0]["logprobs"]["token_logprobs"][1:]
        assert values == pytest.approx(raw_log_probs(engine.model, ids, 1).tolist(), abs=1e-4)
        rows[name] = live.post("/v1/embeddings", {"model": name, "input": ids})[1]["data"][0]["embedding"]
    assert len({tuple(row) for row in rows.values()}) == 3


def test_adapters_share_the_weights_under_them(folders: dict[str, Path]) -> None:
    base = Host(tiny_model(context_tokens=CONTEXT), tiny_tokenizer(), None, CONFIG)
    before = {name: weight.clone() for name, weight in base.model.state_dict().items()}
    over = with_adapter(base, folders["loud"])
    held = {weight.data_ptr() for weight in base.model.parameters()}
    own = [weight for weight in over.model.parameters() if weight.data_ptr() not in held]
    assert sum(weight.numel() for weight in own) < 0.5 * sum(weight.numel() for weight in base.model.parameters())
    assert list(lora_layers(over.model))
    assert not list(lora_layers(base.model))
    assert all(torch.equal(weight, before[name]) for name, weight in base.model.state_dict().items())


def test_models_tell_what_they_are(live: LiveServer) -> None:
    found = json.loads(live.get("/v1/models")[1])
    assert found["object"] == "list"
    assert [(each["id"], each["root"], each["parent"]) for each in found["data"]] == [
        ("tiny", "tiny", None),
        ("loud", "tiny", "tiny"),
        ("calm", "tiny", "tiny"),
    ]
    for each in found["data"]:
        assert each["max_model_len"] == CONTEXT
        assert json.loads(live.get(f"/v1/models/{each['id']}")[1]) == each
    status, content = live.get("/v1/models/none")
    assert (status, json.loads(content)["error"]["code"]) == (404, "model_not_found")
    assert "tiny, loud, calm" in content


def parsed(*words: str) -> argparse.Namespace:
    settings, plain = split_settings(["serve", *words])
    arguments = build_parser().parse_args(plain)
    arguments.settings = settings
    return arguments


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model folder `plain`, a file `small.gguf` of other weights, and an adapter `loud`."""
    from stategpt.model.gguf_export import save_gguf
    from stategpt.tokenizer.gguf_vocabulary import gguf_metadata

    place, tok = tmp_path_factory.mktemp("models"), tiny_tokenizer()
    tiny_model(context_tokens=CONTEXT).save_pretrained(place / "plain")
    tok.save(place / "plain" / "tokenizer.json")
    save_gguf(tiny_model(5, context_tokens=CONTEXT), place / "small.gguf", gguf_metadata(tok), None, "f32")
    save_adapter(adapted(1), place / "loud")
    return place


def test_the_command_serves_folders_gguf_files_and_adapters_by_their_names(saved: Path) -> None:
    arguments = parsed(
        f"{saved}/plain", f"small={saved}/small.gguf", "--adapter", f"loud={saved}/loud", "--serve.kv_bytes", "1000000"
    )
    config = command.settings_of(arguments)
    assert config.kv_bytes == 1_000_000
    served = command.load_models(arguments, config)
    models = {"plain": tiny_model(), "small": tiny_model(5), "loud": adapted(1)}
    assert list(served) == list(models)
    with live_server(served, replace(config, port=0)) as live:
        for name, model in models.items():
            ids = tiny_tokenizer().encode("Return the length of").tolist()
            answer = ask(live, name, ids, echo=True, logprobs=0, max_tokens=0)
            values = answer["choices"][0]["logprobs"]["token_logprobs"][1:]
            assert values == pytest.approx(raw_log_probs(model, ids, 1).tolist(), abs=1e-4), name
        assert ask(live, None, "Return")["model"] == "plain"
        (small,) = [each for each in json.loads(live.get("/v1/models")[1])["data"] if each["id"] == "small"]
        assert small["created"] == int((saved / "small.gguf").stat().st_mtime)


def test_the_command_says_where_it_listens_and_ends_at_a_signal(saved: Path) -> None:
    words = [sys.executable, "-m", "stategpt", "serve", f"{saved}/plain", "--port", "0", "--adapter", f"x={saved}/loud"]
    words += ["--serve.kv_bytes", "1000000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            found = re.fullmatch(r"serving plain, x at http://127\.0\.0\.1:(\d+)/v1\n", line)
            assert found is not None, line
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=WAIT_SECONDS)
            body = json.dumps({"model": "x", "prompt": "Return", "max_tokens": 4})
            connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            connection.close()
            assert answer["model"] == "x"
            running.send_signal(signal.SIGTERM)
            out, errors = running.communicate(timeout=WAIT_SECONDS)
        finally:
            running.kill()
    assert (running.returncode, out, errors) == (-signal.SIGTERM, "", "")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("runs/tiny", "tiny"),
        ("runs/tiny/sft/model", "tiny-sft"),
        ("a/b/small.gguf", "small"),
        ("chat=runs/tiny", "chat"),
        ("org/name:v2=runs/tiny", "org/name:v2"),
        ("a b/c d", "c-d"),
        (".", "model"),
    ],
)
def test_what_a_model_is_called(word: str, expected: str) -> None:
    assert command.named(word)[0] == expected


def test_names_twice_and_reward_models_are_refused(saved: Path, tmp_path: Path) -> None:
    from stategpt.model import RewardModel

    arguments = parsed(f"{saved}/plain", f"plain={saved}/small.gguf")
    with pytest.raises(ConfigError, match="two models are called plain"):
        command.load_models(arguments, CONFIG)
    RewardModel(tiny_model()).save_pretrained(tmp_path)
    tiny_tokenizer().save(tmp_path / "tokenizer.json")
    with pytest.raises(ConfigError, match="is a reward model"):
        command.load_models(parsed(str(tmp_path)), CONFIG)
    with pytest.raises(ConfigError, match=r"is no setting of the server"):
        command.settings_of(parsed(str(tmp_path), "--train.steps", "5"))

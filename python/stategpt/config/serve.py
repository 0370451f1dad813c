"""Settings of the HTTP server (`stategpt serve`). They decide nothing that a run makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stategpt.config.checks import require, require_choice, require_positive
from stategpt.shown_fields import documented, short_repr

SHARING: tuple[Literal["key", "all"], ...] = ("key", "all")


@documented
@dataclass(frozen=True)
class ServeConfig:
    """Where the server listens, who may ask, and the limits of a request."""

    host: str = "127.0.0.1"
    """Address to listen at; by default only programs of this machine reach it."""
    port: int = 8000
    """Port; 0 takes a free one."""
    api_keys: str = ""
    """TOML file of keys (docs/guides/serving.md); empty: nobody needs one, which only a loopback address may have."""
    open: bool = False
    """Serve without keys at an address that other machines reach."""
    share_prefixes: Literal["key", "all"] = "key"
    """Who shares the cache of prompt prefixes: requests of one key, or all. Shared, the time to the first token tells
    one client whether another has sent the same beginning."""
    kv_bytes: int = 1 << 30
    """Memory of the key-value pages of each model."""
    batch_rows: int = 64
    """Completions of a model that are computed at a time."""
    step_tokens: int = 512
    """Tokens of a step: fewer make streams smoother while long prompts are read, more read them faster."""
    speculate: int = 0
    """Most ids that a step proposes for each completion, those that followed its newest ids before: answers stay the
    same, and text that repeats itself takes fewer steps. 0: none."""
    stream_tokens: int = 1
    """Tokens of a completion in each event of a stream but the first and the last: more cost less where many streams
    are read, and text comes in larger pieces."""
    max_connections: int = 1000
    """Open connections; a further one gets status 503."""
    max_waiting: int = 256
    """Requests of a model that wait for a place in its batch; a further one gets status 503."""
    max_body_bytes: int = 4 << 20
    """Size of a request."""
    max_tokens: int = 4096
    """Tokens of a completion; also the default of a chat request that gives none."""
    max_prompt_tokens: int = 0
    """Tokens of a prompt; 0: what the model's context allows."""
    max_n: int = 64
    """Completions of a request: its prompts or branches times n."""
    max_top_logprobs: int = 20
    """Alternatives of each token."""
    max_inputs: int = 256
    """Texts of a request for embeddings."""
    max_schema_bytes: int = 64 << 10
    """Size of a JSON schema, regular expression, grammar or list of choices."""
    compile_seconds: float = 5.0
    """Time in which a schema or grammar must be compiled."""
    header_seconds: float = 10.0
    """Time in which a connection must send the headers of a request."""
    body_seconds: float = 30.0
    """Time in which a request's body must arrive."""
    send_seconds: float = 30.0
    """Time in which a client must take the next part of an answer."""
    keep_alive_seconds: float = 5.0
    """How long a connection may be idle between requests."""
    grace_seconds: float = 20.0
    """How long running requests may take to finish when the server stops; then they are canceled."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        require(0 <= self.port < 65536, "serve.port", self.port, "must be 0 to 65535")
        require(bool(self.host), "serve.host", self.host, "must be an address or a name")
        require_choice("serve.share_prefixes", self.share_prefixes, SHARING)
        whole = (
            "kv_bytes",
            "batch_rows",
            "step_tokens",
            "stream_tokens",
            "max_connections",
            "max_waiting",
            "max_body_bytes",
            "max_tokens",
            "max_n",
            "max_inputs",
        )
        require_positive("serve", **{name: getattr(self, name) for name in (*whole, "max_schema_bytes")})
        times = ("compile", "header", "body", "send", "keep_alive")
        require_positive("serve", **{f"{name}_seconds": getattr(self, f"{name}_seconds") for name in times})
        for name in ("speculate", "max_prompt_tokens", "max_top_logprobs", "grace_seconds"):
            require(getattr(self, name) >= 0, f"serve.{name}", getattr(self, name), "must be 0 or more")

"""The engine: prompts in, sampled completions out, over keys and values in pages.

A prompt is computed once for all its samples, and what prompts share is computed once for all of them. Completions and
sessions are requests to one scheduler, so they run in one batch. A sample depends on (seed, stream, sample) and the
weights, not on the rest of its batch: in float32 two batches differ by 1e-6 in a probability, so about one token in a
million differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids, one_of, whole
from stategpt.config.stages import PRECISIONS
from stategpt.data import ChatTemplate
from stategpt.data.control_ids import ControlIds
from stategpt.errors import ForeignArtifact, InvalidArgument
from stategpt.model import GPT, Precision
from stategpt.model.exact import require_float32, set_exact

from .completion import Completion, Piece
from .handle import Handle
from .kv_memory import KVMemory
from .request import Event, Limits, Request, limits_of
from .request_builder import RequestBuilder
from .requests import check_prompts
from .runs import Progress, Run, piece_of
from .sampling import Sampling
from .sampling_ids import SamplingIds, for_model, own_chat
from .sampling_settings import SamplingSettings
from .scheduler import Scheduler
from .session import Session, sample_together

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer

    from .constraint import Constraint, ConstraintSpec


class Engine:
    """Samples from `model` through `tok`; the model may be trained between calls. One thread uses an engine.

    A completion ends where the chat template ends an answer, at the tokenizer's end of text and at every end id of the
    model (`GPT.special_ids`). The template is by default this package's, where the tokenizer has its control tokens;
    without one the engine continues documents.

    A model in bfloat16 (`dtype=torch.bfloat16`) or with int8 layers (`sg.quantize`) computes with what it holds;
    `precision="bfloat16"` casts float32 weights again in each step.

    Args:
        batch_rows: samples that run at a time.
        kv_bytes: most memory of keys and values; by default what `batch_rows` samples of the whole context take, but
            at most a quarter of the machine's memory (half of a GPU's free memory). A CPU's is taken as it is used.
            When it is full, the youngest samples wait and are computed again.
        keep_prefixes: known prefixes outlive a call and are used by the next ones. Only for weights that do not change
            while the engine lives; a change between two calls is noticed and forgets them.
        limits: tokens of a step, requests that may wait; its `rows` is `batch_rows`.
        exact: a token's log-probability has the same bits in every batch, forked, from known prefixes and in the
            model's training forward pass; switches `model` to it (`stategpt.model.exact.set_exact`). For float32 on a
            CPU and a fixed number of threads.

    Raises:
        ForeignArtifact: the tokenizer has more ids than the model.
        InvalidArgument: nothing says what ends a text; `chat` is of another tokenizer; `kv_bytes` holds no page;
            `exact` for another number format than float32, or elsewhere than on a CPU.
        NotExact: this machine's libraries do not allow it.
    """

    def __init__(
        self,
        model: GPT,
        tok: AnyTokenizer,
        chat: ChatTemplate | None = None,
        *,
        precision: Precision = "float32",
        batch_rows: int | None = None,
        kv_bytes: int | None = None,
        keep_prefixes: bool = False,
        limits: Limits | None = None,
        exact: bool = False,
    ) -> None:
        if not hasattr(model, "step"):  # a compiled GPT is another class
            raise InvalidArgument(
                f"model is of type {type(model).__name__}; it must be a GPT. "
                "Load one with sg.GPT.from_pretrained(folder), or make one: sg.GPT(config)."
            )
        if not hasattr(tok, "encode") or not hasattr(tok, "vocab_size"):
            raise InvalidArgument(
                f"tok is of type {type(tok).__name__}; it must be a tokenizer. Load it with sg.Tokenizer.load(path)."
            )
        one_of("precision", precision, PRECISIONS)
        if tok.vocab_size > model.config.vocab_size:
            raise ForeignArtifact(
                f"the tokenizer has {tok.vocab_size} tokens, the model {model.config.vocab_size}; "
                "load the tokenizer that was saved with the model"
            )
        limits = limits_of(batch_rows, limits)
        if exact:
            require_float32(precision)
            set_exact(model, True)
        self.exact = exact
        """Whether it was made with `exact`."""
        self.model = model
        self.tok = tok
        if chat is not None and dict(chat.tok.special_tokens) != dict(tok.special_tokens):
            raise InvalidArgument("chat is of another tokenizer than tok; make it with this one: ChatTemplate.load")
        self.chat = own_chat(tok) if chat is None else for_model(chat, model)
        """How messages become prompts: `engine.chat.prompt(messages)`."""
        ids = SamplingIds.of(model, tok, self.chat)
        self._builder = RequestBuilder(model, tok, ids)
        self.end_ids = ids.ends
        """Ids that end a completion."""
        self.precision = precision
        self.batch_rows = limits.rows
        self.memory = KVMemory(model, precision, kv_bytes, limits.rows, keep_prefixes)
        """Pages of keys and values, and the prefixes that are known."""
        self.scheduler = Scheduler(model, tok, self.memory, self.end_ids, limits=limits, precision=precision)
        """Runs everything: `submit` requests of `engine.request(...)` to it directly, and `step` it."""

    @property
    def control(self) -> ControlIds:
        """The control ids of the chat format. Raises `InvalidArgument` without one."""
        return self.dialogue.control

    @property
    def dialogue(self) -> ChatTemplate:
        """The chat format. Raises `InvalidArgument` without one."""
        return ChatTemplate.own(self.tok) if self.chat is None else self.chat

    def generate(
        self,
        prompts: Sequence[str | Ids],
        n: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
        max_tokens: int = 48,
        forbidden: Sequence[int] | None = None,
        first_stream: int | Sequence[int] = 0,
        progress: Progress | None = None,
        *,
        stop_ids: Sequence[int] = (),
        constraint: Constraint | ConstraintSpec | None = None,
        prompt_log_probs: bool = False,
        raw_log_probs: bool = False,
        kept_sets: bool = False,
        **settings: Unpack[SamplingSettings],
    ) -> list[Completion]:
        """Samples `n` completions of each prompt; those of one prompt are next to each other.

        A prompt of ids is taken as it is; a string is the beginning of a document, so what begins one (end of text, or
        the model's beginning of text) is put before it.

        Args:
            temperature: divides the logits; 0 takes the most likely token.
            top_k: draw from the k most likely tokens only.
            top_p: draw from the fewest most likely tokens that hold this probability.
            seed: with stream, sample and position it decides every draw.
            stop: strings that end a completion; its text leaves them out.
            max_tokens: most tokens of a completion; the context may be full before.
            forbidden: ids never drawn; None = every control token that an answer never holds.
            first_stream: number of the first prompt's random stream (the others follow it), or one for each prompt.
            progress: called as completions finish.
            stop_ids: ids that end a completion, beside `end_ids`; its text leaves them out.
            constraint: what each completion must be (`stategpt.generate.constraints`).
            prompt_log_probs: also computes the log-probability of each token of the prompts.
            raw_log_probs: also computes each token's log-probability at temperature 1 with nothing removed.
            kept_sets: also stores the ids that each token was drawn among.
            settings: min_p, typical_p, penalties, logit_bias and so on: `Sampling` names them all.

        Raises:
            ContextOverflow: a prompt fills the context, so no token can follow.
            InvalidArgument: one string where several are meant, a prompt that is empty or neither text nor ids, or a
                setting of the wrong type or out of its range.
            OutOfPages: a prompt with `max_tokens` more never fits the memory for keys and values.
            UnknownToken: a prompt id outside the vocabulary.
        """
        check_prompts(prompts)
        sampling = self.sampling(
            temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, forbidden=forbidden, **settings
        )
        more = self._builder.settings(
            stop, max_tokens, stop_ids, constraint,
            prompt_log_probs=prompt_log_probs, raw_log_probs=raw_log_probs, kept_sets=kept_sets,
        )  # fmt: skip
        requests = self._builder.requests(prompts, n, sampling, first_stream, more)
        return Run(self.scheduler, self.memory).completions(requests, progress)

    def stream(
        self,
        prompt: str | Ids,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
        max_tokens: int = 256,
        forbidden: Sequence[int] | None = None,
        *,
        stop_ids: Sequence[int] = (),
        constraint: Constraint | ConstraintSpec | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> Iterator[str]:
        """Yields one completion's text in pieces, as it is sampled; together they are the text that `generate` returns.

        A piece ends at a whole character and holds nothing that might belong to a stop string. Raises as `generate`, at
        the call, not at the first piece.
        """
        sampling = self.sampling(
            temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, forbidden=forbidden, **settings
        )
        more = self._builder.settings(stop, max_tokens, stop_ids, constraint)
        requests = self._builder.requests([prompt], 1, sampling, 0, more)
        return (event.text for _, event, _ in self._run(requests, incremental=True) if event.text)

    def stream_samples(
        self,
        prompts: Sequence[str | Ids],
        n: int = 1,
        *,
        stop: Sequence[str] = (),
        max_tokens: int = 256,
        first_stream: int | Sequence[int] = 0,
        stop_ids: Sequence[int] = (),
        constraint: Constraint | ConstraintSpec | None = None,
        raw_log_probs: bool = False,
        sampling: Sampling | None = None,
    ) -> Iterator[Piece]:
        """Yields pieces of `n` completions of each prompt, as they are sampled, those of all samples mixed.

        The pieces of a sample join to the completion that `generate` returns. `sampling` is of `engine.sampling(...)`.
        Raises as `generate`, at the call.
        """
        check_prompts(prompts)
        more = self._builder.settings(stop, max_tokens, stop_ids, constraint, raw_log_probs=raw_log_probs)
        requests = self._builder.requests(prompts, n, sampling or self.sampling(), first_stream, more)
        return (piece_of(index, event) for index, event, _ in self._run(requests, incremental=True))

    def score(self, prompts: Sequence[str | Ids], continuations: Sequence[str | Ids]) -> list[NDArray[np.float32]]:
        """Log-probability of each token of `continuations[i]` behind `prompts[i]`, by the model's own distribution.

        A continuation of text is encoded by itself. Temperature 1, nothing removed.

        Raises:
            ContextOverflow, InvalidArgument, UnknownToken: as `generate`; also an empty continuation.
        """
        check_prompts(prompts)
        if len(prompts) != len(continuations):
            raise InvalidArgument(f"{len(prompts)} prompts and {len(continuations)} continuations; give one for each")
        requests, firsts = [], []
        for index, (prompt, continuation) in enumerate(zip(prompts, continuations, strict=True)):
            ids = self._builder.prompt_ids(index, prompt)
            behind = self.continuation_ids(continuation)
            requests.append(Request(np.concatenate([ids, behind]), incremental=False))
            firsts.append(len(ids))
        run = Run(self.scheduler, self.memory)
        return run.score(requests, firsts)

    def session(self, prompt: str | Ids, *, stream: int = 0, scope: str = "") -> Session:
        """Opens a session: a text that grows, forks and goes back, and keeps what is computed of it.

        Args:
            prompt: as in `generate`; a string is the beginning of a document.
            stream: number of its random stream; sessions with different ones draw different numbers.
            scope: known prefixes are shared within a scope only.
        """
        return Session(self, self._builder.prompt_ids(0, prompt), whole("stream", stream), scope)

    def sample(
        self,
        sessions: Sequence[Session],
        max_tokens: int = 256,
        *,
        stop: Sequence[str] = (),
        stop_ids: Sequence[int] = (),
        constraint: Constraint | ConstraintSpec | None = None,
        raw_log_probs: bool = False,
        sampling: Sampling | None = None,
        on_piece: Callable[[Piece], None] | None = None,
        **settings: Any,
    ) -> list[Completion]:
        """Samples a continuation of each session, all in one batch; each session then ends with its own.

        Args:
            sampling: of `engine.sampling(...)`; or give its settings: temperature, top_p, seed and so on.
            on_piece: called with each piece of text as it is sampled; what it raises ends the call.

        Raises:
            InvalidArgument: a session that comes twice, is closed or of another engine; else as `generate`, and then no
                session has changed.
        """
        return sample_together(
            self, sessions, self._chosen(sampling, settings),
            self._builder.settings(stop, max_tokens, stop_ids, constraint, raw_log_probs=raw_log_probs),
            on_piece,
        )  # fmt: skip

    def sampling(
        self,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        forbidden: Sequence[int] | None = None,
        **settings: Unpack[SamplingSettings],
    ) -> Sampling:
        """Makes settings of sampling; without `forbidden`, control tokens that an answer never holds are not drawn."""
        return self._builder.sampling(temperature, top_k, top_p, seed, forbidden, settings)

    def request(
        self,
        prompt: str | Ids,
        n: int = 1,
        *,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        stop_ids: Sequence[int] = (),
        constraint: Constraint | ConstraintSpec | None = None,
        stream: int = 0,
        scope: str = "",
        prompt_log_probs: bool = False,
        raw_log_probs: bool = False,
        sampling: Sampling | None = None,
        **settings: Any,
    ) -> Request:
        """Makes a request for `scheduler.submit`, of checked arguments; as `generate` otherwise."""
        more = self._builder.settings(
            stop, max_tokens, stop_ids, constraint, prompt_log_probs=prompt_log_probs, raw_log_probs=raw_log_probs
        )
        return Request(
            self._builder.prompt_ids(0, prompt), self._chosen(sampling, settings), n=whole("n", n, 1),
            stream=whole("stream", stream), scope=scope, **more,
        )  # fmt: skip

    def close(self) -> None:
        """Cancels what runs and forgets what is known; open sessions compute their texts again when they are used."""
        self.scheduler.close()
        self.memory.forget()

    def continuation_ids(self, continuation: str | Ids) -> Ids:
        """Returns the ids of a text that continues another, encoded by itself, or of ids. Raises as `generate`."""
        return self._builder.continuation_ids(continuation)

    def _chosen(self, sampling: Sampling | None, settings: dict[str, Any]) -> Sampling:
        if sampling is None:
            return self.sampling(**settings)
        if settings:
            raise InvalidArgument(f"sampling and {next(iter(settings))} are given; put all settings into one of them")
        return sampling

    def _run(self, requests: Sequence[Request], *, incremental: bool) -> Iterator[tuple[int, Event, Handle]]:
        """Runs requests; yields their events as they come, each with its request's number."""
        return Run(self.scheduler, self.memory).events(requests, incremental=incremental)

    def __repr__(self) -> str:
        config = self.model.config
        shape = f"depth={config.depth}, width={config.width}, vocab_size={config.vocab_size}"
        return f"Engine(GPT({shape}), precision={self.precision!r}, batch_rows={self.batch_rows})"

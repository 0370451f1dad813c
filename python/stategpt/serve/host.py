"""Models as they are served: an engine each, adapters over the weights of their base."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.arguments import Ids
from stategpt.config.serve import ServeConfig
from stategpt.data import ChatTemplate
from stategpt.errors import InvalidArgument
from stategpt.generate import Engine, Limits, Request, Scheduler
from stategpt.generate.sampling_ids import SamplingIds
from stategpt.model import GPT, Precision, autocast, load_adapter
from stategpt.model.text_batch import TextBatch, filler

from .asks import Ask, Served

if TYPE_CHECKING:
    from stategpt.tokenizer import AnyTokenizer


class Host:
    """A model with its tokenizer and chat format, to be served.

    Args:
        model: the weights; not trained while they are served.
        tok: its tokenizer.
        chat: its chat format; None: this package's own, where the tokenizer has its control tokens.
        config: limits; `kv_bytes` is for each model.
        precision: as `Engine`.
    """

    def __init__(
        self,
        model: GPT,
        tok: AnyTokenizer,
        chat: ChatTemplate | None,
        config: ServeConfig,
        *,
        precision: Precision = "float32",
    ) -> None:
        self.model, self._tok, self._given_chat, self._config = model.eval(), tok, chat, config
        self._precision: Precision = precision
        self.engine = self._new_engine()

    def served(self, name: str, *, root: str = "", created: int = 0) -> Served:
        """The model under a name."""
        return Served(
            name=name,
            tok=self._tok,
            chat=self.engine.chat,
            context_tokens=self.model.config.context_tokens,
            begin=SamplingIds.of(self.model, self._tok, self.engine.chat).begin,
            new_scheduler=self._new_scheduler,
            new_request=self._request,
            compile=self._compiled,
            embed=self._embed,
            gauges=_gauges,
            root=root,
            created=created,
        )

    def _new_engine(self) -> Engine:
        config = self._config
        return Engine(
            self.model,
            self._tok,
            self._given_chat,
            precision=self._precision,
            kv_bytes=config.kv_bytes or None,
            keep_prefixes=True,
            limits=Limits(
                rows=config.batch_rows,
                step_tokens=config.step_tokens,
                waiting=config.max_waiting,
                speculate=config.speculate,
            ),
        )

    def _new_scheduler(self) -> Scheduler:
        """The scheduler of a new engine: where one failed, nothing of it is used again."""
        self.engine = self._new_engine()
        return self.engine.scheduler

    def _request(self, ask: Ask) -> Request:
        """Raises `InvalidArgument` for settings that no request can have."""
        engine = self.engine
        sampling = engine.sampling(**ask.sampling)
        made = engine.request(
            ask.ids,
            ask.n,
            max_tokens=ask.max_tokens,
            stop=ask.stops,
            stop_ids=ask.stop_ids,
            constraint=ask.constraint,
            stream=ask.stream,
            scope=ask.scope,
            prompt_log_probs=ask.prompt_log_probs,
            raw_log_probs=ask.raw_log_probs,
            sampling=sampling,
        )
        return replace(made, incremental=ask.incremental)

    def _compiled(self, kind: str, content: Any) -> Any:
        """Compiles a constraint for the model. Raises `InvalidArgument` for one that cannot be."""
        from stategpt.generate import constraints

        spec: constraints.Spec
        if kind == "tool_calls":
            tools, most = content
            spec = constraints.tool_calls(tools, self.engine.chat, most=most)
        else:
            makers: dict[str, Callable[[Any], constraints.Spec]] = {
                "json_schema": constraints.json_schema,
                "regex": constraints.regex,
                "grammar": constraints.grammar,
                "choice": constraints.choice,
            }
            spec = makers[kind](content)
        return spec.compile(self._tok, self.model.config.vocab_size, self.engine.end_ids)

    def _embed(self, texts: Sequence[Ids]) -> NDArray[np.float32]:
        """The mean of each text's hidden states, of length 1: float32[S, W]."""
        model, device = self.model, self.model.device
        batch = TextBatch.of(texts, filler(model.special_ids), device)
        lengths = torch.tensor([len(ids) for ids in texts], device=device)
        with torch.inference_mode(), autocast(self._precision, device):
            hidden_NW = model.hidden(batch.tokens_N, batch.layout).float()
            sums_NW = torch.cat([hidden_NW.new_zeros(1, hidden_NW.shape[1]), hidden_NW.double().cumsum(0)])
            mean_SW = (sums_NW[batch.last_S + 1] - sums_NW[batch.last_S + 1 - lengths]) / lengths[:, None]
            found: NDArray[np.float32] = torch.nn.functional.normalize(mean_SW, dim=1).float().cpu().numpy()
        return found


def with_adapter(host: Host, folder: str | Path) -> Host:
    """The same model with the adapter in a folder; the weights under it are shared, not copied.

    Raises:
        ForeignArtifact, CorruptArtifact, MissingFile: as `load_adapter`.
    """
    model = host.model
    shared: dict[int, Any] = {id(each): each for each in (*model.parameters(), *model.buffers())}
    adapted = load_adapter(copy.deepcopy(model, shared), folder)
    if not isinstance(adapted, GPT):
        raise InvalidArgument(f"{folder} is the adapter of a {type(adapted).__name__}; give one of a language model")
    return Host(adapted.requires_grad_(False), host._tok, host._given_chat, host._config, precision=host._precision)


def _gauges(scheduler: Any) -> Mapping[str, float]:
    counters, pool = scheduler.counters, scheduler.memory.pool
    index = scheduler.memory.index
    return {
        "pages_used": pool.used_pages,
        "pages_cached": index.pages,
        "pages_free": pool.free_pages,
        "waiting": scheduler.waiting,
        "running": scheduler.running,
        **{name: getattr(counters, name) for name in counters.__dataclass_fields__},
    }

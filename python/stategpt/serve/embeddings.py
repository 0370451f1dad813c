"""/v1/embeddings: the mean of a text's hidden states in the last layer, of length 1.

A language model was not trained for this: such vectors tell topics apart, and serve best within one model.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from stategpt.arguments import Ids

from .asks import Served
from .conversation import checked_text
from .errors import ApiError, bad_field
from .exchange import ClientLeft, json_response, read_body
from .fields import embedding_fields, read_fields
from .reading import checked_ids, several

if TYPE_CHECKING:
    from .app import Context

_BATCH_TOKENS = 1024
"""Tokens that are computed between two steps of the scheduler: requests that sample wait that long."""


async def embeddings(request: Request, context: Context) -> Response:
    """Answers /v1/embeddings."""
    fields = read_fields(await read_body(request, context.config), embedding_fields(context.config))
    if "input" not in fields:
        raise bad_field("input", "input is missing", "missing_required_parameter")
    served = context.model(fields.get("model"))
    given = several(fields["input"], "input", context.config.max_inputs)
    texts = [_ids(served, value, f"input{at}") for value, at in given]
    tokens = sum(len(ids) for ids in texts)
    key = request.state.key
    reservation = context.keys.reserve(key, tokens)
    done = 0
    try:
        rows = []
        for batch in _batches(texts):
            if done and await request.is_disconnected():
                raise ClientLeft("the client left before its embeddings were complete")
            rows.append(await context.worker.call(served.embed, batch))
            done += sum(len(ids) for ids in batch)
    finally:
        reservation.settle(done)
    context.metrics.prompt_tokens.add(tokens, model=served.name)
    if key is not None:
        context.metrics.key_tokens.add(tokens, key=key.name)
    as_text = fields.get("encoding_format", "float") == "base64"
    data = [
        {"object": "embedding", "index": number, "embedding": _shown(row, as_text)}
        for number, row in enumerate(np.concatenate(rows))
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_response({"object": "list", "data": data, "model": served.name, "usage": usage})


def _ids(served: Served, value: Any, path: str) -> Ids:
    ids = served.text_ids(checked_text(value, path)) if isinstance(value, str) else checked_ids(served, value, path)
    if value == "" or not len(ids):
        raise bad_field(path, f"{path} is empty; an embedding needs a text")
    if len(ids) > served.context_tokens:
        message = f"{path} has {len(ids)} tokens; {served.name} reads {served.context_tokens}"
        raise ApiError(400, message, param=path, code="context_length_exceeded")
    return ids


def _batches(texts: list[Ids]) -> list[list[Ids]]:
    """Texts in their order, in batches of at most `_BATCH_TOKENS` tokens or of one text."""
    batches: list[list[Ids]] = []
    tokens = 0
    for ids in texts:
        if not batches or tokens + len(ids) > _BATCH_TOKENS:
            batches.append([])
            tokens = 0
        batches[-1].append(ids)
        tokens += len(ids)
    return batches


def _shown(row: NDArray[np.float32], as_text: bool) -> Any:
    if as_text:
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    return row.tolist()

"""/tokenize and /detokenize: the ids of a text or of messages, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from .conversation import checked_text, prompt_ids, read_messages, template_of
from .errors import bad_field
from .exchange import json_response, read_body
from .fields import detokenize_fields, read_fields, tokenize_fields
from .reading import checked_ids
from .token_texts import TokenTexts
from .tools import read_tools

if TYPE_CHECKING:
    from .app import Context


async def tokenize(request: Request, context: Context) -> Response:
    """The ids of `prompt` (or `content`) or `messages`; what spells a control token is text."""
    fields = read_fields(await read_body(request, context.config), tokenize_fields(context.config))
    served = context.model(fields.get("model"))
    given = [name for name in ("prompt", "content", "messages") if name in fields]
    if len(given) != 1:
        raise bad_field("prompt", f"give one of prompt, content and messages, not {len(given)}")
    if given == ["messages"]:
        messages, tools = read_messages(fields["messages"]), read_tools(fields).tools
        ids = prompt_ids(template_of(served.chat, served.name), messages, tools, continued=False)
    else:
        text = checked_text(fields[given[0]], given[0])
        begin = fields.get("add_special_tokens", given[0] == "prompt")
        ids = served.text_ids(text) if begin else served.tok.encode(text)
    found: dict[str, Any] = {"tokens": ids.tolist(), "count": len(ids), "max_model_len": served.context_tokens}
    if fields.get("return_token_strs"):
        found["token_strs"] = [TokenTexts(served.tok).text_of(token) for token in ids.tolist()]
    return json_response(found)


async def detokenize(request: Request, context: Context) -> Response:
    """The text of ids, as `prompt` (vLLM's name) and `content` (llama.cpp's)."""
    fields = read_fields(await read_body(request, context.config), detokenize_fields(context.config))
    served = context.model(fields.get("model"))
    if "tokens" not in fields:
        raise bad_field("tokens", "tokens is missing", "missing_required_parameter")
    ids = checked_ids(served, fields["tokens"], "tokens")
    text = served.tok.decode(ids) if len(ids) else ""
    assert ids.dtype == np.uint32
    return json_response({"prompt": text, "content": text})

"""Registers attention and its gradient with torch, so that `torch.compile` takes a call whole.

Both run by the kernels or, with `launches` empty, by `blockwise`. They check nothing: `stategpt.ops` does.

Legend: N tokens, H query heads, G key-value heads, D head width.
"""

from typing import Any

import torch
from torch import Tensor

from . import blockwise


@torch.library.custom_op("stategpt::attention", mutates_args=())
def attention_op(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    near_start: Tensor,
    far_start: Tensor,
    far_end: Tensor,
    forward_tiles: Tensor,
    query_tiles: Tensor,
    key_tiles: Tensor,
    launches: list[int],
    prefix: bool,
    scale: float,
    softcap: float | None,
    deterministic: bool,
) -> tuple[Tensor, Tensor]:
    """Attention over the keys [near_start[t], t] and [far_start[t], far_end[t]). -> contiguous o_NHD and lse_HN

    `launches` is `launch.numbers` of the table's entry, and the tiles are the work lists of its forward, backward_q and
    backward_kv; or there are none, and `forward_tiles`, in the host's memory, is the list that `blockwise` follows.
    Without `prefix` no token sees far keys. lse is for `attention_backward_op` alone and has no gradient.
    """
    if not launches:
        scoring = blockwise.Scoring(near_start, far_start, far_end, scale, softcap)
        return blockwise.forward(q_NHD, k_NGD, v_NGD, scoring, forward_tiles)
    from . import launch  # needs triton, which a machine without a GPU may lack

    operands = launch.operands(q_NHD, k_NGD, v_NGD, (near_start, far_start, far_end), prefix, scale, softcap)
    return launch.forward(operands, forward_tiles, launch.from_numbers(launches)["forward"])


@attention_op.register_fake
def _(q_NHD: Tensor, *others: object) -> tuple[Tensor, Tensor]:
    N, H, D = q_NHD.shape
    return q_NHD.new_empty(N, H, D), q_NHD.new_empty(H, N, dtype=blockwise.working(q_NHD.dtype))


@torch.library.custom_op("stategpt::attention_backward", mutates_args=())
def attention_backward_op(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    near_start: Tensor,
    far_start: Tensor,
    far_end: Tensor,
    forward_tiles: Tensor,
    query_tiles: Tensor,
    key_tiles: Tensor,
    launches: list[int],
    prefix: bool,
    scale: float,
    softcap: float | None,
    deterministic: bool,
    o_NHD: Tensor,
    lse_HN: Tensor,
    do_NHD: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of `attention_op` along do. -> contiguous dq_NHD, dk_NGD, dv_NGD

    With `deterministic`, or torch's setting of that name, in two passes with one order of sums; without in one, which
    adds dq by float atomics.
    """
    if not launches:
        scoring = blockwise.Scoring(near_start, far_start, far_end, scale, softcap)
        with torch.autocast(q_NHD.device.type, enabled=False):  # a backward pass may be called under it
            return blockwise.backward(q_NHD, k_NGD, v_NGD, o_NHD, lse_HN, do_NHD, scoring, forward_tiles)
    from . import launch

    by_kernel = launch.from_numbers(launches)
    operands = launch.operands(q_NHD, k_NGD, v_NGD, (near_start, far_start, far_end), prefix, scale, softcap)
    do_NHD = do_NHD if do_NHD.stride(-1) == 1 else do_NHD.contiguous()
    saved = (do_NHD, lse_HN, launch.delta(o_NHD, do_NHD, by_kernel["delta"]))
    one_pass = not (deterministic or torch.are_deterministic_algorithms_enabled())
    dq_NHD, dk_NGD, dv_NGD = launch.backward_kv(
        operands, *saved, key_tiles, by_kernel["backward_kv"], one_pass=one_pass
    )
    if dq_NHD is None:
        dq_NHD = launch.backward_q(operands, *saved, query_tiles, by_kernel["backward_q"])
    return dq_NHD, dk_NGD, dv_NGD


@attention_backward_op.register_fake
def _(q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, *others: object) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (x.new_empty(x.shape) for x in (q_NHD, k_NGD, v_NGD))
    return q, k, v


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    tensors, ctx.settings = inputs[:9], inputs[9:]
    ctx.save_for_backward(*tensors, *output)
    ctx.mark_non_differentiable(output[1])


def _gradients(ctx: Any, do_NHD: Tensor, dlse_HN: Tensor | None) -> tuple[Tensor | None, ...]:
    *tensors, o_NHD, lse_HN = ctx.saved_tensors
    gradients = attention_backward_op(*tensors, *ctx.settings, o_NHD, lse_HN, do_NHD)
    return (*gradients, *(None,) * (len(tensors) - 3 + len(ctx.settings)))


attention_op.register_autograd(_gradients, setup_context=_keep)

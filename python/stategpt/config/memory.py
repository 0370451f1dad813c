"""Peak memory of a training step: what is there all the time, and what is added where a step needs most.

Three moments compete: the end of the forward pass (everything kept, the loss), the begin of the backward pass under
gradient checkpointing (all inputs of blocks, one block computed again), and its end (all gradients). `benches/records`
has measured peaks; `tests/train/test_peak_memory.py` holds the formulas to 15 % of them.

Symbols as in `config.activations`; P parameters, of which T are trained.
"""

from __future__ import annotations

from dataclasses import dataclass

from stategpt.config.activations import (
    BFLOAT16,
    FLOAT32,
    Formats,
    block_token_bytes,
    block_weight_bytes,
    shared_token_bytes,
)
from stategpt.config.cost import cache_bytes_per_token
from stategpt.config.model import GPTConfig
from stategpt.config.optimizers import OPTIMIZERS
from stategpt.config.stages import LoopConfig

ALLOCATOR = 1.3
"""Resident memory for each byte that comes and goes within a step: glibc keeps what it gets back in other sizes, and
libraries have buffers. Measured 1.2 to 1.5."""
LOSS_ROWS = 256
"""Rows of logits that the loss makes at a time (`ops.linear_cross_entropy.MIN_ROWS`)."""
LOSS_BYTES = 4 * 2**20
"""Or as many as take so much in float32 (`ops.linear_cross_entropy.CHUNK_BYTES`)."""
LOGITS_BYTES = 64 * 2**20
"""Logits of log-probabilities that are made at a time (`ops.row_chunks.MAX_LOGITS_BYTES`)."""

SAMPLED_ROWS = 256
"""Sequences that are sampled at a time (`generate.Engine`, batch_rows)."""


@dataclass(frozen=True)
class Batch:
    """The largest forward and backward pass of a stage.

    Attributes:
        tokens: tokens read, padding included.
        row_tokens: tokens of a row.
        predicts: what comes behind the blocks: the loss of the next token, log-probabilities of completions, a score.
        passes: passes whose gradients are added; more than one keep gradients while the next one's are computed.
        masked: rows hold several texts or padding.
    """

    tokens: int
    row_tokens: int
    predicts: str = "loss"
    passes: int = 1
    masked: bool = True


def training_bytes(
    model: GPTConfig,
    loop: LoopConfig,
    batch: Batch,
    *,
    frozen_models: int = 0,
    trained: int | None = None,
    blocks: int | None = None,
) -> int:
    """Peak memory of the steps of a stage, Python and torch themselves excepted.

    Args:
        model: the shape.
        loop: optimizer, number formats, gradient checkpointing.
        batch: the largest pass.
        frozen_models: further models in float32 (reference, reward model, a kept copy).
        trained: weights that are trained, T; all where None. Adapters count in addition to the model's.
        blocks: blocks that gradients pass through; all where None. Nothing is kept of those before the first that is
            trained.
    """
    trained, blocks = model.parameters if trained is None else trained, model.depth if blocks is None else blocks
    moments = _Moments(model, loop, batch, trained, blocks)
    moving = max(moments.forward_end, moments.backward_begin, moments.backward_end)
    return moments.standing + FLOAT32 * frozen_models * model.parameters + round(ALLOCATOR * moving)


def sampling_bytes(model: GPTConfig, sequences: int, tokens: int) -> int:
    """What sampling adds to the weights: the key-value cache of a batch of sequences, and their logits."""
    rows = min(sequences, SAMPLED_ROWS)
    logits = 3 * FLOAT32 * rows * model.vocab_size
    return round(ALLOCATOR * (rows * tokens * cache_bytes_per_token(model) + logits))


def formats_of(loop: LoopConfig) -> Formats:
    """Bytes of products and weights; "auto" counts as float32, which needs more."""
    weights = BFLOAT16 if loop.weights == "bfloat16" else FLOAT32
    return Formats(BFLOAT16 if loop.precision == "bfloat16" else weights, weights)


class _Moments:
    """Bytes of one case at each of its moments."""

    def __init__(self, model: GPTConfig, loop: LoopConfig, batch: Batch, trained: int, blocks: int) -> None:
        self.model, self.loop, self.batch, self.trained, self.blocks = model, loop, batch, trained, blocks
        self.formats = formats_of(loop)
        self.gradients = self.formats.weights * trained
        self.matrix = model.vocab_size * model.width
        self.trains_matrix = trained >= model.parameters
        self.block = batch.tokens * block_token_bytes(model, self.formats) + block_weight_bytes(model, self.formats)
        self.inputs = blocks * batch.tokens * model.width * self.formats.weights
        self.shared = batch.tokens * shared_token_bytes(model, batch.row_tokens, batch.masked)
        self.earlier = self.gradients if batch.passes > 1 else 0

    @property
    def standing(self) -> int:
        """Weights, their float32 copies, optimizer state."""
        copies = FLOAT32 * self.trained if self.loop.weights == "bfloat16" else 0
        state = OPTIMIZERS[self.loop.optim.optimizer].state_bytes(self.trained)
        return self.formats.weights * self.model.parameters + copies + state

    @property
    def forward_end(self) -> int:
        """Everything kept for the backward pass, and what the loss needs."""
        if not self.loop.gradient_checkpointing:
            return self.blocks * self.block + self.shared + self.loss + self.earlier
        casts = self.model.depth * block_weight_bytes(self.model, self.formats) if self.formats.casts else 0
        return self.inputs + casts + self.shared + self.loss + self.earlier

    @property
    def backward_begin(self) -> int:
        """Under checkpointing: the inputs of all blocks, one block computed again, and gradients within its MLP."""
        if not self.loop.gradient_checkpointing:
            return 0
        return self.inputs + self.block + self.within + self.shared + self.loss_gradients + self.earlier

    @property
    def backward_end(self) -> int:
        """All gradients, the first block, and a second gradient of the matrix: as embedding, or in float32."""
        second = FLOAT32 * self.matrix if self.trains_matrix else 0
        return self.gradients + second + self.block + self.within + self.shared

    @property
    def within(self) -> int:
        """Gradients of the three intermediate results of an MLP."""
        return 3 * self.formats.products * self.batch.tokens * self.model.mlp_width

    @property
    def loss_gradients(self) -> int:
        """Gradients that the loss has ready: of the hidden states, and in float32 of the matrix."""
        hidden = FLOAT32 * self.batch.tokens * self.model.width
        matrix = FLOAT32 * self.matrix if self.trains_matrix and self.batch.predicts == "loss" else 0
        return hidden + matrix

    @property
    def loss(self) -> int:
        """Hidden states, those predicted from and their gradient, and the logits of a chunk of rows."""
        N, V = self.batch.tokens, self.model.vocab_size
        hidden = 2 * FLOAT32 * N * self.model.width
        cast = self.formats.products * self.matrix if self.formats.casts else 0
        if self.batch.predicts == "loss":
            rows = min(N, max(LOSS_ROWS, LOSS_BYTES // (FLOAT32 * V)), max(1, LOGITS_BYTES // (FLOAT32 * V)))
            return hidden + cast + 2 * FLOAT32 * rows * V + self.loss_gradients
        if self.batch.predicts == "log-probabilities":
            # Logits, divided by the temperature, their log-softmax, and its exponential for the entropy.
            return hidden + cast + 4 * FLOAT32 * min(N, max(1, LOGITS_BYTES // (FLOAT32 * V))) * V
        return hidden

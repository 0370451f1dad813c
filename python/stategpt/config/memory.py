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
from stategpt.config.adapter_activations import adapted_block_bytes
from stategpt.config.cost import cache_bytes_per_token
from stategpt.config.frozen import HEAD, adapted_numbers, block_matrices, quantized_bytes
from stategpt.config.lora import linear_shapes
from stategpt.config.model import GPTConfig
from stategpt.config.optimizers import OPTIMIZERS
from stategpt.config.stages import LoopConfig
from stategpt.config.trained import Trained

ALLOCATOR = 1.3
"""Resident memory for each byte that comes and goes within a step: glibc keeps what it gets back in other sizes, and
libraries have buffers. Measured 1.2 to 1.5."""
ADAPTED_ALLOCATOR = 1.45
"""The same for what is kept of blocks with adapters, where no large gradients of weights come after it. Measured 1.36
to 1.54 in float32, under autocast and on weights in low precision."""
RECOMPUTED_ALLOCATOR = 1.75
"""The same where blocks are computed again, measured 1.5 to 2.0: freed memory is in pieces between what is kept. It
differs most between processes: 64 to 82 MB for one case."""
ADAPTED_RECOMPUTED_ALLOCATOR = 2.5
"""The same for blocks with adapters, measured 2.1 to 2.6. Where glibc maps large tensors one by one
(MALLOC_MMAP_THRESHOLD_=262144) such a step needs half."""
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
    model: GPTConfig, loop: LoopConfig, batch: Batch, *, trained: Trained | None = None, others: int = 0
) -> int:
    """Peak memory of the steps of a stage, Python and torch themselves excepted.

    Args:
        model: the shape.
        loop: optimizer, number formats, gradient checkpointing.
        batch: the largest pass.
        trained: what is trained; all weights where None.
        others: float32 numbers of what is there besides the model that is trained (a reference, a reward model, a kept
            copy), those excepted that it shares with that model.
    """
    moments = _Moments(model, loop, batch, trained or Trained.of(model))
    moving = max(moments.forward_end, moments.backward_begin, moments.backward_end)
    return moments.standing + FLOAT32 * others + round(ALLOCATOR * moving) + moments.pieces + moments.holes


def merging_bytes(model: GPTConfig, trained: Trained, *, shared: bool = False) -> int:
    """Memory while the adapters of a finished stage are merged: the plain model and one matrix, as each merged matrix
    replaces the one that it is made of.

    With `shared` the frozen weights stay, since another model (RL's reference) has them too.
    """
    if not shared:
        largest = max(outputs * inputs for outputs, inputs in linear_shapes(model).values())
        return FLOAT32 * (model.parameters + largest + trained.numbers)
    matrices = sum(adapted_numbers(model, trained.lora, layer) for layer in range(model.depth))
    if trained.lora.base in ("int8", "nf4"):  # every quantized matrix becomes float32, adapted or not
        matrices = model.depth * block_matrices(model)
        frozen = quantized_bytes(model, trained.lora.base, FLOAT32)
    else:
        frozen = FLOAT32 * model.parameters
    return frozen + FLOAT32 * (matrices + trained.numbers)


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

    def __init__(self, model: GPTConfig, loop: LoopConfig, batch: Batch, trained: Trained) -> None:
        self.model, self.loop, self.batch, self.trained = model, loop, batch, trained
        self.lora = trained.lora
        self.adapter = BFLOAT16 if loop.weights == "bfloat16" else FLOAT32
        """Bytes of a trained number."""
        self.formats = formats_of(loop)
        if self.lora.rank and self.lora.base == "bfloat16":
            self.formats = Formats(BFLOAT16, BFLOAT16)
        self.gradients = self.adapter * trained.numbers
        self.matrix = model.vocab_size * model.width
        self.inputs = trained.blocks * batch.tokens * model.width * self.formats.weights
        self.shared = batch.tokens * shared_token_bytes(model, batch.row_tokens, batch.masked, not self.lora.rank)
        self.earlier = self.gradients if batch.passes > 1 else 0
        kept = [self._block(layer) for layer in range(model.depth - trained.blocks, model.depth)]
        self.blocks, self.block = sum(kept), max(kept, default=0)

    def _block(self, layer: int) -> int:
        """Kept of a block that gradients pass."""
        if self.lora.rank:
            return adapted_block_bytes(self.model, self.batch.tokens, self.formats, self.lora, layer, self.adapter)
        weights = block_weight_bytes(self.model, self.formats)
        return self.batch.tokens * block_token_bytes(self.model, self.formats) + weights

    @property
    def pieces(self) -> int:
        """Resident memory for what is kept of blocks in addition to `ALLOCATOR`."""
        if self.loop.gradient_checkpointing:
            factor = ADAPTED_RECOMPUTED_ALLOCATOR if self.lora.rank else RECOMPUTED_ALLOCATOR
            return round((factor - ALLOCATOR) * (self.inputs + self.block + self.within))
        return round((ADAPTED_ALLOCATOR - ALLOCATOR) * self.blocks) if self.lora.rank else 0

    @property
    def holes(self) -> int:
        """What dequantized matrices of an MLP leave in each block: results that are smaller are kept in their memory,
        and the next matrix does not fit there."""
        if self.lora.base not in ("int8", "nf4") or self.loop.gradient_checkpointing:
            return 0
        result = self.formats.products * self.batch.tokens * self.model.mlp_width
        matrix = FLOAT32 * self.model.width * self.model.mlp_width
        return 3 * self.trained.blocks * max(0, matrix - result)

    @property
    def standing(self) -> int:
        """Weights, adapters, their float32 copies, optimizer state."""
        copies = FLOAT32 * self.trained.numbers if self.loop.weights == "bfloat16" else 0
        state = OPTIMIZERS[self.loop.optim.optimizer].state_bytes(self.trained.numbers)
        if not self.lora.rank:
            return self.formats.weights * self.model.parameters + copies + state
        weights = quantized_bytes(self.model, self.lora.base, self.formats.weights)
        return weights + self.adapter * self.trained.numbers + copies + state

    @property
    def forward_end(self) -> int:
        """Everything kept for the backward pass, and what the loss needs."""
        if not self.loop.gradient_checkpointing:
            return self.blocks + self.shared + self.loss + self.earlier
        cast = self.formats.casts and not self.lora.rank  # autocast keeps casts of what is trained for all blocks
        casts = self.model.depth * block_weight_bytes(self.model, self.formats) if cast else 0
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
        second = FLOAT32 * self.matrix if self.trained.matrix else 0
        return self.gradients + second + self.block + self.within + self.shared + self.dequantized

    @property
    def within(self) -> int:
        """Gradients of the three intermediate results of an MLP."""
        return 3 * self.formats.products * self.batch.tokens * self.model.mlp_width

    @property
    def dequantized(self) -> int:
        """The largest matrix of a block made of its codes: their numbers, and for NF4 its indices in a table."""
        if self.lora.base not in ("int8", "nf4"):
            return 0
        largest = max(outputs * inputs for name, (outputs, inputs) in linear_shapes(self.model).items() if name != HEAD)
        return largest * (FLOAT32 + (2 if self.lora.base == "nf4" else 0))

    @property
    def loss_gradients(self) -> int:
        """Gradients that the loss has ready: of the hidden states, and in float32 of the matrix."""
        hidden = FLOAT32 * self.batch.tokens * self.model.width
        matrix = FLOAT32 * self.matrix if self.trained.matrix and self.batch.predicts == "loss" else 0
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

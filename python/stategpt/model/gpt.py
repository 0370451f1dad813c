"""The GPT: embedding, blocks, last norm, prediction matrix. By default the architecture is Qwen3's.

* RMSNorm before attention, MLP and prediction; no biases
* grouped-query attention over a layout (packed documents, shared prefixes), norms on queries and keys, rotary positions
* SwiGLU MLP; tied or untied embeddings; logits only for the selected tokens

`config.architecture` switches these to what other published families compute (`config.families`).

Legend: N tokens of a flat stream, M of them to predict from, B sequences of T tokens, W width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stategpt.arguments import instance
from stategpt.config import GPTConfig
from stategpt.config.architecture import AttentionOptions
from stategpt.data.chats import ChatTemplate
from stategpt.errors import ContextOverflow, InvalidArgument, UnknownToken
from stategpt.gguf_file import is_gguf
from stategpt.hub import local_path
from stategpt.ops import TensorLayout, attention
from stategpt.ops.packed_pages import packed_attention
from stategpt.tokenizer import AnyTokenizer

from . import hf
from .cache import StepCache
from .checks import check_positions, check_stream
from .exact import as_it_is, exact_rows, in_exact_rows
from .exported_tokenizer import never_sampled, tokenizer_ids
from .folder import LANGUAGE_MODEL, Texts, load_folder, save_folder
from .gguf_import import load_gguf
from .init import initialize
from .joined import JoinedWeights, is_plain
from .layers import Attend, Block, embedding_of, norm_of
from .parameter_groups import ParameterGroup, parameter_groups
from .quantize import QuantizedEmbedding
from .rotary import Rotary, RotaryAngles
from .special_ids import SpecialIds
from .weights import SHARD_BYTES, common_dtype


class GPT(nn.Module):
    """A decoder-only transformer of the shape `config`, freshly initialized from torch's random state.

    Train it with `torch.optim.AdamW(model.parameter_groups(lr=3e-3, weight_decay=0.1))`, not with
    `model.parameters()`: some parameters start at a size that needs a scaled learning rate.

    On the meta device (`with torch.device("meta")`) nothing is drawn. `special_ids` are written into its folder.
    Raises `ConfigError` when no file format has the config's switches.
    """

    def __init__(self, config: GPTConfig, special_ids: SpecialIds | None = None) -> None:
        super().__init__()
        instance("config", config, GPTConfig, "As in sg.GPT(sg.GPTConfig(depth=3)); for a run: sg.GPT(run.model).")
        hf.saved_family(config)  # refuses now what could not be saved after the training
        self.config = config
        self.special_ids = special_ids or SpecialIds(stated=False)
        """Ids that begin, end and pad texts: the folder's, or those of this package's tokenizers."""
        architecture = config.architecture
        self.embed_tokens = embedding_of(config.vocab_size, config.width)
        if architecture.learned_positions:
            self.embed_positions = embedding_of(config.context_tokens, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = norm_of(config, config.width)
        self.lm_head = None if config.tied_embeddings else nn.Linear(config.width, config.vocab_size, bias=False)
        self.recomputes_blocks = False
        """Gradient checkpointing: of each block only its input is kept, and the backward pass computes the block again,
        with the same random numbers (Chen et al. 2016, arXiv 1604.06174). A third more arithmetic; equal gradients."""
        self.exact = False
        """Whether a token's log-probabilities have the same bits by every path (`model.exact.set_exact`)."""
        self.rotary = RotaryAngles(config.head_dim, config.rope_theta, architecture.rope_scaling)
        theta = architecture.windowed_theta
        self.windowed_rotary = None if theta is None else RotaryAngles(config.head_dim, theta)
        self.initialized_here = self.device.type != "meta"
        """Whether the weights began as `model.init` draws them, which decides the scales of their learning rates."""
        if self.initialized_here:
            initialize(self)

    @property
    def parameter_count(self) -> int:
        """Number of trainable parameters; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the embedding, so of all hidden states outside autocast."""
        embedding = self.embed_tokens
        return embedding.dtype if isinstance(embedding, QuantizedEmbedding) else embedding.weight.dtype

    def parameter_groups(self, lr: float, weight_decay: float) -> list[ParameterGroup]:
        """Parameter groups for an optimizer of `torch.optim`, instead of `parameters()`. -> params, lr, weight_decay.

        Args:
            lr: learning rate of most parameters; a group's own is this times its `scale` (`learning_rate_scales`).
            weight_decay: of the matrices; norms, biases and the embedding do not decay.
        """
        return parameter_groups(self, lr, weight_decay)

    def learning_rate_scales(self) -> dict[str, float]:
        """Factor on the learning rate by parameter name, for those whose factor is not 1.

        Adam moves every weight by about the learning rate, whatever its size. A tied embedding starts at std s/50 and
        the last norm at 1/s, s = sqrt(width) (`model/init.py`), so that each relative step is the others' they get s
        and 1/s times the rate. It is the same training as with an embedding of std 0.02 and its output multiplied by s.
        Weights of other programs began otherwise: all have one rate.
        """
        scale = self.rate_scale
        return {} if scale == 1.0 else {"embed_tokens.weight": scale, "norm.weight": 1 / scale}

    @property
    def embedding_scale(self) -> float:
        """s above, by which a tied embedding starts larger and the last norm smaller; 1 where neither does.

        Where the model multiplies embeddings by sqrt(width) itself, the tied matrix starts at 0.02 as it is.
        """
        tied = self.config.tied_embeddings and not self.config.architecture.scaled_embedding
        return math.sqrt(self.config.width) if tied else 1.0

    @property
    def rate_scale(self) -> float:
        """s where the weights began here, else 1."""
        return self.embedding_scale if self.initialized_here else 1.0

    def hidden(self, tokens_N: Tensor, layout: TensorLayout) -> Tensor:
        """Computes the normed last hidden states of the flat stream `tokens_N` (int64). -> [N, W].

        Raises:
            ContextOverflow: a sequence of the layout is longer than the context.
            InvalidArgument: not a flat stream of ids, or not its layout as tensors.
            UnknownToken: an id outside the vocabulary; on a CPU only, a GPU's own check ends the process.
        """
        if torch.compiler.is_compiling():  # a graph would be bound to the host's number, so the device looks
            torch._assert_async((layout.position < self.config.context_tokens).all(), "a sequence exceeds the context")
        else:
            check_stream(tokens_N, layout)
            if layout.max_sequence_tokens > self.config.context_tokens:
                raise ContextOverflow(
                    f"the layout holds a sequence of {layout.max_sequence_tokens} tokens, the context is "
                    f"{self.config.context_tokens}; pack shorter rows or raise model.context_tokens"
                )
        x_NW = self._embed(tokens_N, layout.position)
        angles = self._angles(layout.position)
        for layer, block in enumerate(self.layers):
            options = self.config.architecture.attention_options(layer)
            by = packed_attention if self.exact else attention

            def attend(
                q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, by: Any = by, options: AttentionOptions = options
            ) -> Tensor:
                """Attends over the layout."""
                return by(q_NHD, k_NGD, v_NGD, layout, **options)  # type: ignore[no-any-return]

            x_NW = self._through(block, x_NW, angles[layer], attend)
        return self.norm(x_NW)  # type: ignore[no-any-return]

    def _through(
        self, block: nn.Module, x_NW: Tensor, rotary: Rotary | None, attend: Attend, kept: JoinedWeights | None = None
    ) -> Tensor:
        """The output of a block: exactly, and computed again in the backward pass, where the model is set so."""
        called: Callable[..., Tensor] = block
        if self.exact:
            called, attend = in_exact_rows(block), as_it_is(attend)
        if self.recomputes_blocks and kept is None and torch.is_grad_enabled():
            return checkpoint(called, x_NW, rotary, attend, use_reentrant=False)
        return called(x_NW, rotary, attend, kept)

    def _angles(self, position_N: Tensor) -> list[Rotary | None]:
        """What each layer rotates queries and keys by; None where it does not."""
        architecture = self.config.architecture
        everywhere = None if architecture.learned_positions else self.rotary(position_N)
        windowed = everywhere if self.windowed_rotary is None else self.windowed_rotary(position_N)
        layers = range(self.config.depth)
        return [
            None if not architecture.rotates(n) else everywhere if architecture.window_of(n) is None else windowed
            for n in layers
        ]

    def _embed(self, tokens_N: Tensor, position_N: Tensor) -> Tensor:
        """Embeds tokens at their positions. -> [N, W]."""
        x_NW = self._look_up(tokens_N)
        if self.config.architecture.scaled_embedding:  # rounded to the weights' format, as transformers has it
            x_NW = x_NW * x_NW.new_tensor(math.sqrt(self.config.width))
        if self.config.architecture.learned_positions:  # the cache refuses what is beyond the context
            x_NW = x_NW + self.embed_positions(position_N.clamp(max=self.config.context_tokens - 1))
        return x_NW

    def _look_up(self, tokens_N: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return self.embed_tokens(tokens_N)  # type: ignore[no-any-return]
        try:
            return self.embed_tokens(tokens_N)  # type: ignore[no-any-return]
        except IndexError:  # which names neither the id nor the vocabulary
            wrong = tokens_N[(tokens_N < 0) | (tokens_N >= self.config.vocab_size)]
            if not wrong.numel():  # a replaced module with other limits
                raise
            raise UnknownToken(
                f"the stream holds id {int(wrong[0])}, the model knows ids of 0 .. {self.config.vocab_size - 1}; "
                "encode it with the model's own tokenizer"
            ) from None

    @property
    def prediction_matrix(self) -> Tensor | None:
        """[V, W] whose plain product with hidden states the logits are, or None: a cap, an adapter, another module."""
        if self.config.architecture.logit_softcap is not None or "unembed" in self.__dict__:
            return None
        if self.lm_head is not None:
            return self.lm_head.weight if is_plain(self.lm_head, nn.Linear) else None
        return self.embed_tokens.weight if is_plain(self.embed_tokens, nn.Embedding) else None

    def unembed(self, hidden_MW: Tensor) -> Tensor:
        """Computes the logits of `hidden_MW`'s rows. -> float32[M, V]: 4 M V bytes, the largest tensor of a step."""
        if self.exact:
            with exact_rows():
                return self._logits(hidden_MW)
        return self._logits(hidden_MW)

    def _logits(self, hidden_MW: Tensor) -> Tensor:
        if self.lm_head is not None:
            return self._capped(self.lm_head(hidden_MW).float())
        if isinstance(self.embed_tokens, QuantizedEmbedding):
            return self._capped(self.embed_tokens.project(hidden_MW).float())
        weight = getattr(self.embed_tokens, "weight", None)
        if weight is None:
            raise InvalidArgument(
                f"the model predicts with its embedding matrix, and {type(self.embed_tokens).__name__} in the place of "
                "embed_tokens has no `weight`; give it one, or use untied embeddings"
            )
        return self._capped(F.linear(hidden_MW, weight).float())

    def _capped(self, logits_MV: Tensor) -> Tensor:
        cap = self.config.architecture.logit_softcap
        return logits_MV if cap is None else cap * torch.tanh(logits_MV / cap)

    def forward(self, tokens_N: Tensor, layout: TensorLayout) -> Tensor:
        """Computes the logits of every token. -> float32[N, V]."""
        return self.unembed(self.hidden(tokens_N, layout))

    def step(self, tokens_N: Tensor, position_N: Tensor, cache: StepCache) -> Tensor:
        """Computes the normed last hidden states of new tokens and adds them to `cache`. -> [N, W].

        One flat stream (int64) of any mixture of sequences, whole prompts, parts of prompts and single tokens; `cache`
        knows which tokens are whose, `position_N` (int64) is the position of each in its sequence.

        Raises:
            ContextOverflow: a position beyond the context; on a CPU only, elsewhere the cache has to know.
            InvalidArgument: not flat streams of ids and positions, of one length.
            UnknownToken: an id outside the vocabulary; on a CPU only, a GPU's own check ends the process.
        """
        check_positions(tokens_N, position_N, self.config.context_tokens)
        x_NW = self._embed(tokens_N, position_N)
        if cache.fused is not None and cache.fused.suit(self):
            return cache.fused.hidden(self, x_NW, position_N, cache)
        angles = self._angles(position_N)
        for layer, block in enumerate(self.layers):
            options = self.config.architecture.attention_options(layer)

            def attend(
                q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, layer: int = layer, options: AttentionOptions = options
            ) -> Tensor:
                """Attends over the cache."""
                return cache.attend(layer, q_NHD, k_NGD, v_NGD, options)

            x_NW = self._through(block, x_NW, angles[layer], attend, cache.joined[layer])
        return self.norm(x_NW)  # type: ignore[no-any-return]

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype | None = None) -> GPT:
        """Loads the model in `folder` (config.json, generation_config.json, model.safetensors), strictly; in eval mode.

        `folder` may also be a file of llama.cpp, "model.gguf" (`model.gguf_import`): its quantized weights become
        float32, whatever `dtype` says is rounded from that. A text `org/name` or `org/name@revision` that is no path
        here is a model of the Hugging Face Hub (`stategpt.hub`): it is downloaded first, never its pickles.

        The weights keep the file's number format, or become `dtype` (float32, bfloat16, float16). Training wants
        float32. Tensors of several formats come in the one that holds them all. The peak of memory is the weights.

        Raises:
            ForeignArtifact: another architecture or setting, tensors that this one does not have or of a format other
                than the three, sharded, pickled or quantized weights.
            CorruptArtifact: files or tensors missing, unreadable, of another shape or not finite; a value of another
                type or range; a published folder without its manifest.
            StorageError: a file that is not a regular file or cannot be read.
            MissingExtra, MissingFile, HubError: a model of the Hub, and huggingface_hub is not installed, there is no
                such model, it is gated, or offline.
            InvalidArgument: another `dtype`.
        """
        if is_gguf(folder):
            return load_gguf(cls, Path(folder), dtype).eval()
        model, found = load_folder(local_path(folder), LANGUAGE_MODEL, cls, dtype)
        model.initialized_here = found.initialized_here
        return model

    def save_pretrained(
        self,
        folder: str | Path,
        tok: AnyTokenizer | None = None,
        chat: ChatTemplate | None = None,
        *,
        manifest: bool = False,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Writes model.safetensors, config.json and generation_config.json, as `transformers` reads them.

        With `tok` also tokenizer.json, tokenizer_config.json and chat_template.jinja, and in a format in which
        `transformers.AutoTokenizer` gives the ids of `tok` (see `model.biased_llama`). A tokenizer of another model
        goes out as it came in, with the model's original ids; its chat template is that of `chat`.
        The weights keep their number format. With `manifest` the folder is about to be published: its weights can
        then be loaded only together with their manifest.json. More than `shard_bytes` of weights are divided over
        files of at most that size (a larger tensor is alone in its file) and model.safetensors.index.json.

        Raises:
            InvalidArgument: parameters that are not a GPT's (adapters that were not merged), a format other than
                float32, bfloat16 and float16; nothing says what ends a text of `tok`; a `chat` of another tokenizer.
            ForeignArtifact: `tok` has more ids than the model.
        """
        ids = self.special_ids if tok is None else tokenizer_ids(tok, self.config, self.special_ids, chat)
        save_folder(
            self,
            Path(folder),
            LANGUAGE_MODEL,
            GPT,
            self.config,
            hf.causal_lm_config(self.config, ids, common_dtype(self)) | hf.origin_json(self.initialized_here),
            ids,
            None if tok is None else Texts(tok, chat),
            manifest=manifest,
            shard_bytes=shard_bytes,
            generation=never_sampled(tok),
        )

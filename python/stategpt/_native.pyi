"""The compiled half of stategpt. Errors are those of `stategpt.errors`.

Calls release the GIL, except calls on less than 4,096 bytes of text (or ids): there releasing it would take longer than
the call. A signal such as Ctrl-C ends a long call.
"""

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, final

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

__version__: str

# --- storage ---

@final
class StagedFolder:
    """A folder being written beside its final name `target`.

    `publish` hashes it, makes it durable and gives it that name; `abandon` removes it. Either can be called once.
    A process that dies leaves a folder that the next one staged for the same name cleans up.
    """

    def __new__(cls, target: str | PathLike[str]) -> StagedFolder: ...
    @property
    def path(self) -> Path:
        """The temporary folder to write into."""
    def publish(self, label_json: str) -> str:
        """Publishes under a label {"kind", "fingerprints", "parents", "extra"}; returns the text of manifest.json."""
    def abandon(self) -> None:
        """Removes the temporary folder."""

def publish_file(path: str | PathLike[str], data: bytes) -> None:
    """Gives `path` the content `data`: after an error or a crash it has the old content or the new, whole."""

def verify_folder(folder: str | PathLike[str], kind: str | None = None) -> str:
    """Compares every file with the manifest; returns the text of manifest.json."""

def verify_file(folder: str | PathLike[str], name: str) -> bool:
    """Compares one file with the manifest; False where that does not list it. Raises CorruptArtifact if it differs."""

def read_manifest(folder: str | PathLike[str]) -> str:
    """The checked text of manifest.json; the other files are not read."""

def fingerprint_json(text: str) -> str:
    """`b3:` and the BLAKE3 of a JSON text's canonical form."""

def hash_file(path: str | PathLike[str]) -> tuple[int, str]:
    """Size and BLAKE3 (hexadecimal) of a regular file; StorageError for another kind or one that cannot be read."""

def append_line(path: str | PathLike[str], line: str, durable: bool) -> None:
    """Appends `line` and a newline to a log after removing a torn last line; `durable` fsyncs it."""

# --- matvec ---

@final
class Int8Matrices:
    """Matrices of 8-bit codes with one width: (codes [rows, width], scale of each row). Holds views, no copies."""

    def __new__(cls, parts: Sequence[tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]]) -> Self: ...
    def multiply(self, x: npt.NDArray[np.float32], threads: int) -> npt.NDArray[np.float32]:
        """x [vectors, width] -> [vectors, rows of all matrices]: scale * (codes . x), on at most `threads` threads.

        A product's bits depend on its row and vector alone. Raises InvalidArgument for shapes that do not match.
        """

# --- attention ---

@final
class PagePlan:
    """Which new tokens of a step see which pages of 16 slots; see `ops.PagePlan`.

    `tables`: for each row a list of page numbers, or a buffer of int32. bfloat16 numbers are uint16 arrays of bits.
    All arrays are contiguous. Raises InvalidArgument for what does not fit.
    """

    def __new__(cls, first: npt.NDArray[np.int32], seen: npt.NDArray[np.int32], tables: list[Any]) -> Self: ...
    @property
    def tokens(self) -> int:
        """New tokens of all rows."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    def write(
        self, k: npt.NDArray[Any], v: npt.NDArray[Any], k_pages: npt.NDArray[Any], v_pages: npt.NDArray[Any]
    ) -> None:
        """Writes k, v [N, G, D] into their slots of k_pages [P, G, D, 16] and v_pages [P, G, 16, D]."""

    def attend(
        self,
        q: npt.NDArray[Any],
        k_pages: npt.NDArray[Any],
        v_pages: npt.NDArray[Any],
        scale: float,
        window: int | None,
        softcap: float | None,
        threads: int,
    ) -> npt.NDArray[Any]:
        """Attention of q [N, H, D] over the pages -> [N, H, D], on at most `threads` threads."""

    def attend_joined(
        self,
        qkv: npt.NDArray[np.float32],
        queries: int,
        norm: tuple[npt.NDArray[np.float32], float] | None,
        rotary: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None,
        k_pages: npt.NDArray[Any],
        v_pages: npt.NDArray[Any],
        scale: float,
        window: int | None,
        softcap: float | None,
        threads: int,
    ) -> npt.NDArray[np.float32]:
        """Norms, rotates, writes and attends the heads of qkv [N, (H + 2 G) D] -> [N, H D]; see `ops.attend_joined`."""

# --- rows ---

def rms_norm(
    x: npt.NDArray[np.float32],
    added: npt.NDArray[np.float32] | None,
    weight: npt.NDArray[np.float32],
    epsilon: float,
    out: npt.NDArray[np.float32],
    threads: int,
) -> None:
    """Adds `added` to x [N, W] in place, then writes x / sqrt(mean(x^2) + epsilon) * weight into out."""

def gate(x: npt.NDArray[np.float32], up: npt.NDArray[np.float32], silu: bool, threads: int) -> None:
    """Replaces x [N, F] by f(x) * up; f is SiLU, or GELU by tanh."""

def draw(
    logits: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    temperatures: npt.NDArray[np.float32],
    uniforms: npt.NDArray[np.float64],
    removed: npt.NDArray[np.int64],
    threads: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Draws a token for each of `rows` of logits [M, V], but for those of `removed`, and its log-probability.

    A temperature of 0 takes the most likely token. The token is -1 where a row has no distribution.
    """

# --- lines ---

@final
class TextFile:
    """A regular file that is being read, unpacked if its name ends in .gz or .zst.

    Errors: MissingFile; StorageError for a folder, FIFO or device, or when the disk fails; `malformed` for a compressed
    file that is damaged, or that unpacks to more than `max_ratio` times what was read and more than `free_bytes`, and
    for a file read by `elements` that is not one JSON array.
    """

    def __new__(
        cls,
        path: str | PathLike[str],
        malformed: type[Exception],
        free_bytes: int,
        max_ratio: int,
        elements: bool = False,
    ) -> Self:
        """Opens a file; with `elements` its "lines" are the elements of the JSON array that it holds."""
    def read(self, size: int) -> bytes:
        """`size` bytes, fewer at the end only."""
    def next_lines(self, max_line_bytes: int) -> list[tuple[int, int, bytes, int, bool]]:
        """The next lines, about a MiB of them; [] at the end.

        Each has its number from 1, the byte of the unpacked file at which it starts, its content (without newline, at
        most `max_line_bytes`; without the byte-order mark at the start of the file), the size of the whole line, and
        whether a newline ends it. What is longer than `max_line_bytes` is counted and skipped.
        """
    def next_records(
        self, max_line_bytes: int, keys: Sequence[str]
    ) -> list[tuple[int, int, list[str] | None, tuple[int, int, bytes, int, bool] | None]]:
        """As `next_lines`, with the strings of each JSON object under `keys`: number, byte, strings, line.

        A whole number under the second key or a later one is given as its digits. Where a line is not UTF-8 or no
        object, has a key twice, or lacks a string under a key, there is the line as of `next_lines` in their place.
        """
    def gather_texts(
        self, key: str, max_line_bytes: int, enough_bytes: int, texts: Texts
    ) -> tuple[bool, tuple[int, int, bytes, int, bool] | None]:
        """Appends the strings under `key` of the lines that follow, until there are `enough_bytes` of text.

        Returns whether the file has ended, and a line that is not so simple a record, as of `next_lines`: it is for the
        caller, and the next call continues after it. Neither where there is enough. What is appended is what
        `next_records` gives; an error after some texts comes with the next call.
        """
    def close(self) -> None:
        """Closes the file; later calls raise InvalidArgument."""

@final
class Texts:
    """Texts that were gathered, without a Python object for each."""

    def __new__(cls) -> Self: ...
    def __len__(self) -> int: ...
    def append(self, text: str) -> None:
        """Appends a text; UnicodeEncodeError for half a character."""
    def has(self, enough_bytes: int) -> bool:
        """Whether there are `enough_bytes` of text, or enough texts for a batch."""
    def take(self) -> list[str]:
        """The texts, which are removed."""

# --- tokenizer ---

_Special: TypeAlias = Literal["text", "unflagged", "allow"]
_IdsLike: TypeAlias = npt.NDArray[np.integer] | Sequence[int]

@disjoint_base
class Tokenizer:
    """The BPE engine: immutable, shared by threads. `stategpt.Tokenizer` is a subclass that adds the rest.

    Ids are uint32, offsets uint64 with one entry more than there are documents or tokens. `special` says how
    text that spells an added token is encoded. "text": it is text; "unflagged": it becomes the token unless that is
    flagged special; "allow": it becomes the token.
    """

    def __new__(cls, engine: Tokenizer) -> Self:
        """Shares the engine of another tokenizer."""
    @staticmethod
    def _load(path: str | PathLike[str]) -> Tokenizer:
        """Reads a `tokenizer.json`."""
    @staticmethod
    def _from_json(json: bytes) -> Tokenizer:
        """Reads the text of a `tokenizer.json`."""
    @staticmethod
    def _from_tiktoken(path: str | PathLike[str], pattern: str, special: Sequence[tuple[str, int]]) -> Tokenizer:
        """Reads a rank file."""
    def _to_json(self) -> str:
        """The canonical `tokenizer.json`."""
    def encode(self, text: str, *, special: _Special = "text", max_tokens: int | None = None) -> npt.NDArray[np.uint32]:
        """The ids of a text: uint32 [n].

        Args:
            special: "text": text that spells an added token is text; "unflagged": it becomes the token unless that is
                flagged special; "allow": it becomes the token.
            max_tokens: at most this many ids; the rest of the text is not encoded.

        Raises:
            InvalidArgument: the text is not a str, or contains a lone surrogate.
        """
    def encode_bytes(self, data: bytes, *, special: _Special = "text") -> npt.NDArray[np.uint32]:
        """The ids of any bytes, UTF-8 or not; `decode_bytes` gives them back."""
    def pieces(self, text: str) -> list[str]:
        """What the pattern cuts a text into before merging; no token crosses a piece."""
    def count(self, text: str, *, special: _Special = "text") -> int:
        """The number of ids that `encode` gives."""
    def encode_with_offsets(
        self, text: str, *, special: _Special = "text"
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]:
        """Ids [n] and byte offsets [n + 1]: token i is bytes `offsets[i] : offsets[i + 1]` of the text's UTF-8."""
    def encode_with_spans(
        self, text: str, *, special: _Special = "text"
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]:
        """Ids [n] and spans [n, 2]: token i is in the characters `spans[i, 0] : spans[i, 1]` of the text. Tokens
        that share a character all contain it.
        """
    def _encode_segments(self, segments: Iterable[str | int]) -> npt.NDArray[np.uint32]:
        """Ids of texts, each on its own, and the ids given between them."""
    def _count_batch(self, texts: Iterable[str], special: str, threads: int | None) -> npt.NDArray[np.uint64]:
        """The offsets of `_encode_batch` without the ids."""
    def _encode_batch(
        self, texts: Iterable[str], special: str, threads: int | None
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]:
        """Ids of many texts and the offsets between documents."""
    def _encode_files(
        self, paths: Sequence[str | PathLike[str]], special: str, lines: bool, replace: bool, threads: int | None
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]:
        """Ids of files, each (or each line of each) a document; `replace` makes bytes that are not UTF-8 U+FFFD."""
    def decode(self, ids: _IdsLike, *, skip_special: bool = False) -> str:
        """The text of ids; bytes that are not UTF-8 become U+FFFD (`decode_bytes` keeps them).

        Args:
            ids: a list, or an array of integers in one dimension.
            skip_special: leave special tokens out.

        Raises:
            UnknownToken: an id outside the vocabulary.
        """
    def decode_bytes(self, ids: _IdsLike, *, skip_special: bool = False) -> bytes:
        """The bytes of ids, exactly.

        Raises:
            UnknownToken: an id outside the vocabulary.
        """
    def _decode_batch(self, ids: _IdsLike, offsets: npt.NDArray[np.uint64], skip_special: bool) -> list[str]:
        """Text of each document."""
    def token_bytes(self, id: int) -> bytes:
        """The bytes of one token.

        Raises:
            UnknownToken: an id outside the vocabulary.
        """
    def special_id(self, text: str) -> int:
        """The id of a special token.

        Raises:
            InvalidArgument: there is no such special token; the message lists the existing ones.
        """
    @property
    def special_tokens(self) -> dict[str, int]:
        """Tokens that plain text never yields, with their ids, in order of id."""
    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
    @property
    def pattern(self) -> str:
        """Name of the pattern (llama3's is gpt4's), or its regular expressions, joined by ` then `."""
    @property
    def fingerprint(self) -> str:
        """`b3:` and the BLAKE3 of the saved form without its post-processor: equal only where all ids are equal."""

@disjoint_base
class StreamDecoder:
    """Decodes id by id; threads that share one take turns."""

    def __new__(cls, tokenizer: Tokenizer) -> Self: ...
    def push(self, id: int) -> str:
        """The text that this id completes. O(bytes of the token).

        Raises:
            UnknownToken: an id outside the vocabulary; the decoder is as before.
        """
    def finish(self) -> str:
        """Ends the text: U+FFFD if it stops within a character, else nothing. The decoder is then as new."""

@final
class BpeTrainer:
    """Counts the pieces of documents, then learns merges from the counts, once.

    `progress(phase, done, total)` is called a few times a second; what it raises ends the call, as Ctrl-C does.
    """

    def __new__(
        cls, pattern: str, lines: bool, threads: int | None, memory_limit: int | None, expected_bytes: int
    ) -> BpeTrainer: ...
    def feed(self, documents: Iterable[str]) -> int:
        """Counts texts (each line of each, if `lines`); returns the bytes of text counted so far."""
    def feed_file(
        self, path: str | PathLike[str], replace: bool, progress: Callable[[str, int, int], object] | None
    ) -> None:
        """Counts a file, block by block."""
    def feed_counts(self, counts: Sequence[tuple[bytes, int]]) -> None:
        """Adds pieces that were counted elsewhere."""
    def train(
        self,
        vocab_size: int,
        special_tokens: Sequence[str],
        min_frequency: int,
        progress: Callable[[str, int, int], object] | None,
    ) -> Tokenizer:
        """Learns the merges; returns the tokenizer."""

# --- packing ---

PACKING_STRATEGIES: tuple[str, ...]
"""Names of the packing strategies, the default first."""

_Batch = tuple[
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint32],
    npt.NDArray[np.bool_],
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
    npt.NDArray[np.uint64],
    int,
]
"""Tokens, targets, loss mask, segment starts, positions, document ids; trained targets."""

@final
class ShardWriter:
    """A data set of token shards that is being written to `target`; after an error nothing is left of it.

    `padding`: special token that fills rows; None takes `end_of_text`.
    """

    def __new__(
        cls,
        target: str | PathLike[str],
        tokenizer: Tokenizer,
        end_of_text: str,
        padding: str | None,
        max_tokens: int,
        special: str,
        threads: int | None,
    ) -> ShardWriter: ...
    @staticmethod
    def of_ids(
        target: str | PathLike[str],
        fingerprint: str,
        known_ids: npt.NDArray[np.uint32],
        end_of_text: int,
        padding: int,
        max_tokens: int,
    ) -> ShardWriter:
        """One for the ids of another tokenizer, which has these `known_ids`; it takes no texts."""
    @property
    def documents(self) -> int:
        """Documents stored so far; 0 once it is published or abandoned."""
    def push_texts(self, texts: Sequence[str | bytes]) -> None:
        """Tokenizes and stores texts, each a document."""
    def push_gathered(self, texts: Texts) -> None:
        """The same with gathered texts, which are removed."""
    def push_encoded(self, ids: npt.NDArray[np.uint32], offsets: npt.NDArray[np.uint64]) -> None:
        """Stores documents without masks: contiguous `ids` end to end, document i from `offsets[i]` to `[i + 1]`."""
    def push_ids(self, ids: npt.NDArray[np.uint32], mask: npt.NDArray[np.uint8] | None, doc_id: int | None) -> None:
        """Stores a document of contiguous ids."""
    def publish(self, source: str, license: str, parents: Sequence[str]) -> str:
        """Makes the data set durable under its name; returns the text of manifest.json."""
    def abandon(self) -> None:
        """Removes what was written, if it was not published."""

@final
class TokenShards:
    """A published data set; the public class is `stategpt.Shards`."""

    @staticmethod
    def open(folder: str | PathLike[str], tokenizer_fingerprint: str | None) -> TokenShards:
        """Opens a data set, checks sizes and headers, and the tokenizer if one is given."""
    def verify(self) -> None:
        """Compares every byte with the hashes."""
    def manifest(self) -> str:
        """The text of manifest.json."""
    def document(self, number: int) -> npt.NDArray[np.uint32]:
        """uint32[n]: ids of a document."""
    def loss_mask(self, number: int) -> npt.NDArray[np.bool_]:
        """bool[n + 1]: trained targets of a document."""
    def doc_id(self, number: int) -> int:
        """Identity of a document."""

@final
class PackedRows:
    """A plan of rows; the public class is `stategpt.packing.Packed`."""

    def __new__(
        cls,
        shards: TokenShards,
        row_tokens: int,
        strategy: str,
        isolate_documents: bool,
        reject_too_long: bool,
        seed: int,
    ) -> PackedRows: ...
    @property
    def rows(self) -> int:
        """Number of rows."""
    @property
    def tokens(self) -> int:
        """Tokens without padding."""
    @property
    def rejected(self) -> tuple[int, int]:
        """Documents left out, and their tokens."""
    @property
    def fingerprint(self) -> str:
        """Identity of the order."""
    def documents_of(self, row: int) -> list[int]:
        """Numbers of the documents in a row."""
    def batch(self, first: int, rows: int, batch_rows: int) -> _Batch:
        """Rows written out, and rows of padding up to `batch_rows`."""

def best_fit_rows(lengths: npt.NDArray[np.uint32], row_tokens: int) -> int:
    """Rows that best fit makes of documents of these lengths (without end of text), before there are any shards.

    Errors: InvalidArgument: `row_tokens` is out of range.
    """

@final
class MixedRows:
    """A mixture; the public class is `stategpt.Mixture`. `sources`: name, rows, share of the tokens."""

    def __new__(
        cls, sources: Sequence[tuple[str, PackedRows, float]], seed: int, max_epochs: float | None
    ) -> MixedRows: ...
    @property
    def rows(self) -> int | None:
        """Rows before `max_epochs` would be passed; None without a limit."""
    @property
    def block_rows(self) -> int:
        """At its multiples shares are exact to one row."""
    @property
    def fingerprint(self) -> str:
        """Identity of the order."""
    def origin(self, row: int) -> tuple[str, int, int]:
        """Source, epoch, and row of the source's plan."""
    def documents_of(self, row: int) -> tuple[str, list[int]]:
        """Source, and numbers of the documents in a row."""
    def report(self, rows: int) -> list[tuple[str, float, int, int, float]]:
        """Name, planned share, rows, tokens and epochs of each source."""
    def batch(self, first: int, rows: int, batch_rows: int) -> _Batch:
        """Rows written out, and rows of padding up to `batch_rows`."""

def validate_attention_layout(
    segment_start: npt.NDArray[np.int32],
    prefix_end: npt.NDArray[np.int32],
    branch_start: npt.NDArray[np.int32],
    position: npt.NDArray[np.int32],
    row_tokens: int,
) -> None:
    """Raises InvalidArgument naming the first token whose entries contradict the rules of `stategpt.data.Layout`."""

def attention_work_list(
    segment_start: npt.NDArray[np.int32],
    prefix_end: npt.NDArray[np.int32],
    branch_start: npt.NDArray[np.int32],
    position: npt.NDArray[np.int32],
    row_tokens: int,
    tiles: Literal["queries", "keys"],
    block_q: int,
    block_k: int,
    window: int | None,
) -> npt.NDArray[np.int32]:
    """int32[tiles, fields]: what each tile of the score matrix walks over; most steps first, then in stream order.

    A token sees the keys [segment_start, prefix_end) and [branch_start, itself] that lie fewer than `window` positions
    before it; None is no window. All indices are into the whole stream of N tokens.

    "queries", ceil(N / block_q) tiles: q0, far_lo, far_hi, near_lo, far_steps, far_full_lo, far_full_hi, near_full_lo,
    near_full_hi, steps. The queries [q0, q0 + block_q) walk over the far keys, those of the prefix behind whose branch
    the tile starts, then over the others that they see. Step i < far_steps covers `block_k` keys from
    far_lo + i block_k, cut at far_hi <= near_lo; a later one those from near_lo + (i - far_steps) block_k. In the steps
    [far_full_lo, far_full_hi) and [near_full_lo, near_full_hi), and only in those, every query of the tile that exists
    sees all `block_k` keys: no mask is needed. The first range lies within [0, far_steps], the second behind it.

    "keys", ceil(N / block_k) tiles: k0, q_lo, full_lo, full_hi, steps. The keys [k0, k0 + block_k) are walked over by
    the queries [q_lo + i block_q, + block_q), from the first to the last that sees one of them; some between may see
    none. In the steps [full_lo, full_hi) all `block_q` queries exist and see every key of the tile that exists. Gaps
    between branches (windows, prefixes of different length) end that range: full steps behind one are not in it.

    The layout is checked as by `validate_attention_layout`. Raises InvalidArgument for one that is not whole, for block
    sizes and windows below 1 and for other `tiles`.
    """

# --- ranking ---

@final
class RankingTable:
    """The records of one source in columns: G groups, C completions and P pairs, group after group."""

    @property
    def ids(self) -> list[str]:
        """Id of each group: G strings."""
    @property
    def prompts(self) -> list[str]:
        """Prompt of each group."""
    @property
    def lines(self) -> list[int]:
        """Line of each group, from 1."""
    @property
    def byte_offsets(self) -> list[int]:
        """Byte at which each group's line starts."""
    @property
    def texts(self) -> list[str]:
        """The C completions."""
    @property
    def ended(self) -> list[bool]:
        """Whether each completion stopped by itself."""
    @property
    def ranks(self) -> npt.NDArray[np.uint32]:
        """uint32[C]: 1 is best, equal ranks are ties."""
    @property
    def completion_offsets(self) -> npt.NDArray[np.uint64]:
        """uint64[G + 1]: group g owns the completions between entries g and g + 1."""
    @property
    def tokenizers(self) -> list[str | None]:
        """Fingerprint of the tokenizer that each group's ids are of; None where it says none."""
    @property
    def token_ids(self) -> npt.NDArray[np.uint32]:
        """uint32[M]: ids as sampled of the completions that have them, one after the other."""
    @property
    def token_offsets(self) -> npt.NDArray[np.uint64]:
        """uint64[C + 1]: completion c owns the ids between entries c and c + 1; none where it has a text only."""
    @property
    def pairs(self) -> npt.NDArray[np.uint32]:
        """uint32[2 P]: winner, loser, winner, ... as indices into their group's completions."""
    @property
    def pair_offsets(self) -> npt.NDArray[np.uint64]:
        """uint64[G + 1]: pairs of each group."""
    @property
    def rejected(self) -> list[tuple[int, int, str, str]]:
        """(line, byte offset, code, message) of each malformed record."""
    @property
    def line_count(self) -> int:
        """Lines of the source = groups + rejected + blank."""
    @property
    def blank_count(self) -> int:
        """Blank lines."""

def read_rankings(file: TextFile) -> RankingTable:
    """Reads a file of JSONL, a MiB and a line in memory at a time."""

@final
class LinearPattern:
    """A regular expression, in the syntax of the Rust crate `regex`, that matches in time linear in the text."""

    def __new__(cls, pattern: str) -> LinearPattern:
        """Raises InvalidArgument: it is no expression, or takes more than 1 MiB compiled."""

    def is_found(self, text: str) -> bool:
        """Whether it matches somewhere in `text`."""

def parse_rankings(text: bytes) -> RankingTable:
    """As `read_rankings`, from memory."""

def arrange_rankings(
    ids: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.uint64],
    completions: Sequence[int],
    arrangement: str,
    reward: int,
    pad: int,
) -> tuple[npt.NDArray[np.uint32], list[npt.NDArray[np.int32]], npt.NDArray[np.int64], int, int]:
    """Lays out groups of ids, each a prompt and then its `completions[g]` completions, cut out of `ids` by `offsets`.

    Returns tokens uint32[N], the layout's [segment_start, prefix_end, branch_start, position] int32[N], the index of
    each completion's reward token int64[C], the row width and the tokens that are not padding.
    Raises InvalidArgument when the pieces do not match the counts, a prompt is empty or N exceeds 2^31 - 1.
    """

# --- curation ---

CURATION_RULES: tuple[tuple[str, str, float, str], ...]
"""Every quality rule in the order in which they are asked: name, kind of limit (`at_least`, `at_most`, `switch`),
published threshold, meaning.
"""
CURATION_LINE_RULES: tuple[str, ...]
"""The rules that remove single lines."""

@final
class CurationRules:
    """The steps that look at one text alone: cleaning, quality rules, language. One thread at a time uses it."""

    def __new__(
        cls,
        thresholds: Sequence[tuple[str, float]],
        *,
        clean: bool,
        languages: Sequence[str],
        min_confidence: float,
    ) -> CurationRules:
        """Takes the rules that are asked, with their thresholds. Raises InvalidArgument: unknown rule or language."""
    def apply(self, texts: Sequence[str]) -> list[tuple[str | None, str | None, float | None, str, list[int] | None]]:
        """For each text: its new text or None if it stays as it is; the rule that removes it, the value, a language;
        the lines that each of `CURATION_LINE_RULES` removed, or None for none. Raises InvalidArgument over 4 GiB.
        """

@final
class BoilerplateLines:
    """Counts lines by the documents of a source that have them, in 64 MiB and what it finds."""

    def __new__(cls) -> BoilerplateLines: ...
    def estimate(self, source: str, texts: Sequence[str]) -> None:
        """First pass: adds documents of a source."""
    def count(self, source: str, texts: Sequence[str], least: int) -> None:
        """Second pass over the same documents: counts exactly the lines that may be in `least` documents or more."""
    def finish(self) -> int:
        """Ends the passes; returns how many different lines are boilerplate."""
    def remove(self, source: str, text: str) -> tuple[str, int] | None:
        """The text without boilerplate and how many lines that were; None for none. Raises InvalidArgument before
        `finish`.
        """

def clean_text(text: str) -> str:
    """The text in Unicode form NFC, without control characters, with regular white space."""

def rule_values(text: str) -> dict[str, float]:
    """The value of every rule of whole texts, by name. Raises InvalidArgument over 4 GiB."""

def compress_zstd(data: bytes) -> bytes:
    """One zstd frame; a file of such frames is what `TextFile` reads."""

@final
class DuplicateFinder:
    """Finds duplicates: `add` all documents, `compare`, then `removed`, or `decide` on each in the same order.

    `near` = (bands, rows, threshold) finds near-duplicates by MinHash signatures; without it texts must be equal.
    Temporary files are in `folder` and have no name there; sorting takes `memory_bytes`. Raises InvalidArgument,
    OutOfSpace, StorageError.
    """

    def __new__(
        cls,
        folder: str | PathLike[str],
        memory_bytes: int,
        priority: Sequence[str],
        near: tuple[int, int, float] | None = None,
    ) -> DuplicateFinder: ...
    def add(self, texts: Sequence[str], places: Sequence[tuple[str, str, int, int]], threads: int) -> None:
        """Adds the next documents with their (source, file, line, byte offset)."""
    def compare(self) -> list[int]:
        """Documents, clusters, removed documents; pairs of signatures compared, found near, not compared."""
    def decide(self, texts: Sequence[str]) -> list[tuple[int, str, str, int, int, int] | None]:
        """For the next documents None if it is kept, else its twin: number, source, file, line, byte offset, equal
        components of 128. Raises DataError if a text is not that of the first pass.
        """
    def removed(self, start: int, limit: int) -> list[tuple[int, tuple[int, str, str, int, int, int]]]:
        """Up to `limit` removed documents from number `start` on, each with its twin."""
    def finish(self) -> None:
        """Raises DataError if `decide` was not given all documents."""
    @property
    def memory_bytes(self) -> int:
        """Bytes that are held in memory."""
    @property
    def disk_bytes(self) -> int:
        """Bytes of temporary files."""

def minhash_signatures(texts: Sequence[str], threads: int) -> npt.NDArray[np.uint32]:
    """uint32[N, 128]: the signature of each text; every component of a text without a word is 2^32 - 1."""

def near_duplicate_probability(bands: int, rows: int, threshold: float, jaccard: float) -> float:
    """The probability that two texts of this similarity are compared. Raises InvalidArgument."""

@final
class LeakFinder:
    """Evaluation items, each a prompt and its answer, that documents are searched for. Raises InvalidArgument."""

    def __new__(
        cls,
        items: Sequence[tuple[str, str | None]],
        min_coverage: float,
        answer_distance: int,
        verbatim_words: int,
    ) -> LeakFinder: ...
    def find(
        self, texts: Sequence[str], threads: int
    ) -> list[list[tuple[int, str, tuple[int, int], tuple[int, int] | None, int, float]]]:
        """For each text its leaks: item, rule, span in bytes, the answer's span, matched words, coverage."""
    @property
    def unsearchable(self) -> list[int]:
        """Numbers of the items that cannot be found."""

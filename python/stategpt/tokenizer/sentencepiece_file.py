"""`tokenizer.model`: a SentencePiece model, a protobuf message of which these fields are read.

    ModelProto     1 pieces: SentencePiece*   2 trainer_spec: TrainerSpec   3 normalizer_spec: NormalizerSpec
    SentencePiece  1 piece: string   2 score: float   3 type: enum
    TrainerSpec    3 model_type   24 treat_whitespace_as_suffix   35 byte_fallback
    NormalizerSpec 2 precompiled_charsmap   3 add_dummy_prefix   4 remove_extra_whitespaces   5 escape_whitespaces

The reader knows the wire format only (https://protobuf.dev/programming-guides/encoding/): a tag with a number and a
type, then an integer, four or eight bytes, or a length with bytes. Groups, which are the only nesting that is not
bounded by the schema, do not occur in these files and are refused.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from stategpt.errors import TokenizerFormatError
from stategpt.tokenizer.piece_vocabulary import MAX_PIECES, Kind, Piece

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
UNIGRAM, BPE = 1, 2
_WIRE_TYPES = {_VARINT: "an integer", _FIXED64: "eight bytes", _BYTES: "a length and bytes", _FIXED32: "four bytes"}


@dataclass(slots=True)
class SentencePieceModel:
    """What a `tokenizer.model` says about encoding; the defaults are those of the format."""

    pieces: list[Piece] = field(default_factory=list)
    kind: int = UNIGRAM
    byte_fallback: bool = False
    space_is_suffix: bool = False
    charsmap: bytes = b""
    adds_prefix: bool = True
    removes_extra_spaces: bool = True
    escapes_spaces: bool = True

    @property
    def is_bpe(self) -> bool:
        """Whether pieces are merged; otherwise the most probable are taken."""
        return self.kind == BPE


def read_model(data: bytes, where: str) -> SentencePieceModel:
    """Reads a message, in time and memory in proportion to it.

    Raises:
        TokenizerFormatError: it is no such message; the message has the byte.
    """
    model = SentencePieceModel()
    for number, value, at in _Fields(data, where):
        match number:
            case 1:
                if len(model.pieces) == MAX_PIECES:
                    raise TokenizerFormatError(f"{where}: it has more than {MAX_PIECES:,} pieces")
                model.pieces.append(_piece(_bytes(value, where, at), where, at))
            case 2:
                _trainer(model, _bytes(value, where, at), where, at)
            case 3:
                _normalizer(model, _bytes(value, where, at), where, at)
    return model


def _piece(data: bytes, where: str, at: int) -> Piece:
    text, score, kind = "", 0.0, 1
    for number, value, inner in _Fields(data, where, at):
        match number:
            case 1:
                try:
                    text = _bytes(value, where, inner).decode()
                except UnicodeDecodeError:
                    raise TokenizerFormatError(f"{where}, byte {inner}: the text of a piece is not UTF-8") from None
            case 2:
                score = _real(value, where, inner)
            case 3:
                kind = _whole(value, where, inner)
    if kind not in tuple(Kind):
        raise TokenizerFormatError(f"{where}, byte {at}: the piece {text[:40]!r} has type {kind}; it must be 1 to 6")
    return Piece(text, score, Kind(kind))


def _trainer(model: SentencePieceModel, data: bytes, where: str, at: int) -> None:
    for number, value, inner in _Fields(data, where, at):
        match number:
            case 3:
                model.kind = _whole(value, where, inner)
            case 24:
                model.space_is_suffix = bool(_whole(value, where, inner))
            case 35:
                model.byte_fallback = bool(_whole(value, where, inner))


def _normalizer(model: SentencePieceModel, data: bytes, where: str, at: int) -> None:
    for number, value, inner in _Fields(data, where, at):
        match number:
            case 2:
                model.charsmap = _bytes(value, where, inner)
            case 3:
                model.adds_prefix = bool(_whole(value, where, inner))
            case 4:
                model.removes_extra_spaces = bool(_whole(value, where, inner))
            case 5:
                model.escapes_spaces = bool(_whole(value, where, inner))


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of one message: number, value (`int` of an integer, `bytes` of the others) and offset in the file."""

    data: bytes
    where: str
    base: int = 0

    def __iter__(self) -> Iterator[tuple[int, int | bytes, int]]:
        at = 0
        while at < len(self.data):
            start = at
            tag, at = self._varint(at)
            number, wire = tag >> 3, tag & 7
            if not 0 < number < 1 << 29:
                raise self._error(start, f"field number {number} does not exist")
            if wire == _VARINT:
                value, at = self._varint(at)
                yield number, value, self.base + start
                continue
            if wire not in _WIRE_TYPES:
                raise self._error(start, f"field {number} has wire type {wire}, which no field of a model has")
            size = 8 if wire == _FIXED64 else 4
            if wire == _BYTES:
                size, at = self._varint(at)
            if size > len(self.data) - at:
                raise self._error(start, f"field {number} needs {size} bytes and {len(self.data) - at} follow")
            yield number, self.data[at : at + size], self.base + at
            at += size

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for place in range(10):
            if at + place >= len(self.data):
                raise self._error(at, "an integer is cut off")
            byte = self.data[at + place]
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return value, at + place + 1
        raise self._error(at, "an integer has more than 10 bytes")

    def _error(self, at: int, problem: str) -> TokenizerFormatError:
        return TokenizerFormatError(f"{self.where}, byte {self.base + at}: {problem}; it is no SentencePiece model")


def _bytes(value: int | bytes, where: str, at: int) -> bytes:
    if isinstance(value, int):
        raise TokenizerFormatError(f"{where}, byte {at}: an integer where a message or text belongs")
    return value


def _whole(value: int | bytes, where: str, at: int) -> int:
    if not isinstance(value, int) or value >= 1 << 31:  # a negative id is ten bytes of two's complement
        raise TokenizerFormatError(f"{where}, byte {at}: a whole number of 0 to 2^31 belongs here")
    return value


def _real(value: int | bytes, where: str, at: int) -> float:
    if isinstance(value, int) or len(value) != 4:
        raise TokenizerFormatError(f"{where}, byte {at}: a score is a number of four bytes")
    (score,) = struct.unpack("<f", value)
    if not math.isfinite(score):
        raise TokenizerFormatError(f"{where}, byte {at}: a score is {score}; it must be finite")
    return float(score)

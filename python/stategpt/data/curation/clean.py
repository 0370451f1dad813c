"""Cleaning of single texts; the steps are in `rust/curation/src/clean.rs`, but for the repair of encodings."""

from __future__ import annotations

from stategpt import _native
from stategpt.errors import InvalidArgument
from stategpt.extras import require


def clean_text(text: str) -> str:
    """The text in Unicode form NFC, without control characters, with regular white space.

    Line ends become line feeds, other white space becomes spaces; white space at the end of lines and all but one of
    several blank lines go; tabs and indentation stay. Cleaning twice changes nothing more.

    Raises:
        InvalidArgument: the text has surrogates, which no UTF-8 file can hold.
    """
    try:
        return _native.clean_text(text)
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"the text has a surrogate at character {error.start}; decode it from UTF-8") from None


def repair_mojibake(text: str) -> str:
    """The text with wrongly decoded parts repaired (`schÃ¶n` becomes `schön`), by the library ftfy.

    Only the encoding is repaired: quotation marks, ligatures and widths of characters stay as they are.

    Raises:
        MissingExtra: ftfy is not installed.
    """
    require("ftfy", "curate.repair_mojibake", "data")
    import ftfy

    return str(ftfy.fix_encoding(text))

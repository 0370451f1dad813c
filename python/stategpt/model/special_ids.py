"""The ids that begin, end and pad the texts of a model, read from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stategpt.artifacts import Json
from stategpt.config.hf_shape import ID_FIELDS
from stategpt.errors import CorruptArtifact
from stategpt.json_reader import Record
from stategpt.shown_fields import documented

GENERATION = Record(ID_FIELDS)


@documented
@dataclass(frozen=True)
class SpecialIds:
    """Ids of a model's special tokens. By default none: which ids they are is said by a tokenizer or a folder."""

    bos: int | None = None
    """Begins a text."""
    eos: tuple[int, ...] = ()
    """Each of them ends a text."""
    pad: int | None = None
    """Fills rows."""
    stated: bool = field(default=True, compare=False)
    """False where neither a folder nor a caller says them, so that those of a tokenizer are taken."""

    def to_json(self) -> dict[str, Json]:
        """Returns the keys of config.json and generation_config.json; one end id is a number, several are a list."""
        eos: Json = list(self.eos) if len(self.eos) > 1 else (self.eos[0] if self.eos else None)
        return {"bos_token_id": self.bos, "eos_token_id": eos, "pad_token_id": self.pad}


def special_ids(
    config: Mapping[str, Any], generation: Mapping[str, Any], stated: frozenset[str], default: Mapping[str, int]
) -> SpecialIds:
    """Reads the ids of both files, each checked by `ID_FIELDS`; where both state one, generation_config.json decides.

    `stated` are the keys that config.json has, `default` what transformers takes where it lacks one. Raises
    `CorruptArtifact` for an id outside the vocabulary, whose text would never end: the files belong to another
    tokenizer.
    """

    def ids(key: str) -> tuple[int, ...]:
        """Returns the ids that a key states, each once."""
        found = generation.get(key)
        if found is None:
            found = config[key] if key in stated else default.get(key)
        several = found if isinstance(found, list) else [] if found is None else [found]
        outside = [number for number in several if number >= config["vocab_size"]]
        if outside:
            raise CorruptArtifact(
                f"{key} is {outside[0]}, the vocabulary has {config['vocab_size']} tokens; "
                "take config.json and generation_config.json from the model's own folder"
            )
        return tuple(dict.fromkeys(number for number in several if number >= 0))

    def one(key: str) -> int | None:
        """Returns the first of them."""
        return next(iter(ids(key)), None)

    return SpecialIds(bos=one("bos_token_id"), eos=ids("eos_token_id"), pad=one("pad_token_id"))

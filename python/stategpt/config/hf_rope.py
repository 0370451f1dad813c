"""Rotary positions in config.json, in the spellings of all years, with the meaning that `transformers` 5 gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from stategpt.config.architecture import RopeScaling
from stategpt.config.family import Family, Json
from stategpt.config.model import GPTConfig
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.json_reader import Anything, Flag, Integer, Kind, Optional, Real, Record, Text, check_value

_NAME = Text(max_chars=200)
_TOKENS = Optional(Integer(1, 2**31 - 1))
THETA = Optional(Real(1.0, 1e15))
ROPE: Mapping[str, Kind] = {
    "rope_theta": THETA,
    "rope_type": Optional(_NAME),
    "type": Optional(_NAME),
    "factor": Optional(Real(1e-3, 1e6)),
    "original_max_position_embeddings": _TOKENS,
    "low_freq_factor": Optional(Real(1e-3, 1e6)),
    "high_freq_factor": Optional(Real(1e-3, 1e6)),
    "attention_factor": Optional(Real(1e-3, 1e3)),
    "beta_fast": Optional(Real(1e-3, 1e6)),
    "beta_slow": Optional(Real(1e-3, 1e6)),
    "mscale": Optional(Real(0.0, 1e3)),
    "mscale_all_dim": Optional(Real(0.0, 1e3)),
    "truncate": Optional(Flag(), True),
    "partial_rotary_factor": Optional(Real()),
}
ROPE_KEYS: Mapping[str, Kind] = {
    "rope_theta": THETA,
    "rope_parameters": Optional(Record({}), {}),
    "rope_scaling": Optional(Record({}), {}),
    "partial_rotary_factor": Optional(Real()),
    "original_max_position_embeddings": Optional(Anything()),
}
"""Keys of config.json that say how positions rotate."""

_FULL, _WINDOWED = "full_attention", "sliding_attention"
_NEEDED = {"linear": (), "dynamic": (), "yarn": (), "llama3": ("low_freq_factor", "high_freq_factor")}


def read_rope(where: str, found: Mapping[str, Any], family: Family) -> tuple[float, float | None, RopeScaling | None]:
    """Reads the base, the base of layers with a window (None: the same), and the scaling.

    Raises:
        ForeignArtifact: a kind of rotary positions that is not computed.
        CorruptArtifact: a kind without its numbers, or a number of another type or out of range.
    """
    if not family.rope_types:
        return GPTConfig.rope_theta, None, None
    # transformers' order: rope_scaling, if it is not empty, replaces rope_parameters; the plain key comes last.
    setting = "rope_scaling" if found["rope_scaling"] else "rope_parameters"
    given, windowed_theta = found[setting], None
    if "rope_local_base_freq" in family.reads:
        setting, given, windowed_theta = _of_layer_kinds(where, found)
    if nested := [key for key, value in given.items() if isinstance(value, dict)]:
        raise ForeignArtifact(
            f"{where}: {setting} has its own {nested[0]!a}; one kind of rotation for all layers is computed here"
        )
    rope = check_value(given, Record(ROPE), where=f"{where}, {setting}", error=CorruptArtifact)
    kinds = [rope[key] for key in ("rope_type", "type") if rope[key] is not None]
    kind = kinds[0] if kinds else "default"
    if kind not in family.rope_types or (setting == "rope_scaling" and given and not kinds):
        known = ", ".join(family.rope_types)
        raise ForeignArtifact(f"{where}: {setting} has the rope_type {(kinds or [None])[0]!a}; computed are {known}")
    if found["partial_rotary_factor"] not in (None, 1.0) or rope["partial_rotary_factor"] not in (None, 1.0):
        raise ForeignArtifact(f"{where}: partial_rotary_factor is not 1; only whole heads are rotated here")
    theta = rope["rope_theta"] or found["rope_theta"] or float(family.defaults.get("rope_theta", 10_000.0))
    return theta, windowed_theta, None if kind == "default" else _scaling(where, kind, rope, found, theta)


def _of_layer_kinds(where: str, found: Mapping[str, Any]) -> tuple[str, dict[str, Any], float]:
    """Gemma 3: one rope for layers that see everything, a plain one for those with a window."""
    nested = found["rope_parameters"]
    if nested and not nested.keys() <= {_FULL, _WINDOWED}:
        raise ForeignArtifact(f"{where}: rope_parameters is not by {_FULL} and {_WINDOWED}, as this family has it")
    full, windowed = (
        check_value(nested.get(kind), Optional(Record({}), {}), where=f"{where}, {kind}", error=CorruptArtifact)
        for kind in (_FULL, _WINDOWED)
    )
    local = check_value(windowed, Record(ROPE), where=f"{where}, {_WINDOWED}", error=CorruptArtifact)
    if (local["rope_type"] or local["type"] or "default") != "default":
        raise ForeignArtifact(f"{where}: {_WINDOWED} has a rope_type other than 'default', which is not computed here")
    setting = "rope_scaling" if found["rope_scaling"] else "rope_parameters"
    return setting, {**full, **found["rope_scaling"]}, local["rope_theta"] or found["rope_local_base_freq"] or 1e4


def _scaling(where: str, kind: Any, rope: Mapping[str, Any], found: Mapping[str, Any], theta: float) -> RopeScaling:
    for name in ("factor", *_NEEDED[kind]):
        if rope[name] is None:
            raise CorruptArtifact(f"{where}: rotary positions of rope_type {kind!a} lack {name}; download it again")
    numbers = {each.name: rope[each.name] for each in fields(RopeScaling) if each.name not in ("rope_type", "truncate")}
    if kind in ("linear", "dynamic"):
        return RopeScaling(kind, rope["factor"])
    context = check_value(found["original_max_position_embeddings"], _TOKENS, where=where, error=CorruptArtifact)
    numbers["original_max_position_embeddings"] = (
        context or rope["original_max_position_embeddings"] or found["max_position_embeddings"]
    )
    if kind == "llama3":
        if rope["high_freq_factor"] <= rope["low_freq_factor"]:
            raise CorruptArtifact(f"{where}: high_freq_factor is not above low_freq_factor; download it again")
        used = ("factor", "original_max_position_embeddings", *_NEEDED[kind])
        return RopeScaling(kind, **{name: numbers[name] for name in used})
    if theta <= 1.0 or (rope["beta_fast"] or 32.0) < (rope["beta_slow"] or 1.0):
        raise CorruptArtifact(
            f"{where}: rope_theta must be above 1 and beta_fast not below beta_slow; download it again"
        )
    numbers |= {"low_freq_factor": None, "high_freq_factor": None}
    return RopeScaling(kind, **numbers, truncate=rope["truncate"])


def rope_json(config: GPTConfig, family: Family) -> dict[str, Json]:
    """Returns the keys of config.json that say how positions rotate; none for a family without rotation."""
    if not family.rope_types:
        return {}
    scaling = config.architecture.rope_scaling
    given: dict[str, Json] = {"rope_type": "default"} if scaling is None else _scaling_json(scaling)
    rope: dict[str, Json] = {"rope_theta": config.rope_theta, **given}
    # Both spellings: transformers 5 reads the second, everything older and most servers the first.
    found: dict[str, Json] = {"rope_theta": config.rope_theta, "rope_parameters": rope}
    if scaling is not None:
        found["rope_scaling"] = given
    theta = config.architecture.windowed_theta
    if theta is not None:
        local: dict[str, Json] = {"rope_theta": theta, "rope_type": "default"}
        found |= {"rope_local_base_freq": theta, "rope_parameters": {_FULL: rope, _WINDOWED: local}}
    return found


def _scaling_json(scaling: RopeScaling) -> dict[str, Json]:
    values = {each.name: getattr(scaling, each.name) for each in fields(RopeScaling)}
    return {name: value for name, value in values.items() if value is not None and value is not True}

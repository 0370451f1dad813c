"""API keys: who may ask, and how many tokens each key may use in a day.

[keys.alice]
key = "sk-..."               # or sha256 = "..." of it, so that the file holds no secret
tokens_per_day = 1_000_000   # prompt and completions; left out: no limit
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from stategpt.config.checks import shown_key
from stategpt.errors import ConfigError
from stategpt.files import read_bytes
from stategpt.json_reader import Integer, MapOf, Optional, Record, Text, check_value
from stategpt.shown_fields import documented

from .errors import ApiError

DAY_SECONDS = 86_400.0
_LIMIT_BYTES = 1 << 20
_LEAST_CHARS = 16
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FILE = Record(
    {
        "keys": MapOf(
            Record(
                {
                    "key": Optional(Text(max_chars=1024)),
                    "sha256": Optional(Text(max_chars=64)),
                    "tokens_per_day": Optional(Integer(1)),
                },
                closed=True,
            ),
            max_items=100_000,
        )
    },
    closed=True,
)


@documented
@dataclass
class Key:
    """One who may ask."""

    name: str
    """Name in the file and in the metrics; the scope of its prefix cache."""
    digest: bytes
    """SHA-256 of the key."""
    tokens_per_day: int | None = None
    """Tokens that it may use in a day; None: no limit."""
    used: int = 0
    """Tokens used and reserved since `since`."""
    since: float = 0.0
    """When the current day began."""


class Keys:
    """The keys of a server.

    Args:
        keys: who may ask; none: everybody may, without a key.
        clock: seconds, never going back.
    """

    def __init__(self, keys: Iterable[Key], clock: Callable[[], float]) -> None:
        self._keys = list(keys)
        self._clock = clock

    @property
    def required(self) -> bool:
        """Whether a request needs a key."""
        return bool(self._keys)

    def find(self, authorization: str | None) -> Key | None:
        """The key of a request's Authorization header; None where no key is required.

        Its digest is compared with that of every key, and each comparison takes the same time whatever is equal.

        Raises:
            ApiError: 401: no key, or none of the file.
        """
        if not self.required:
            return None
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise _unauthorized("give an API key: Authorization: Bearer KEY")
        digest = hashlib.sha256(given.strip().encode()).digest()
        found: Key | None = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None:
            raise _unauthorized("the API key is not known to this server")
        return found

    def reserve(self, key: Key | None, tokens: int) -> Reservation:
        """Takes the most tokens that a request can use from its key's day; what it does not use is given back.

        Raises:
            ApiError: 429: fewer are left.
        """
        if key is None:
            return Reservation(None, 0, 0.0)
        now = self._clock()
        if now - key.since >= DAY_SECONDS:
            key.used, key.since = 0, now
        left = None if key.tokens_per_day is None else key.tokens_per_day - key.used
        if left is not None and tokens > left:
            wait = max(1, int(key.since + DAY_SECONDS - now))
            raise ApiError(
                429,
                f"the request can use {tokens} tokens (prompts, and max_tokens of each completion); the key has {left} "
                f"of {key.tokens_per_day} left today. Lower max_tokens or n, or wait {wait} s.",
                code="insufficient_quota",
                headers={"Retry-After": str(wait)},
            )
        key.used += tokens
        return Reservation(key, tokens, key.since)


@dataclass
class Reservation:
    """Tokens that a running request holds of its key's day."""

    key: Key | None
    tokens: int
    since: float

    def settle(self, used: int) -> None:
        """Gives back what was not used; a second call does nothing."""
        if self.key is not None and self.key.since == self.since:
            self.key.used += min(used, self.tokens) - self.tokens
        self.key = None


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def read_keys(path: str | Path, clock: Callable[[], float]) -> Keys:
    """The keys in a TOML file.

    Raises:
        ConfigError: it is missing, malformed, holds a key twice or one that is too short, or holds plain keys and other
            users of the machine may read it.
    """
    where = shown_key(str(path))
    try:
        table = tomllib.loads(read_bytes(path, _LIMIT_BYTES, ConfigError).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} is not TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"the file of API keys cannot be read: {error}") from None
    found = check_value(table, _FILE, where=where, error=ConfigError)["keys"]
    if not found:
        raise ConfigError(f"{where} holds no key; add [keys.NAME] with key = or sha256 =")
    plain = any(entry["key"] for entry in found.values())
    if plain and stat.S_IMODE(os.stat(path).st_mode) & 0o077:
        raise ConfigError(
            f"{where} holds keys and other users may read it; chmod 600 it, or give sha256 instead of key"
        )
    now = clock()
    keys = [Key(name, _digest(where, name, entry), entry["tokens_per_day"], 0, now) for name, entry in found.items()]
    names: dict[bytes, str] = {}
    for key in keys:
        if key.digest in names:
            raise ConfigError(f"{where}: {names[key.digest]} and {key.name} have the same key")
        names[key.digest] = key.name
    return Keys(keys, clock)


def _digest(where: str, name: str, entry: dict[str, str | None]) -> bytes:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: {name!a:.80} cannot name a key: 1 to 64 letters, digits, '_', '-' or '.'")
    key, digest = entry["key"], entry["sha256"]
    if (key is None) == (digest is None):
        raise ConfigError(f"{where}: keys.{name} needs key or sha256, and not both")
    if digest is not None:
        if not _HEX.fullmatch(digest):
            raise ConfigError(f"{where}: keys.{name}.sha256 must be 64 digits of 0-9 a-f")
        return bytes.fromhex(digest)
    assert key is not None
    if len(key) < _LEAST_CHARS or len(key.split()) != 1:
        raise ConfigError(
            f"{where}: keys.{name}.key has {len(key)} characters; give at least {_LEAST_CHARS}, without white space"
        )
    return hashlib.sha256(key.encode()).digest()

"""Settings of a source: what is out of range is refused by name."""

from typing import Any

import pytest

from stategpt.config.sources import SourceConfig
from stategpt.errors import ConfigError


def test_a_source_needs_paths_and_a_share() -> None:
    found = SourceConfig(("raw/**/*.md",), 0.5)
    assert (found.text, found.group, found.invalid_text, found.max_epochs) == ("text", "document", "reject", 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": ()}, r"sources\.paths = \(\): must name at least one"),
        ({"paths": (" ",)}, r"sources\.paths = ' ': must be a path"),
        ({"paths": ("a\0b",)}, r"sources\.paths = .*: must be a path"),
        ({"share": 0.0}, r"sources\.share = 0\.0: must be above 0"),
        ({"share": 1.1}, r"sources\.share = 1\.1: must be above 0 and at most 1"),
        ({"share": float("nan")}, r"sources\.share = nan"),
        ({"format": "a b"}, r"sources\.format = 'a b': must be the name of a reader"),
        ({"text": ""}, r"sources\.text = '': must be the name"),
        ({"group": ""}, r"sources\.group = '': must be document, file, folder"),
        ({"max_epochs": -1.0}, r"sources\.max_epochs = -1\.0: must be 0 or more"),
        ({"invalid_text": "drop"}, r"sources\.invalid_text = 'drop': must be one of reject, replace"),
    ],
)
def test_what_is_out_of_range_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SourceConfig(**{"paths": ("a",), "share": 1.0} | changes)

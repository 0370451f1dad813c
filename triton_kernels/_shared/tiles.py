"""Widths of the rows of attention's work lists (`rust/packing`: query_tiles.rs, key_tiles.rs). Imports nothing."""

QUERY_TILE_FIELDS = 10
"""int32 numbers of a query tile: its first query and the ranges of keys that its steps cover."""
KEY_TILE_FIELDS = 5
"""int32 numbers of a key tile: its first key and the range of queries that its steps cover."""

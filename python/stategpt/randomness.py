"""Counter-based randomness: every draw is f(seed, counters), so there is no generator state to save.

The sampler draws with `(seed, prompt, sample, position)`, the stages shuffle with `(seed, stage, epoch)`. A resumed
run asks for the same counters and gets the same numbers; a sample does not depend on what else is in its batch.

The mixing function is SplitMix64's finalizer (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
2014), applied once per counter. It is integer arithmetic only: the same numbers on every machine and numpy version.

`rust/packing/src/random.rs` gives the same numbers for the same integers, but names differ: a name is its CRC-32 here
and its FNV-1a hash (64 bits) there. Both are fixed. Every sample and shuffle of a run depends on the one, the order of
rows of every mixture on the other; changing either would change results that are reproduced or resumed by seed.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from stategpt.errors import InvalidArgument

Counter = int | str | NDArray[np.integer]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


def _as_uint64(counter: Counter) -> NDArray[np.uint64]:
    if isinstance(counter, str):
        return np.asarray(zlib.crc32(counter.encode()), dtype=np.uint64)
    if isinstance(counter, int) and not 0 <= counter < 2**64:
        found = counter if counter.bit_length() < 128 else f"of {counter.bit_length()} bits"
        problem = "negative" if counter < 0 else "beyond 2^64 - 1"
        raise InvalidArgument(f"counter {found} is {problem}; counters count from 0 and have 64 bits")
    array = np.asarray(counter)
    if array.size and array.min() < 0:
        raise InvalidArgument(f"counter {int(array.min())} is negative; counters count from 0")
    return array.astype(np.uint64)


def bits(seed: Counter, *counters: Counter) -> NDArray[np.uint64]:
    """64 random bits for each combination of the broadcast counters.

    A counter, the seed included, is a whole number >= 0, an array of them, or a name (a stage, say). Their order
    matters.
    """
    with np.errstate(over="ignore"):
        state = _mix(_as_uint64(seed) + _GOLDEN)
        for counter in counters:
            state = _mix((state ^ _as_uint64(counter)) * _SECOND + _GOLDEN)
    return state


def further_uniforms(state: NDArray[np.uint64], counter: Counter) -> NDArray[np.float64]:
    """`uniforms` with one more counter than the `bits` have that `state` holds."""
    with np.errstate(over="ignore"):
        return _as_uniforms(_mix((state ^ _as_uint64(counter)) * _SECOND + _GOLDEN))


def uniforms(seed: Counter, *counters: Counter) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) with 53 bits, one for each combination of the broadcast counters."""
    return _as_uniforms(bits(seed, *counters))


def _as_uniforms(state: NDArray[np.uint64]) -> NDArray[np.float64]:
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(count: int, seed: int, *counters: Counter) -> NDArray[np.int64]:
    """A permutation of `range(count)`: the order in which `count` random keys sort."""
    if count < 0:
        raise InvalidArgument(f"cannot permute {count} items; the count is at least 0")
    return np.argsort(bits(seed, *counters, np.arange(count)), kind="stable").astype(np.int64)


def evenly_spread(order: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """`order` cut into the fewest parts of at most `most` items; their sizes differ by one at most."""
    if most < 1:
        raise InvalidArgument(f"parts of at most {most} items; give 1 or more")
    return np.array_split(order, max(1, -(-len(order) // most)))

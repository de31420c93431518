"""Which posts repeat an earlier one: the same words, or nearly the same, by MinHash with an exact check of what it finds."""

import re
import zlib
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Signature = tuple[int, ...]

SIMILAR: Final = 0.7
"""Jaccard similarity of two posts' word pairs from which the later one is a repeat."""
SHINGLE_WORDS: Final = 2
BANDS: Final = 16
BAND_ROWS: Final = 4
"""Two posts of similarity s share a band with probability 1 - (1 - s⁴)¹⁶: 0.988 at 0.7, 0.12 at 0.3."""

_DROPPED: Final = re.compile(r"https?://\S+|\bwww\.\S+|^\s*rt\s+@\S+|@\w+|/?\bu/\w+")
_WORD: Final = re.compile(r"[a-z0-9]+(?:'[a-z]+)?", re.ASCII)
_SEED: Final = 20_260_531


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a post in lower case, without links, names of users and marks of a re-post."""
    return tuple(_WORD.findall(_DROPPED.sub(" ", text.lower())))


def shingles(words: Sequence[str]) -> frozenset[int]:
    """Return hashes of the word pairs, of the words themselves where there are fewer than two."""
    if len(words) < SHINGLE_WORDS:
        return frozenset(zlib.crc32(word.encode()) for word in words)
    pairs = pairwise(words)
    return frozenset(zlib.crc32(f"{first} {second}".encode()) for first, second in pairs)


def similarity(one: frozenset[int], other: frozenset[int]) -> float:
    """Return the Jaccard similarity of two sets, 1 for two empty ones."""
    union = len(one | other)
    return len(one & other) / union if union else 1.0


@lru_cache(maxsize=65_536)
def _fingerprint(words: tuple[str, ...]) -> tuple[frozenset[int], tuple[Signature, ...]]:
    """Return the shingles of a text and its MinHash signature cut into bands."""
    found = shingles(words)
    hashes = np.fromiter(found, np.uint64, len(found)) if found else np.zeros(1, np.uint64)
    a, b = _multipliers()
    # Multiply-shift on 64 bits that wrap: a universal family that numpy computes without big integers.
    least = ((a[:, None] * hashes[None, :] + b[:, None]) >> np.uint64(32)).min(axis=1).tolist()
    bands = tuple(tuple(least[k : k + BAND_ROWS]) for k in range(0, len(least), BAND_ROWS))
    return found, bands


@lru_cache(maxsize=1)
def _multipliers() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    drawn = np.random.default_rng(_SEED).integers(0, 2**63, (2, BANDS * BAND_ROWS), dtype=np.uint64)
    return drawn[0] * np.uint64(2) + np.uint64(1), drawn[1]


def repeated(times: Int64, texts: Sequence[str], window_ns: int) -> npt.NDArray[np.bool_]:
    """Return which posts repeat one that was known earlier, at most ``window_ns`` before.

    Whether a post is a repeat hangs on the posts of the window before it alone, repeats among them. Posts known at one
    time count in the order given.

    Parameters
    ----------
    times : int64 array, shape (n,)
        When each post was known, not decreasing.
    texts : sequence of str, length n
    window_ns : int

    Returns
    -------
    bool array, shape (n,)

    References
    ----------
    Broder (1997). On the resemblance and containment of documents. Compression and Complexity of Sequences.
    """
    found = np.zeros(len(times), np.bool_)
    kept: list[frozenset[int]] = []
    latest_exact: dict[tuple[str, ...], int] = {}
    buckets: dict[tuple[int, Signature], list[int]] = defaultdict(list)
    for k, (time, text) in enumerate(zip(times.tolist(), texts, strict=True)):
        words = words_of(text)
        pairs, bands = _fingerprint(words)
        kept.append(pairs)
        oldest = time - window_ns
        same = latest_exact.get(words)
        found[k] = same is not None and same > oldest
        seen: set[int] = set()
        for number, band in enumerate(bands):
            bucket = buckets[number, band]
            if not found[k]:
                for place in reversed(bucket):
                    if times[place] <= oldest:
                        break
                    if place not in seen:
                        seen.add(place)
                        if similarity(pairs, kept[place]) >= SIMILAR:
                            found[k] = True
                            break
            bucket.append(k)
        latest_exact[words] = time
    return found

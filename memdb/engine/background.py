"""A sample of each stream's clips: what its camera usually sees.

The clips with the least hash of their number, of all that are there at a revision.  So it is the same
whenever that revision is asked about, whatever came later; a clip that comes seldom changes it, and one
that goes only where it was in it.  Nothing of it is stored.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.index.partition import Filter, PartitionView
from memdb.types.arrays import Array

SAMPLE_CLIPS: Final = 8
"""Of each stream; 16 weighed tokens no better (`docs/tried.md`)."""
_SAMPLE_CLIPS_MIN: Final = 2
_LOW_PER_CLIP: Final = 8
"""So many rows for each of the sample are looked at closely."""
_SAMPLES_MAX: Final = 256
"""Of all streams together, where that leaves each its minimum."""


def sampled_rows(
    partition: PartitionView, stream_nos: tuple[int, ...], as_of: int | None
) -> dict[int, Array]:
    """Rows of at most `SAMPLE_CLIPS` clips with short-term memory, by stream number; of fewer where there
    are many streams.
    """
    count = _SAMPLES_MAX // max(1, len(stream_nos))
    count = min(SAMPLE_CLIPS, max(_SAMPLE_CLIPS_MIN, count))
    there = partition.allowed(Filter(stream_nos), as_of)
    has_memory = partition.columns["short_memory_bytes"] > 0
    rows = np.flatnonzero(has_memory if there is None else there & has_memory)
    streams = partition.columns["stream_no"][rows]
    hashes = _hashed(partition.columns["clip_no"][rows])
    low = _low(streams, hashes, count)
    rows, streams, hashes = rows[low], streams[low], hashes[low]
    order = np.lexsort((hashes, streams))
    rows, streams = rows[order], streams[order]
    found: dict[int, Array] = {}
    for stream_no in stream_nos:
        begin, end = np.searchsorted(streams, (stream_no, stream_no + 1))
        found[stream_no] = rows[begin : min(end, begin + count)]
    return found


def _low(streams: Array, hashes: Array, count: int) -> Array:
    """(n,) bool of rows that may be among the ``count`` least of their stream: to sort a million takes
    longer than the rest of a question.
    """
    clips = np.bincount(streams)
    share = np.minimum(1.0, _LOW_PER_CLIP * count / np.maximum(clips, 1))
    low = np.asarray(hashes * 2.0**-64 <= share[streams])
    # Hashes are as good as random: that a stream has too few low ones will not be seen.
    too_few = np.bincount(streams[low], minlength=len(clips)) < np.minimum(clips, count)
    return low | too_few[streams]


def _hashed(numbers: Array) -> Array:
    """splitmix64 of (n,) u64, after Steele, Lea and Flood: one to one, so no two clips are equal."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))

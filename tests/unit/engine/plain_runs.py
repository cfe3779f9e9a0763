"""Runs of plain clips, as the native edge has read them."""

from __future__ import annotations

import memdb_edge

from memdb.server.plain_clips import runs_of
from memdb.types.clip import Clip
from memdb.types.plain_run import PlainRun
from memdb.wire.ingest import ingest_parts


def message(clips: list[Clip]) -> memdb_edge.PlainClips:
    """Clips of which all are plain to the edge."""
    data = b"".join(bytes(part) for clip in clips for part in ingest_parts(clip))
    read = memdb_edge.read_clips(data)
    assert read is not None
    return read


def runs(clips: list[Clip]) -> list[PlainRun]:
    """Those of clips of one epoch that have nothing but vectors."""
    found = runs_of(message(clips), clips[0].epoch)
    assert found is not None
    return found


def some_runs(clips: list[Clip]) -> list[PlainRun]:
    """`runs`; none where one of them has more than vectors, or is not plain to the edge."""
    data = b"".join(bytes(part) for clip in clips for part in ingest_parts(clip))
    read = memdb_edge.read_clips(data)
    return [] if read is None else runs_of(read, clips[0].epoch) or []

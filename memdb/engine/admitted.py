"""The filters of a recall, as what the index of texts goes by."""

from __future__ import annotations

import numpy as np

from memdb.engine.state import numbered
from memdb.engine.view import View
from memdb.index.partition import Filter
from memdb.index.text_filter import TextFilter
from memdb.types.arrays import Array
from memdb.types.recall_filter import RecallFilter


def text_filter(
    view: View, which: RecallFilter, as_of: int | None, valid_at_ns: int | None
) -> TextFilter:
    """What ``which`` admits on ``view``, or as of an earlier revision.

    valid_at_ns: when facts are to hold, None for any.  Raises `NotFound` (``STREAM_NOT_FOUND``).
    """
    stream_nos = view.stream_nos(which.streams, as_of)
    zones: dict[int, str] = {}
    if which.calendar is not None:
        zones = {one.no: one.zone for one in numbered(view.state.streams.values(), stream_nos)}
    return TextFilter(
        which.utterances,
        which.facts,
        stream_nos,
        which.start_ns,
        which.end_ns,
        _labelled(view, which, stream_nos, as_of),
        valid_at_ns,
        which.calendar,
        zones,
        None if which.about is None else view.texts.about(which.about),
    )


def _labelled(
    view: View, which: RecallFilter, stream_nos: tuple[int, ...] | None, as_of: int | None
) -> Array | None:
    """Numbers of the clips, of any space, whose version then has the labels."""
    if not which.labels:
        return None
    # No times: what was said is asked for by its own, which may lie beside those of its clip.
    labelled = Filter(stream_nos, labels=which.labels)
    found = [np.empty(0, np.uint64)]
    for partition in view.partitions.values():
        rows = partition.allowed(labelled, as_of)
        assert rows is not None, "labels restrict"
        found.append(partition.columns["clip_no"][rows])
    return np.concatenate(found)

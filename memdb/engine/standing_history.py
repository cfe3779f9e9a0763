"""Back-tests: what a standing question would have told of the clips that are stored.

In event time, of the versions that are current; a watch tells the same of clips that come in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb import deadline
from memdb.engine.calendar_rows import within_calendar
from memdb.engine.footage import searched_streams
from memdb.engine.standing_past_relevance import scores_and_relevances
from memdb.engine.standing_questions import exact_score, rounding
from memdb.engine.view import View
from memdb.index.partition import Filter, PartitionView
from memdb.store.idents import IdKind, make_id
from memdb.types.arrays import Array
from memdb.types.standing import Alert, Backtest, StandingSpec, ThresholdCount

_POINTS: Final = 21
_BLOCK_ROWS: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class _History:
    """Clips in the order of their starts."""

    clip_no: Array
    stream_no: Array
    start_ns: Array
    end_ns: Array
    scores: Array
    """float64, of what is told: of a sequence of what follows."""
    values: Array
    """float64: what the bar is for, scores or relevances."""
    then_values: Array | None


@dataclass(frozen=True, slots=True)
class _Told:
    """Places of what would have been told; -1 where there is no such clip."""

    happened_ns: Array
    clip: Array
    earlier: Array


def backtest(
    view: View,
    spec: StandingSpec,
    stream_nos: tuple[int, ...] | None,
    space_no: int | None,
    as_of: int | None,
    times: tuple[int | None, int | None],
    thresholds: tuple[float, ...] | None,
    limit: int,
) -> Backtest:
    """What the question would have told of the clips within ``times`` at a commit."""
    revision = view.revision if as_of is None else as_of
    partition = None if space_no is None else view.partitions.get(space_no)
    history = None
    if partition is not None:
        which = Filter(stream_nos, *times, sealed_only=spec.sealed_only, labels=spec.only.labels)
        allowed = partition.allowed(which, as_of)
        if spec.only.calendar is not None:
            streams = searched_streams(view.state, stream_nos, space_no, revision)
            allowed = within_calendar(spec.only.calendar, partition, allowed, streams)
        history = _history(partition, spec, allowed, (_bar(spec), *(thresholds or ())))
    if history is None or not len(history.clip_no):
        points = thresholds or (_bar(spec),)
        return Backtest(tuple(ThresholdCount(t, 0) for t in points), (), 0, revision)
    to_one = spec.min_relevance is not None or (partition is not None and partition.cosine)
    points = thresholds or _default_thresholds(spec, history, to_one=to_one)
    curve = tuple(ThresholdCount(t, len(_told(spec, history, t, times).clip)) for t in points)
    told = _told(spec, history, _bar(spec), times)
    alerts = tuple(
        _alert(view, spec, history, told, place, revision)
        for place in range(max(0, len(told.clip) - limit), len(told.clip))
    )
    return Backtest(curve, alerts, len(history.clip_no), revision)


def _history(
    partition: PartitionView,
    spec: StandingSpec,
    allowed: Array | None,
    thresholds: tuple[float, ...],
) -> _History:
    measure = _scores if spec.min_relevance is None else scores_and_relevances
    rows, scores, values = measure(partition, spec.feature, allowed, thresholds)
    then = None
    if spec.then_feature is not None:
        _, scores, then = measure(partition, spec.then_feature, allowed, thresholds)
    column = partition.columns
    order = np.lexsort((column["clip_no"][rows], column["start_ns"][rows]))
    rows = rows[order]
    return _History(
        column["clip_no"][rows],
        column["stream_no"][rows],
        column["start_ns"][rows],
        column["end_ns"][rows],
        scores[order],
        values[order],
        None if then is None else then[order],
    )


def _bar(spec: StandingSpec) -> float:
    """The score or the relevance that is needed."""
    bar = spec.min_score if spec.min_relevance is None else spec.min_relevance
    assert bar is not None, "it has one of them"
    return bar


def _scores(
    partition: PartitionView, feature: Array, allowed: Array | None, thresholds: tuple[float, ...]
) -> tuple[Array, Array, Array]:
    """(rows, float64 scores, the same) of the allowed; those so close to a threshold that rounding decides
    are what a watch compares.
    """
    probe = partition.unit(feature)
    rows, quick = partition.scores(probe, allowed)
    scores = quick.astype(np.float64)
    slack = rounding(partition.matrix.norm_max, probe)
    # What overflowed in float32 is no number, or the wrong one.
    near = ~np.isfinite(scores)
    for threshold in thresholds:
        deadline.check()
        near |= np.abs(scores - threshold) <= slack
    places = np.flatnonzero(near)
    for begin in range(0, len(places), _BLOCK_ROWS):
        deadline.check()
        block = places[begin : begin + _BLOCK_ROWS]
        for place, vector in zip(block, partition.matrix.take(rows[block]), strict=True):
            scores[place] = exact_score(vector, probe)
    return rows, scores, scores


def _default_thresholds(
    spec: StandingSpec, history: _History, *, to_one: bool
) -> tuple[float, ...]:
    """From no likeness to the same in a cosine space, as of relevances; elsewhere over the scores that there
    are.
    """
    low, high = (0.0, 1.0) if to_one else (history.values.min(), history.values.max())
    points = [round(float(point), 12) for point in np.linspace(low, high, _POINTS)]
    return tuple(sorted({*points, _bar(spec)}))


def _told(
    spec: StandingSpec, history: _History, threshold: float, times: tuple[int | None, int | None]
) -> _Told:
    deadline.check()
    matched = np.flatnonzero(history.values >= threshold)
    starts = history.start_ns[matched]
    if spec.kind == "absent":
        return _absences(spec, history, matched, times)
    if spec.kind == "sequence":
        assert history.then_values is not None, "of a sequence"
        ends = np.flatnonzero(history.then_values >= threshold)
        before = _before(starts, history.start_ns[ends], spec.window_ns or 0)
        kept = ends[before >= 0]
        return _Told(history.start_ns[kept], kept, matched[before[before >= 0]])
    nothing = np.full(len(matched), -1)
    if spec.window_ns is not None:
        quiet = _before(starts, starts, spec.window_ns) < 0
        matched, starts, nothing = matched[quiet], starts[quiet], nothing[quiet]
    return _Told(starts, matched, nothing)


def _before(starts: Array, moments: Array, window_ns: int) -> Array:
    """For each moment the place of the latest start before it within the window, else -1."""
    places = np.searchsorted(starts, moments, "left") - 1
    if not len(starts):
        return np.full(len(moments), -1)
    near = (places >= 0) & (moments - starts[places] <= window_ns)
    return np.where(near, places, -1)


def _absences(
    spec: StandingSpec,
    history: _History,
    matched: Array,
    times: tuple[int | None, int | None],
) -> _Told:
    """From the begin of the time (or the first clip) to its end (or the last), between matches."""
    begin_ns = int(history.start_ns[0]) if times[0] is None else times[0]
    until_ns = int(history.end_ns.max()) if times[1] is None else times[1]
    window_ns = spec.window_ns or 0
    # What ends last of all until then; a clip within another does not count anew.
    ends = np.maximum(history.end_ns[matched], begin_ns)
    bases = np.concatenate([[begin_ns], np.maximum.accumulate(ends)]) if len(ends) else [begin_ns]
    bases = np.asarray(bases, np.int64)
    last = np.full(len(bases), -1)
    if len(ends):
        is_later = np.append(True, ends[1:] > bases[1:-1])
        places = np.maximum.accumulate(np.where(is_later, np.arange(len(ends)), 0))
        last[1:] = matched[places]
    next_ns = np.append(history.start_ns[matched], until_ns)
    absent = np.flatnonzero(next_ns >= bases + window_ns)
    # A base that the next match did not move is the same absence.
    _, first = np.unique(bases[absent], return_index=True)
    absent = absent[first]
    return _Told(bases[absent] + window_ns, np.full(len(absent), -1), last[absent])


def _alert(
    view: View, spec: StandingSpec, history: _History, told: _Told, place: int, revision: int
) -> Alert:
    def clip_id(at: int) -> str | None:
        if at < 0:
            return None
        return make_id(view.state.id_key, IdKind.CLIP, int(history.clip_no[at]))

    at, earlier = int(told.clip[place]), int(told.earlier[place])
    is_clip = at >= 0
    return Alert(
        "",
        "",
        spec.kind,
        revision,
        int(told.happened_ns[place]),
        float(history.scores[at]) if is_clip else None,
        clip_id(at),
        view.state.stream_names[int(history.stream_no[at])] if is_clip else None,
        int(history.start_ns[at]) if is_clip else None,
        int(history.end_ns[at]) if is_clip else None,
        clip_id(earlier),
        "",
    )

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
from memdb.types.space import Space
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


_NO_NUMBERS: Final = np.empty(0, np.int64)
_NO_VALUES: Final = np.empty(0)
_NOTHING: Final = _History(
    _NO_NUMBERS, _NO_NUMBERS, _NO_NUMBERS, _NO_NUMBERS, _NO_VALUES, _NO_VALUES, _NO_VALUES
)


@dataclass(frozen=True, slots=True)
class _Told:
    """Places of what would have been told; -1 where there is no such clip."""

    happened_ns: Array
    clip: Array
    earlier: Array


_NONE_TOLD: Final = _Told(_NO_NUMBERS, _NO_NUMBERS, _NO_NUMBERS)


def backtest(
    view: View,
    spec: StandingSpec,
    stream_nos: tuple[int, ...] | None,
    space_no: int | None,
    space: Space | None,
    as_of: int | None,
    times: tuple[int | None, int | None],
    thresholds: tuple[float, ...] | None,
    limit: int,
) -> Backtest:
    """What the question would have told of the clips within ``times`` at a commit.

    space: that of ``space_no``; where the user has no stream in it, the one that the question names.
    """
    revision = view.revision if as_of is None else as_of
    partition = None if space_no is None else view.partitions.get(space_no)
    history, bar = _NOTHING, _bar(spec)
    is_cosine = space is not None and space.metric == "cosine"
    points = thresholds or ()
    if not points and (spec.min_relevance is not None or is_cosine):
        # Known before what is compared with them, so that it can be looked at closely.
        points = _points(0.0, 1.0, bar)
    if partition is not None:
        which = Filter(stream_nos, *times, sealed_only=spec.sealed_only, labels=spec.only.labels)
        allowed = partition.allowed(which, as_of)
        if spec.only.calendar is not None:
            streams = searched_streams(view.state, stream_nos, space_no, revision)
            allowed = within_calendar(spec.only.calendar, partition, allowed, streams)
        history = _history(partition, spec, allowed, (bar, *points))
        if not points:
            points = _points_over(history.values, bar)
            history = _history(partition, spec, allowed, points)  # as close to those as to the bar
    points = points or (bar,)
    span = _span(view, history, as_of, times) if spec.kind == "absent" else None
    curve = tuple(ThresholdCount(t, len(_told(spec, history, t, span).clip)) for t in points)
    told = _told(spec, history, bar, span)
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


def _points_over(scores: Array, bar: float) -> tuple[float, ...]:
    """Of inner products, which have no bounds: over those that there are."""
    if not len(scores):
        return (bar,)
    return _points(float(scores.min()), float(scores.max()), bar)


def _points(low: float, high: float, bar: float) -> tuple[float, ...]:
    points = [round(float(point), 12) for point in np.linspace(low, high, _POINTS)]
    return tuple(sorted({*points, bar}))


def _span(
    view: View, history: _History, as_of: int | None, times: tuple[int | None, int | None]
) -> tuple[int, int] | None:
    """From when to when an absence is looked for; None where nobody can say.

    Where the caller names no end, to what the user's clock shows with the newest commit (`UserClock`): that is moved
    by every clip, also by those that the question does not look at.
    """
    begin_ns, until_ns = times
    if begin_ns is None and len(history.start_ns):
        begin_ns = int(history.start_ns[0])
    if until_ns is None:
        until_ns = _newest_end_ns(view, as_of)
    return None if begin_ns is None or until_ns is None else (begin_ns, until_ns)


def _newest_end_ns(view: View, as_of: int | None) -> int | None:
    """The end of the user's clip that ends last, of any space."""
    newest: list[int] = []
    for partition in view.partitions.values():
        alive = partition.allowed(Filter(), as_of)
        ends = partition.columns["end_ns"] if alive is None else partition.columns["end_ns"][alive]
        if len(ends):
            newest.append(int(ends.max()))
    return max(newest, default=None)


def _told(
    spec: StandingSpec, history: _History, threshold: float, span: tuple[int, int] | None
) -> _Told:
    """span: of what is absent."""
    deadline.check()
    matched = np.flatnonzero(history.values >= threshold)
    starts = history.start_ns[matched]
    if spec.kind == "absent":
        return _NONE_TOLD if span is None else _absences(spec, history, matched, span)
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
    spec: StandingSpec, history: _History, matched: Array, span: tuple[int, int]
) -> _Told:
    """Within the span, between matches."""
    begin_ns, until_ns = span
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

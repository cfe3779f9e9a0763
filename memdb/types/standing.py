"""Standing questions: asked once, answered whenever a clip comes that answers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from memdb.errors import InvalidArgument
from memdb.types.arguments import checked_streams
from memdb.types.arrays import Array, VectorLike, as_vector
from memdb.types.calendar import HourOfDay, Weekday, checked_calendar
from memdb.types.checks import (
    check_choice,
    check_flag,
    check_iterable,
    check_number,
    check_text,
)
from memdb.types.clip_filter import EVERY_CLIP, ClipFilter
from memdb.types.ids import check_id
from memdb.types.label_filter import LabelFilter, Not, WantedLabels, checked_labels, values_of
from memdb.types.limits import STANDING_LABEL_CHARS_MAX
from memdb.types.shown import shown

KINDS: Final = ("seen", "sequence", "absent")
"""What a standing question waits for.

``seen``
    a clip that matches; with ``window_s``, one that follows no other match within so long.
``sequence``
    a clip that matches ``then_feature`` and begins at most ``window_s`` after one that matches the
    question.
``absent``
    ``window_s`` without a clip that matches.
"""

WINDOW_S_MIN: Final = 0.001
WINDOW_S_MAX: Final = 366 * 24 * 3600
THRESHOLDS_MAX: Final = 1000
"""Points of the curve of a back-test."""
COSINE_MAX: Final = 1.00001
"""What a clip may score in a cosine space: vectors are of unit length but for rounding."""
CURSOR_CHARS_MAX: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class StandingSpec:
    """A standing question as it is asked: checked, and not stored yet."""

    feature: Array
    """(dim,) float32 or float16."""
    min_score: float | None
    """None where there is a `min_relevance`."""
    kind: str
    then_feature: Array | None
    window_ns: int | None
    streams: tuple[str, ...] | None
    space: str | None
    sealed_only: bool
    text: str
    min_relevance: float | None = None
    only: ClipFilter = EVERY_CLIP


def checked_standing(
    question_feature: VectorLike,
    *,
    min_score: float | None,
    kind: str,
    then_feature: VectorLike | None,
    window_s: float | None,
    streams: Sequence[str] | None,
    space: str | None,
    sealed_only: bool,
    text: str,
    min_relevance: float | None = None,
    labels: WantedLabels | None = None,
    hours: Iterable[Sequence[HourOfDay]] | None = None,
    weekdays: Iterable[Weekday] | None = None,
    zone: str | None = None,
) -> StandingSpec:
    """The question of a call.

    Raises `InvalidArgument` naming the field; ``BAD_KIND``, ``THEN_REQUIRED``, ``WINDOW_REQUIRED``,
    ``NOT_OF_KIND``, ``BAR_REQUIRED`` and ``TWO_BARS`` where the parts do not belong together; of labels, hours,
    weekdays and zone as `User.ground`.
    """
    _check_bars(min_score, min_relevance)
    kind = check_choice(kind, KINDS, "kind", "BAD_KIND")
    feature = as_vector(question_feature, "question_feature")
    then = None if then_feature is None else as_vector(then_feature, "then_feature")
    if kind == "sequence" and then is None:
        raise InvalidArgument(
            "a sequence needs what follows", reason="THEN_REQUIRED", field="then_feature"
        )
    if kind != "sequence" and then is not None:
        raise InvalidArgument(
            "only a sequence has what follows",
            reason="NOT_OF_KIND",
            field="then_feature",
            value=kind,
        )
    if then is not None and then.shape != feature.shape:
        raise InvalidArgument(
            f"expected dim {len(feature)}",
            reason="DIM_MISMATCH",
            field="then_feature",
            value=len(then),
        )
    if kind != "seen" and window_s is None:
        raise InvalidArgument(
            "say within what time, or for how long",
            reason="WINDOW_REQUIRED",
            field="window_s",
            value=kind,
        )
    window_ns = None
    if window_s is not None:
        window_ns = round(check_number(window_s, "window_s", WINDOW_S_MIN, WINDOW_S_MAX) * 1e9)
    return StandingSpec(
        feature,
        None if min_score is None else check_number(min_score, "min_score"),
        kind,
        then,
        window_ns,
        checked_streams(streams),
        None if space is None else check_id(space, "space"),
        check_flag(sealed_only, "sealed_only"),
        check_text(text, "text", may_be_empty=True),
        None if min_relevance is None else _checked_relevance(min_relevance),
        ClipFilter(_checked_labels(labels), checked_calendar(hours, weekdays, zone)),
    )


def _checked_labels(labels: WantedLabels | None) -> LabelFilter:
    """Such as a user may keep ten thousand of."""
    wanted = checked_labels(labels)
    chars = sum(len(key) + sum(map(len, values_of(values))) for key, values in wanted)
    if chars > STANDING_LABEL_CHARS_MAX:
        raise InvalidArgument(
            f"more than {STANDING_LABEL_CHARS_MAX} characters",
            reason="TOO_LARGE",
            field="labels",
            value=chars,
        )
    return wanted


def _check_bars(min_score: object, min_relevance: object) -> None:
    if min_score is None and min_relevance is None:
        raise InvalidArgument(
            "say what a clip must score, or how relevant it must be",
            reason="BAR_REQUIRED",
            field="min_score",
        )
    if min_score is not None and min_relevance is not None:
        raise InvalidArgument(
            "a score or a relevance, not both",
            reason="TWO_BARS",
            field="min_relevance",
            value=min_relevance,
        )


def _checked_relevance(min_relevance: float) -> float:
    least = check_number(min_relevance, "min_relevance", 0.0, 1.0, above=True)
    if least == 1.0:
        # No clip ever is certain.
        raise InvalidArgument(
            "a number between 0 and 1",
            reason="OUT_OF_RANGE",
            field="min_relevance",
            value=min_relevance,
        )
    return least


def checked_name(name: str | None) -> str:
    """The name under which a question is created once, empty for none; raises `InvalidArgument`."""
    return "" if name is None else check_id(name, "name")


def checked_thresholds(thresholds: Sequence[float] | None) -> tuple[float, ...] | None:
    """The scores at which a back-test counts, ascending; None for the default.

    Raises `InvalidArgument` (``EMPTY``, ``TOO_LARGE``, ``OUT_OF_RANGE``, ``BAD_TYPE``).
    """
    if thresholds is None:
        return None
    found: set[float] = set()
    for index, threshold in enumerate(check_iterable(thresholds, "thresholds")):
        if index >= THRESHOLDS_MAX:
            raise InvalidArgument(
                f"more than {THRESHOLDS_MAX} items", reason="TOO_LARGE", field="thresholds"
            )
        found.add(check_number(threshold, f"thresholds[{index}]"))
    if not found:
        # No threshold in Python would be the default on the wire.
        raise InvalidArgument(
            "name at least one threshold, or None", reason="EMPTY", field="thresholds"
        )
    return tuple(sorted(found))


def checked_cursor(cursor: str | None) -> str | None:
    """Where a watch begins; raises `InvalidArgument`."""
    return None if cursor is None else check_text(cursor, "cursor", CURSOR_CHARS_MAX)


@dataclass(frozen=True, slots=True, eq=False)
class StandingQuestion:
    """A standing question as it is stored; it is removed, never changed."""

    id: str
    """32 hexadecimal digits."""
    user: str
    kind: str
    """One of `KINDS`."""
    feature: Array
    """(dim,) in the space."""
    min_score: float | None
    """What a clip must score, in the space's unit: a cosine in a cosine space; None where there is a
    ``min_relevance``."""
    then_feature: Array | None
    """(dim,) of what follows; of a ``sequence`` alone."""
    window_s: float | None
    """In event time: the quiet time of ``seen``, within which a ``sequence`` ends, how long ``absent``."""
    streams: tuple[str, ...] | None
    """None for all streams of the space, those to come included."""
    space: str
    """Name of the space that it asks in."""
    sealed_only: bool
    """Whether growing clips are passed over until they are sealed."""
    text: str
    """The question in words, for people."""
    revision: int
    """The commit that created it; clips of later commits are looked at."""
    created_ns: int
    """Wall clock."""
    armed_ns: int
    """Event time from which ``absent`` counts."""
    min_relevance: float | None = None
    """How relevant a clip must be, as of the commit that brings it."""
    name: str | None = None
    """Under which it was created, where it is asked for once; free again when it is removed."""
    labels: Mapping[str, tuple[str, ...] | Not] | None = None
    """Only clips with one of the values of each key, or with none of a `Not`; None: whatever their labels."""
    hours: tuple[tuple[str, str], ...] | None = None
    """Only clips with a moment in these hours of the day, (start, end) of the clock; None: all day."""
    weekdays: tuple[int, ...] | None = None
    """Days on which the hours begin, ascending, 0 is Monday; None: every day."""
    zone: str | None = None
    """By whose clock; None: that of each clip's stream."""

    @property
    def only(self) -> ClipFilter:
        """Labels, hours, weekdays and zone as one."""
        return ClipFilter.taken(self.labels, self.hours, self.weekdays, self.zone)

    def __repr__(self) -> str:
        return shown(self)


@dataclass(frozen=True, slots=True)
class Alert:
    """One answer to a standing question.

    Told at least once: the same answer has the same ``id`` whenever and to whomever it is told.
    """

    id: str
    """32 hexadecimal digits, of the question and of what answers it."""
    question_id: str
    """Of the question that is answered."""
    kind: str
    """Of the question."""
    revision: int
    """The commit with which it was known."""
    happened_ns: int
    """Event time: start of the clip; of ``absent`` when the time was over."""
    score: float | None
    """Of the clip; None of ``absent``."""
    clip_id: str | None
    """The clip that answers; None of ``absent``."""
    stream: str | None
    """The clip's; None of ``absent``."""
    start_ns: int | None
    """Of the clip, UTC nanoseconds; None of ``absent``."""
    end_ns: int | None
    earlier_clip_id: str | None
    """The clip that the sequence began with; of ``absent`` the last one that matched, if any."""
    cursor: str
    """Where to go on after it: `standing.watch(cursor=...)`; empty in a back-test."""

    def __repr__(self) -> str:
        return shown(self)


@dataclass(frozen=True, slots=True)
class ThresholdCount:
    """One point of the curve of a back-test."""

    threshold: float
    """A score, or a relevance where the question asks for one."""
    alerts: int
    """How often it would have told at that threshold."""


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a standing question would have told of what is stored."""

    curve: tuple[ThresholdCount, ...]
    """By threshold, ascending."""
    alerts: tuple[Alert, ...]
    """Those of the question's ``min_score`` or ``min_relevance``, the newest ``limit``, in event time."""
    clips: int
    """Clips that were looked at."""
    revision: int
    """The commit that it was taken at."""

    def __repr__(self) -> str:
        return shown(self)

"""Arguments of the calls of `memdb.types.database`, checked in one place for every transport.

The engine, the requests on the wire and the clients use the same functions, so the same call is
refused with the same class, reason, field and value wherever it is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from memdb.errors import InvalidArgument, NotFound
from memdb.types import limits
from memdb.types.arrays import Array, VectorLike, as_vector
from memdb.types.checks import (
    check_int,
    check_many,
    check_number,
    check_range,
    check_text,
    is_integer,
    plain,
)
from memdb.types.fact import About
from memdb.types.grounding import TOKENS_POLICY, AsOf
from memdb.types.ids import check_id
from memdb.types.snapshot import Snapshot
from memdb.types.times import Time, as_ns, optional_ns

REVISION_MAX: Final = 2**63 - 1


def checked_key(key: object, field: str = "key") -> str:
    """The key of a value or of a fact; raises `InvalidArgument`."""
    text = check_text(key, field, limits.KEY_BYTES_MAX)
    if len(text.encode()) > limits.KEY_BYTES_MAX:
        # LMDB keys have at most 511 bytes.
        raise InvalidArgument(
            f"a key has at most {limits.KEY_BYTES_MAX} bytes of UTF-8",
            reason="TOO_LARGE",
            field=field,
            value=text,
        )
    return text


def checked_prefix(prefix: object) -> str:
    """What keys begin with: nothing, or the letters of a key; raises `InvalidArgument`."""
    return "" if isinstance(prefix, str) and not prefix else checked_key(prefix, "prefix")


def checked_reference(value: object, field: str) -> str:
    """The id of a clip or fact, as text.

    An id is opaque: whether anything has it only the store can say (`NotFound`).  What is no text
    raises `InvalidArgument`.
    """
    if not isinstance(value, str):
        raise InvalidArgument(
            "expected an id, which is text: the `clip_id` of an Ack, the `id` of a clip, fact or question",
            reason="BAD_TEXT",
            field=field,
            value=type(value).__name__,
        )
    return check_text(value, field, limits.REFERENCE_CHARS_MAX)


def checked_references(values: Iterable[str], field: str, maximum: int) -> tuple[str, ...]:
    """At most ``maximum`` ids of clips; raises `InvalidArgument`, naming the index of a bad one."""
    items = check_many(values, object, field, maximum)
    return tuple(checked_reference(item, f"{field}[{i}]") for i, item in enumerate(items))


def checked_evidence(evidence: Iterable[str]) -> tuple[str, ...]:
    """The clips that support a fact; raises `InvalidArgument`."""
    return checked_references(evidence, "evidence", limits.EVIDENCE_MAX)


def checked_clip_ids(clip_ids: Iterable[str]) -> tuple[str, ...]:
    """The clips that are asked for by their ids; raises `InvalidArgument`."""
    return checked_references(clip_ids, "clip_ids", limits.LIMIT_MAX)


def checked_fact_name(fact_id: str | None, key: str | None) -> tuple[str | None, str | None]:
    """What names a fact, its id or its key; raises `InvalidArgument` (``EMPTY``, ``AMBIGUOUS``, ...)."""
    if fact_id is not None and key is not None:
        raise InvalidArgument(
            "name a fact by its id or by its key, not both", reason="AMBIGUOUS", field="key"
        )
    if key is not None:
        return None, checked_key(key)
    if fact_id is None:
        raise InvalidArgument(
            "name a fact by its id or by its key", reason="EMPTY", field="fact_id"
        )
    return checked_reference(fact_id, "fact_id"), None


def checked_about(about: Iterable[str], field: str = "about") -> tuple[str, ...]:
    """The things that a fact is about; raises `InvalidArgument`."""
    names = check_many(about, str, field, limits.ABOUT_MAX)
    return tuple(checked_thing(name, f"{field}[{index}]") for index, name in enumerate(names))


def checked_abouts(about: About | None) -> tuple[str, ...] | None:
    """What facts of a filter are about, None for anything; raises `InvalidArgument` (``EMPTY``, ...)."""
    if about is None:
        return None
    if isinstance(about, str):
        return (checked_thing(about),)
    names = checked_about(about)
    if not names:
        # None in Python would be all on the wire.
        raise InvalidArgument(
            "name at least one thing, or None for all", reason="EMPTY", field="about"
        )
    return tuple(dict.fromkeys(names))


def checked_thing(name: object, field: str = "about") -> str:
    """One thing that facts are about; raises `InvalidArgument`."""
    return check_text(name, field, limits.LABEL_VALUE_CHARS_MAX)


def checked_streams(streams: Iterable[str] | None) -> tuple[str, ...] | None:
    """Stream names of a filter, None for all; raises `InvalidArgument`."""
    if streams is None:
        return None
    names = check_many(streams, object, "streams", limits.STREAMS_FILTER_MAX)
    if not names:
        # No stream in Python would be every stream on the wire.
        raise InvalidArgument(
            "name at least one stream, or None for all", reason="EMPTY", field="streams"
        )
    for name in names:
        if not isinstance(name, str):
            raise InvalidArgument(
                "a stream is named by its name (Stream.name)",
                reason="BAD_ID",
                field="streams",
                value=name,
            )
    return tuple(check_id(name, "streams") for name in names)


def checked_stream_names(
    stream: str | None, streams: Iterable[str] | None
) -> tuple[tuple[str, ...] | None, str]:
    """The streams of an option that names one and one that names several, None for all, and which option it was.

    Raises `InvalidArgument` (``NOT_USED`` where both are given).
    """
    if stream is None:
        return checked_streams(streams), "streams"
    if streams is not None:
        raise InvalidArgument(
            "name one stream, or several, not both", reason="NOT_USED", field="streams"
        )
    return (check_id(stream, "stream"),), "stream"


def checked_times(start_ns: Time | None, end_ns: Time | None) -> tuple[int | None, int | None]:
    """A time range; raises `InvalidArgument` (``TIME_RANGE``) where nothing lies in it."""
    start, end = optional_ns(start_ns, "start_ns"), optional_ns(end_ns, "end_ns")
    if start is not None and end is not None:
        check_range(start, end, "end_ns")
        if start == end:
            # Of a moment it would find the clip that goes on through it, and not the one that begins with it.
            raise InvalidArgument(
                "the range is empty: its end is exclusive",
                reason="TIME_RANGE",
                field="end_ns",
                value=f"[{start}, {end})",
            )
    return start, end


def checked_as_of(as_of: AsOf | None) -> int | datetime | str | Snapshot | None:
    """A past moment: a revision, a commit time, a snapshot or its name.

    Raises `InvalidArgument`, and `NotFound` (``REVISION_NOT_FOUND``) for a number that no revision
    can have.
    """
    if as_of is None:
        return None
    if isinstance(as_of, str):
        if limits.ID_PATTERN.match(as_of) is None:
            raise InvalidArgument(
                "text is the name of a snapshot, and no snapshot has this one; a time is given as an aware datetime",
                reason="BAD_ID",
                field="as_of",
                value=as_of,
            )
        return plain(as_of)
    if isinstance(as_of, datetime):
        as_ns(as_of, "as_of")
        return as_of
    if isinstance(as_of, Snapshot):
        _checked_revision(as_of.revision)
        check_id(as_of.name, "as_of")
        check_id(as_of.user, "as_of")
        for time_ns in (as_of.created_ns, as_of.expires_ns):
            check_int(time_ns, "as_of", -(2**63), 2**63 - 1)
        return as_of
    return _checked_revision(as_of)


def _checked_revision(revision: object) -> int:
    """A revision that ``as_of`` may name."""
    if not is_integer(revision):
        raise InvalidArgument(
            "expected a revision, an aware datetime or a snapshot",
            reason="BAD_TYPE",
            field="as_of",
            value=type(revision).__name__,
        )
    if not 0 <= revision <= REVISION_MAX:
        raise NotFound(
            "no such revision", reason="REVISION_NOT_FOUND", field="as_of", value=int(revision)
        )
    return int(revision)


def checked_revision(revision: int | None, field: str = "min_revision") -> int | None:
    """A revision that a caller may have given; raises `InvalidArgument`."""
    return None if revision is None else check_int(revision, field, 0, REVISION_MAX)


def checked_revision_time(time_ns: int | None) -> int | None:
    """When a commit was made, as its change told it; raises `InvalidArgument`.  No datetime: it has no nanoseconds,
    and would be another time.
    """
    if time_ns is None:
        return None
    return check_int(time_ns, "revision_time_ns", limits.TIME_NS_MIN, limits.TIME_NS_MAX)


def checked_min_score(min_score: float | None) -> float | None:
    """The score that a hit needs; raises `InvalidArgument`."""
    return None if min_score is None else check_number(min_score, "min_score")


def checked_feature(feature: VectorLike | None, policy: str, tokens: Array | None) -> Array | None:
    """A question feature, (dim,), and None under `TOKENS_POLICY`, which goes by the tokens.

    Raises `InvalidArgument` (what `as_vector` finds; ``TOKENS_REQUIRED``; ``NOT_USED``).
    """
    if policy != TOKENS_POLICY:
        return as_vector(feature, "question_feature")
    if tokens is None:
        raise InvalidArgument(
            "this policy needs question_tokens"
            if feature is None
            else "this policy goes by question_tokens, without a feature: by `ground`, one question at a time",
            reason="TOKENS_REQUIRED",
            field="policy",
            value=policy,
        )
    if feature is not None:
        raise InvalidArgument(
            "this policy has no use for a question feature",
            reason="NOT_USED",
            field="question_feature",
        )
    return None


def checked_min_relevance(
    min_relevance: float | None, text: str | None, policy: str
) -> float | None:
    """The relevance that a hit needs; raises `InvalidArgument`.

    It is of the question feature alone: with words, and under `TOKENS_POLICY`, there is none to ask for
    (``NOT_USED``).
    """
    if min_relevance is None:
        return None
    least = check_number(min_relevance, "min_relevance", 0.0, 1.0)
    if text is not None or policy == TOKENS_POLICY:
        raise InvalidArgument(
            "relevance is of a question's feature alone, without text or the policy tokens",
            reason="NOT_USED",
            field="min_relevance",
            value=min_relevance,
        )
    return least


def checked_cursor(cursor: str | None) -> str | None:
    """Where a page of hits begins, empty for the first one; raises `InvalidArgument`."""
    if cursor is None:
        return None
    return check_text(cursor, "cursor", limits.REFERENCE_CHARS_MAX, may_be_empty=True)


def checked_ttl_s(ttl_s: float) -> float:
    """How long a snapshot is leased; raises `InvalidArgument`."""
    return check_number(ttl_s, "ttl_s", limits.SNAPSHOT_TTL_S_MIN, limits.SNAPSHOT_TTL_S_MAX)

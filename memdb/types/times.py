"""Times as integers: UTC nanoseconds since the epoch; aware datetimes are accepted wherever a time
is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from memdb.errors import InvalidArgument
from memdb.types.checks import is_integer
from memdb.types.limits import TIME_NS_MAX, TIME_NS_MIN

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Time = int | datetime
"""What callers may pass as a time."""


def as_ns(value: Time, field: str) -> int:
    """``value`` in UTC nanoseconds.

    Raises `InvalidArgument` (``TIME_RANGE``) for a naive datetime, a non-integer or a time outside
    ±146 years.
    """
    if type(value) is int and TIME_NS_MIN <= value <= TIME_NS_MAX:
        return value
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidArgument(
                "a datetime must be aware (have a time zone), such as datetime.now(UTC)",
                reason="TIME_RANGE",
                field=field,
                value=value.isoformat(),
            )
        # timedelta integer arithmetic: datetime.timestamp() would round through a double.
        ns = (value - _EPOCH) // timedelta(microseconds=1) * 1000
    elif not is_integer(value):
        raise InvalidArgument(
            "a time must be integer nanoseconds, such as time.time_ns(), or an aware datetime",
            reason="TIME_RANGE",
            field=field,
            value=value,
        )
    else:
        ns = int(value)
    if not TIME_NS_MIN <= ns <= TIME_NS_MAX:
        raise InvalidArgument("time is out of range", reason="TIME_RANGE", field=field, value=ns)
    return ns


def optional_ns(value: Time | None, field: str) -> int | None:
    """`as_ns`, letting None through."""
    return None if value is None else as_ns(value, field)


def moment(text: str, field: str) -> datetime:
    """An aware datetime of RFC 3339 text.  Raises `InvalidArgument` (``BAD_TIME``), for a date alone or a
    time without its offset from UTC too: what a local clock meant cannot be told later.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        raise InvalidArgument(
            "expected a time with its offset from UTC, such as 2026-01-05T09:00:00Z",
            reason="BAD_TIME",
            field=field,
            value=text,
        )
    return found


def as_text(ns: int) -> str:
    """``ns`` as RFC 3339 text in UTC with milliseconds, for people and logs."""
    moment = _EPOCH + timedelta(microseconds=ns // 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

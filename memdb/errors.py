"""The one exception tree of memdb; the same classes are raised embedded, by the sync and by the
async client.

::

    MemdbError
    ├── InvalidArgument      the call itself is wrong: field and value say where
    ├── NotFound             the named thing does not exist (or is another user's: the answers are
                             identical)
    ├── AlreadyExists        the name or number is taken by other content
    ├── FailedPrecondition   right call, wrong state: another space, a locked directory, a newer
                             format
    ├── ResourceExhausted    a quota, a limit, a full disk or a full map; overloaded
    ├── Unavailable          closing, restarting, not reachable; the only family a client retries
    ├── PermissionDenied     the caller may not do this
    ├── Unauthenticated      the caller did not say who it is
    ├── DeadlineExceeded     the caller's deadline passed
    ├── DataLoss             stored bytes failed their checksum; they are never served
    └── Internal             a bug of ours; carries a request id, never a traceback

Every error carries a stable upper-case ``reason`` (programs branch on it; text may change), and
where one argument is at fault its ``field`` (dotted path) and ``value``.  ``violations`` lists all
faults of a request when several were found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

VALUE_TEXT_MAX = 120
"""Characters of an offending value that an error quotes; hostile values must not flood logs."""


def quote(value: object) -> str:
    """The offending value as bounded, printable text; never raises, whatever the value is."""
    if isinstance(value, str):
        text = value
    else:
        try:
            text = repr(value)
        except Exception:
            # An error must not hide behind another: integers beyond 4300 digits and broken
            # __repr__ have no text.
            text = f"<{type(value).__name__}>"
    text = text[: VALUE_TEXT_MAX + 1].encode("unicode_escape").decode("ascii")
    return text if len(text) <= VALUE_TEXT_MAX else text[: VALUE_TEXT_MAX - 1] + "…"


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault of one argument."""

    field: str
    """Dotted path of the argument, for example ``clip.global_memory``."""
    description: str
    value: str = ""
    """The offending value, bounded by `quote`."""


class MemdbError(Exception):
    """Base of everything memdb raises on purpose."""

    default_reason: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later with no change by the caller."""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        value: object = None,
        violations: Sequence[Violation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason if reason is not None else self.default_reason
        self.field = field
        self.value = None if value is None else quote(value)
        if field is not None and not violations:
            violations = (Violation(field, message, self.value or ""),)
        self.violations = tuple(violations)
        self.request_id: str | None = None
        """Id of the request that failed, set by the remote clients."""

    def again(self) -> Self:
        """Another error that says the same: raised once more, one error would keep the frames of
        every call that it was raised in."""
        other = type(self)(
            self.message, reason=self.reason, field=self.field, violations=self.violations
        )
        other.value, other.request_id = self.value, self.request_id
        return other

    def __str__(self) -> str:
        where = "" if self.field is None else f" (field {self.field}"
        if where and self.value is not None:
            where += f", value {self.value}"
        return f"{self.reason}: {self.message}{where + ')' if where else ''}"


class InvalidArgument(MemdbError):
    """The call itself is wrong; sending it again unchanged cannot succeed."""

    default_reason = "INVALID_ARGUMENT"


class NotFound(MemdbError):
    """The named thing does not exist for this user."""

    default_reason = "NOT_FOUND"


class AlreadyExists(MemdbError):
    """The name or number is taken by other content (``SEQ_REUSED``, ``SPACE_EXISTS``)."""

    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(MemdbError):
    """The call is right but the state is not (``SPACE_MISMATCH``, ``DIRECTORY_LOCKED``,
    ``FORMAT_NEWER``).
    """

    default_reason = "FAILED_PRECONDITION"


class ResourceExhausted(MemdbError):
    """A limit, quota, disk or map is full (``DISK_FULL``, ``QUOTA``, ``MESSAGE_TOO_LARGE``), or too
    much waits already (``OVERLOADED``): the caller has to slow down, so it is not tried again by
    itself.
    """

    default_reason = "RESOURCE_EXHAUSTED"


class Unavailable(MemdbError):
    """Closing, restarting or not reachable.  Clips, spaces, streams and named standing questions are safe to send
    again; a fact without key, sent again, is a second one.
    """

    default_reason = "UNAVAILABLE"
    retryable = True


class PermissionDenied(MemdbError):
    """The caller is known and may not do this."""

    default_reason = "PERMISSION_DENIED"


class Unauthenticated(MemdbError):
    """The caller's identity is missing or wrong."""

    default_reason = "UNAUTHENTICATED"


class DeadlineExceeded(MemdbError):
    """The caller's deadline passed; a write may still have been committed (what may be sent again:
    `Unavailable`).
    """

    default_reason = "DEADLINE_EXCEEDED"


class DataLoss(MemdbError):
    """Stored bytes failed their check; the damaged value is never served (``CHECKSUM``,
    ``TRUNCATED``).
    """

    default_reason = "DATA_LOSS"


class Internal(MemdbError):
    """A bug of ours."""

    default_reason = "INTERNAL"


FAMILIES: tuple[type[MemdbError], ...] = (
    InvalidArgument,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    ResourceExhausted,
    Unavailable,
    PermissionDenied,
    Unauthenticated,
    DeadlineExceeded,
    DataLoss,
    Internal,
)
"""Every concrete class, in the order of the tree above."""

__all__ = [
    "FAMILIES",
    "AlreadyExists",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "MemdbError",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "Violation",
    "quote",
]

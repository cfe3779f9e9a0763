"""Errors as `google.rpc.Status` and back: one table, read by server and client alike.

::

    Status.code, Status.message         by CODES; the error's message
    ErrorInfo  reason                   the error's reason
               domain                   "memdb"
               metadata request_id      of the call that failed
                        field, value    the error's own, when it has them
                        value_<i>       the value of violation i, when it differs from ``value``
    RetryInfo  retry_delay              when the same call may soon succeed: by RETRY_AFTER_MS
    BadRequest field_violations[i]      field and description of violation i

The message travels in the trailer ``grpc-status-details-bin``.  `error_from_status` rebuilds the
same class with the same reason, message, field, value and violations.  An answer without such a
trailer was made by gRPC itself (a lost connection, a message over the limit) and is told by its
code alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from memdb.errors import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    MemdbError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Violation,
)
from memdb.wire.codes import StatusCode
from memdb.wire.unknown_fields import name_of

DOMAIN: Final = "memdb"
DETAILS_KEY: Final = "grpc-status-details-bin"
REQUEST_ID_KEY: Final = "x-request-id"

CODES: Final[dict[type[MemdbError], StatusCode]] = {
    InvalidArgument: StatusCode.INVALID_ARGUMENT,
    NotFound: StatusCode.NOT_FOUND,
    AlreadyExists: StatusCode.ALREADY_EXISTS,
    FailedPrecondition: StatusCode.FAILED_PRECONDITION,
    ResourceExhausted: StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: StatusCode.UNAVAILABLE,
    PermissionDenied: StatusCode.PERMISSION_DENIED,
    Unauthenticated: StatusCode.UNAUTHENTICATED,
    DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    DataLoss: StatusCode.DATA_LOSS,
    Internal: StatusCode.INTERNAL,
}
"""The whole mapping; its inverse reads answers."""

RETRY_AFTER_MS: Final[dict[str, int]] = {"OVERLOADED": 500, "SHUTTING_DOWN": 1000}
"""By reason: how long a caller had better wait before it tries again."""

_CLASSES: Final = {code: family for family, code in CODES.items()}

_FOREIGN: Final[dict[StatusCode, tuple[type[MemdbError], str]]] = {
    # Codes that memdb never answers with; gRPC or something between us does.
    StatusCode.CANCELLED: (Unavailable, "CANCELLED"),
    StatusCode.ABORTED: (Unavailable, "ABORTED"),
    StatusCode.UNIMPLEMENTED: (FailedPrecondition, "UNIMPLEMENTED"),
    StatusCode.OUT_OF_RANGE: (InvalidArgument, "OUT_OF_RANGE"),
    StatusCode.UNKNOWN: (Internal, "UNKNOWN"),
}

_BY_NUMBER: Final = {code.value[0]: code for code in StatusCode}

_RESET: Final = "RST_STREAM"
_RESETS: Final = (StatusCode.RESOURCE_EXHAUSTED, StatusCode.INTERNAL)
"""What gRPC makes of a stream that HTTP/2 reset: of a server that had no memory for what came (ENHANCE_YOUR_CALM), or
that went away, or something between.  It passes."""

# Trailers share one HTTP/2 header block, of which a peer takes 8 KiB by default.
_MESSAGE_CHARS_MAX: Final = 512
_VIOLATIONS_MAX: Final = 8

Metadata = Iterable[tuple[str, str | bytes]]


def code_of(error: MemdbError) -> StatusCode:
    """The status code of an error; a subclass has its family's."""
    for family in type(error).__mro__:
        if family in CODES:
            return CODES[family]
    return StatusCode.INTERNAL


def error_to_status(error: MemdbError, request_id: str) -> status_pb2.Status:
    """The status that `error_from_status` turns back into the same error."""
    metadata = {"request_id": request_id}
    if error.field is not None:
        metadata["field"] = error.field
    if error.value is not None:
        metadata["value"] = error.value
    violations = error.violations[:_VIOLATIONS_MAX]
    for index, violation in enumerate(violations):
        if violation.value != (error.value or ""):
            metadata[f"value_{index}"] = violation.value
    status = status_pb2.Status(code=code_of(error).value[0], message=_bounded(error.message))
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata),
        deterministic=True,
    )
    if error.reason in RETRY_AFTER_MS:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(RETRY_AFTER_MS[error.reason])
        status.details.add().Pack(retry)
    if violations:
        status.details.add().Pack(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field, description=_bounded(violation.description)
                    )
                    for violation in violations
                ]
            )
        )
    return status


def error_from_status(status: status_pb2.Status) -> MemdbError:
    """The error of a status; a code of nobody's gives `Internal`."""
    code = _BY_NUMBER.get(status.code, StatusCode.UNKNOWN)
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            detail.Unpack(bad_request)
    if info.domain != DOMAIN:
        return _foreign(code, status.message)
    metadata: dict[str, str] = dict(info.metadata)
    value = metadata.get("value")
    inherited = value or ""
    violations = tuple(
        Violation(item.field, item.description, metadata.get(f"value_{index}", inherited))
        for index, item in enumerate(bad_request.field_violations)
    )
    field = metadata.get("field")
    if info.reason == "UNKNOWN_FIELD" and field is not None:
        # By its number, which is all that the server knows of it.
        field, value, violations = name_of(field), field, ()
    error = _CLASSES.get(code, Internal)(
        status.message, reason=info.reason, field=field, value=value, violations=violations
    )
    # Set as they came: the constructor would quote a second time.
    error.value = value
    error.request_id = metadata.get("request_id")
    return error


class Code(Protocol):
    """A status code of gRPC's own or `StatusCode`."""

    @property
    def name(self) -> str:
        """That of the code: ``NOT_FOUND``."""
        ...


def error_from_call(given: Code, details: str | None, trailers: Metadata) -> MemdbError:
    """The error of a failed call, from its code, details and trailing metadata.

    Takes what both ``grpc.RpcError`` and ``grpc.aio.AioRpcError`` give.
    """
    code = StatusCode[given.name]
    request_id: str | None = None
    packed: bytes | None = None
    for key, value in trailers:
        if key == DETAILS_KEY and isinstance(value, bytes):
            packed = value
        elif key == REQUEST_ID_KEY and isinstance(value, str):
            request_id = value
    error = _foreign(code, details or "")
    if packed is not None:
        status = status_pb2.Status()
        try:
            status.ParseFromString(packed)
        except DecodeError:
            # A trailer that is not ours to read: the code and the text still say what happened.
            status.Clear()
        if status.code == code.value[0]:
            error = error_from_status(status)
    if error.request_id is None:
        error.request_id = request_id
    return error


def error_to_trailers(error: MemdbError, request_id: str) -> tuple[tuple[str, str | bytes], ...]:
    """The trailing metadata of a failed call."""
    return (
        (DETAILS_KEY, error_to_status(error, request_id).SerializeToString()),
        (REQUEST_ID_KEY, request_id),
    )


def _foreign(code: StatusCode, details: str) -> MemdbError:
    """The error of an answer that memdb did not make."""
    family, reason = _FOREIGN.get(code, (_CLASSES.get(code, Internal), ""))
    if family is ResourceExhausted and "larger than max" in details:
        reason = "MESSAGE_TOO_LARGE"
    elif code in _RESETS and _RESET in details:
        family = Unavailable
    return family(details or code.name.lower(), reason=reason or None)


def _bounded(text: str) -> str:
    return text if len(text) <= _MESSAGE_CHARS_MAX else text[: _MESSAGE_CHARS_MAX - 1] + "…"

"""The life of a call: its request id, until when it counts, and how it ends with an error.

No exception leaves as text: errors of memdb go by the table of `memdb.wire.status`; anything else is logged with its
traceback and answered ``INTERNAL`` with the request id alone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import AbstractContextManager
from typing import Any, Final, NoReturn

from memdb.errors import DataLoss, Internal, MemdbError, ResourceExhausted, Unavailable
from memdb.eventlog import event_log
from memdb.server.call_metrics import FAILED
from memdb.server.edge import CallerLeft, Context
from memdb.server.open_calls import UNNAMED
from memdb.wire.status import REQUEST_ID_KEY, code_of, error_to_trailers

REQUEST_ID_CHARS_MAX: Final = 64
ANSWERS: Final = frozenset({"BEHIND", "MESSAGE_TOO_LARGE", "SHUTTING_DOWN"})
"""Reasons that say what is wrong with a question asked now: a server in good health gives them, as often as
it is asked."""
_REQUEST_ID_CHARS: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
)

log = event_log("memdb.server")


def begin(context: Context) -> str:
    """The call's request id: the caller's if it is sane, else a new one; it is answered either
    way."""
    request_id = ""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str):
            request_id = value
    if not 0 < len(request_id) <= REQUEST_ID_CHARS_MAX or not _REQUEST_ID_CHARS.issuperset(
        request_id
    ):
        request_id = secrets.token_hex(8)
    context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
    return request_id


def count(context: Context, counted: AbstractContextManager[None]) -> None:
    """Enter ``counted`` until gRPC has done with the call, which is not when it is answered: an answer that nobody
    reads stays, and the call with it.
    """
    counted.__enter__()

    def ended(_context: Any) -> None:
        counted.__exit__(None, None, None)

    context.add_done_callback(ended)


async def end(
    context: Context, name: str, request_id: str, error: Exception, user: str = ""
) -> NoReturn:
    """End a call with an error.  Cancellation never comes here: it is no `Exception`.

    user: on whose memory it is, as its request says; empty where that is nobody's.

    grpc.aio keeps what it raises here, with its traceback, where the traceback leads: a cycle, with all
    that the frames of the call hold, until the collector comes by, which is seldom.  So nothing large
    may be left in them: whoever calls has let go of it, and what led here is forgotten once it is logged.
    """
    fields = {"method": name, "request_id": request_id}
    if user not in ("", UNNAMED):
        # A quota, say, is of one user, whom the error need not name: its caller knows.
        fields["user"] = user
    if isinstance(error, CallerLeft):
        # Of sending to a caller who has left; nobody is there to be told, and nothing is wrong.
        log.debug("the caller left", extra={"fields": fields})
        raise asyncio.CancelledError from error
    if not isinstance(error, MemdbError):
        log.error(
            "unexpected error",
            exc_info=error,
            extra={"fields": fields},
        )
        error = Internal("internal error; the server's log has it under the request id")
    else:
        log.log(
            _level(error),
            "call failed",
            extra={
                "fields": {
                    **fields,
                    "code": code_of(error).name,
                    "reason": error.reason,
                    "field": error.field,
                    "message": error.message,
                }
            },
        )
    FAILED.add(code_of(error).name)
    _forget_frames(error)
    await context.abort(code_of(error), error.message[:512], error_to_trailers(error, request_id))


def _forget_frames(error: BaseException) -> None:
    """Let go of what an error and those that led to it would keep alive."""
    left: BaseException | None = error
    while left is not None:
        left.__traceback__ = None
        left = left.__cause__ or left.__context__


def _level(error: MemdbError) -> int:
    """What the caller did wrong is the caller's to know; what is wrong with us is ours."""
    if isinstance(error, (DataLoss, Internal)):
        return logging.ERROR
    if error.reason in ANSWERS:
        return logging.DEBUG
    if isinstance(error, (ResourceExhausted, Unavailable)):
        return logging.WARNING
    return logging.DEBUG

"""How the client talks to a server: channel options, credentials, and when a call is tried again.

No waiting here.  Only ``UNAVAILABLE`` is tried again, and only within the call's own deadline:

- reads, and writes that the server recognises when they come twice (clips by number and hash,
  spaces, streams), whatever happened: `Repeat.ALWAYS`;
- what would take effect twice, or answer otherwise the second time (`remember`, `revise`, `forget`,
  `put`, `configure`, `snapshot`, `release`, `erase`, `backup`), only when no server can have seen the
  request, which is when no connection could be made, or when one that stops has said that it does no more
  (`UNDONE`): `Repeat.UNSENT`.  gRPC says the former only in words (`NOT_CONNECTED`); should they change, such a
  call is no longer tried again, which is the safe side.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Final, Self

import grpc

from memdb.errors import InvalidArgument, MemdbError
from memdb.types.address import checked_address
from memdb.types.checks import check_number
from memdb.types.limits import MESSAGE_BYTES_MAX

Metadata = tuple[tuple[str, str | bytes], ...]

TIMEOUT_S: Final = 30.0
"""Deadline of a call, retries included, unless `connect` is told another."""
WHOLE_TIMEOUT_S: Final = 3600.0
"""Deadline of `verify`, `sweep`, `backup` and an erasure, which read or remove everything there is:
longer where `connect` was told a longer one, and another where the call is."""

SECONDS_MAX: Final = 30.0 * 24 * 3600
"""Longest time to wait that may be asked for."""
RECONNECT_TIMEOUT_S: Final = 60.0
"""How long an ingest looks for a server that went away."""

IDLE_MS: Final = 12_000
"""How long a connection without calls stays; less than half of the server's ``connection_idle_ms``."""

CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", 16 * 1024),
    # A dead peer is noticed within 40 s even by a watch that waits for nothing but changes.  The
    # server takes pings every 10 s; a client that sends them more often is sent away.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Each of our connections is one: else channels of one address share them, and what the server admits over one.
    ("grpc.use_local_subchannel_pool", 1),
    # We leave a connection without calls before the server does, which would lose a call that is on its way.  gRPC
    # looks only so often, and a connection may stay for twice as long.
    ("grpc.client_idle_timeout_ms", IDLE_MS),
    # A restarted server is found again in well under a second; gRPC's own pauses grow to two
    # minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # One loop decides what is tried again; gRPC's would multiply with it.
    ("grpc.enable_retries", 0),
)

NOT_CONNECTED: Final = "failed to connect to all addresses"
"""How gRPC describes a call that found no connection, and so was never sent."""
NOT_REACHED: Final = (NOT_CONNECTED, "errors resolving ", "DNS resolution failed")
"""How it describes one that no server heard of; the latter two where the name of the host was not found, the last
by another of its resolvers."""

TLS_SIGNS: Final[tuple[tuple[bool, str, str], ...]] = (
    (
        False,
        "Socket closed",
        "something takes connections there and ends them at once: it may speak TLS "
        "(connect with tls=...; a command with --tls), or be about to stop",
    ),
    (
        True,
        "WRONG_VERSION_NUMBER",
        "it may not speak TLS (connect without tls=...; a command without --tls)",
    ),
    (
        True,
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate may be of another authority than the one that tls=... (--tls) names",
    ),
    (True, "Hostname Verification Check failed", "its certificate may be for another name"),
)
"""Whether we speak TLS; what gRPC then says (in words, and nothing else) of a connection that was not
made; what that may mean."""

STATUS_LOST: Final = "Internal error from Core"
"""What grpc.aio says, with the code INTERNAL, when a call ended while a message was being sent: it
overwrites the status that the server gave (grpc/grpc#36066).  The peer has to be asked again."""

_LAST_ADDRESS: Final = re.compile(r"last error: [A-Z_]+: ((?:ipv4|ipv6|unix):\S*): ")
"""Whose error it tells, of all that it tried."""

_CERTIFICATE: Final = b"CERTIFICATE-----"

TRIES_KEPT: Final = 64

PAUSE_FIRST_S: Final = 0.05
PAUSE_MAX_S: Final = 2.0

NOT_REPEATED: Final = frozenset({"BEHIND"})
"""Reasons of `Unavailable` that are answers of a healthy server, and that only the caller can
wait out.
"""


UNDONE: Final = frozenset({"SHUTTING_DOWN"})
"""Reasons with which a call with one request is refused before anything is done."""
UNDONE_PAUSE_S: Final = 0.5
"""The least time before such a call is made again: longer than a server that stops says so, for then it cuts off what
is on its way."""


class Repeat(Enum):
    """Which failures of a call may be tried again."""

    ALWAYS = "always"
    """The server recognises the call when it comes twice."""
    UNSENT = "unsent"
    """Only when no server can have begun it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the server is and how to be let in."""

    address: str
    credentials: grpc.ChannelCredentials | None
    metadata: Metadata
    timeout_s: float


def target(
    address: str,
    *,
    token: str | None,
    tls: bool | str | Path | grpc.ChannelCredentials | None,
    timeout_s: float,
) -> Target:
    """Check the arguments of `connect`.

    Raises `InvalidArgument` naming the argument, ``tls`` for a CA file that cannot be read.
    """
    address = checked_address(address, "address")
    metadata: Metadata = ()
    if token is not None:
        if (
            not isinstance(token, str)
            or not token
            or not token.isascii()
            or not token.isprintable()
        ):
            # The token itself is never quoted.
            raise InvalidArgument(
                "a token is printable ASCII text", reason="BAD_TOKEN", field="token"
            )
        metadata = (("authorization", f"Bearer {token}"),)
    return Target(address, _credentials(tls), metadata, check_seconds(timeout_s, "timeout_s"))


def check_seconds(value: object, field: str) -> float:
    """``value`` if it is a number of seconds above 0 and at most `SECONDS_MAX`, else
    `InvalidArgument`.
    """
    return check_number(value, field, 0.0, SECONDS_MAX, above=True)


def check_patience(value: object, field: str) -> float:
    """As `check_seconds`; `math.inf` is for ever."""
    # What is no number may not be comparable, as an array is not.
    if isinstance(value, Real) and value == math.inf:
        return math.inf
    return check_seconds(value, field)


def whole_timeout_s(given: float | None, of_connection_s: float) -> float:
    """The deadline of a call that takes long: its own ``timeout_s``, or by default an hour, and
    never less than that of the other calls of the connection.
    """
    if given is None:
        return max(WHOLE_TIMEOUT_S, of_connection_s)
    return check_seconds(given, "timeout_s")


def _credentials(
    tls: bool | str | Path | grpc.ChannelCredentials | None,
) -> grpc.ChannelCredentials | None:
    if tls is None or tls is False:
        return None
    if tls is True:
        return grpc.ssl_channel_credentials()
    if isinstance(tls, grpc.ChannelCredentials):
        return tls
    try:
        authorities = Path(tls).read_bytes()
    except (OSError, ValueError, TypeError) as error:
        raise InvalidArgument(
            "tls is true, a CA file that can be read, or channel credentials",
            reason="BAD_TLS",
            field="tls",
            value=tls if isinstance(tls, (str, Path)) else type(tls).__name__,
        ) from error
    if _CERTIFICATE not in authorities:
        # gRPC would take it, and every call would wait for its deadline.
        raise InvalidArgument(
            "no certificate in this file: expected PEM",
            reason="BAD_TLS",
            field="tls",
            value=str(tls),
        )
    return grpc.ssl_channel_credentials(authorities)


def may_repeat(error: MemdbError, rpc_details: str, repeat: Repeat) -> bool:
    """Whether a failed call may be tried again."""
    if not error.retryable or error.reason in NOT_REPEATED:
        return False
    if repeat is Repeat.ALWAYS or error.reason in UNDONE:
        return True
    return rpc_details.startswith(NOT_CONNECTED)


def tls_hint(rpc_details: str, *, is_secure: bool) -> str:
    """What a connection that was not made may have to do with TLS, empty where nothing points to it.

    A plain outage (refused, no such host, no answer) says none of `TLS_SIGNS`.
    """
    if not rpc_details.startswith(NOT_CONNECTED):
        return ""
    for secure, sign, hint in TLS_SIGNS:
        if secure is is_secure and sign in rpc_details:
            return hint
    return ""


@dataclass(frozen=True, slots=True)
class Try:
    """A try of a call that found no connection: the address that gRPC told of, and what it may have to do with TLS."""

    address: str
    hint: str

    @classmethod
    def of(cls, rpc_details: str, *, is_secure: bool) -> Self:
        """By what gRPC said; no address where it said none."""
        told = _LAST_ADDRESS.search(rpc_details)
        hint = tls_hint(rpc_details, is_secure=is_secure)
        return cls(told[1] if told else "", hint)


@dataclass(frozen=True, slots=True)
class Tries:
    """The tries of one call, from when it was made, or of a stream since a server was there."""

    made: deque[Try] = field(default_factory=partial(deque, maxlen=TRIES_KEPT))
    """The last of them: some are made for days."""
    began_s: float = field(default_factory=time.monotonic)

    def told(self) -> str:
        """Beside what gRPC said of the last: what it may have to do with, or how long nobody was there."""
        waited_s = time.monotonic() - self.began_s
        return (
            likely(self.made)
            or f"no server was there in {waited_s:.{1 if waited_s < 10 else 0}f} s"
        )


def likely(tries: Sequence[Try]) -> str:
    """The hint of several tries of a call, where it is not one in passing.

    A host of several addresses is told by one of them, now of this and then of that: `localhost` refuses by IPv6, say,
    and speaks TLS by IPv4, so each address counts by itself.  A server that is being restarted ends connections once
    or twice, and is then not there.
    """
    for tried in reversed(tries):
        of_address = [one.hint for one in tries if one.address == tried.address]
        hints = [hint for hint in of_address if hint]
        if hints and len(of_address) <= 4 * len(hints):
            return hints[-1]
    return ""


def pauses_s() -> Iterator[float]:
    """Seconds to wait before each further try: doubling, each drawn from its upper half so that
    clients spread.
    """
    pause = PAUSE_FIRST_S
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, protects nothing
        pause = min(pause * 2, PAUSE_MAX_S)

"""Where connections come in for the native edge: sockets of ours, each connection handed over as a descriptor.

gRPC's C++ server as it is installed closes what it listens at once a process has no descriptor left, without a word: it
would take no connection any more.  Here they wait until there is one.  What is listened on is what gRPC would.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from memdb.eventlog import event_log

UNIX_PREFIX: Final = "unix:"
ACCEPTED_AT_ONCE: Final = 64
"""Connections that are taken in one turn of the loop."""
WAITING_MAX: Final = 4096
"""Connections that the system holds meanwhile; it has a limit of its own."""
RETRY_S: Final = 1.0
"""How long connections wait after the system gave none."""
_WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with
_NOTHING_THERE: Final = (errno.EAGAIN, errno.EINTR, errno.ECONNABORTED)

log = event_log("memdb.server")


class Acceptor:
    """Listens at one address; lives on one event loop."""

    def __init__(self, take: Callable[[int], None], unanswered_ms: int) -> None:
        """take: whom a connection is given to; unanswered_ms: how long what was sent may go without an answer of the
        peer's system, 0: as long as this one waits.
        """
        self._take = take
        self._unanswered_ms = unanswered_ms
        self._listening: list[socket.socket] = []
        self._path: Path | None = None
        self._retries: set[asyncio.TimerHandle] = set()
        self._is_short = False

    def bind(self, address: str) -> int:
        """Listen at HOST:PORT, at every address of the host that can be had, or unix:PATH, where a socket that was left
        behind is taken over; connections wait.  The port, 0 of a path.  Raises `OSError`.
        """
        if address.startswith(UNIX_PREFIX):
            self._path = Path(address.removeprefix(UNIX_PREFIX))
            self._listening.append(_at_path(self._path))
            return 0
        refused: OSError | None = None
        port = 0
        for family, host, wanted in _addresses(address):
            try:
                listening = self._at(family, host, wanted or port)
            except OSError as error:
                refused = error
                continue
            self._listening.append(listening)
            port = listening.getsockname()[1]
            if host in _WILDCARDS and family == socket.AF_INET6:
                break  # it has those of the older protocol as well
        if not self._listening:
            raise refused or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        return port

    def start(self) -> None:
        """Take connections."""
        for listening in self._listening:
            self._listen(listening)

    def stop(self) -> None:
        """Listen no more."""
        loop = asyncio.get_running_loop()
        for retry in self._retries:
            retry.cancel()
        for listening in self._listening:
            loop.remove_reader(listening)
        self.close()

    def close(self) -> None:
        """Let go of what was bound."""
        for listening in self._listening:
            listening.close()
        if self._listening and self._path is not None:
            self._path.unlink(missing_ok=True)
        self._listening.clear()

    def _listen(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except OSError as error:
                if error.errno not in _NOTHING_THERE:
                    self._wait(listening, error)
                return
            self._is_short = False
            connection.setblocking(False)
            self._take(connection.detach())

    def _wait(self, listening: socket.socket, error: OSError) -> None:
        """Without a descriptor, or memory, it would be asked over and over."""
        if not self._is_short:
            self._is_short = True
            log.error(
                "connections wait: the system gives none", extra={"fields": {"why": error.strerror}}
            )
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)

        def again() -> None:
            self._retries.discard(retry)
            self._listen(listening)

        retry = loop.call_later(RETRY_S, again)
        self._retries.add(retry)

    def _at(self, family: int, host: str, port: int) -> socket.socket:
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Connections have these from it.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._unanswered_ms)
            if family == socket.AF_INET6:
                is_wildcard = host in _WILDCARDS
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not is_wildcard)
            listening.bind((host, port))
            listening.listen(WAITING_MAX)
        except OSError:
            listening.close()
            raise
        return listening


def _addresses(address: str) -> Iterator[tuple[int, str, int]]:
    """Families, addresses and the port of a host."""
    host, _, port = address.rpartition(":")
    name = host.removeprefix("[").removesuffix("]")
    if name in _WILDCARDS:  # all there are, where the machine has both protocols
        yield socket.AF_INET6, "::", int(port)
        if name == "::":
            return
    for family, _, _, _, found in socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM):
        yield family, str(found[0]), int(port)


def _at_path(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.setblocking(False)
        listening.bind(str(path))
        listening.listen(WAITING_MAX)
    except OSError:
        listening.close()
        raise
    return listening

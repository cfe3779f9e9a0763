"""Lines of a log to a file descriptor that may have nobody who reads it.

A program that starts a server with a pipe for its stderr, and reads no further than its address, fills that pipe sooner
or later.  Whoever then writes to it waits for ever, and what waits here is the event loop: every call of every user.
So a line is written at once where that takes no waiting, and otherwise by a thread, which may wait.  What
waits for that thread is bounded: what comes on top is dropped, and counted in a line that follows.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

PENDING_BYTES_MAX: Final = 1024 * 1024
PIECE_BYTES: Final = 4096
"""What a pipe takes without waiting once it says that it takes something (PIPE_BUF of Linux)."""
FLUSH_S: Final = 1.0
"""How long the end of a process waits for its last lines to be taken."""


class LineHandler(logging.Handler):
    """Writes each record as a line to ``fd``, and never waits for whoever reads it."""

    def __init__(self, fd: int, dropped: Callable[[int], logging.LogRecord]) -> None:
        """dropped: the record that tells how many were."""
        super().__init__()
        self._fd = fd
        self._dropped_record = dropped
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._dropped = 0
        # Taken by itself: who is interrupted (Ctrl-C) on the way into a condition's block may leave it taken.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, now or soon, or drop it."""
        try:
            line = self._line(record)
        except Exception:  # a value without text must not end what it tells of
            self.handleError(record)
            return
        with self._lock:
            if self._pending_bytes + len(line) > PENDING_BYTES_MAX:
                self._dropped += 1
                return
            if not self._pending:
                line = self._written_now(line)
            if line:
                self._put(line)

    def flush(self) -> None:
        """Wait, not for long, until what was told is written."""
        until_s = time.monotonic() + FLUSH_S
        with self._lock:
            while self._pending and (left_s := until_s - time.monotonic()) > 0:
                self._changed.wait(left_s)

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("ascii", "backslashreplace")

    def _written_now(self, line: bytes) -> bytes:
        """Write what can be without waiting; returns the rest."""
        while line:
            try:
                if not self._is_taken(0):
                    return line
                line = line[os.write(self._fd, line[:PIECE_BYTES]) :]
            except BlockingIOError:
                return line
            except OSError:
                return b""  # nobody reads it any more
        return line

    def _is_taken(self, timeout_ms: int | None) -> bool:
        """Whether a piece can be written without waiting, or the end of whoever read has come."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(timeout_ms))

    def _put(self, line: bytes) -> None:
        """Have the thread write it, with the lock held."""
        self._pending.append(line)
        self._pending_bytes += len(line)
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="memdb-log", daemon=True)
            self._writer.start()
        self._changed.notify_all()

    def _write(self) -> None:
        """Write what waits, in order; on a thread of its own."""
        while True:
            with self._lock:
                while not self._pending:
                    self._changed.wait()
                line = self._pending[0]
            with suppress(OSError):
                while line:
                    # Also where somebody made it non-blocking, as a terminal that several share.
                    self._is_taken(None)
                    with suppress(BlockingIOError):
                        line = line[os.write(self._fd, line[:PIECE_BYTES]) :]
            with self._lock:
                # Only now: what comes meanwhile has to stand behind it.
                self._pending_bytes -= len(self._pending.popleft())
                if not self._pending and self._dropped:
                    told = self._dropped_record(self._dropped)
                    self._dropped = 0
                    self._put(self._line(told))
                self._changed.notify_all()

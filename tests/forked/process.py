"""A process that was forked from one that has loaded what it needs, as a child of another: what an interpreter's
start costs is mostly loading."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def nursery_of(
    module: str, preload: str = "", folder: Path = ROOT, **environment: str
) -> socket.socket:
    """Where programs come from, of this process; it ends when this process does.

    module: what runs there (``python -m MODULE FD``), and forks one for each message on its socket.  preload: a
    library that is loaded before all others.  folder: where it runs.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno())],
            cwd=folder,
            env={**os.environ, **environment, "LD_PRELOAD": preload},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(_ended, ours, process)
    return ours


def _ended(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Waited for, so that what its children took is told of this process's."""
    ours.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _opened(pid: int) -> int | None:
    """A descriptor of the process, which no other process of its number can be taken for; None when it is gone."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


class Forked:
    """Under way."""

    def __init__(
        self,
        args: Sequence[str],
        nursery: socket.socket,
        asked: Mapping[str, object],
        *given: int,
    ) -> None:
        """args: what it is called.  asked: the message that it is made of, with the file descriptors ``given`` and one
        more, where its process id is told, and its status when it is dead (`tests.forked.nursery`)."""
        self.args = list(args)
        told, end = os.pipe()
        try:
            socket.send_fds(nursery, [json.dumps(asked).encode()], [*given, end])
        finally:
            os.close(end)
        self._told = os.fdopen(told, "rb")
        self.pid = int(self._told.readline())
        self._process = _opened(self.pid)
        self.returncode: int | None = None
        self.processor_s = 0.0
        """What it took, with all that it waited for; once it is dead."""

    def wait(self, timeout: float | None = None) -> int:
        """Until it is dead; its status, that of a signal negative.  Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            with selectors.DefaultSelector() as waiting:
                waiting.register(self._told, selectors.EVENT_READ)
                if not waiting.select(timeout):
                    assert timeout is not None
                    raise subprocess.TimeoutExpired(self.args, timeout)
            status, taken = self._told.readline().split()
            self.returncode, self.processor_s = int(status), float(taken)
            self._told.close()
            if self._process is not None:
                os.close(self._process)
                self._process = None
        return self.returncode

    def poll(self) -> int | None:
        """Its status, None while it lives."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send it one, if it lives: who forked it waits for it, so that it may be gone before its status is told."""
        if self.poll() is None and self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)

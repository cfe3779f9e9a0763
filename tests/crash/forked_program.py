"""A program of the crash tests, forked from a process that has loaded memdb (`tests.crash.program_nursery`): what
`subprocess.Popen` is to one that is started.
"""

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
from typing import IO

ROOT = Path(__file__).resolve().parents[2]


@cache
def _nursery(preload: str) -> socket.socket:
    """Where programs come from, of this process; it ends when this process does.  preload: a library that is loaded
    before all others."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.crash.program_nursery", str(theirs.fileno())]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "LD_PRELOAD": preload},
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


class ForkedProgram:
    """Under way."""

    stdin: None = None

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        pipes = [os.pipe() for _ in range(3)]
        asked = {"module": module, "arguments": list(arguments), "environment": dict(environment)}
        try:
            nursery = _nursery(environment.get("LD_PRELOAD", ""))
            socket.send_fds(nursery, [json.dumps(asked).encode()], [end for _, end in pipes])
        finally:
            for _, end in pipes:
                os.close(end)
        self.stdout: IO[bytes]
        self.stderr: IO[bytes]
        self.stdout, self.stderr, self._told = (os.fdopen(end, "rb") for end, _ in pipes)
        self.args = [module, *arguments]
        self.pid = int(self._told.readline())
        self._process = _opened(self.pid)
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Until it is dead; its status, that of a signal negative.  Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            with selectors.DefaultSelector() as waiting:
                waiting.register(self._told, selectors.EVENT_READ)
                if not waiting.select(timeout):
                    assert timeout is not None
                    raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = int(self._told.readline())
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

    def send_signal(self, number: signal.Signals) -> None:
        """Send it one, if it lives: who forked it waits for it, so that it may be gone before its status is told."""
        if self.poll() is None and self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)


def run_program(
    module: str, *arguments: str, timeout_s: float = 300.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it prints has to fit into a pipe."""
    program = ForkedProgram(module, arguments, {**os.environ, **environment})
    with program.stdout, program.stderr:
        try:
            status = program.wait(timeout_s)
            said, warned = program.stdout.read(), program.stderr.read()
        finally:
            program.send_signal(signal.SIGKILL)
    sys.stderr.buffer.write(warned)
    return subprocess.CompletedProcess(program.args, status, said.decode())

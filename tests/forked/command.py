"""A command of ours, forked from a process that has loaded it (`tests.forked.command_nursery`): what
`subprocess.Popen` is to one that is started.

Whoever looks at how a command loads, or at an interpreter that lacks something, starts it by `subprocess` instead.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from tests.forked.process import Forked, nursery_of

READ_BYTES: Final = 1 << 16


class ForkedCommand(Forked):
    """Under way, with nothing to read on its standard input."""

    def __init__(
        self,
        program: str,
        *arguments: str | Path,
        stdout: IO[str] | int = subprocess.PIPE,
        stderr: IO[str] | int = subprocess.PIPE,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        encoding: str = "utf-8",
        nursery: socket.socket | None = None,
    ) -> None:
        """program: a module with a function ``main``.  stdout, stderr: as of `subprocess.Popen`.  folder: where it is.
        environment: all of it; that of this process by default.  encoding: of what it writes.  nursery: where it comes
        from, if not from `tests.forked.command_nursery`."""
        given = list(map(str, arguments))
        asked = {
            "program": program,
            "arguments": given,
            "folder": str(folder or Path.cwd()),
            "environment": dict(os.environ if environment is None else environment),
        }
        # As `memdb` has it, which is before it loads numpy.
        nursery = nursery or nursery_of("tests.forked.command_nursery", OPENBLAS_NUM_THREADS="1")
        with ExitStack() as closed:
            self.stdout, out = _output(stdout, encoding, closed)
            self.stderr, err = (
                (None, out) if stderr == subprocess.STDOUT else _output(stderr, encoding, closed)
            )
            super().__init__([program, *given], nursery, asked, out, err)
        self._encoding = encoding
        self._read: dict[IO[str], list[bytes]] = {
            pipe: [] for pipe in (self.stdout, self.stderr) if pipe is not None
        }

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What it writes until it ends, but for what was read of it before.

        Raises `subprocess.TimeoutExpired`, and nothing is lost of what was written until then.
        """
        until_s = time.monotonic() + timeout
        with selectors.DefaultSelector() as waiting:
            for pipe in self._read:
                if not pipe.closed:
                    waiting.register(pipe, selectors.EVENT_READ, pipe)
            while waiting.get_map():
                ready = waiting.select(max(0.0, until_s - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                for key, _ in ready:
                    if part := os.read(key.fd, READ_BYTES):
                        self._read[key.data].append(part)
                    else:
                        waiting.unregister(key.fileobj)
                        key.data.close()
        self.wait(max(0.0, until_s - time.monotonic()))
        told = [
            "" if pipe is None else b"".join(self._read[pipe]).decode(self._encoding)
            for pipe in (self.stdout, self.stderr)
        ]
        return told[0], told[1]

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _output(wanted: IO[str] | int, encoding: str, closed: ExitStack) -> tuple[IO[str] | None, int]:
    """Where we read what is written, if we do, and the descriptor that it is written to; what is ours alone of it is
    closed by ``closed``."""
    if wanted == subprocess.DEVNULL:
        fd = os.open(os.devnull, os.O_WRONLY)
        closed.callback(os.close, fd)
        return None, fd
    if wanted != subprocess.PIPE:
        return None, wanted if isinstance(wanted, int) else wanted.fileno()
    ours, fd = os.pipe()
    closed.callback(os.close, fd)
    return os.fdopen(ours, "r", encoding=encoding), fd


def run_command(
    program: str,
    *arguments: str | Path,
    timeout_s: float = 100.0,
    stdout: IO[str] | int = subprocess.PIPE,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; arguments as of `ForkedCommand`."""
    command = ForkedCommand(
        program,
        *arguments,
        stdout=stdout,
        folder=folder,
        environment=environment,
        encoding=encoding,
    )
    try:
        told, errors = command.communicate(timeout_s)
    finally:
        command.kill()
    return subprocess.CompletedProcess(command.args, command.wait(), told, errors)

"""The demo's child processes: each is known by its pid, and none outlives the demo."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from memdb.errors import Unavailable

STOP_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.02
_LOG_TAIL_LINES: Final = 20


class Children:
    """Starts the programs of this installation and ends whatever still runs on the way out."""

    def __init__(self, log_folder: Path) -> None:
        self._log_folder = log_folder
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def start(self, program: str, arguments: Sequence[str], *, log: str) -> subprocess.Popen[bytes]:
        """Start ``program`` of this virtual environment; its output and errors go to file ``log``."""
        with (self._log_folder / log).open("ab") as output:
            return self._start(program, arguments, stdout=output, stderr=subprocess.STDOUT)

    def show(self, program: str, arguments: Sequence[str], *, log: str) -> subprocess.Popen[bytes]:
        """`start`, with what it writes to its standard error shown as our output."""
        sys.stdout.flush()
        with (self._log_folder / log).open("ab") as output:
            return self._start(program, arguments, stdout=output, stderr=sys.stdout)

    def run(self, program: str, arguments: Sequence[str], *, timeout_s: float) -> str:
        """Run ``program`` to its end; its standard output.

        Raises `Unavailable` (``CHILD_FAILED``) for another exit code than 0 or when the time is up.
        """
        sys.stdout.flush()
        process = self._start(program, arguments, stdout=subprocess.PIPE, stderr=sys.stdout)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise child_failed(program, f"took more than {timeout_s:.0f} s") from error
        if process.returncode != 0:
            raise child_failed(program, f"ended with {process.returncode}")
        return output.decode()

    def _start(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        stdout: int | IO[bytes],
        stderr: int | IO[str],
    ) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        self._running.append(process)
        return process

    def log_tail(self, log: str) -> str:
        """The last lines of a log."""
        path = self._log_folder / log
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(lines[-_LOG_TAIL_LINES:])


def child_failed(program: str, how: str) -> Unavailable:
    """The error for a program that did not do its part."""
    return Unavailable(f"{program} {how}", reason="CHILD_FAILED", field="program", value=program)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether ``condition`` came true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to end (SIGTERM) and wait; its exit code, -9 where it had to be killed."""
    process.terminate()
    try:
        return process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL, as a power cut would: no handler runs."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""Processes of an engine: started, waited for, measured, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

STOP_S = 60.0


class NotReady(Exception):
    """An engine did not come up in time."""


class Child:
    """A server, its output in a file; of our process group, so that it ends when that is ended."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                list(command),
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={**os.environ, **(environment or {})},
            )
        self._log = log

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    def ready(self, question: Callable[[], object], timeout_s: float = 300.0) -> None:
        """Ask until the answer is true; raises `NotReady`, with the end of the log."""
        wait_until(
            question, timeout_s, dead=lambda: self._process.poll() is not None, log=self._log
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and what it started; SIGKILL where it does not within a minute."""
        pids = tree(self.pid)
        if number == signal.SIGKILL:
            for pid in pids:
                send(pid, number)
        elif self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            for pid in pids:
                send(pid, signal.SIGKILL)
            self._process.wait()
        until = time.monotonic() + STOP_S
        while any(runs(pid) for pid in pids) and time.monotonic() < until:
            time.sleep(0.02)


def wait_until(
    question: Callable[[], object],
    timeout_s: float,
    *,
    dead: Callable[[], bool] = lambda: False,
    log: Path | None = None,
    every_s: float = 0.02,
) -> None:
    """Ask until the answer is true.

    Raises `NotReady` after ``timeout_s`` or as soon as it is ``dead``; what the question raises means not yet.
    """
    until = time.monotonic() + timeout_s
    why = "it said no"
    while True:
        gone = dead()
        try:
            if not gone and question():
                return
        except Exception as error:  # a client library's own, while its server is not there
            why = f"{type(error).__name__}: {error}"
        if gone or time.monotonic() > until:
            end = log.read_text("utf-8", "replace")[-800:] if log and log.exists() else ""
            raise NotReady(f"{'it ended' if gone else 'not in time'}; {why}; {end}")
        time.sleep(every_s)


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [each for child in children.read_text().split() for each in tree(int(child))]
        except OSError:
            continue  # the thread has just ended
    return found


def memory_mb(pids: Sequence[int]) -> float:
    """Proportional set size of processes and their descendants: what several share is counted once."""
    total_kb = 0
    for pid in {each for root in pids for each in tree(root)}:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has just ended
        total_kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kb / 1024


def disk_mb(folder: Path) -> float:
    """Blocks that the files below a folder take, 10**6 bytes."""
    listed = subprocess.run(
        ["du", "-s", "-B1", str(folder)], capture_output=True, text=True, check=True
    )
    return int(listed.stdout.split()[0]) / 1e6


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

"""A real ``memdb serve`` as a child process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from bench.peers.process import wait_until

_STOP_TIMEOUT_S = 20.0


class Server:
    """Serves directory ``data`` on loopback until it is left."""

    def __init__(self, data: Path, address: str = "127.0.0.1:0", *, standby: bool = False) -> None:
        """Start the process; returns once it answers.  standby: once it stands by, having read ahead what it may."""
        log = data.with_suffix(".standby.log" if standby else ".log")
        self._log = log.open("wb" if standby else "ab")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "memdb.cli.main", "serve"),
                *("--data", str(data), "--listen", address),
                *(("--standby",) if standby else ()),
            ],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.address = address
        if standby:
            self._line()
            wait_until(lambda: '"read ahead"' in log.read_text("utf-8"), _STOP_TIMEOUT_S)
        else:
            self.listening()

    def listening(self) -> None:
        """Return once it answers, at `address`."""
        self.address = self._line()["address"]

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.kill()
            raise RuntimeError(f"memdb serve did not start: {self._log.name}")
        told: dict[str, Any] = json.loads(line)
        return told

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def memory_mb(self) -> tuple[float, float]:
        """(resident, of that anonymous) MB; the rest is the mapped store and the libraries' code."""
        info = psutil.Process(self.pid).memory_info()
        return info.rss / 1e6, (info.rss - info.shared) / 1e6

    def processor_s(self) -> float:
        """Processor time of the process."""
        return processor_s(self.pid)

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing says good-bye."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.communicate(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._log.close()


def processor_s(pid: int) -> float:
    """Processor time of a process."""
    # What clock_getcpuclockid(3) gives; what /proc says of a process comes in steps of ten milliseconds.
    return time.clock_gettime(~pid << 3 | 2)

"""Lives of `tests.crash.fault_child` under strace, which makes the n-th call of a kind fail."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from tests.crash.processes import ROOT

LIFE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """The ``at``-th call, by each thread, ends with an error."""

    call: str
    error: str
    at: int

    def __str__(self) -> str:
        return f"{self.call}:{self.error}:{self.at}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Of its text."""
        call, error, at = text.split(":")
        return cls(call, error, int(at))


@dataclass(frozen=True, slots=True)
class Life:
    """What a child told, its exit status, and its errors."""

    told: list[dict[str, Any]]
    status: int
    errors: str

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The steps that failed."""
        return [line for line in self.told if "failed" in line]


def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        assert not os.environ.get("CI"), "install strace"
        pytest.skip("strace is not installed")
    return found


class FaultyLives:
    """A process that has all modules and forks one child for each life."""

    def __init__(self, where: Path) -> None:
        """where: a directory for what it says on standard error."""
        self._strace = strace()
        self._errors = (where / "errors").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.fault_child", str(where / "first")],
            cwd=ROOT,
            # A pool of threads does not outlive a fork.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )
        assert self._process.stdout is not None
        self._said = bytearray()

    def live(self, data: Path, fault: Fault) -> Life:
        """One life in ``data``."""
        self._errors.seek(0)
        self._errors.truncate()
        self._say(str(data))
        pid = int(self._next(LIFE_TIMEOUT_S)["ready"])
        tracer = subprocess.Popen(
            [
                *(self._strace, "-f", "-p", str(pid), "-o", os.devnull),
                *("-e", f"trace={fault.call}"),
                *("-e", f"inject={fault.call}:error={fault.error}:when={fault.at}"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tracer.stderr is not None
        attached = tracer.stderr.readline()
        assert "attached" in attached, attached
        self._say("go")
        told: list[dict[str, Any]] = []
        try:
            while "ended" not in (line := self._next(LIFE_TIMEOUT_S)):
                told.append(line)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            line = self._next(LIFE_TIMEOUT_S)
        finally:
            tracer.communicate(timeout=LIFE_TIMEOUT_S)
        self._errors.seek(0)
        return Life(told, int(line["ended"]), self._errors.read().decode("utf-8", "replace"))

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def _next(self, timeout_s: float) -> dict[str, Any]:
        """The next line that it prints."""
        out = self._process.stdout
        assert out is not None
        while b"\n" not in self._said:
            with selectors.DefaultSelector() as waiting:
                waiting.register(out, selectors.EVENT_READ)
                if not waiting.select(timeout_s):
                    raise TimeoutError(f"silent for {timeout_s} s")
            some = out.read(65536)
            assert some, f"it ended: {Path(self._errors.name).read_text()[-2000:]}"
            self._said += some
        line, _, self._said = self._said.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

"""What the crash tests' programs are forked with."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.crash.processes import Program


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_signal_to_a_program_that_is_gone_and_has_not_told_its_status_is_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two it was an error of the test that sent it."""
    with Program("tests.crash.child", str(directory / "data"), "alice") as child:
        child.line()
        os.kill(child.process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while exists(child.process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        with monkeypatch.context() as untold:
            untold.setattr(child.process, "poll", lambda: None)
            child.process.send_signal(signal.SIGKILL)
        assert child.kill() == -signal.SIGKILL

"""The demo's children: none outlives it, and what they say is kept."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from memdb import Unavailable
from reasoner.demo.processes import Children, free_port, kill, listens, stop, wait_until

SLEEP = ["-c", "import time; time.sleep(60)"]


def test_what_still_runs_is_ended_even_after_an_error(tmp_path: Path) -> None:
    children = Children(tmp_path)
    pid = children.start("python", SLEEP, log="sleep.log").pid
    assert psutil.pid_exists(pid)
    with pytest.raises(KeyboardInterrupt), children:
        raise KeyboardInterrupt
    assert not psutil.pid_exists(pid)


def test_stop_asks_and_kill_does_not(tmp_path: Path) -> None:
    handler = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print(1, flush=True);"
    program = ["-c", handler + SLEEP[1]]
    with Children(tmp_path) as children:
        asked = children.start("python", program, log="asked.log")
        killed = children.start("python", program, log="killed.log")
        assert wait_until(lambda: children.log_tail("asked.log") == "1", 20)
        assert stop(asked) == 0
        kill(killed)
        assert killed.returncode == -signal.SIGKILL


def test_run_gives_the_output_and_tells_of_failure(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        assert children.run("python", ["-c", "print(7)"], timeout_s=20) == "7\n"
        with pytest.raises(Unavailable, match="python ended with 3"):
            children.run("python", ["-c", "raise SystemExit(3)"], timeout_s=20)
        with pytest.raises(Unavailable, match="took more than"):
            children.run("python", SLEEP, timeout_s=0.1)


def test_output_and_errors_are_logged(tmp_path: Path) -> None:
    both = ["-c", "import sys; print('one', flush=True); print('two', file=sys.stderr)"]
    with Children(tmp_path) as children:
        children.start("python", both, log="both.log").wait()
        assert children.log_tail("both.log") == "one\ntwo"
        assert children.log_tail("none.log") == ""


def test_nobody_listens_on_a_free_port() -> None:
    assert not listens(free_port())

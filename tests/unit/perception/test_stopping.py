"""Signals to a process that waits for a server."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import threading
from perception.stopping import Stopping

ended = threading.Event()
stopping = Stopping({stop}, lambda line: print(line, flush=True))
print("ready", flush=True)
ended.wait()
print(stopping.signal, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_ends_in_order(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(stop="ended.set")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        told = process.stdout.read().splitlines()
    assert told == [
        "stopping, as soon as what was sent is acknowledged; the same once more ends it at once",
        str(int(number)),
    ]
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_ends_at_once(number: signal.Signals) -> None:
    # What is to stop waits for a server that does not come.
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(stop="lambda: None")],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline().startswith("stopping")
        process.send_signal(number)
        assert process.wait(30) == 128 + number


UNHEARD = """
import signal
import threading
import sys
from perception.stopping import Stopping

ended = threading.Event()
stopping = Stopping(ended.set, lambda line: print(line, file=sys.stderr, flush=True))
print("ready", flush=True)
ended.wait()
print(stopping.signal, flush=True)
"""


def test_it_ends_in_order_although_nobody_reads_what_it_says() -> None:
    """As in `memdb-ingest ... 2>&1 | head`."""
    with subprocess.Popen(
        [sys.executable, "-c", UNHEARD],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.stderr.close()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == f"{int(signal.SIGINT)}\n"
        process.wait(30)

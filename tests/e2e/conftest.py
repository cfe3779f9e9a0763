"""Signals as a terminal leaves them, wherever the suite is started from; a database for agents in this process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import memdb
from memdb.types.database import Database

# A script's background job is told to ignore Ctrl-C, and so is everything that it starts: what the tests
# interrupt would not notice.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with memdb.open(tmp_path / "data") as opened:
        yield opened

"""A log that nobody reads makes nobody wait; what is lost of it is counted."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from memdb.server import log_lines
from memdb.server.logs import configure_logging
from tests.interrupted_locks import free_after_each_interrupt

log = logging.getLogger("x")


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end of a pipe that is the process's stderr."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    asyncio_level = logging.getLogger("asyncio").level
    taken, given = os.pipe()
    with os.fdopen(given, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(log_lines, "PENDING_BYTES_MAX", 100_000)
        configure_logging("info")
        yield taken
        # Whatever was written to it is refused now, so nobody waits for it any more.
        os.close(taken)
        root.handlers[0].flush()
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger("asyncio").setLevel(asyncio_level)


def say(lines: range) -> threading.Thread:
    def work() -> None:
        for number in lines:
            log.warning("said", extra={"fields": {"number": number}})

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    return thread


def test_who_logs_waits_for_no_reader(reader: int) -> None:
    count = 4000
    thread = say(range(count))
    assert not thread.is_alive()
    numbers: list[int] = []
    with os.fdopen(os.dup(reader), "rb") as lines:
        for line in lines:
            record = json.loads(line)
            if "number" not in record:
                break
            numbers.append(record["number"])
        # In order, the first of them, and the rest is counted.
        assert 100 < len(numbers) < count
        assert numbers == list(range(len(numbers)))
        assert record["event"] == "lines of the log were dropped, since nobody read them"
        assert record["lines"] == count - len(numbers)
        assert not say(range(1)).is_alive()
        assert json.loads(next(lines))["number"] == 0


def test_a_long_line_comes_whole(reader: int) -> None:
    text = "y" * 90_000  # more than the pipe takes
    thread = threading.Thread(target=log.warning, args=(text,), daemon=True)
    thread.start()
    thread.join(20)
    log.warning("after")
    with os.fdopen(os.dup(reader), "rb") as lines:
        assert json.loads(next(lines))["event"] == text
        assert json.loads(next(lines))["event"] == "after"


def test_a_line_for_which_there_is_no_room_is_dropped(reader: int) -> None:
    for letter in "abc":  # the pipe takes some of the first
        log.warning(letter * 90_000)
    with os.fdopen(os.dup(reader), "rb") as lines:
        assert json.loads(next(lines))["event"] == "a" * 90_000
        assert json.loads(next(lines))["lines"] == 2


def test_a_reader_that_has_gone_is_no_error(reader: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, reader)  # the pipe has no reader any more
    os.close(null)
    assert not say(range(5)).is_alive()


def test_ctrl_c_on_the_way_to_the_lock_leaves_it_free(reader: int) -> None:
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, log_lines.LineHandler)
    record = logging.makeLogRecord({"msg": "said"})
    # The pipe is full, so that lines wait for a thread; there is room for some.
    say(range(1000))
    assert free_after_each_interrupt(lambda: handler.emit(record), lambda: handler.emit(record)) > 0

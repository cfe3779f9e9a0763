"""The event loop's own lateness is measured, told and logged."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

import pytest

from memdb.server import app
from memdb.server.heartbeat import LOG_INTERVAL_S, PERIOD_S, Heartbeat
from memdb.server.metrics import Histogram, metrics_text
from memdb.server.metrics_file import write_metrics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_blocked_loop_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Or one that a busy machine had brought about before is the only one that is logged.
    monkeypatch.setattr("memdb.server.heartbeat.LOG_INTERVAL_S", 0.0)
    heartbeat = Heartbeat()
    heartbeat.start()
    await asyncio.sleep(3 * PERIOD_S)
    with caplog.at_level(logging.WARNING, "memdb.server"):
        until = time.thread_time() + 0.2
        while time.thread_time() < until:  # as a large message that is parsed on the loop
            pass
        await asyncio.sleep(2 * PERIOD_S)
    heartbeat.stop()
    assert heartbeat.stalls >= 1
    told = [record.__dict__["fields"] for record in caplog.records if "late" in record.message]
    fields = max(told, key=lambda one: float(one["loop_busy_ms"]))
    assert fields["late_ms"] > 100
    assert fields["loop_busy_ms"] > 150
    text = metrics_text(heartbeat.metrics)
    assert 'memdb_loop_lateness_seconds_bucket{le="+Inf"}' in text
    longest = next(
        float(line.split()[1])
        for line in text.splitlines()
        if line.startswith("memdb_loop_lateness_max_seconds ")
    )
    assert longest > 0.1


async def test_warnings_are_few_and_count_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    clock, busy = Clock(), Clock()
    heartbeat = Heartbeat(clock, busy)
    heartbeat.start()
    with caplog.at_level(logging.WARNING, "memdb.server"):
        for _ in range(5):
            clock.now += PERIOD_S + 0.07
            heartbeat.beat()
        clock.now += LOG_INTERVAL_S
        heartbeat.beat()
    heartbeat.stop()
    told = [record.__dict__["fields"]["stalls"] for record in caplog.records]
    assert told == [1, 5]
    assert heartbeat.stalls == 6


async def test_a_loop_in_time_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    heartbeat = Heartbeat(clock, clock)
    heartbeat.start()
    clock.now += PERIOD_S + 0.049
    heartbeat.beat()
    heartbeat.stop()
    assert (heartbeat.stalls, caplog.records) == (0, [])


def test_the_text_of_a_histogram() -> None:
    histogram = Histogram("h", "What.", (0.5, 1.0))
    for value in (0.5, 0.7, 3.0):
        histogram.observe(value)
    assert metrics_text([histogram]) == (
        "# HELP h What.\n# TYPE h histogram\n"
        'h_bucket{le="0.5"} 1\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 3\nh_sum 4.2\nh_count 3\n'
    )


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "memdb.prom"
    write_metrics(path, "a 1\n")
    write_metrics(path, "a 2\n")
    assert path.read_text() == "a 2\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_never_written_through_a_link_nor_left_half_made(tmp_path: Path) -> None:
    path, other = tmp_path / "memdb.prom", tmp_path / "other"
    other.write_text("mine")
    for name in (f"memdb.prom.{os.getpid()}.new", "memdb.prom.new"):
        (tmp_path / name).symlink_to(other)
    write_metrics(path, "a 1\n")
    assert path.read_text() == "a 1\n"
    assert other.read_text() == "mine"
    folder = tmp_path / "folder"
    (folder / "memdb.prom").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_metrics(folder / "memdb.prom", "a 1\n")
    assert [entry.name for entry in folder.iterdir()] == ["memdb.prom"]


async def test_metrics_that_cannot_be_written_are_told_over_and_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(app, "METRICS_INTERVAL_S", 0.01)
    for path in ("/", str(tmp_path / "missing" / "memdb.prom")):
        caplog.clear()
        telling = asyncio.create_task(app._tell_metrics(Heartbeat().metrics, path))
        while len(caplog.records) < 2:
            await asyncio.sleep(0.01)
            assert not telling.done()
        telling.cancel()
        assert "the metrics could not be written" in caplog.text

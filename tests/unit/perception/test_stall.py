"""Acknowledgements that stay away are told once, and once that they came again."""

from __future__ import annotations

from perception.stall import STALL_AFTER_S, TELL_EVERY_S, StallWatch


def test_a_stall_is_told_once_and_its_end_once() -> None:
    lines: list[str] = []
    now_s = 100.0
    watch = StallWatch("porch", lines.append, clock_s=lambda: now_s)
    watch.look(0, 0)
    now_s += 60  # Nothing waits: however long, that is no stall.
    watch.look(0, 0)
    watch.look(3, 0)
    now_s += STALL_AFTER_S - 0.1
    watch.look(3, 0)
    assert lines == []
    now_s += 0.2
    watch.look(3, 0)
    now_s += 60
    watch.look(4, 0)
    assert lines == ["porch: waiting for the server, 3 clips not acknowledged"]
    watch.look(2, 2)
    watch.look(0, 4)
    assert lines[1:] == ["porch: the server acknowledges again"]


def test_a_long_stall_is_told_now_and_then_and_what_it_cost() -> None:
    lines: list[str] = []
    now_s = 0.0
    watch = StallWatch("porch", lines.append, clock_s=lambda: now_s)
    watch.look(40, 7)
    for _ in range(3 * round(TELL_EVERY_S)):
        now_s += 1
        watch.look(40, 7, round(now_s) // 10)
    assert watch.is_stalled
    watch.look(0, 47, 200)
    assert not watch.is_stalled
    assert lines == [
        "porch: waiting for the server, 40 clips not acknowledged",
        "porch: waiting for the server, 40 clips not acknowledged, 60 clips left out",
        "porch: waiting for the server, 40 clips not acknowledged, 120 clips left out",
        "porch: the server acknowledges again; 200 clips left out meanwhile",
    ]


def test_a_slow_server_is_no_stall() -> None:
    lines: list[str] = []
    now_s = 0.0
    watch = StallWatch("porch", lines.append, clock_s=lambda: now_s)
    for writes in range(10):
        watch.look(1, writes)
        now_s += STALL_AFTER_S - 1
    assert lines == []

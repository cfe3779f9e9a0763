"""When a stream that breaks is made again, by a clock that is told the time."""

from __future__ import annotations

import pytest

from memdb.errors import Unavailable
from memdb_client import _outage
from memdb_client._options import NOT_CONNECTED
from memdb_client._outage import STOOD_S, Outage

AWAY = Unavailable(f"{NOT_CONNECTED}; refused")
STOPPING = Unavailable("the server is shutting down", reason="SHUTTING_DOWN")


class Clock:
    """Seconds that pass as they are told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_outage, "time", clock)
    return clock


def test_it_lasts_from_the_first_failure(clock: Clock) -> None:
    outage = Outage(30.0)
    outage.calls()
    clock.now_s += 3600.0  # it stood, and was told nothing
    assert outage.pause_s(STOPPING) is not None

    clock.now_s += 27.0
    outage.calls()
    assert outage.pause_s(AWAY) is not None

    clock.now_s += 3.1
    outage.calls()
    assert outage.pause_s(AWAY) is None


def test_each_restart_of_the_server_is_an_outage_of_its_own(clock: Clock) -> None:
    outage = Outage(30.0)
    for _ in range(3):
        outage.calls()
        clock.now_s += STOOD_S
        assert outage.pause_s(STOPPING) is not None
        clock.now_s += 15.0
        outage.calls()
        assert outage.pause_s(AWAY) is not None
        clock.now_s += 10.0


def test_who_is_refused_at_once_or_finds_nobody_gives_up(clock: Clock) -> None:
    for error, lasts_s in ((Unavailable("busy", reason="OVERLOADED"), 0.1), (AWAY, 20.0)):
        outage = Outage(30.0)
        calls = 0
        while True:
            outage.calls()
            clock.now_s += lasts_s
            pause_s = outage.pause_s(error)
            if pause_s is None:
                break
            clock.now_s += pause_s
            calls += 1
            assert calls < 1000
        assert calls > 0


def test_an_answer_ends_it(clock: Clock) -> None:
    outage = Outage(30.0)
    outage.calls()
    assert outage.pause_s(AWAY) is not None
    clock.now_s += 29.9
    outage.calls()
    outage.is_over()
    assert outage.pause_s(AWAY) is not None

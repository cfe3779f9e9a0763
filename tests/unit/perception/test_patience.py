"""A server that is away is waited for as long as one is willing, and no longer than that."""

from __future__ import annotations

import math
import threading

import pytest

from memdb.errors import InvalidArgument, MemdbError, ResourceExhausted, Unavailable
from perception.errors import WeightsUnavailable
from perception.patience import Patience, length


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.patience.PAUSE_S", 0.001)
    monkeypatch.setattr("perception.patience.PAUSE_MAX_S", 0.002)


class Server:
    """Away for some calls."""

    def __init__(self, away: int, error: MemdbError | None = None) -> None:
        self.away = away
        self.error = error or Unavailable("nobody there")
        self.calls = 0

    def ask(self) -> str:
        self.calls += 1
        if self.calls <= self.away:
            raise self.error
        return "here"


def test_it_is_asked_until_it_answers_and_told_once() -> None:
    lines: list[str] = []
    server = Server(20)
    assert Patience(math.inf, threading.Event(), lines.append).call(server.ask) == "here"
    assert lines == ["waiting for the server for ever: nobody there"]


def test_a_full_disk_is_waited_for_as_well() -> None:
    server = Server(3, ResourceExhausted("no room", reason="DISK_FULL"))
    assert Patience(math.inf, threading.Event(), lambda _: None).call(server.ask) == "here"


@pytest.mark.parametrize(
    ("wait_s", "error"),
    [
        (math.inf, ResourceExhausted("too much", reason="QUOTA")),
        (0.0, Unavailable("nobody there")),
        (math.inf, InvalidArgument("wrong")),
        (math.inf, Unavailable("closed", reason="CLOSED")),
        (math.inf, WeightsUnavailable("no network")),
    ],
)
def test_what_is_not_waited_for(wait_s: float, error: MemdbError) -> None:
    server = Server(1, error)
    with pytest.raises(type(error)):
        Patience(wait_s, threading.Event(), lambda _: None).call(server.ask)
    assert server.calls == 1


def test_a_stop_ends_the_waiting() -> None:
    stopping = threading.Event()
    stopping.set()
    server = Server(1)
    with pytest.raises(Unavailable):
        Patience(math.inf, stopping, lambda _: None).call(server.ask)
    assert server.calls == 1


def test_a_length_in_words() -> None:
    assert (length(math.inf), length(90.0)) == ("for ever", "for 90 s")

"""Askers beside each other on a server with one thread for reads: nobody starves, and who has left holds
nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from memdb import deadline
from memdb.engine.grounding import ground
from memdb.engine.reading import WouldWait
from memdb.errors import DeadlineExceeded, InvalidArgument
from memdb.types.zone import checked_zone
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.grounding import ground_request
from memdb_client import connect, connect_async
from tests.e2e.serving import DIM, Served, clip, error_of, serving, vector

pytestmark = pytest.mark.e2e

PAUSE_S = 0.02


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "db", read_threads=1, connection_streams_max=1000) as running:
        running.database.create_space("p", dim=DIM)
        for name in ("loud", "quiet"):
            stream = running.database.user(name).stream("cam", space="p")
            stream.write_many([clip(seq) for seq in range(5)])
        yield running


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Each question takes a while more than it would; one entry for each that was begun."""
    begun: list[None] = []

    def slowly(*args: Any) -> Any:
        if args[0] is None:
            raise WouldWait  # what takes a while is not answered at once
        begun.append(None)
        until_s = time.monotonic() + PAUSE_S
        while time.monotonic() < until_s:
            deadline.check()
            time.sleep(0.001)
        return ground(*args)

    monkeypatch.setattr("memdb.engine.user_grounding.ground", slowly)
    monkeypatch.setattr("memdb.engine.together.ground", slowly)
    return begun


async def test_five_hundred_questions_of_one_user_do_not_starve_another(
    served: Served, slow: list[None]
) -> None:
    async with connect_async(served.address) as db:
        loud = [asyncio.create_task(db.user("loud").ground(vector(seed))) for seed in range(500)]

        def answered() -> int:
            return sum(task.done() for task in loud)

        while answered() < 5:
            await asyncio.sleep(0.01)
        before = answered()
        for seed in range(3):
            # Not by the same client: gRPC has one connection for all that are alike.
            request = ground_request("quiet", vector(seed))
            assert (await asyncio.to_thread(served.grounding.Ground, request)).hits
        between = answered() - before
        for task in loud:
            task.cancel()
        await asyncio.gather(*loud, return_exceptions=True)
    # One of the other's for each of its own, and those that are told or answered while they travel, which a busy
    # machine lets be many; first come, first served it is all that there are.
    assert between < 400


@pytest.mark.parametrize("kind", ["unary", "together", "stream"])
def test_who_has_left_holds_no_thread(served: Served, slow: list[None], kind: str) -> None:
    questions = np.stack([vector(seed) for seed in range(250)])  # five seconds of them
    with connect(served.address) as db, connect(served.address, timeout_s=0.3) as hasty:
        if kind == "together":
            with pytest.raises(DeadlineExceeded):
                hasty.user("loud").ground_many(questions)
        elif kind == "stream":
            answers = hasty.user("loud").ground_stream(questions)
            time.sleep(0.1)
            next(answers)
            answers.close()
        else:
            calls = [
                served.grounding.Ground.future(ground_request("loud", question), timeout=0.3)
                for question in questions[:100]
            ]
            time.sleep(0.4)
            assert any(call.exception() is not None for call in calls)
        before = len(slow)
        assert db.user("quiet").ground(vector(1)).hits
        assert db.user("loud").ground(vector(1)).hits
        # These two and what was under way: of those that had left there are two hundred and more.
        assert len(slow) - before < 50


def test_a_deadline_is_told_as_one(served: Served, slow: list[None]) -> None:
    with connect(served.address, timeout_s=0.2) as db, pytest.raises(DeadlineExceeded):
        db.user("loud").ground_many(np.stack([vector(seed) for seed in range(100)]))


def test_whose_call_it_is_may_stand_anywhere(served: Served) -> None:
    # Protobuf lets fields come in any order: such a call has its turns with those of nobody, and is answered.
    head = pb.GroundRequest(user="quiet").SerializeToString()
    whole = ground_request("quiet", vector(1)).SerializeToString()
    assert whole.startswith(head)
    channel: Any = served.channel
    call = channel.unary_unary("/memdb.v1.GroundingService/Ground")
    answers = [call(data, timeout=10) for data in (whole, whole[len(head) :] + head)]
    assert answers[0] == answers[1]


def test_a_call_has_the_turn_of_the_user_that_it_asks(served: Served) -> None:
    """Not one for each user that it names: of a field that stands twice the last counts."""
    ask: Any = served.channel.unary_unary("/memdb.v1.GroundingService/Ground")
    asked = ground_request("loud", vector(0)).SerializeToString()
    assert pb.GroundResponse.FromString(ask(asked, timeout=20)).hits
    other = pb.GroundRequest(user="quiet").SerializeToString()
    with pytest.raises(grpc.RpcError) as caught:
        ask(other + asked, timeout=20)
    error = error_of(caught.value)
    assert (type(error), error.reason, error.field) == (InvalidArgument, "BAD_MESSAGE", "user")
    # Who writes the field last of all has the turns of nobody.
    late = asked[len(pb.GroundRequest(user="loud").SerializeToString()) :] + other
    assert pb.GroundResponse.FromString(ask(late, timeout=20)).hits


def test_who_has_been_asked_is_answered_while_every_thread_is_busy(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = ground_request("quiet", vector(1))
    # Its clips are kept from the first answer on, and the try after one in vain is left out.
    before, *_ = (served.grounding.Ground(quick) for _ in range(3))
    inside, done = threading.Event(), threading.Event()

    def held(*args: Any) -> Any:
        if args[0] is None:
            return ground(*args)
        inside.set()
        assert done.wait(30)
        return ground(*args)

    monkeypatch.setattr("memdb.engine.user_grounding.ground", held)
    slow = served.grounding.Ground.future(ground_request("loud", vector(1), as_of=1))
    try:
        assert inside.wait(30)
        # The one thread for reads is taken.
        assert served.grounding.Ground(quick, timeout=20) == before
    finally:
        done.set()
    assert slow.result(timeout=30).hits


def test_a_time_zone_is_not_looked_for_on_the_event_loop(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read from a disk."""
    quick = ground_request("quiet", vector(1))
    for _ in range(3):
        served.grounding.Ground(quick)
    looked: list[bool] = []

    def look(zone: object) -> str:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            looked.append(False)
        else:
            looked.append(True)
        return checked_zone(zone)

    asked = ground_request("quiet", vector(1), hours=[("00:00", "12:00")], zone="Asia/Tokyo")
    monkeypatch.setattr("memdb.types.calendar.checked_zone", look)
    served.grounding.Ground(asked)
    assert looked
    assert not any(looked)

"""Standing questions over the wire: pages, progress, and how a watch ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from memdb.engine import standing_follower, standing_rows, standing_step
from memdb.errors import NotFound, Unavailable
from memdb.server import standing_service, standing_watch
from memdb.v1 import standing_service_pb2 as pb
from memdb.v1.standing_service_pb2_grpc import StandingServiceStub
from memdb.wire.grounding import ground_request
from tests.e2e.serving import DIM, Served, clip, error_of, serving, vector

pytestmark = pytest.mark.e2e


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "db") as running:
        running.database.create_space("p", dim=DIM)
        user = running.database.user("u")
        user.stream("cam", space="p").create()
        yield running


@pytest.fixture
def stub(served: Served) -> Any:
    return StandingServiceStub(served.channel)


def test_many_questions_come_in_several_messages(
    served: Served, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing_service, "CHUNK_BYTES_MAX", 500)
    standing = served.database.user("u").standing
    ids = [standing.create(vector(number), min_score=0.5).id for number in range(20)]
    answers = list(stub.ListStanding(pb.ListStandingRequest(user="u")))
    assert len(answers) > 3
    assert [question.id for answer in answers for question in answer.questions] == ids


def test_many_alerts_come_in_several_messages(
    served: Served, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing_watch, "MESSAGE_ALERTS", 3)
    user = served.database.user("u")
    user.standing.create(vector(0), min_score=-1)
    user.stream("cam").write_many(clip(seq) for seq in range(10))
    answers = list(stub.WatchStanding(pb.WatchStandingRequest(user="u")))
    assert [len(answer.alerts) for answer in answers] == [3, 3, 3, 1]
    assert [answer.cursor for answer in answers] == [answer.alerts[-1].cursor for answer in answers]
    request = pb.WatchStandingRequest(user="u", cursor=answers[1].cursor)
    again = [alert.id for answer in stub.WatchStanding(request) for alert in answer.alerts]
    assert again == [alert.id for answer in answers[2:] for alert in answer.alerts]


def test_a_watch_with_nothing_to_hear_is_told_how_far_it_came(
    served: Served, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing_watch, "PROGRESS_S", 0.0)
    user = served.database.user("u")
    user.standing.create(vector(1), min_score=1)
    feed = stub.WatchStanding(pb.WatchStandingRequest(user="u", follow=True))
    first = next(feed)
    user.stream("cam").write(clip(0))
    second = next(feed)
    feed.cancel()
    assert (len(first.alerts), len(second.alerts)) == (0, 0)
    revisions = [int(answer.cursor[:16], 16) for answer in (first, second)]
    assert revisions == [user.revision() - 1, user.revision()]


def test_who_catches_up_and_hears_nothing_is_told_how_far_it_came(
    served: Served, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off before the end it would begin anew, each time."""
    monkeypatch.setattr(standing_watch, "PROGRESS_S", 0.0)
    monkeypatch.setattr(standing_follower, "PAGE_S", 0.0)
    user = served.database.user("u")
    user.standing.create(vector(99), min_score=1)
    first = user.revision()
    user.stream("cam").write_many(clip(seq) for seq in range(5))
    answers = list(stub.WatchStanding(pb.WatchStandingRequest(user="u"), timeout=60))
    assert not any(answer.alerts for answer in answers)
    cursors = [answer.cursor for answer in answers]
    assert len(set(cursors)) == len(cursors) >= 4
    assert first < int(cursors[-1][:16], 16) <= user.revision()
    # On from there.
    again = pb.WatchStandingRequest(user="u", cursor=cursors[-2])
    assert len(list(stub.WatchStanding(again, timeout=60))) <= 2


def test_a_watch_ends_when_the_server_stops(tmp_path: Path) -> None:
    with serving(tmp_path / "db") as running:
        running.database.create_space("p", dim=DIM)
        running.database.user("u").stream("cam", space="p").create()
        stub: Any = StandingServiceStub(running.channel)
        feed = stub.WatchStanding(pb.WatchStandingRequest(user="u", follow=True))
        ended: list[Exception] = []

        def listen() -> None:
            try:
                list(feed)
            except grpc.RpcError as error:
                ended.append(error_of(error))

        listener = threading.Thread(target=listen)
        listener.start()
        running.database.user("u").put("a", 1)
        time.sleep(0.2)
        # What SIGTERM begins with; the feed looks at it when it is woken.
        running.server._resources.drain._begun = True
        running.database.user("u").put("a", 2)
        listener.join(30)
        assert not listener.is_alive()
    (error,) = ended
    assert isinstance(error, Unavailable)
    assert error.reason == "SHUTTING_DOWN"


def test_a_page_that_takes_long_ends_when_its_watcher_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a few who watch a question that everything matches would hold every thread there is."""
    original = standing_rows.rows_near
    looked: list[int] = []
    begun, left = threading.Event(), threading.Event()

    def slow(state: Any, partition: Any, question: Any, *rest: Any) -> Any:
        looked.append(question.no)
        begun.set()
        assert left.wait(60)
        time.sleep(0.02)  # it has work to do
        return original(state, partition, question, *rest)

    monkeypatch.setattr(standing_step, "rows_near", slow)
    monkeypatch.setattr(standing_follower, "PAGE_S", 3600.0)  # it does not end for others either
    with serving(tmp_path / "db", read_threads=1) as running:
        running.database.create_space("p", dim=DIM)
        user = running.database.user("u")
        cam = user.stream("cam", space="p")
        cam.create()
        for number in range(10):
            user.standing.create(vector(number), min_score=-2, window_s=1)
        cam.write_many(clip(seq) for seq in range(100))
        stub: Any = StandingServiceStub(running.channel)
        watch = stub.WatchStanding(pb.WatchStandingRequest(user="u"))
        assert begun.wait(30)
        watch.cancel()
        running.hears()
        left.set()
        # There is one thread, which has to answer this: what was then is another time.
        then = ground_request("u", vector(0), as_of=user.revision())
        assert running.grounding.Ground(then, timeout=30).hits
        seen = len(looked)
        assert 0 < seen < 900
        time.sleep(0.2)  # it would go on
        assert len(looked) == seen


def test_a_page_that_takes_long_gives_others_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one thread that reads; who watches goes on with each clip when it is told to."""
    monkeypatch.setattr(standing_follower, "PAGE_S", 0.0)
    original = standing_rows.rows_near
    may_look = threading.Semaphore(0)
    is_looking = threading.Event()

    def held(*given: Any) -> Any:
        is_looking.set()
        assert may_look.acquire(timeout=60)
        return original(*given)

    monkeypatch.setattr(standing_step, "rows_near", held)
    with serving(tmp_path / "db", read_threads=1) as running:
        running.database.create_space("p", dim=DIM)
        user = running.database.user("u")
        cam = user.stream("cam", space="p")
        cam.create()
        for number in range(5):
            user.standing.create(vector(number), min_score=-1, window_s=1)
        cam.write_many(clip(seq) for seq in range(4))
        stub: Any = StandingServiceStub(running.channel)
        feed = stub.WatchStanding(pb.WatchStandingRequest(user="u"), timeout=60)
        assert is_looking.wait(30)
        grounding: Any = running.grounding
        asked = grounding.Ground.future(ground_request("u", vector(0)), timeout=30)
        read, until_s = running.server._resources.pools.read, time.monotonic() + 30
        while not read._open:  # it waits for the thread, before the next page does
            assert time.monotonic() < until_s
            time.sleep(0.005)
        may_look.release(5)  # the first clip's; of the second it waits
        try:
            assert asked.result().hits
        finally:
            may_look.release(1000)
        assert sum(len(answer.alerts) for answer in feed) == 20


def test_a_watch_of_an_erased_user_ends(
    served: Served, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing_watch, "RECHECK_S", 0.1)
    user = served.database.user("u")
    user.standing.create(vector(0), min_score=-1)
    user.stream("cam").write(clip(0))
    feed = stub.WatchStanding(pb.WatchStandingRequest(user="u", follow=True))
    assert len(next(feed).alerts) == 1
    user.erase()
    with pytest.raises(grpc.RpcError) as caught:
        next(feed)
    assert isinstance(error_of(caught.value), NotFound)


def test_a_watch_wakes_for_an_absence(
    served: Served, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before it would look again by itself."""
    monkeypatch.setattr(standing_watch, "RECHECK_S", 60.0)
    user = served.database.user("u")
    user.standing.create(vector(0), min_score=0.5, kind="absent", window_s=0.4)
    begin_s = time.monotonic()
    feed = stub.WatchStanding(pb.WatchStandingRequest(user="u", follow=True))
    (alert,) = next(feed).alerts
    feed.cancel()
    assert alert.kind == "absent"
    assert time.monotonic() - begin_s < 30


def test_a_question_as_large_as_may_be(served: Served, stub: Any) -> None:
    served.database.create_space("wide", dim=8192)
    wide = np.ones(8192, np.float32)
    spec = pb.StandingSpec(
        min_score=0.5, kind="sequence", window_s=1, space="wide", text="€" * 16_384
    )
    spec.question_feature.f32 = spec.then_feature.f32 = wide.tobytes()
    created = stub.CreateStanding(pb.CreateStandingRequest(user="u", spec=spec)).question
    got = stub.GetStanding(pb.GetStandingRequest(user="u", question_id=created.id)).question
    assert got == created
    assert created.spec.question_feature.f32 == wide.tobytes()


def test_its_health_is_told(served: Served) -> None:
    health: Any = health_pb2_grpc.HealthStub(served.channel)
    request = health_pb2.HealthCheckRequest(service="memdb.v1.StandingService")
    assert health.Check(request).status == health_pb2.HealthCheckResponse.SERVING

"""Questions that a real server answers without Python, while what they are about changes, and as it stops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from memdb import MemdbError, NotFound, Retention, Unavailable
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.server.metrics import metrics_text
from memdb.types.database import User
from memdb.v1 import grounding_service_pb2 as pb
from memdb_client import connect
from tests.e2e.ready import GROUND, HANGS_S, ask_until, for_python, plain
from tests.e2e.serving import SECOND_NS, Served, clip, error_of, serving, vector

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

pytestmark = pytest.mark.e2e

STEPS = 25
ASKERS = 3
QUESTION = plain("alice", vector(3), limit=32)
ENGINE = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)


def native(served: Served) -> Any:
    shelf = served.server._shelf
    assert shelf is not None
    return shelf.native


def ground(served: Served) -> Callable[..., bytes]:
    """Asks by bytes."""
    call: Any = served.channel.unary_unary(GROUND)
    return lambda data: bytes(call(data, timeout=HANGS_S))


def revision_of(answer: bytes) -> int:
    return pb.GroundResponse.FromString(answer).revision


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "data", ENGINE, edge="native") as one:
        one.database.create_space("cam", dim=len(vector(0)))
        user = one.database.user("alice")
        user.stream("door", space="cam").write_many([clip(seq) for seq in range(9)])
        ask = ground(one)
        ask_until(lambda: ask(QUESTION), lambda: native(one).answered > 0)
        yield one


class Truth:
    """What Python answered at every commit of a user, and which the writer was told of last."""

    def __init__(self) -> None:
        self.answers: dict[tuple[int, int], bytes] = {}
        """By life of the user and revision."""
        self.floor = 0, 0
        self.asked = 0
        self.wrong: list[str] = []


def ask_on(address: str, truth: Truth, stop: threading.Event) -> dict[tuple[int, int], set[bytes]]:
    """Ask until the end; what was answered, by life and revision."""
    told: dict[tuple[int, int], set[bytes]] = defaultdict(set)
    last = 0, 0
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(GROUND)
        while not stop.is_set():
            floor = truth.floor
            try:
                answer = bytes(call(QUESTION, timeout=HANGS_S))
            except grpc.RpcError as error:
                failed = error_of(error)
                if not isinstance(failed, NotFound) and failed.reason != "REOPENED":
                    truth.wrong.append(f"{failed}")
                truth.asked += 1
                continue
            truth.asked += 1
            life, revision = truth.floor[0], revision_of(answer)
            if life != floor[0]:
                continue  # of which of the two nobody can tell
            if (life, revision) < max(floor, last):
                truth.wrong.append(f"{revision} of life {life} after {floor} and {last}")
            last = life, revision
            told[life, revision].add(answer)
    return told


@contextmanager
def asking(address: str, truth: Truth) -> Iterator[list[dict[tuple[int, int], set[bytes]]]]:
    stop = threading.Event()
    told: list[dict[tuple[int, int], set[bytes]]] = []
    threads = [
        threading.Thread(target=lambda: told.append(ask_on(address, truth, stop)))
        for _ in range(ASKERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class Changes:
    """What is done to a user, whose clips come without a gap."""

    def __init__(self, user: User, database: EmbeddedDatabase) -> None:
        self.user = user
        self.database = database
        self.next_seq = {"door": 0, "yard": 0}

    def write(self, stream: str, **fields: Any) -> None:
        seq = self.next_seq[stream]
        self.user.stream(stream, space="cam").write(clip(seq, **fields))
        self.next_seq[stream] += fields.get("sealed", True)

    def open_clip(self) -> None:
        start_ns = self.next_seq["door"] * 10 * SECOND_NS
        for seconds in (2, 4):
            self.write("door", end_ns=start_ns + seconds * SECOND_NS, sealed=False)

    def give_up(self) -> None:
        self.user.stream("door").set_retention(Retention(max_clips=5))
        self.database.sweep()

    def compact(self) -> None:
        for _ in range(3):
            self.write("yard")
        self.user.compact()

    def erase_stream(self) -> None:
        self.user.stream("yard").erase()
        self.next_seq["yard"] = 0

    def step(self, number: int) -> bool:
        """Whether the user is another from then on."""
        steps: list[Callable[[], object]] = [
            lambda: self.write("door"),
            lambda: self.write("door"),
            lambda: self.user.remember("it rains"),
            self.open_clip,
            lambda: self.write("door"),
            lambda: self.user.erase_clips([one.id for one in self.user.clips(limit=2)]),
            self.give_up,
            self.compact,
            self.erase_stream,
            self.user.erase,
        ]
        steps[number % len(steps)]()
        return number % len(steps) == len(steps) - 1


@pytest.mark.parametrize("open_users_max", [256, 1])
def test_no_answer_is_older_than_an_acknowledged_commit(
    tmp_path: Path, open_users_max: int
) -> None:
    """And each is the one that Python gave at its revision."""
    engine = EngineConfig(
        map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20, open_users_max=open_users_max
    )
    truth = Truth()
    with serving(tmp_path / "data", engine, edge="native") as served:
        served.database.create_space("cam", dim=len(vector(0)))
        user, bob = served.database.user("alice"), served.database.user("bob")
        bob.stream("door", space="cam").write(clip(0))
        ask, answered = ground(served), native(served)
        changes = Changes(user, served.database)
        life = count = 0
        with asking(served.address, truth) as told:
            for number in range(STEPS):
                if changes.step(number):
                    changes = Changes(user, served.database)
                    life += 1
                    truth.floor = life, 0
                    with pytest.raises(NotFound):
                        user.revision()
                    changes.write("door")
                truth.floor = life, user.revision()
                answer = ask(for_python(QUESTION))
                truth.answers[life, revision_of(answer)] = answer
                if open_users_max == 1:
                    bob.remember("it rains")  # which closes Alice
                whole = pb.GroundResponse.FromString(answer)
                is_ready = bool(whole.hits) and not whole.gaps
                count += is_ready
                before, asked = answered.answered, truth.asked
                until = time.monotonic() + HANGS_S
                while (is_ready and answered.answered < before + 3) or truth.asked < asked + 9:
                    assert time.monotonic() < until
                    time.sleep(0.001)
    assert not truth.wrong
    compared = 0
    for one in told:
        for moment, answers in one.items():
            # A sweep and an erasure are several commits, of which only the last was asked about.
            if moment in truth.answers:
                assert answers == {truth.answers[moment]}
                compared += 1
    assert compared > STEPS
    assert count > STEPS // 3


def metric(served: Served, name: str) -> float:
    lines = metrics_text(served.server.metrics).splitlines()
    return float(dict(line.rsplit(" ", 1) for line in lines if line[:1] != "#")[name])


def test_metrics_tell_of_them(served: Served) -> None:
    assert metric(served, "memdb_ready_users") == 1
    assert metric(served, "memdb_ready_bytes") > 0
    before, calls = metric(served, "memdb_ready_answers_total"), metric(served, "memdb_calls_total")
    ask = ground(served)
    for _ in range(3):
        assert ask(QUESTION) == ask(for_python(QUESTION))
    assert metric(served, "memdb_ready_answers_total") == before + 3
    assert metric(served, "memdb_calls_total") == calls + 3
    served.database.user("alice").erase()
    assert metric(served, "memdb_ready_users") == 0
    assert metric(served, "memdb_ready_bytes") == 0


def test_a_server_that_stops_says_so(served: Served) -> None:
    """Also to who would have been answered without Python."""
    ask, loop = ground(served), served.server._noting.get_loop()  # type: ignore[union-attr]
    assert ask(QUESTION)
    stopping = asyncio.run_coroutine_threadsafe(served.server.stop(1.0, notice_s=HANGS_S), loop)
    ask_until(lambda: None, lambda: served.server._resources.drain.begun)
    before = native(served).answered
    with pytest.raises(grpc.RpcError) as refused:
        ask(QUESTION)
    error = error_of(refused.value)
    assert isinstance(error, Unavailable)
    assert error.reason == "SHUTTING_DOWN"
    assert native(served).answered == before
    stopping.cancel()


def test_the_request_id_comes_back(served: Served) -> None:
    """As it does from Python: the caller's own, or a new one where that is none."""
    call: Any = served.channel.unary_unary(GROUND)
    given = (("x-request-id", "mine-1"), ("x-request-id", "mine-2"))
    sent: list[tuple[tuple[str, str], ...]] = [(), given, (("x-request-id", "a b"),)]
    for metadata in sent:
        ids = []
        for data in (QUESTION, for_python(QUESTION)):
            answer, done = call.with_call(data, metadata=metadata, timeout=HANGS_S)
            assert answer
            ids.append([value for key, value in done.trailing_metadata() if "request" in key])
        assert len(ids[0]) == len(ids[1]) == 1
        assert (ids[0] == ids[1]) == (metadata == given)
        assert all(set("0123456789abcdef").issuperset(one[0]) for one in ids) == (metadata != given)


def test_a_client_is_answered_the_same(served: Served) -> None:
    with connect(served.address) as db:
        before = native(served).answered
        answer = db.user("alice").ground(vector(3), limit=5)
        assert native(served).answered == before + 1
        embedded = served.database.user("alice").ground(vector(3), limit=5)
        assert [(hit.clip.id, hit.score, hit.relevance) for hit in answer] == [
            (hit.clip.id, hit.score, hit.relevance) for hit in embedded
        ]
        with pytest.raises(MemdbError):
            db.user("alice").ground(vector(3, 9))

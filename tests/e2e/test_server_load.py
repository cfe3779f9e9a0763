"""More than the server can do at once: streams wait, calls are told, nobody stands behind others."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from memdb.engine import hydrate, rerank, view
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.engine.opening import open_memory
from memdb.errors import DataLoss, FailedPrecondition, ResourceExhausted
from memdb.index import late_interaction
from memdb.server import grounding_service
from memdb.store import facts
from memdb.store.records import unpack
from memdb.types import limits
from memdb.types.clip import Keyframe
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import database_service_pb2 as database_pb
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.v1 import user_service_pb2 as user_pb
from memdb.v1.clip_service_pb2_grpc import ClipServiceStub
from memdb.wire.clips import clip_to_proto, list_clips_request
from memdb.wire.grounding import ground_request
from memdb_client import connect
from tests.e2e.serving import DIM, Served, clip, error_of, serving, vector

pytestmark = pytest.mark.e2e

CAMERAS = 600
CONNECTIONS = 8


def fill(path: Path) -> None:
    """Two users with a clip each, closed again."""
    with serving(path) as served:
        served.database.create_space("p", dim=DIM)
        for user in "ab":
            served.database.user(user).stream("cam", space="p").write(clip(0))


class Held:
    """Openings of user a wait for the gate, as those of a very large user do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        self.openings = 0

        def opening(path: Path, user: str, *rest: Any, **how: Any) -> UserMemory:
            if user == "a":
                self.openings += 1
                self.gate.wait(60)
            return open_memory(path, user, *rest, **how)

        monkeypatch.setattr("memdb.engine.opener.open_memory", opening)


async def herd(address: str, begun: list[int]) -> Counter[str]:
    """A stream for each camera, all at once; each writes one clip and waits for its
    acknowledgement."""
    channels = [
        grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(CONNECTIONS)
    ]

    async def camera(number: int) -> str:
        stub: Any = ClipServiceStub(channels[number % CONNECTIONS])
        call = stub.IngestClips()
        start = clip_pb.IngestStart(user="a", stream=f"cam{number}", space="p")
        try:
            await call.write(clip_pb.IngestClipsRequest(start=start))
            begun.append(number)
            answer = await call.read()
            assert answer.WhichOneof("message") == "started"
            await call.write(clip_pb.IngestClipsRequest(clips=[clip_to_proto(clip(0))]))
            answer = await call.read()
            await call.done_writing()
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name} {error.details()}"
        return f"{len(answer.acks.acks)} ack"

    try:
        return Counter(await asyncio.gather(*(camera(number) for number in range(CAMERAS))))
    finally:
        for channel in channels:
            await channel.close()


def test_every_camera_comes_back_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While their user is being rebuilt, their streams wait; other users are answered at once."""
    fill(tmp_path / "db")
    held = Held(monkeypatch)
    with serving(tmp_path / "db") as served, ThreadPoolExecutor(1) as executor:
        begun: list[int] = []
        cameras = executor.submit(asyncio.run, herd(served.address, begun))
        questions = [
            served.grounding.Ground.future(ground_request("a", vector(0)), timeout=60)
            for _ in range(50)
        ]
        deadline = time.monotonic() + 30
        while len(begun) < CAMERAS:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for _ in range(5):
            answer = served.grounding.Ground(ground_request("b", vector(0)), timeout=10)
            assert len(answer.hits) == 1
        feed = list(served.users.WatchUser(user_pb.WatchUserRequest(user="b"), timeout=10))
        assert feed
        assert not cameras.done()
        assert not any(question.done() for question in questions)
        held.gate.set()
        assert cameras.result(60) == {"1 ack": CAMERAS}
        assert all(len(question.result().hits) >= 1 for question in questions)
        assert held.openings == 1
        assert len(served.database.user("a").streams()) == CAMERAS + 1


def test_a_user_too_damaged_to_open_can_be_erased(tmp_path: Path) -> None:
    fill(tmp_path / "db")
    with EmbeddedDatabase(tmp_path / "db") as database, database.user("a").memory() as memory:
        file = Path(memory.environment.path) / "data.mdb"
    file.write_bytes(b"\xff" * file.stat().st_size)
    with serving(tmp_path / "db") as served:
        with pytest.raises(grpc.RpcError) as caught:
            served.users.GetUser(user_pb.GetUserRequest(user="a"), timeout=30)
        assert isinstance(error_of(caught.value), DataLoss)
        assert served.grounding.Ground(ground_request("b", vector(0)), timeout=10).hits
        served.users.EraseUser(user_pb.EraseUserRequest(user="a"), timeout=30)
        assert list(served.users.ListUsers(user_pb.ListUsersRequest()).users) == ["b"]


def test_calls_beyond_the_bytes_in_flight_are_told_when_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "db")
    held = Held(monkeypatch)
    options = {"message_bytes_max": 4 << 20, "bytes_in_flight_max": 8 << 20}
    with serving(tmp_path / "db", **options) as served:
        large = (Keyframe(0, b"x" * 900_000),)

        def request(user: str, seq: int) -> clip_pb.WriteClipsRequest:
            clips = [clip_to_proto(clip(seq, keyframes=large))]
            return clip_pb.WriteClipsRequest(user=user, stream="cam", space="p", clips=clips)

        # Three are taken. No more than the native edge's gRPC has room for, which has the same bound and would end
        # the connection.
        writes = [
            served.clips.WriteClips.future(request("a", seq), timeout=60) for seq in range(1, 7)
        ]
        deadline = time.monotonic() + 30
        while sum(write.done() for write in writes) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # Another user has room for as much.
        assert served.clips.WriteClips(request("b", 1), timeout=10).acks
        # Questions are small, and go on.
        assert served.grounding.Ground(ground_request("b", vector(0)), timeout=10).hits
        held.gate.set()
        refused = [write for write in writes if write.exception(timeout=30) is not None]
        assert len(refused) == 3
        for write in refused:
            error = error_of(write)
            assert isinstance(error, ResourceExhausted)
            assert (error.reason, error.field) == ("OVERLOADED", "server.bytes_in_flight_max")
            assert retry_after_s(write) > 0


def retry_after_s(call: Any) -> float:
    """What the answer says about trying again."""
    packed = dict(call.trailing_metadata())["grpc-status-details-bin"]
    for detail in status_pb2.Status.FromString(packed).details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return float(info.retry_delay.ToMilliseconds()) / 1000
    return 0.0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Forty clips of 1.6 MB each."""
    with serving(tmp_path_factory.mktemp("large") / "db") as served:
        served.database.create_space("p", dim=DIM)
        camera = served.database.user("u").stream("cam", space="p")
        for seq in range(40):
            camera.write(
                clip(
                    seq,
                    short_memory=np.ones((60_000, DIM), np.float16),
                    keyframes=(Keyframe(0, b"x" * 700_000),),
                )
            )
        yield served


def test_an_answer_that_is_too_large_is_not_collected(
    large: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    original = hydrate.load_clip

    def counting(*args: Any, **options: Any) -> Any:
        loaded.append(args)
        return original(*args, **options)

    monkeypatch.setattr(view, "load_clip", counting)
    with pytest.raises(grpc.RpcError) as caught:
        large.grounding.Ground(
            ground_request("u", vector(0), limit=1000, with_short_memory=True), timeout=30
        )
    error = error_of(caught.value)
    assert isinstance(error, ResourceExhausted)
    assert error.reason == "MESSAGE_TOO_LARGE"
    assert len(loaded) <= 11
    few = large.grounding.Ground(
        ground_request("u", vector(0), limit=5, with_short_memory=True), timeout=30
    )
    assert len(few.hits) == 5


def test_large_clips_are_listed_and_fed_in_pages(large: Served) -> None:
    answers = list(large.clips.ListClips(list_clips_request("u"), timeout=60))
    assert [item.clip.seq for answer in answers for item in answer.clips] == list(range(40))
    answers = list(large.clips.ListClips(list_clips_request("u", limit=39), timeout=60))
    assert [item.clip.seq for answer in answers for item in answer.clips] == list(range(39))
    changes = [
        item.clip.clip.seq
        for answer in large.users.WatchUser(user_pb.WatchUserRequest(user="u"), timeout=60)
        for item in answer.changes
        if item.kind == "clip"
    ]
    assert changes == list(range(40))


def test_facts_that_are_too_many_for_a_message_are_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"message_bytes_max": 1 << 20, "bytes_in_flight_max": 2 << 20}
    with serving(tmp_path / "db", **options) as served:
        user = served.database.user("u")
        for number in range(100):
            fact = user.remember(f"word {number} " + "x" * 16_000, key="k")
            user.remember(f"word {number} " + "x" * 16_000)
        read = []
        original = unpack

        def counting(*args: Any) -> Any:
            read.append(args)
            return original(*args)

        monkeypatch.setattr(facts, "unpack", counting)
        requests: list[tuple[Any, Any]] = [
            (served.memory.ListFacts, memory_pb.ListFactsRequest(user="u")),
            (served.memory.GetHistory, memory_pb.GetHistoryRequest(user="u", fact_id=fact.id)),
            (served.memory.Recall, memory_pb.RecallRequest(user="u", question="word", limit=100)),
        ]
        for method, request in requests:
            read.clear()
            with pytest.raises(grpc.RpcError) as caught:
                method(request, timeout=30)
            assert error_of(caught.value).reason == "MESSAGE_TOO_LARGE"
            # Two records for each of the 66 facts that fit: the newest, and the one asked for.
            assert len(read) <= 2 * 66 + 2


@pytest.mark.parametrize("name", ["Verify", "Sweep", "Backup"])
def test_what_goes_through_everything_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fill(tmp_path / "db")
    gate = threading.Event()

    def held(*_args: Any, **_options: Any) -> Any:
        gate.wait(60)
        raise FailedPrecondition("over", reason="OVER")

    monkeypatch.setattr(EmbeddedDatabase, name.lower(), held)
    options = {"read_threads": 2, "write_threads": 2, "backup_dir": str(tmp_path)}
    with serving(tmp_path / "db", **options) as served:
        requests = {
            "Verify": database_pb.VerifyRequest(),
            "Sweep": database_pb.SweepRequest(),
            "Backup": database_pb.BackupRequest(path="archive"),
        }
        method = getattr(served.databases, name)
        calls = [method.future(requests[name], timeout=60) for _ in range(6)]
        try:
            assert served.grounding.Ground(ground_request("a", vector(0)), timeout=10).hits
            write = clip_pb.WriteClipsRequest(
                user="a", stream="cam", clips=[clip_to_proto(clip(1))]
            )
            assert served.clips.WriteClips(write, timeout=10).acks
        finally:
            gate.set()
        assert {error_of(call).reason for call in calls if call.exception(timeout=30)} == {"OVER"}


@pytest.mark.parametrize("name", ["ListClips", "WatchUser"])
def test_a_caller_who_leaves_is_no_error_of_ours(
    large: Served, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    method, request = {
        "ListClips": (large.clips.ListClips, list_clips_request("u")),
        "WatchUser": (large.users.WatchUser, user_pb.WatchUserRequest(user="u")),
    }[name]
    with caplog.at_level(logging.DEBUG, "memdb.server"):
        for _ in range(10):
            call = method(request, timeout=30)
            time.sleep(0.1)  # it sends until the window is full
            call.cancel()
        # The server goes on, and has seen them all leave.
        assert large.grounding.Ground(ground_request("u", vector(0)), timeout=10).hits
        time.sleep(0.5)  # an error would be logged by now; that there is none tells nobody
    warnings = [record for record in caplog.records if record.levelno > logging.INFO]
    told = {record.getMessage().partition(":")[0] for record in warnings}
    # Of a processor that others have.
    assert told <= {"the event loop was late"}


def test_a_question_that_would_take_hours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    original = late_interaction.best_cosines

    def counting(tokens: Any, rows: Any) -> Any:
        compared.append(rows.shape)
        return original(tokens, rows)

    monkeypatch.setattr(rerank, "best_cosines", counting)
    # Of five clips: the sample of their stream has all of them.
    work = 5 * late_interaction.match_work(100, (400, DIM))
    monkeypatch.setattr(grounding_service, "RERANK_WORK_MAX", work - 1)
    with serving(tmp_path / "db") as served:
        served.database.create_space("p", dim=DIM)
        cam = served.database.user("u").stream("cam", space="p")
        for seq in range(5):
            cam.write(clip(seq, short_memory=np.ones((400, DIM), np.float16)))
        tokens = np.ones((100, DIM), np.float32)
        with pytest.raises(grpc.RpcError) as caught:
            served.grounding.Ground(
                ground_request("u", vector(0), question_tokens=tokens, rerank=5), timeout=30
            )
        error = error_of(caught.value)
        assert isinstance(error, ResourceExhausted)
        assert (error.reason, error.field) == ("TOO_MUCH_WORK", "rerank")
        standalone = ground_request("u", policy="tokens", question_tokens=tokens)
        with pytest.raises(grpc.RpcError) as caught:
            served.grounding.Ground(standalone, timeout=30)
        error = error_of(caught.value)
        assert (error.reason, error.field) == ("TOO_MUCH_WORK", "question_tokens")
        assert compared == []
        fewer = ground_request("u", vector(0), question_tokens=tokens[:99], rerank=5)
        assert len(served.grounding.Ground(fewer, timeout=30).hits) == 4
        assert len(compared) == 5
        # In one's own process it takes what it takes.
        user = served.database.user("u")
        assert user.ground(vector(0), question_tokens=tokens, rerank=5).hits


def test_a_comparison_ends_when_its_caller_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a few callers who are impatient and ask again would hold every thread there is."""
    original = late_interaction.best_cosines
    compared = []
    begun, left = threading.Event(), threading.Event()

    def slow(tokens: Any, rows: Any) -> Any:
        compared.append(len(rows))
        begun.set()
        assert left.wait(60)
        time.sleep(0.02)  # it has work to do
        return original(tokens, rows)

    monkeypatch.setattr(rerank, "best_cosines", slow)
    with serving(tmp_path / "db", read_threads=1) as served:
        served.database.create_space("p", dim=DIM)
        cam = served.database.user("u").stream("cam", space="p")
        cam.write_many(
            [clip(seq, short_memory=np.ones((2, DIM), np.float16)) for seq in range(200)]
        )
        tokens = np.ones((1, DIM), np.float32)
        standalone = ground_request("u", policy="tokens", question_tokens=tokens)
        call = served.grounding.Ground.future(standalone)
        assert begun.wait(30)
        call.cancel()
        served.hears()
        left.set()
        # There is one thread: whoever has it next has it once the comparison has ended.
        assert len(served.grounding.Ground(standalone, timeout=60).hits) == 4
        assert 200 < len(compared) < 200 + 190


@pytest.mark.parametrize("how", ["answers", "questions"])
def test_questions_together_that_are_more_than_a_message_go_in_parts(
    large: Served, how: str
) -> None:
    questions = np.stack([vector(seed) for seed in range(24)])
    with connect(large.address) as db:
        user = db.user("u")
        if how == "answers":  # each clip has 1.7 MB of them
            answers = user.ground_many(questions, limit=2, with_short_memory=True)
            alone = [user.ground(one, limit=2, with_short_memory=True) for one in questions]
            clips = {hit.clip.id for answer in answers for hit in answer.hits}
            assert len(clips) * 1_600_000 > limits.MESSAGE_BYTES_MAX
        else:
            tokens = [np.full((30_000, DIM), seed + 1, np.float32) for seed in range(24)]
            answers = user.ground_many(questions, limit=1, question_tokens=tokens, rerank=0)
            alone = [user.ground(one, limit=1) for one in questions]
            assert sum(one.nbytes for one in tokens) > limits.MESSAGE_BYTES_MAX
    assert [[hit.clip.id for hit in one.hits] for one in answers] == [
        [hit.clip.id for hit in one.hits] for one in alone
    ]
    assert len({answer.revision for answer in answers}) == 1
    with connect(large.address) as db, pytest.raises(ResourceExhausted) as caught:
        db.user("u").ground_many(questions[:3], limit=40, with_short_memory=True)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"

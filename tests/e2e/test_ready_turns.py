"""Many questions at once that are answered without Python: users in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from memdb import Clip
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2
from tests.e2e.ready import HANGS_S, ask_until
from tests.e2e.serving import Served, error_of, serving
from tests.e2e.unread import Unread

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

pytestmark = pytest.mark.e2e

GROUND_MANY = "/memdb.v1.GroundingService/GroundMany"
DIM = 16
CLIPS = 250
QUESTIONS = 256
CALLS = 200
CONNECTIONS = 8


def features(count: int, seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


def many(user: str, count: int = QUESTIONS) -> bytes:
    """Questions without what hits hold: to answer them is work, and to read the answers is little."""
    matrix = types_pb2.Matrix(rows=count, dim=DIM, f32=features(count, 1).tobytes())
    options = pb.GroundRequest(limit=10, without_global_memory=True, without_keyframes=True)
    return pb.GroundManyRequest(
        user=user, question_features=matrix, options=options
    ).SerializeToString()


@contextmanager
def served_ready(path: Path, **options: Any) -> Iterator[Served]:
    """Two users that lie ready."""
    with serving(path / "data", edge="native", **options) as one:
        one.database.create_space("cam", dim=DIM)
        for user in ("loud", "quiet"):
            vectors = features(CLIPS, 2)
            clips = [
                Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=vector)
                for seq, vector in enumerate(vectors)
            ]
            one.database.user(user).stream("door", space="cam").write_many(clips)
            lay_ready(one, user)
        yield one


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with served_ready(tmp_path) as one:
        yield one


def lay_ready(served: Served, user: str) -> None:
    call: Any = served.channel.unary_unary(GROUND_MANY)
    before, data = answered(served), many(user)
    ask_until(lambda: call(data, timeout=HANGS_S), lambda: answered(served) > before)


def answered(served: Served) -> int:
    shelf = served.server._shelf
    assert shelf is not None
    return shelf.native.answered


def test_who_asks_a_lot_stands_behind_one_answer_of_another(served: Served) -> None:
    done: list[str] = []
    begun, ended = threading.Event(), threading.Event()
    lock = threading.Lock()

    def told(_: Any) -> None:
        with lock:
            done.append("loud")
            begun.set()
            if len(done) == CALLS:
                ended.set()

    options = [("grpc.use_local_subchannel_pool", 1)]
    with ExitStack() as stack:
        channels = [
            stack.enter_context(grpc.insecure_channel(served.address, options=options))
            for _ in range(1 + CONNECTIONS)
        ]
        calls: list[Any] = [channel.unary_unary(GROUND_MANY) for channel in channels]
        few = [call(many("quiet", 20), timeout=HANGS_S) for call in calls]  # connected as well
        quiet, *loud = calls
        data = many("loud")
        for number in range(CALLS):
            loud[number % CONNECTIONS].future(data, timeout=HANGS_S).add_done_callback(told)
        assert begun.wait(HANGS_S)
        assert quiet(many("quiet", 20), timeout=HANGS_S) == few[0]
        with lock:
            before = len(done)
        assert ended.wait(HANGS_S)
    assert before < CALLS / 2


def test_those_that_wait_end_with_their_callers_and_with_the_server(served: Served) -> None:
    loud: Any = served.channel.unary_unary(GROUND_MANY)
    waiting = [loud.future(many("loud"), timeout=HANGS_S) for _ in range(CALLS)]
    for call in waiting[1::2]:
        call.cancel()
    assert waiting[0].result()
    # What is answered goes out, or its caller is told: nobody waits for ever.
    for call in waiting[2::2]:
        assert call.exception(timeout=HANGS_S) is None
    gone = [loud.future(many("loud"), timeout=HANGS_S) for _ in range(CALLS)]
    shelf = served.server._shelf
    assert shelf is not None
    shelf.close()  # from now on it is Python's
    for call in gone:
        error = call.exception(timeout=HANGS_S)
        assert error is None or error_of(error).reason == "OVERLOADED"


def test_who_asks_a_lot_leaves_calls_to_others(tmp_path: Path) -> None:
    """However many of a user's questions wait for their turns, somebody else's call is taken; what is more than its
    share is Python's, which says so.
    """
    flood = 700  # not as many as there may be of all calls, of whomever
    with (
        served_ready(tmp_path, calls_max=8, connection_streams_max=flood) as served,
        ExitStack() as stack,
    ):
        options = [("grpc.use_local_subchannel_pool", 1)]
        loud: Any = stack.enter_context(grpc.insecure_channel(served.address, options=options))
        quiet: Any = stack.enter_context(grpc.insecure_channel(served.address, options=options))
        asked, asking = many("quiet", 20), quiet.unary_unary(GROUND_MANY)
        few = asking(asked, timeout=HANGS_S)
        data, call = many("loud"), loud.unary_unary(GROUND_MANY)
        waiting = []
        for number in range(flood):
            waiting.append(call.future(data, timeout=HANGS_S))
            if number % 50 == 49:
                assert asking(asked, timeout=HANGS_S) == few
        errors = [one.exception(timeout=HANGS_S) for one in waiting]
    assert errors.count(None) > 8
    assert {error_of(error).reason for error in errors if error is not None} <= {"OVERLOADED"}


def test_answers_that_nobody_reads_are_calls_of_who_asked(tmp_path: Path) -> None:
    """As those of Python (`test_server_unread`)."""
    flood = 600
    with served_ready(tmp_path, calls_max=8, connection_streams_max=flood) as served:
        asking: Any = served.channel.unary_unary(GROUND_MANY)
        asked = many("quiet", 20)
        few = asking(asked, timeout=HANGS_S)
        peer = Unread(served.address)
        vector = types_pb2.Vector(f32=features(1, 3).tobytes())
        question = pb.GroundRequest(
            user="loud",
            question_feature=vector,
            limit=10,
            without_global_memory=True,
            without_keyframes=True,
        )
        before = answered(served)
        for _ in range(flood):
            peer.ask("GroundingService/Ground", question)
        until = time.monotonic() + HANGS_S
        while answered(served) < before + 300:
            assert time.monotonic() < until
            time.sleep(0.01)
        # While those that are refused are on their way, gRPC may be full.
        while True:
            assert time.monotonic() < until
            with suppress(grpc.RpcError):
                assert asking(asked, timeout=HANGS_S) == few
                break
            time.sleep(0.02)

        def loud_is_ready() -> bool:
            """Whether a call of the loud user is answered without Python."""
            told = answered(served)
            with suppress(grpc.RpcError):
                asking(many("loud"), timeout=HANGS_S)
            return answered(served) == told + QUESTIONS

        # The others hold its share still.
        assert not loud_is_ready()
        peer.close()
        while not loud_is_ready():
            assert time.monotonic() < until
            time.sleep(0.02)

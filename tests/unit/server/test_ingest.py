"""The ingest stream's window and its ends, over a real engine with its commits held back."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from memdb.config import EngineConfig, ServerConfig
from memdb.engine import writer
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted, Unavailable
from memdb.server import ingest
from memdb.server.budget import Budget
from memdb.server.gathered import Fate, Gathered, Ready
from memdb.server.ingest import Ingest
from memdb.server.resources import Resources
from memdb.types.clip import Clip
from memdb.types.ingest import INGEST_WINDOW, SMALL_INGEST_WINDOW
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.clips import clip_to_proto

DIM = 4


def clip_of(seq: int, *, keyframes: tuple[Any, ...] = (), dim: int = DIM) -> Clip:
    vector = np.ones(dim, np.float32)
    return Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=vector, keyframes=keyframes)


class Tells:
    """`memdb.server.edge.SendsAhead`."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send = send

    def __call__(self, message: bytes) -> None:
        self.send(message)

    def together(self, messages: Sequence[tuple[Tells, bytes]]) -> None:
        for tells, message in messages:
            tells(message)


class Line:
    """Both directions of a stream, and how far the server has read."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.answers: list[pb.IngestClipsResponse] = []
        self.told: list[tuple[str, bytes]] = []
        """By whom, and what."""
        self.read = 0

    async def receive(self) -> bytes | None:
        data = await self.incoming.get()
        self.read += 1
        return data

    async def send(self, data: bytes) -> None:
        self.told.append(("loop", data))
        self.answers.append(pb.IngestClipsResponse.FromString(data))

    def ahead(self) -> Tells:
        """An edge whose messages threads may send; the loop then says them once more."""

        return Tells(lambda data: self.told.append((threading.current_thread().name, data)))

    def start(self, stream: str = "s") -> None:
        message = pb.IngestClipsRequest(start=pb.IngestStart(user="u", stream=stream, space="p"))
        self.incoming.put_nowait(message.SerializeToString())

    def clip(self, seq: int, *, keyframes: tuple[Any, ...] = (), dim: int = DIM) -> None:
        self.clips(clip_of(seq, keyframes=keyframes, dim=dim))

    def clips(self, *clips: Clip) -> None:
        """In one message."""
        message = pb.IngestClipsRequest(clips=[clip_to_proto(clip) for clip in clips])
        self.incoming.put_nowait(message.SerializeToString())

    def end(self) -> None:
        self.incoming.put_nowait(None)

    @property
    def acks(self) -> int:
        return sum(len(answer.acks.acks) for answer in self.answers)


class Bench:
    """An engine with one write thread, which the test may hold."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self.database = database
        self.resources = Resources.make(
            database, ServerConfig(read_threads=2, write_threads=1, queue_max=1)
        )
        self.pools = self.resources.pools
        self.drain = self.resources.drain
        self.budget = self.resources.budget
        self.line = Line()
        self.gate = threading.Event()

    def hold(self) -> asyncio.Task[bool]:
        return asyncio.create_task(self.pools.write.run(self.gate.wait))

    def run(self) -> asyncio.Task[None]:
        return self.serve(self.line)

    def serve(self, line: Line) -> asyncio.Task[None]:
        return asyncio.create_task(Ingest(self.resources).run(line.receive, line.send))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    with EmbeddedDatabase(tmp_path / "db") as database:
        database.create_space("p", dim=DIM)
        made = Bench(database)
        yield made
        made.gate.set()
        await asyncio.to_thread(made.pools.shutdown)


async def settled(line: Line, least: int) -> int:
    """Messages read once the server has read ``least`` of them and reads no further."""
    deadline_s = time.monotonic() + 30
    while line.read < least:
        assert time.monotonic() < deadline_s, line.read
        await asyncio.sleep(0.01)
    read = -1
    while read != line.read:
        read = line.read
        await asyncio.sleep(0.1)
    return read


async def test_reading_stops_at_the_window_and_goes_on_after_the_commit(bench: Bench) -> None:
    held = bench.hold()
    bench.line.start()
    for seq in range(400):
        bench.line.clip(seq)
    bench.line.end()
    running = bench.run()
    window = 1 + SMALL_INGEST_WINDOW
    assert await settled(bench.line, window) == window
    assert bench.line.acks == 0
    bench.gate.set()
    await asyncio.wait_for(running, 30)
    await held
    assert bench.line.acks == 400
    # Everything that waited went into one commit.
    assert max(len(answer.acks.acks) for answer in bench.line.answers) >= SMALL_INGEST_WINDOW - 1


async def test_the_window_is_counted_in_bytes_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "BYTES_MAX", 1_000_000)
    bench.hold()
    bench.line.start()
    for seq in range(20):
        bench.line.clip(seq, keyframes=(b"x" * 300_000,))
    bench.line.end()
    running = bench.run()
    assert await settled(bench.line, 1 + 4) == 1 + 4
    bench.gate.set()
    await asyncio.wait_for(running, 30)
    assert bench.line.acks == 20


async def test_of_clips_that_are_not_small_fewer_are_in_flight(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memdb.types.ingest.SMALL_INGEST_BYTES", 100 * 1000)
    held = bench.hold()
    bench.line.start()
    for seq in range(300):
        bench.line.clip(seq, keyframes=(b"x" * 1000,))
    bench.line.end()
    running = bench.run()
    # A little more than a thousand bytes each.
    assert INGEST_WINDOW < await settled(bench.line, INGEST_WINDOW) <= 1 + 100
    bench.gate.set()
    await asyncio.wait_for(running, 30)
    await held
    assert bench.line.acks == 300


@contextmanager
def commits_held_back(bench: Bench) -> Iterator[Callable[[], int]]:
    """None is made meanwhile; how many wait to be."""
    user = bench.database.user("u")
    user.put("made", 1)
    with user.memory() as memory, memory._writer.held_back():
        yield lambda: len(memory._writer._queue)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_true():
            await asyncio.sleep(0.001)


def several_threads(bench: Bench) -> Bench:
    """A user may have three quarters of them."""
    made = Bench(bench.database)
    made.resources = Resources.make(bench.database, ServerConfig(write_threads=8))
    return made


async def test_a_stream_has_its_next_commit_ready_while_one_is_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no third; what comes meanwhile waits for all of it."""
    monkeypatch.setattr(ingest, "SECOND_CLIPS", 1)
    bench = several_threads(bench)
    with commits_held_back(bench) as waiting:
        bench.line.start()
        bench.line.clip(0)
        running = bench.run()
        await until(lambda: waiting() == 1)
        bench.line.clip(1)
        await until(lambda: waiting() == 2)
        for seq in range(2, 30):
            bench.line.clip(seq)
        bench.line.end()
        await settled(bench.line, 32)
        assert waiting() == 2
    await asyncio.wait_for(running, 30)
    await asyncio.to_thread(bench.resources.pools.shutdown)
    told = [ack for answer in bench.line.answers for ack in answer.acks.acks]
    user = bench.database.user("u")
    assert [user.clip(ack.clip_id).seq for ack in told] == list(range(30))
    assert [ack.revision for ack in told[2:]] == [told[1].revision + 1] * 28


async def test_what_is_on_its_way_skips_no_numbers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it open gaps, though who looks sees none of it yet."""
    bench = several_threads(bench)
    monkeypatch.setattr(ingest, "SECOND_CLIPS", 1)
    monkeypatch.setattr("memdb.engine.user.EmbeddedUser.seq_ahead_max", 0)
    monkeypatch.setattr("memdb.engine.lateness.GAPS_MAX", 0)
    with commits_held_back(bench) as waiting:
        bench.line.start()
        bench.line.clip(0)
        running = bench.run()
        await until(lambda: waiting() == 1)
        bench.line.clip(1)
        await until(lambda: waiting() == 2)
        bench.line.clip(2)
        bench.line.end()
    await asyncio.wait_for(running, 30)
    await asyncio.to_thread(bench.resources.pools.shutdown)
    assert bench.line.acks == 3


async def test_what_is_behind_a_refused_clip_and_has_no_thread_is_not_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "SECOND_CLIPS", 1)
    bench = several_threads(bench)
    with commits_held_back(bench) as waiting:
        bench.line.start()
        bench.line.clips(clip_of(0), clip_of(1, dim=DIM + 1), clip_of(2))
        running = bench.run()
        await until(lambda: waiting() == 1)
        bench.line.clip(3)
        bench.line.clip(4)
        await settled(bench.line, 4)
        assert waiting() == 1
    with pytest.raises(InvalidArgument) as caught:
        await asyncio.wait_for(running, 30)
    await asyncio.to_thread(bench.resources.pools.shutdown)
    assert caught.value.reason == "DIM_MISMATCH"
    assert bench.line.acks == 1
    assert bench.database.user("u").stream("s").ledger().next_seq == 3
    assert bench.budget.used == 0


async def test_who_was_refused_with_who_sends_much_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next commit was behind one that had no room for both; alone there is room."""
    monkeypatch.setattr(ingest, "SECOND_CLIPS", 1)
    frames = tuple(b"x" * 200_000 for _ in range(5))
    with EmbeddedDatabase(tmp_path / "db", config=EngineConfig(map_bytes_max=1 << 20)) as database:
        database.create_space("p", dim=DIM)
        bench = several_threads(Bench(database))
        little, much = bench.line, Line()
        with commits_held_back(bench) as waiting:
            threads = [bench.resources.pools.write.run(bench.gate.wait) for _ in range(8)]
            held = asyncio.gather(*threads)
            little.start("little")
            much.start("much")
            little.clip(0)
            running = bench.run()
            await settled(little, 2)
            much.clip(0, keyframes=frames)
            refused = bench.serve(much)
            await settled(much, 2)
            bench.gate.set()
            await until(lambda: waiting() == 1)
            for seq in (1, 2, 3):
                little.clip(seq)
            little.end()
            await until(lambda: waiting() == 2)
        await held
        with pytest.raises(ResourceExhausted, match="QUOTA"):
            await asyncio.wait_for(refused, 30)
        await asyncio.wait_for(running, 30)
        assert little.acks == 4
        assert bench.resources.budget.used == 0
        await asyncio.to_thread(bench.resources.pools.shutdown)


class Again:
    """Commits what is handed to it, be it the second time."""

    def put(self, ready: Ready) -> None:
        assert ready.behind is None
        ready.outcome.set_result((b"written", None))


@pytest.mark.parametrize("was_refused", [True, False])
async def test_what_was_refused_with_what_has_been_written_since_is_tried_again(
    bench: Bench, was_refused: bool
) -> None:
    """Whatever befell the two together; what is its own is told."""
    before = Fate()
    before.passage.error = MemoryError() if was_refused else None
    ready = Ready(lambda: bench.database.user("u").stream("s"), [], 0, None, behind=before)
    ready.outcome.set_exception(MemoryError())
    stream = Ingest(bench.resources)
    stream._handed.append(ready)
    if was_refused:
        assert await stream._told(cast(Gathered, Again()), lambda: None) == (b"written", None)
    else:
        with pytest.raises(MemoryError):
            await stream._told(cast(Gathered, Again()), lambda: None)


async def test_large_messages_are_parsed_on_a_thread_and_stay_in_order(bench: Bench) -> None:
    bench.line.start()
    for seq in range(6):
        bench.line.clip(seq, keyframes=(b"x" * 900_000,) if seq % 2 else ())
    bench.line.end()
    await asyncio.wait_for(bench.run(), 30)
    seqs = [
        bench.database.user("u").clip(ack.clip_id).seq
        for answer in bench.line.answers
        for ack in answer.acks.acks
    ]
    assert seqs == list(range(6))


async def test_a_refused_clip_is_told_after_those_before_it(bench: Bench) -> None:
    bench.line.start()
    bench.line.clip(0)
    bench.line.clip(1, dim=DIM + 1)
    bench.line.clip(2)
    with pytest.raises(InvalidArgument) as caught:
        await asyncio.wait_for(bench.run(), 30)
    assert caught.value.reason == "DIM_MISMATCH"
    assert bench.line.acks == 1


async def test_what_cannot_be_parsed_is_told_after_the_clips_before_it(bench: Bench) -> None:
    held = bench.hold()
    bench.line.start()
    bench.line.clip(0)
    bench.line.incoming.put_nowait(b"\xff")
    running = bench.run()
    await settled(bench.line, 3)
    bench.gate.set()
    with pytest.raises(InvalidArgument) as caught:
        await asyncio.wait_for(running, 30)
    await held
    assert caught.value.reason == "BAD_MESSAGE"
    assert bench.line.acks == 1


async def test_what_is_acknowledged_is_let_go_of(bench: Bench) -> None:
    """A silent stream keeps neither its last message nor its last commit, which no budget counts any more."""
    clip = Clip(
        seq=0,
        start_ns=0,
        end_ns=1,
        global_memory=np.ones(DIM, np.float32),
        short_memory=np.ones((64, DIM), np.float16),
    )
    data = pb.IngestClipsRequest(clips=[clip_to_proto(clip)]).SerializeToString()
    references = sys.getrefcount(data)
    bench.line.start()
    bench.line.incoming.put_nowait(data)
    running = bench.run()
    deadline_s = time.monotonic() + 30
    while not bench.line.acks or sys.getrefcount(data) > references:
        assert time.monotonic() < deadline_s, (bench.line.acks, gc.get_referrers(data))
        await asyncio.sleep(0.01)
    bench.line.end()
    await asyncio.wait_for(running, 30)


async def test_stopping_acknowledges_what_was_read_and_ends(bench: Bench) -> None:
    held = bench.hold()
    bench.line.start()
    for seq in range(10):
        bench.line.clip(seq)
    running = bench.run()
    await settled(bench.line, 1 + 10)
    bench.drain.begin()
    bench.gate.set()
    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(running, 30)
    await held
    assert caught.value.reason == "SHUTTING_DOWN"
    assert bench.line.acks == 10


async def test_a_client_that_leaves_takes_its_reader_along(bench: Bench) -> None:
    bench.line.start()
    running = bench.run()
    await settled(bench.line, 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [task for task in asyncio.all_tasks() if "Ingest._read" in repr(task.get_coro())] == []


async def test_a_lone_clip_is_acknowledged_by_the_thread_that_committed_it(bench: Bench) -> None:
    line = bench.line
    running = asyncio.create_task(Ingest(bench.resources).run(line.receive, line.send, line.ahead))
    line.start()
    for seq in range(5):
        line.clip(seq)
        while line.acks <= seq:
            await asyncio.sleep(0.001)
    line.end()
    await asyncio.wait_for(running, 30)
    _started, *told = line.told
    assert [by for by, _ in told] == ["memdb-write-0", "loop"] * 5
    assert all(
        first is second for (_, first), (_, second) in zip(told[::2], told[1::2], strict=True)
    )


async def test_what_is_acknowledged_is_found_by_the_next_question(bench: Bench) -> None:
    """When the thread sends it, not only once the loop has heard of it."""
    line = bench.line
    found: list[int] = []

    def ahead() -> Tells:
        def send(data: bytes) -> None:
            (ack,) = pb.IngestClipsResponse.FromString(data).acks.acks
            found.append(bench.database.user("u").clip(ack.clip_id).seq)
            found.append(len(bench.database.user("u").ground(np.ones(DIM, np.float32)).hits))

        return Tells(send)

    running = asyncio.create_task(Ingest(bench.resources).run(line.receive, line.send, ahead))
    line.start()
    for seq in range(3):
        line.clip(seq)
        while line.acks <= seq:
            await asyncio.sleep(0.001)
    line.end()
    await asyncio.wait_for(running, 30)
    assert found == [0, 1, 1, 2, 2, 3]


async def test_a_refusal_is_told_once_and_leaves_nothing_behind(bench: Bench) -> None:
    """By the loop, behind the acknowledgements that a thread has sent; and what was read goes with it."""
    line = bench.line
    line.start()
    first = Ingest(bench.resources)
    left = weakref.ref(first)
    running = asyncio.create_task(first.run(line.receive, line.send, line.ahead))
    del first
    line.clip(0)
    while not line.acks:
        await asyncio.sleep(0.001)
    gc.collect()
    gc.disable()
    try:
        line.clip(1, dim=DIM + 1)
        try:
            await running
        except InvalidArgument as error:
            error.__traceback__ = None  # as who ends the call does
        del running
        await asyncio.to_thread(bench.pools.shutdown)
        assert left() is None
    finally:
        gc.enable()
    assert line.acks == 1


async def test_a_clip_that_a_thread_has_is_stored_though_its_client_left(bench: Bench) -> None:
    """And counted until it is: who sent and left, over and over, filled the memory with what no budget counted."""
    line = bench.line
    line.start()
    line.clip(0)
    running = bench.run()
    while not line.acks:
        await asyncio.sleep(0.001)
    held = bench.hold()
    line.clip(1)
    await settled(line, 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.budget.used > 0
    bench.gate.set()
    await held
    ledger = bench.database.user("u").stream("s").ledger
    while ledger().next_seq < 2:
        await asyncio.sleep(0.001)
    await until(lambda: bench.budget.used == 0)


async def test_streams_wait_where_calls_are_refused(bench: Bench) -> None:
    """One write thread, a queue of one: a hundred streams commit all the same."""
    held = bench.hold()
    waiting = bench.hold()
    await asyncio.sleep(0.05)
    with pytest.raises(ResourceExhausted):
        await bench.pools.write.run(int)
    lines = [Line() for _ in range(100)]
    for number, line in enumerate(lines):
        line.start(f"s{number}")
        line.clip(0)
        line.end()
    running = [bench.serve(line) for line in lines]
    await asyncio.sleep(0.2)
    assert sum(line.acks for line in lines) == 0
    bench.gate.set()
    await asyncio.wait_for(asyncio.gather(*running), 60)
    await asyncio.gather(held, waiting)
    assert [line.acks for line in lines] == [1] * 100
    assert bench.budget.used == 0


async def test_a_commit_that_the_user_is_too_busy_for_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit on a user's queued bytes refuses a caller; a stream comes back."""
    monkeypatch.setattr(writer, "QUEUE_BYTES_MAX", 0)
    user = bench.database.user("u")
    user.put("x", 1)
    committing = threading.Event()
    with user.memory() as memory:
        commit = memory._commits.commit

        def held_back(group: Any, waiting: Any) -> Any:
            committing.set()
            bench.gate.wait(30)
            return commit(group, waiting)

        monkeypatch.setattr(memory._commits, "commit", held_back)
        other = asyncio.create_task(asyncio.to_thread(user.put, "x", 2))
        await asyncio.to_thread(committing.wait, 30)
        with pytest.raises(ResourceExhausted):
            user.put("x", 3)
        bench.line.start()
        for seq in range(3):
            bench.line.clip(seq)
        bench.line.end()
        running = bench.run()
        await asyncio.sleep(3 * ingest.BUSY_PAUSE_S)
        assert not running.done()
        bench.gate.set()
        await asyncio.wait_for(running, 30)
        await other
    assert bench.line.acks == 3


async def test_a_full_pipe_ends_when_the_server_stops(bench: Bench) -> None:
    """A client that never pauses must not keep the server from stopping."""

    async def endless() -> bytes | None:
        bench.line.read += 1
        if bench.line.read > 1:
            bench.line.clip(bench.line.read - 2)
        else:
            bench.line.start()
        await asyncio.sleep(0)
        return bench.line.incoming.get_nowait()

    running = asyncio.create_task(Ingest(bench.resources).run(endless, bench.line.send))
    while bench.line.acks < 10:
        await asyncio.sleep(0.01)
    bench.drain.begin()
    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(running, 30)
    assert caught.value.reason == "SHUTTING_DOWN"
    # What was read and not refused is acknowledged.
    assert bench.database.user("u").stream("s").ledger().next_seq == bench.line.acks


async def test_a_stream_that_has_not_begun_ends_when_the_server_stops(bench: Bench) -> None:
    running = bench.run()
    await asyncio.sleep(0.02)
    bench.drain.begin()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(running, 30)


async def test_a_stream_that_never_begins_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memdb.server.drain.START_S", 0.05)
    with pytest.raises(DeadlineExceeded) as caught:
        await asyncio.wait_for(bench.run(), 20)
    assert (caught.value.reason, caught.value.field) == ("START_EXPECTED", "start")


async def test_streams_stop_reading_when_the_server_holds_enough(bench: Bench) -> None:
    """Half of the budget for all streams together, three quarters of that for those of one user; then each gets
    its turn.
    """
    budget = Budget(16 * 1024 * 1024)
    resources = replace(bench.resources, budget=budget)
    held = bench.hold()
    lines = [Line() for _ in range(12)]
    for number, line in enumerate(lines):
        line.start(f"s{number}")
        for seq in range(4):
            line.clip(seq, keyframes=(b"x" * 900_000,))
        line.end()
    running = [
        asyncio.create_task(Ingest(resources).run(line.receive, line.send)) for line in lines
    ]
    deadline_s = time.monotonic() + 30
    while budget.used <= 4_000_000:
        assert time.monotonic() < deadline_s, budget.used
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)  # what is more than it may hold would be read meanwhile
    assert budget.used <= 6 * 1024 * 1024
    bench.gate.set()
    await asyncio.wait_for(asyncio.gather(*running), 60)
    await held
    assert [line.acks for line in lines] == [4] * 12
    assert budget.used == 0


async def test_a_start_holds_no_more_than_names(bench: Bench) -> None:
    padding = b"\xfa\x7f" + b"\x80\x80\x01" + bytes(16384)  # field 2047, which nobody knows
    names = pb.IngestStart(user="u", stream="s", space="p").SerializeToString() + padding
    size = len(names)
    bench.line.incoming.put_nowait(
        b"\x0a" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + names
    )
    with pytest.raises(InvalidArgument) as refused:
        await asyncio.wait_for(bench.run(), 10)
    assert (refused.value.reason, refused.value.field) == ("START_EXPECTED", "start")

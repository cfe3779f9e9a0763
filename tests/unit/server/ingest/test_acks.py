"""What is acknowledged and what is told of a refusal: in which order, by whom, and nothing of it stays."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import weakref

import numpy as np
import pytest

from memdb.errors import InvalidArgument
from memdb.server.ingest import Ingest
from memdb.types.clip import Clip
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.clips import clip_to_proto
from tests.unit.server.ingest.bench import DIM, Bench, Tells, settled


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

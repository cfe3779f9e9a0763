"""How a stream begins and ends: with its client, with the server, or before it has begun."""

from __future__ import annotations

import asyncio

import pytest

from memdb.errors import DeadlineExceeded, InvalidArgument, Unavailable
from memdb.server.ingest import Ingest
from memdb.v1 import clip_service_pb2 as pb
from tests.unit.server.ingest.bench import Bench, settled


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


async def test_a_clip_that_a_thread_has_is_stored_though_its_client_left(bench: Bench) -> None:
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
    bench.gate.set()
    await held
    ledger = bench.database.user("u").stream("s").ledger
    while ledger().next_seq < 2:
        await asyncio.sleep(0.001)
    assert bench.budget.used == 0


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

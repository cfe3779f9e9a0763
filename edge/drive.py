"""Drives the native edge hard for some seconds: damaged messages of clips, which it has to read and stage as Python
does; calls and streams that are cancelled, late, cut off and never read, messages of theirs that are lent to threads
and taken back, and shelves that change meanwhile; commits
that are made and refused, in the middle too; files that are damaged or cut off, which it looks at as Python does; then
what nobody ended is let go of.  For `edge/sanitize.sh`.

    python edge/drive.py SECONDS
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

import grpc
import lmdb
import memdb_edge
import numpy as np
import xxhash
from odd_clips import odd_message
from odd_files import PAGE, OddFile

from memdb.engine.apply_run import one_by_one
from memdb.engine.run_acks import RunAcks
from memdb.index.kernel import inner_products_address
from memdb.server.edge import CallerLeft, Handler, Kind
from memdb.server.native_edge import SHELVED, NativeEdge
from memdb.server.plain_clips import ack_fields, clips_of, runs_of
from memdb.store.idents import ids_by
from memdb.store.native_commit import Puts, ReadyCommit, native_commit
from memdb.store.ordinary_tree import PageFile, pages_by_level
from memdb.store.plain_clips import put_plain, stage_by
from memdb.store.rows import Row, packed_row, stretches, stretches_by
from memdb.store.schema import Table, ledger_key
from memdb.store.transaction import Transaction
from memdb.types.operation import WriteRun
from memdb.types.plain_run import Entries, PlainRun
from memdb.wire.clips import clip_to_proto
from memdb.wire.ingest import ingested_clips
from memdb.wire.packed_acks import packed_acks

DIM, ROWS = 64, 50
TABLES = Table.CLIPS, Table.VECTORS, Table.SHORT_MEMORY, Table.LEDGER
OPTIONS = [
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.max_concurrent_streams", 128),
    ("grpc.max_receive_message_length", 1 << 22),
]
PEER = str(Path(__file__).with_name("misbehave.py"))
CALLS_MAX = 500
handled, lent_out = [0], [0]
waiting = ThreadPoolExecutor(64)
"""For threads that wait for messages."""


async def echo(request: bytes, call: Any) -> bytes:
    call.invocation_metadata()
    call.set_trailing_metadata((("x-request-id", "1"), ("some-bin", b"\0\xff")))
    call.time_remaining()
    if request[:1] == b"w":
        await asyncio.sleep(random.random() / 100)
    if request[:1] == b"a":
        await call.abort(grpc.StatusCode.NOT_FOUND, "no\0t h\u00e9re \ud800", ())
    if request[:1] == b"f":
        raise ValueError
    handled[0] += 1
    return request


async def answers(request: bytes, call: Any) -> None:
    with suppress(CallerLeft):
        for number in range(20):
            if request[:1] == b"w":
                await asyncio.sleep(random.random() / 200)
            await call.write(request * (number + 1))


async def both_ways(_: Any, call: Any) -> None:
    with suppress(CallerLeft):
        while (message := await call.read()) is not None:
            send = call.ahead() if random.random() < 0.7 else None
            if send is not None and random.random() < 0.7:
                await asyncio.to_thread(send, message)  # which goes on though the call is cancelled
            await call.write(message)


async def lent_clip(call: Any, reading: asyncio.Future[Any]) -> Any:
    """A message of one clip that came to a thread in the place of who reads; None where it comes to who reads."""
    lent = None if reading.done() else call.lend()
    if lent is None:
        return None
    came = asyncio.wrap_future(waiting.submit(lent.wait))
    if random.random() < 0.3:
        await asyncio.sleep(random.random() / 200)  # it may come meanwhile
        lent.take_back()
    message = await came
    if message is None:
        return None
    lent_out[0] += 1
    if random.random() < 0.3:
        await asyncio.sleep(random.random() / 200)  # so may the next
    is_given_back = random.random() < 0.3
    lent.over(message if is_given_back else None)
    return None if is_given_back else message


async def clips(_: Any, call: Any) -> None:
    reading: asyncio.Future[Any] | None = None
    try:
        while True:
            reading = reading or asyncio.ensure_future(call.read())
            await asyncio.sleep(0)
            message = await lent_clip(call, reading) if random.random() < 0.7 else None
            if message is None:
                message, reading = await reading, None
            if message is None:
                return
            count = 0 if isinstance(message, bytes) else len(clips_of(message))
            if random.random() < 0.1:
                await asyncio.sleep(random.random() / 100)
            await call.write(b"%d" % count)
    except CallerLeft:
        pass
    finally:
        if reading is not None:
            reading.cancel()


def read_clips(seconds: float) -> int:
    """Have damaged messages read, for as long; how many were plain all the same."""
    rng = random.Random()
    plain = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        number(rng)
        data = odd_message(rng)
        found = memdb_edge.read_clips(data)
        if found is None:
            continue
        plain += 1
        ours, pythons = clips_of(found), list(ingested_clips(data))
        runs = runs_of(found, ours[0].epoch) or []
        del found  # what is made of it keeps it
        assert [clip_to_proto(one) for one in ours] == [clip_to_proto(one) for one in pythons]
        for run in runs:
            stage(run)
    return plain


def stage(run: PlainRun) -> None:
    """Have a run staged as it is, and its clips as those that are made in this process: both as Python does it."""
    operations = one_by_one([WriteRun("s", None, run)])
    keys = [ledger_key(1, one.clip.epoch, one.clip.seq) for one in operations]
    tables: list[tuple[Entries, Entries, Entries, Entries]] = [({}, {}, {}, {}) for _ in range(3)]
    stored = [run.stage(*tables[0], 1, 2, 3, 4)]
    numbers = [1] * len(operations)
    stored.append(
        memdb_edge.stage_plain(*tables[1], operations, keys, numbers, run.dim, run.is_half, 2, 3, 4)
    )
    stage_by(None)
    wanted = Written()
    stored.append(put_plain(wanted, 2, 3, 4, numbers, keys, operations))
    del run, operations  # what is to be put keeps what it is of
    assert stored[0] == stored[1] == stored[2]
    for number, table in enumerate(TABLES):
        both = [list(its[number].items()) for its in tables[:2]]
        assert both[0] == both[1] == list(wanted.entries.get(table, {}).items())


def number(rng: random.Random) -> None:
    """Have ids, their acknowledgements and stretches of rows made as Python makes them."""
    key, first, count = rng.randbytes(rng.randrange(65)), rng.randrange(1 << 48), rng.randrange(70)
    acks = RunAcks(key, first, count, rng.choice([0, 1, 127, 128, 1 << 63]))
    ids_by(None)
    stretches_by(None)
    assert memdb_edge.make_ids(key, acks.first, count) == [ack.clip_id for ack in acks]
    assert packed_acks([ack_fields(acks)]) == packed_acks(acks)
    rows = [Row(1, rng.randrange(2), rng.randrange(3), place, place, True) for place in range(9)]
    packed = b"".join(map(packed_row, rows[: rng.randrange(10)]))
    assert memdb_edge.stretches(packed) == stretches(packed)


class Written(Transaction):
    """What is put into the tables."""

    def __init__(self) -> None:
        self.entries: dict[Table, Mapping[bytes, bytes | memoryview]] = {}

    def put_all(
        self, table: Table, entries: Mapping[bytes, bytes | memoryview], *, append: bool = False
    ) -> None:
        self.entries[table] = entries


def look_at_files(seconds: float) -> int:
    """Have trees of damaged files looked at, and checksums taken, for as long; how many were ordinary all the same."""
    rng = random.Random()
    files = [OddFile(key_bytes, rng) for key_bytes in (8, 60, 400)]
    ordinary = 0
    until = time.monotonic() + seconds
    with tempfile.TemporaryFile(buffering=0) as opened:
        fd = opened.fileno()
        while time.monotonic() < until:
            file = rng.choice(files)
            data, tree = file.odd(rng)
            os.pwrite(fd, data, 0)
            os.truncate(fd, len(data))
            end, values = min(file.end, len(data) // PAGE), rng.random() < 0.5
            found = memdb_edge.ordinary_pages(fd, PAGE, end, values, *astuple(tree))
            if found is not None and len(set(found.tolist())) == len(found):
                ordinary += 1
                assert found.min() >= 2
                assert found.max() < end
            # As Python says it; of a page that comes twice that says so by its number alone.
            wanted = pages_by_level(PageFile(fd, len(data), PAGE, end, values=values), tree)
            if wanted is not None and len(set(wanted.tolist())) != len(wanted):
                wanted = None
            assert (found is None) == (wanted is None)
            assert found is None or sorted(found.tolist()) == sorted(wanted.tolist())
            # Pages of another size, of which Python need not say the same.
            size = rng.choice((0, 1, 15, 16, 17, 18, 512, 4095, 8192, 32_768, 32_769, 1 << 20))
            beyond = len(data) // size if size else end
            memdb_edge.ordinary_pages(fd, size, beyond, values, *astuple(tree))
            offset, length = rng.randrange(len(data) + 1), rng.choice((0, 9, 1 << 21))
            length = rng.randrange(length + 1)
            if len(piece := data[offset : offset + length]) < length:
                assert memdb_edge.checksum_of(fd, offset, length) is None
            checksum = memdb_edge.checksum_of(fd, offset, len(piece))
            assert checksum == xxhash.xxh3_64_intdigest(piece)
    return ordinary


def look_through(rng: random.Random) -> None:
    """Elements that are finite, or one that is not, at even and at odd addresses."""
    # The last is beyond what keeps the interpreter's lock.
    halves = np.ones(rng.choice((1, 1023, (1 << 19) + 1)), np.float16)
    if is_bad := rng.random() < 0.5:
        halves[rng.randrange(halves.size)] = rng.choice((np.inf, -np.inf, np.nan))
    moved = np.frombuffer(b"x" + halves.tobytes(), np.float16, offset=1)
    for array in (halves, moved):
        assert memdb_edge.are_finite(array) is not is_bad


def commit(seconds: float) -> int:
    """Have commits made and refused for as long, by two threads; how many were made."""
    one = native_commit()
    assert one is not None, "the py-lmdb that is known"
    made = [0, 0]
    # The map is full now and then.
    with (
        tempfile.TemporaryDirectory() as folder,
        lmdb.open(folder, max_dbs=2, sync=False, map_size=1 << 20) as env,
    ):
        tables = [env.open_db(b"%d" % number) for number in range(2)]
        until = time.monotonic() + seconds

        def work(number: int) -> None:
            rng, mine, table = random.Random(number), b"%d" % number, tables[number]
            with env.begin(write=True) as txn:
                txn.put(b"known", b"0", db=table)
            held = {b"known": b"0"}
            while time.monotonic() < until:
                puts: Puts = {
                    b"%03d" % rng.randrange(300): memoryview(
                        rng.randbytes(rng.choice((0, 9, 5_000)))
                    )
                    for _ in range(rng.randrange(12))
                }
                puts[b"known"] = b"%d" % (made[number] + 1)
                known = (mine, b"known", b"no" if rng.random() < 0.1 else held[b"known"])
                refused: Puts = {b"": b"1"} if rng.random() < 0.1 else {}
                if one.run(env, ReadyCommit(known, [(mine, puts, False), (mine, refused, False)])):
                    made[number] += 1
                    held |= {key: bytes(value) for key, value in puts.items()}
                with env.begin() as txn, txn.cursor(table) as cursor:
                    assert dict(cursor) == held
                look_through(rng)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, range(2)))  # or what is wrong in a thread is lost
    with suppress(ValueError):
        one.run(env, ReadyCommit((b"0", b"known", b"0"), []))
        raise AssertionError("the environment is closed")
    return sum(made)


def changes(shelf: memdb_edge.Shelf, stop: threading.Event) -> None:
    """Lay users ready and take them away."""
    rng = np.random.default_rng()
    while not stop.is_set():
        user = f"u{rng.integers(4)}"
        times = np.arange(ROWS, dtype=np.int64)
        rows, codes = rng.random((ROWS, DIM), np.float32), np.empty((ROWS, DIM), np.uint8)
        measures = np.empty((ROWS, 3), np.float32)
        memdb_edge.sketch_rows(rows, codes, measures)
        sketch = (codes, measures) if rng.random() < 0.8 else ()
        shelf.put(
            user, True, True, DIM, rows, times, times + 1,
            np.ones(ROWS, np.uint8), np.zeros(ROWS, np.uint32), [("cam", np.ones(DIM), 1.0, 2.0)],
            [b"\x0a\x00"] * ROWS, b"", *sketch,
        )  # fmt: skip
        if rng.random() < 0.7:
            shelf.withdraw(f"u{rng.integers(4)}")
        shelf.take_asked()
        time.sleep(0.0005)


async def serve(seconds: float) -> dict[str, Any]:
    address_of = inner_products_address()
    shelf = None if address_of is None else memdb_edge.Shelf(address_of, np.exp, 1 << 20)
    handlers = [
        Handler("s/Echo", Kind.UNARY, echo),
        *(Handler(name[1:], Kind.UNARY, echo) for name in SHELVED),
        Handler("s/Answers", Kind.ANSWERS, answers),
        Handler("s/BothWays", Kind.BOTH_WAYS, both_ways),
        Handler("s/Clips", Kind.BOTH_WAYS, clips, clips=True),
    ]
    edge = NativeEdge(handlers, OPTIONS, CALLS_MAX, shelf)
    port = edge.bind("127.0.0.1:0", None)
    await edge.start()
    stop = threading.Event()
    changer = threading.Thread(target=changes, args=(shelf, stop))
    if shelf is not None:
        changer.start()
    # A sanitizer is for the server.
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    clients = [
        subprocess.Popen(
            [sys.executable, PEER, f"127.0.0.1:{port}", str(2 * seconds), str(seed)],
            env=environment,
        )
        for seed in range(3)
    ]
    await asyncio.sleep(seconds / 2)
    clients[0].kill()
    await asyncio.sleep(seconds / 2)
    # The others are in the midst of it.
    begun = time.monotonic()
    await edge.stop(random.choice([0.0, 0.2]))
    stopped_s = time.monotonic() - begun
    stop.set()
    for process in clients:
        process.kill()
        process.wait()
    if changer.is_alive():
        changer.join()
    return {
        "handled": handled[0],
        "lent": lent_out[0],
        "left": len(edge._calls),
        "stopped_s": round(stopped_s, 3),
        "answered": 0 if shelf is None else shelf.answered,
    }


async def forsaken() -> None:
    """A server that nobody asks for its events goes away with the calls that it has."""
    loop = asyncio.get_running_loop()

    async def ended(call: Any) -> None:
        with suppress(grpc.RpcError):
            await call.read()

    for take in (False, True):
        edge = NativeEdge([Handler("s/BothWays", Kind.BOTH_WAYS, both_ways)], OPTIONS, 10)
        port = edge.bind("127.0.0.1:0", None)
        edge._acceptor.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            calls = [channel.stream_stream("/s/BothWays")() for _ in range(4)]
            tasks = [loop.create_task(ended(call)) for call in calls]
            await asyncio.sleep(0.3)
            taken = edge._server.take() if take else []
            edge._acceptor.stop()
            del edge
            await asyncio.wait_for(asyncio.gather(*tasks), 20)
            del taken


if __name__ == "__main__":
    duration = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    plain = read_clips(duration / 3)
    commits = commit(duration / 3)
    ordinary = look_at_files(duration / 3)
    said = asyncio.run(serve(duration)) | {
        "plain": plain,
        "commits": commits,
        "ordinary": ordinary,
    }
    asyncio.run(forsaken())
    print(json.dumps(said))
    sys.exit(bool(said["left"]) or not said["lent"])

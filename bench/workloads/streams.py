"""One user with 1, 16 and 256 cameras, clips of 16 frames of 4 x 1536 and of 4 x 384: what sharing commits gives.

Embedded, threads write clip after clip of their cameras (`stream.write`; a single camera uses `stream.ingest`); over
gRPC every camera is an asyncio ingest stream with at most 8 clips on their way.  The reference is raw LMDB with as many
clips of the same bytes for each transaction as ours had on the average of that round.  Short rounds in turns; a ratio
is the median over rounds.

``ack_p99_vs_commit``: a lone camera sends a clip over its ingest stream and waits for the acknowledgement, again and
again: the 99th percentile, in medians of a raw transaction with one clip.  Beside it ``ack_p50_vs_commit``, of the
medians, and ``ack_p99_vs_commit_p99``: how much of the tail is the disk's own.

Before each round memory is touched (`bench.touched`), as in `ingest`.

``short_memory_vs_raw``: median time to read the short-term memory of four clips, embedded, in that of four raw `get`
with a copy into an array; ``short_memory_delta_vs_raw``: the same by the codec that agents take, copies decoded.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

import memdb
import memdb_client
from bench import data
from bench.limits import RawLmdb
from bench.report import Result, Setup, median, percentile, result, time_ms
from bench.server import Server
from bench.touched import touch
from memdb import Clip
from memdb.codecs.tensors import decode_verified, encoded
from memdb.types.database import Database, User
from memdb.types.ingest import INGEST_WINDOW
from memdb.types.tensor import codec_named
from perception.ingest_options import CODEC

WINDOW = 8
THREADS_MAX = 32


def run(setup: Setup) -> Result:
    """Measure."""
    rounds, clips = (1, 64) if setup.quick else (5, 1024)
    figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for dim in (1536, 384):
        for streams in (1, 16, 256):
            name = f"{dim}_{streams}"
            found = _shape(setup, setup.folder / name, dim, streams, rounds, clips)
            for way in ("embedded", "grpc"):
                ratios[f"write_vs_lmdb_{way}_{name}"] = median(found[f"{way}_ratio"])
                figures[f"{way}_{name}_clips_per_s"] = median(found[way])
                figures[f"{way}_{name}_clips_per_commit"] = median(found[f"{way}_per_commit"])
    for codec, suffix in (("plain", ""), (CODEC, f"_{CODEC}")):
        ours, theirs = _reads(setup, codec)
        figures |= {f"short_memory{suffix}_p50_ms": ours, f"raw_get{suffix}_p50_ms": theirs}
        ratios[f"short_memory{suffix}_vs_raw"] = ours / theirs
    figures |= _lone(setup)
    ratios["ack_p99_vs_commit"] = figures["ack_p99_ms"] / figures["raw_commit_p50_ms"]
    ratios["ack_p50_vs_commit"] = figures["ack_p50_ms"] / figures["raw_commit_p50_ms"]
    ratios["ack_p99_vs_commit_p99"] = figures["ack_p99_ms"] / figures["raw_commit_p99_ms"]
    config: dict[str, object] = {"rounds": rounds, "clips_of_a_round": clips, "window": WINDOW}
    return result("streams", setup, config, figures, ratios)


def _shape(
    setup: Setup, folder: Path, dim: int, streams: int, rounds: int, clips: int
) -> dict[str, list[float]]:
    per_stream = max(1, clips // streams)
    tensors = data.short_memories(setup.seed, 32)[:, :, :dim]
    made = list(
        data.clips(setup.seed, data.vectors(setup.seed, 64, dim), short_memory=tensors.copy())
    )
    values = [_values(clip) for clip in made]
    (folder / "raw").mkdir(parents=True)
    raw = RawLmdb(folder / "raw")
    found: dict[str, list[float]] = {}
    rng = random.Random(setup.seed)
    with (
        memdb.open(folder / "embedded") as embedded,
        Server(folder / "served") as server,
        memdb_client.connect(server.address) as remote,
    ):
        ways: list[tuple[str, User, Callable[[int], None]]] = []
        for way, database in (("embedded", embedded), ("grpc", remote)):
            user = _user(database, dim)
            write = (
                _threads(user, streams, made)
                if way == "embedded"
                else _asyncio(server, streams, made)
            )
            ways.append((way, user, lambda turn, write=write: write(turn, per_stream)))  # type: ignore[misc]  # of a default
        for turn in range(-1, rounds):
            rng.shuffle(ways)
            # Each way and its reference write that much, to files and through buffers.
            touch(2 * 2 * len(ways) * streams * per_stream * sum(map(len, values[0])))
            for way, user, write_all in ways:
                before = user.revision() if turn >= 0 else 0
                begin = time.perf_counter()
                write_all(turn + 1)
                rate = streams * per_stream / (time.perf_counter() - begin)
                if turn < 0:
                    continue
                commits = user.revision() - before
                per_commit = max(1, round(streams * per_stream / commits))
                reference = _raw_rate(raw, values, per_commit, streams * per_stream)
                for key, value in (
                    ("", rate),
                    ("_ratio", rate / reference),
                    ("_per_commit", per_commit),
                ):
                    found.setdefault(way + key, []).append(value)
    raw.close()
    return found


def _user(database: Database, dim: int) -> User:
    database.create_space(f"bench-{dim}", dim=dim, model="bench")
    user = database.user("bench")
    user.put("made", 1)
    return user


def _of(clip: Clip, seq: int) -> Clip:
    begin = data.start_of(seq)
    return Clip(
        seq=seq,
        start_ns=begin,
        end_ns=begin + data.CLIP_NS,
        global_memory=clip.global_memory,
        short_memory=clip.short_memory,
    )


def _threads(user: User, streams: int, made: list[Clip]) -> Callable[[int, int], None]:
    dim = made[0].global_memory.shape[0]
    cameras = [user.stream(f"camera-{n}", space=f"bench-{dim}") for n in range(streams)]

    def write(turn: int, per_stream: int) -> None:
        if streams == 1:
            with cameras[0].ingest() as writer:
                for step in range(per_stream):
                    writer.send(_of(made[step % len(made)], turn * per_stream + step))
            return

        def work(first: int) -> None:
            for step in range(per_stream):
                for camera in cameras[first :: min(streams, THREADS_MAX)]:
                    camera.write(_of(made[step % len(made)], turn * per_stream + step))

        threads = [
            threading.Thread(target=work, args=(n,)) for n in range(min(streams, THREADS_MAX))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return write


def _asyncio(server: Server, streams: int, made: list[Clip]) -> Callable[[int, int], None]:
    dim = made[0].global_memory.shape[0]

    def write(turn: int, per_stream: int) -> None:
        async def camera(db: memdb_client.AsyncDatabase, number: int) -> None:
            stream = db.user("bench").stream(f"camera-{number}", space=f"bench-{dim}")
            async with stream.ingest(window=INGEST_WINDOW if streams == 1 else WINDOW) as writer:
                for step in range(per_stream):
                    await writer.send(_of(made[step % len(made)], turn * per_stream + step))

        async def all_of_them() -> None:
            async with memdb_client.connect_async(server.address) as db:
                await asyncio.gather(*(camera(db, number) for number in range(streams)))

        asyncio.run(all_of_them())

    return write


def _raw_rate(raw: RawLmdb, values: list[tuple[bytes, ...]], per_commit: int, count: int) -> float:
    groups = max(1, count // per_commit)
    begin = time.perf_counter()
    for group in range(groups):
        raw.commit([values[(group * per_commit + n) % len(values)] for n in range(per_commit)])
    return groups * per_commit / (time.perf_counter() - begin)


def _lone(setup: Setup) -> dict[str, float]:
    count = 20 if setup.quick else 400
    made = list(
        data.clips(
            setup.seed,
            data.vectors(setup.seed, 32),
            short_memory=data.short_memories(setup.seed, 32),
        )
    )
    folder = setup.folder / "lone"
    (folder / "raw").mkdir(parents=True)
    raw = RawLmdb(folder / "raw")
    acks: list[float] = []
    commits: list[float] = []
    with Server(folder / "served") as server, memdb_client.connect(server.address) as db:
        user = _user(db, data.DIM)
        with user.stream("camera", space=f"bench-{data.DIM}").ingest() as writer:

            def acknowledged(seq: int) -> None:
                writer.send(_of(made[seq % 32], seq))
                writer.flush()

            for seq in range(count):
                values = [_values(made[seq % 32])]
                commits.append(time_ms(lambda: raw.commit(values)))  # noqa: B023
                acks.append(time_ms(lambda: acknowledged(seq)))  # noqa: B023
    raw.close()
    return {
        "ack_p50_ms": median(acks),
        "ack_p99_ms": percentile(acks, 99),
        "raw_commit_p50_ms": median(commits),
        "raw_commit_p99_ms": percentile(commits, 99),
    }


def _reads(setup: Setup, codec: str) -> tuple[float, float]:
    """Median ms of reading four clips: ours, raw."""
    count = 40 if setup.quick else 400
    made = list(
        data.clips(
            setup.seed,
            data.vectors(setup.seed, 32),
            short_memory=data.short_memories(setup.seed, 32),
        )
    )
    folder = setup.folder / f"reads-{codec}"
    (folder / "raw").mkdir(parents=True)
    raw = RawLmdb(folder / "raw")
    rng = random.Random(setup.seed)
    ours: list[float] = []
    theirs: list[float] = []
    with memdb.open(folder / "embedded") as db:
        user = _user(db, data.DIM)
        camera = user.stream("camera", space=f"bench-{data.DIM}", codec=codec)
        acks = camera.write_many([_of(made[seq % 32], seq) for seq in range(count)])
        coded = [encoded(clip, codec_named(codec)) for clip in made]
        for seq in range(count):
            tensor = coded[seq % 32]
            assert tensor is not None
            raw.commit([(bytes(tensor.payload), *_values(made[seq % 32])[1:])])

        def read_raw(chosen: list[int]) -> None:
            for seq, payload in zip(chosen, raw.values([3 * seq for seq in chosen]), strict=True):
                tensor = coded[seq % 32]
                assert tensor is not None
                decode_verified(replace(tensor, payload=payload))

        for _ in range(count):
            chosen = [rng.randrange(count) for _ in range(4)]
            ids = [acks[seq].clip_id for seq in chosen]
            ours.append(time_ms(lambda: user.short_memory(ids)))  # noqa: B023
            theirs.append(time_ms(lambda: read_raw(chosen)))  # noqa: B023
    raw.close()
    return median(ours), median(theirs)


def _values(clip: Clip) -> tuple[bytes, ...]:
    assert isinstance(clip.short_memory, np.ndarray)
    return clip.short_memory.tobytes(), clip.global_memory.tobytes(), b"x" * 120

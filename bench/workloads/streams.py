"""One user with 1, 16 and 256 cameras, clips of 16 frames of 4 x 1536 and of 4 x 384: what sharing commits gives.

Every camera has an ingest writer: embedded, fed by threads, with the window that it has where nobody says; over gRPC,
asyncio streams, with at most 16 clips on their way where there are several (it was 8).  Embedded also as threads that
write clip after clip of their cameras and wait for each (``embedded_waiting``).  The reference is raw LMDB with as many
clips of the same bytes for each transaction as ours had on the average of that round, one half of them right before
ours, one right after: a disk that others write to as well has slow moments as long as a round, and beside raw LMDB of
after alone five rounds said 0.56 to 1.18.  Rounds of half a second or more, in turns; a ratio is a median of rounds.
In shorter ones (they were of 2,048 to 6,144 clips until a second was what 17,000 took) how it begins and ends is a part
of what is measured: 4,096 clips are on their way of 256 cameras, and a seventh of the round went by with one side idle.

The clock runs from the first clip that is sent to the last acknowledgement, with a clip of each stream acknowledged
before it (`bench.cameras`).  Until this was so, a round was 1,024 clips, of 256 streams four each, and opening and
ending streams, a loop and a connection were within the clock: figures of then are not to be compared.  What opening
costs is ``grpc_open_stream_ms`` now: of 256 streams that are opened at once, each with its first clip, the time of one.

``*_server_ms`` and ``*_client_ms``: processor time of the server, and of the one Python process that sends, a clip;
``embedded_*_ms``: of the one process.

``ack_p99_vs_commit``: see `bench.lone_camera`.

Before each round memory is touched (`bench.touched`), as in `ingest`.

``short_memory_vs_raw``: median time to read the short-term memory of four clips, embedded, in that of four raw `get`
with a copy into an array; ``short_memory_delta_vs_raw``: the same by the codec that agents take, copies decoded.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import memdb
import memdb_client
from bench import data
from bench.cameras import (
    ON_THEIR_WAY,
    Round,
    clip_of,
    embedded,
    remote,
    user_of,
    values_of,
    waiting,
)
from bench.limits import RawLmdb
from bench.lone_camera import lone_camera
from bench.report import Result, Setup, median, result, time_ms
from bench.server import Server
from bench.touched import touch
from memdb.codecs.tensors import decode_verified, encoded
from memdb.types.tensor import codec_named
from perception.ingest_options import CODEC

CLIPS = {
    (1536, 1): 4096,
    (1536, 16): 4096,
    (1536, 256): 4096,
    (384, 1): 16384,
    (384, 16): 16384,
    (384, 256): 16384,
}
"""Of a round."""


def run(setup: Setup) -> Result:
    """Measure."""
    rounds = 1 if setup.quick else 7
    figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for (dim, streams), clips in CLIPS.items():
        name = f"{dim}_{streams}"
        count = max(1, (64 if setup.quick else clips) // streams)
        found = _shape(setup, setup.folder / name, dim, streams, rounds, count)
        for way in ("embedded", "embedded_waiting", "grpc"):
            ratios[f"write_vs_lmdb_{way}_{name}"] = median(found[f"{way}_ratio"])
            figures[f"{way}_{name}_clips_per_s"] = median(found[way])
            figures[f"{way}_{name}_clips_per_commit"] = median(found[f"{way}_per_commit"])
            if way != "grpc":
                figures[f"{way}_{name}_ms"] = median(found[f"{way}_client"])
        for side in ("server", "client"):
            figures[f"grpc_{name}_{side}_ms"] = median(found[f"grpc_{side}"])
        if (dim, streams) == (1536, 256):
            figures["grpc_open_stream_ms"] = median(found["grpc_open"])
    for codec, suffix in (("plain", ""), (CODEC, f"_{CODEC}")):
        ours, theirs = _reads(setup, codec)
        figures |= {f"short_memory{suffix}_p50_ms": ours, f"raw_get{suffix}_p50_ms": theirs}
        ratios[f"short_memory{suffix}_vs_raw"] = ours / theirs
    lone_figures, lone_ratios = lone_camera(setup)
    figures |= lone_figures
    ratios |= lone_ratios
    config: dict[str, object] = {
        "rounds": rounds,
        "clips_of_a_round": list(CLIPS.values()),
        "on_their_way": ON_THEIR_WAY,
    }
    return result("streams", setup, config, figures, ratios)


def _shape(
    setup: Setup, folder: Path, dim: int, streams: int, rounds: int, count: int
) -> dict[str, list[float]]:
    """What rounds of ``count`` clips of each stream took, by way."""
    tensors = data.short_memories(setup.seed, 32)[:, :, :dim]
    made = list(
        data.clips(setup.seed, data.vectors(setup.seed, 64, dim), short_memory=tensors.copy())
    )
    values = [values_of(clip) for clip in made]
    folder.mkdir(parents=True)
    found: defaultdict[str, list[float]] = defaultdict(list)
    rng = random.Random(setup.seed)
    with (
        memdb.open(folder / "embedded") as local,
        memdb.open(folder / "embedded_waiting") as local_waiting,
        Server(folder / "served") as server,
        memdb_client.connect(server.address) as connected,
    ):
        user, waiting_user = user_of(local, dim), user_of(local_waiting, dim)
        served = user_of(connected, dim)
        rounds_of: dict[str, Round] = {
            "embedded": embedded(user, streams, made),
            "embedded_waiting": waiting(waiting_user, streams, made),
            "grpc": remote(server, served, streams, made),
        }
        ways = [
            (way, write, RawLmdb(_made(folder / f"raw-{way}"))) for way, write in rounds_of.items()
        ]
        per_commit: dict[str, int] = {}
        for turn in range(-1, rounds):
            rng.shuffle(ways)
            # Each way and its reference write that much, to files and through buffers.
            clips = 1 if setup.quick else streams * count
            touch(2 * 2 * len(ways) * clips * sum(map(len, values[0])))
            for way, write, raw in ways:
                # Alone and waiting, each clip is a commit of its own.
                each = max(1, count // 8) if (way, streams) == ("embedded_waiting", 1) else count
                before_s = 0.0
                if turn >= 0:  # by what was seen of the round before
                    before_s = _raw_s(raw, values, per_commit[way], each * streams // 2)
                written = write((turn + 1) * (each + 1), each)
                per_commit[way] = max(1, round(written.clips / written.commits))
                if turn < 0:
                    continue
                after_s = _raw_s(raw, values, per_commit[way], each * streams // 2)
                reference_s = (before_s + after_s) / 2
                found[way].append(written.clips / written.wall_s)
                found[f"{way}_ratio"].append(reference_s / (written.wall_s / written.clips))
                found[f"{way}_per_commit"].append(per_commit[way])
                found[f"{way}_server"].append(1e3 * written.server_s / written.clips)
                found[f"{way}_client"].append(1e3 * written.client_s / written.clips)
                found[f"{way}_open"].append(1e3 * written.open_s / streams)
        for _, _, raw in ways:
            raw.close()
    shutil.rmtree(folder)  # or the files of all shapes were there at once
    return found


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _raw_s(raw: RawLmdb, values: list[tuple[bytes, ...]], per_commit: int, count: int) -> float:
    """Of a clip."""
    groups = max(1, count // per_commit)
    begin = time.perf_counter()
    for group in range(groups):
        raw.commit([values[(group * per_commit + n) % len(values)] for n in range(per_commit)])
    return (time.perf_counter() - begin) / (groups * per_commit)


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
        user = user_of(db, data.DIM)
        camera = user.stream("camera", space=f"bench-{data.DIM}", codec=codec)
        acks = camera.write_many([clip_of(made, seq) for seq in range(count)])
        coded = [encoded(clip, codec_named(codec)) for clip in made]
        for seq in range(count):
            tensor = coded[seq % 32]
            assert tensor is not None
            raw.commit([(bytes(tensor.payload), *values_of(made[seq % 32])[1:])])

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

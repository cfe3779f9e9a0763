"""Writing 16-frame clips, batches of 8: embedded, over gRPC, and the same bytes straight into LMDB.

``embedded`` and ``grpc`` write as a camera's agent does, through `stream.ingest()`; ``embedded_write_many`` and
``write_many`` wait for each batch of 8 before they make the next.

"The same bytes" are what the camera's agent has to say: (64, 1536) float16 short-term memory, (1536,) float16
global memory and the transcript as JSON, 199.8 kB in three values for each clip, 8 clips for each synced
transaction.  Raw LMDB gets nothing of what we add: no checksums, hashes, ledger, log, index or times.

Our side times everything from a ready `Clip` to its acknowledgement: encoding, checks, hashes, commit, index,
publication.  Short rounds, the ways in random order; a ratio is the median over rounds of the two rates of one
round, so that a slow phase of a shared disk or processor meets both.  Before each round as much memory is touched as
its files will take (`bench.touched`): else what a host asks for a page decides, and not who writes.

``ack_p99_vs_commit``: see `bench.lone_camera`.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable

import numpy as np

import memdb
import memdb_client
from bench import data
from bench.limits import RawLmdb
from bench.lone_camera import lone_camera
from bench.report import Result, Setup, median, percentile, result
from bench.server import Server
from bench.touched import touch
from memdb import Clip

BATCH = 8
SPACE = "bench-1536"


def run(setup: Setup) -> Result:
    """Measure."""
    rounds, round_clips = (2, 16) if setup.quick else (10, 320)
    total = rounds * round_clips
    vectors = data.vectors(setup.seed, round_clips)
    tensors = data.short_memories(setup.seed, round_clips)
    raw_folder = setup.folder / "raw"
    raw_folder.mkdir()
    raw = RawLmdb(raw_folder)
    names = ("lmdb", "embedded", "embedded_write_many", "grpc", "write_many")
    rates: dict[str, list[float]] = {name: [] for name in names}
    commits_ms: list[float] = []
    touches_us: list[float] = []
    rng = random.Random(setup.seed)

    with (
        memdb.open(setup.folder / "embedded") as embedded,
        Server(setup.folder / "served") as server,
        memdb_client.connect(server.address) as remote,
    ):
        for database in (embedded, remote):
            database.create_space(SPACE, dim=data.DIM, model="bench")
        camera = embedded.user("bench").stream("camera", space=SPACE)
        camera_batches = embedded.user("batches").stream("camera", space=SPACE)
        far = remote.user("bench").stream("camera", space=SPACE)
        far_batches = remote.user("batches").stream("camera", space=SPACE)

        def write_raw(clips: list[Clip]) -> None:
            # Bytes are made before the clock starts: raw LMDB is given values, not arrays.
            for begin in range(0, len(values), BATCH):
                raw.commit(values[begin : begin + BATCH])

        def write_embedded(clips: list[Clip]) -> None:
            with camera.ingest() as writer:
                for clip in clips:
                    writer.send(clip)
                writer.flush()

        def write_embedded_batches(clips: list[Clip]) -> None:
            for begin in range(0, len(clips), BATCH):
                start = time.perf_counter()
                camera_batches.write_many(clips[begin : begin + BATCH])
                commits_ms.append((time.perf_counter() - start) * 1e3)

        def write_streaming(clips: list[Clip]) -> None:
            with far.ingest() as writer:
                for clip in clips:
                    writer.send(clip)
                writer.flush()

        def write_batches(clips: list[Clip]) -> None:
            for begin in range(0, len(clips), BATCH):
                far_batches.write_many(clips[begin : begin + BATCH])

        ways: list[tuple[str, Callable[[list[Clip]], None]]] = [
            ("lmdb", write_raw),
            ("embedded", write_embedded),
            ("embedded_write_many", write_embedded_batches),
            ("grpc", write_streaming),
            ("write_many", write_batches),
        ]
        for number in range(-1, rounds):  # round -1 warms up and creates the user
            first = (number + 1) * round_clips
            clips = list(data.clips(setup.seed, vectors, short_memory=tensors, first_seq=first))
            values = [_values(clip) for clip in clips]
            touches_us.append(touch(2 * len(ways) * sum(map(len, itertools.chain(*values)))))
            rng.shuffle(ways)  # nobody always follows the same one
            for name, write in ways:
                begin = time.perf_counter()
                write(clips)
                if number >= 0:
                    rates[name].append(round_clips / (time.perf_counter() - begin))
    raw.close()

    clip_mb = sum(len(value) for value in values[0]) / 1e6
    figures = {f"write_{name}_clips_per_s": median(found) for name, found in rates.items()}
    figures |= {f"write_{name}_mb_per_s": median(found) * clip_mb for name, found in rates.items()}
    figures["write_embedded_commit_p50_ms"] = median(commits_ms)
    figures["write_embedded_commit_p99_ms"] = percentile(commits_ms, 99)
    figures["memory_touch_us_per_page"] = median(touches_us)
    ratios = {
        f"write_vs_lmdb_{name}": median(
            [ours / theirs for ours, theirs in zip(rates[name], rates["lmdb"], strict=True)]
        )
        for name in names[1:]
    }
    lone_figures, lone_ratios = lone_camera(setup)
    figures |= lone_figures
    ratios |= lone_ratios
    config: dict[str, object] = {
        "clips": total,
        "batch": BATCH,
        "rounds": rounds,
        "short_memory": f"({data.TOKENS}, {data.DIM}) float16",
        "global_memory": f"({data.DIM},) float16",
        "bytes_per_clip": round(clip_mb * 1e6),
    }
    return result("ingest", setup, config, figures, ratios)


def _values(clip: Clip) -> tuple[bytes, ...]:
    transcript = [(u.start_ns, u.end_ns, u.text, u.speaker, u.language) for u in clip.transcript]
    assert isinstance(clip.short_memory, np.ndarray)
    return (
        clip.short_memory.tobytes(),
        clip.global_memory.tobytes(),
        json.dumps(transcript).encode(),
    )

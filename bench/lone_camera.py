"""A lone camera: it sends a clip over its ingest stream and waits for the acknowledgement, again and again.

``ack_p99_vs_commit``: the 99th percentile, in medians of a raw transaction with one clip.  Beside it
``ack_p50_vs_commit_p50``, of the medians, and ``ack_p99_vs_commit_p99``: how much of the tail is the disk's own.
Clips and raw transactions come in turns, with as much memory touched before as both will take (`bench.touched`).
"""

from __future__ import annotations

from typing import Final

import memdb_client
from bench import data
from bench.cameras import clip_of, user_of, values_of
from bench.limits import RawLmdb
from bench.report import Setup, median, percentile, time_ms
from bench.server import Server
from bench.touched import touch
from memdb import Clip

CLIPS: Final = 2_000
"""So that twenty are beyond a 99th percentile, and not three or four, of which two runs say different things."""
WARM: Final = 64
"""Clips before them, which are not counted: a camera's stream is open for months."""
CLIP_BYTES: Final = 200_000


def lone_camera(setup: Setup) -> tuple[dict[str, float], dict[str, float]]:
    """Figures and ratios."""
    count = 20 if setup.quick else CLIPS
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
        user = user_of(db, data.DIM)
        with user.stream("camera", space=f"bench-{data.DIM}").ingest() as writer:

            def acknowledged(clip: Clip) -> None:
                writer.send(clip)
                writer.flush()

            touch(2 * (WARM + count) * CLIP_BYTES)
            for seq in range(WARM + count):
                # Made outside of the clock, as raw LMDB has its values.
                values, clip = [values_of(made[seq % 32])], clip_of(made, seq)
                commits.append(time_ms(lambda: raw.commit(values)))  # noqa: B023
                acks.append(time_ms(lambda: acknowledged(clip)))  # noqa: B023
    raw.close()
    acks, commits = acks[WARM:], commits[WARM:]
    figures = {
        "ack_p50_ms": median(acks),
        "ack_p99_ms": percentile(acks, 99),
        "raw_commit_p50_ms": median(commits),
        "raw_commit_p99_ms": percentile(commits, 99),
    }
    return figures, {
        "ack_p99_vs_commit": figures["ack_p99_ms"] / figures["raw_commit_p50_ms"],
        "ack_p50_vs_commit_p50": figures["ack_p50_ms"] / figures["raw_commit_p50_ms"],
        "ack_p99_vs_commit_p99": figures["ack_p99_ms"] / figures["raw_commit_p99_ms"],
    }

"""A camera that has filled its room: every clip that comes takes the place of an old one.

Fills a user with 16-frame clips up to a size (default 5 GB), then goes on writing while `max_clips`
gives up as many of the oldest, sweep after sweep, until as much again has been written.  ``fresh`` is the rate of
the second half of the filling; ``churn`` counts writes and sweeps together.  Both go through
`stream.ingest()`.  What LMDB's free list does is seen in ``file_vs_live`` at the end and at its highest, and in the
rate by quarters.
"""

from __future__ import annotations

import time
from pathlib import Path

import memdb
from bench import data
from bench.report import Result, Setup, result
from memdb import Retention
from memdb.engine.database import EmbeddedDatabase
from memdb.types.database import Stream

SPACE = "bench-1536"
USER = "bench"
SWEEP_CLIPS = 256
"""Clips written between two sweeps."""


def run(setup: Setup) -> Result:
    """Measure."""
    fill_clips, churn_clips = (512, 512) if setup.quick else (26_112, 26_112)
    vectors = data.vectors(setup.seed, SWEEP_CLIPS)
    tensors = data.short_memories(setup.seed, 64)
    clip_bytes = int(tensors[0].nbytes + vectors[0].nbytes)

    def write(camera: Stream, first: int) -> float:
        clips = list(data.clips(setup.seed, vectors, short_memory=tensors, first_seq=first))
        begin = time.perf_counter()
        with camera.ingest() as writer:
            for clip in clips:
                writer.send(clip)
        return time.perf_counter() - begin

    folder = setup.folder / "data"
    churning: list[float] = []
    sweeping: list[float] = []
    highest = 0.0
    with memdb.open(folder) as database:
        database.create_space(SPACE, dim=data.DIM, model="bench")
        camera = database.user(USER).stream("camera", space=SPACE)
        filling = [write(camera, first) for first in range(0, fill_clips, SWEEP_CLIPS)]
        camera.set_retention(Retention(max_clips=fill_clips))
        for first in range(fill_clips, fill_clips + churn_clips, SWEEP_CLIPS):
            churning.append(write(camera, first))
            begin = time.perf_counter()
            swept = database.sweep()
            sweeping.append(time.perf_counter() - begin)
            assert swept.clips == SWEEP_CLIPS, "as many go as came"
            highest = max(highest, _data_bytes(folder) / (fill_clips * clip_bytes))
        file_vs_live = _data_bytes(folder) / (fill_clips * clip_bytes)
        verified = setup.quick or _verified(database)
    fresh = filling[len(filling) // 2 :]
    fresh_rate = SWEEP_CLIPS * len(fresh) / sum(fresh)
    churn_rate = SWEEP_CLIPS * len(churning) / (sum(churning) + sum(sweeping))
    quarters = max(1, len(churning) // 4)
    figures = {
        "live_gb": fill_clips * clip_bytes / 1e9,
        "fresh_clips_per_s": fresh_rate,
        "churn_clips_per_s": churn_rate,
        "churn_sweep_share": sum(sweeping) / (sum(churning) + sum(sweeping)),
        "churn_first_quarter_clips_per_s": _rate(churning[:quarters], sweeping[:quarters]),
        "churn_last_quarter_clips_per_s": _rate(churning[-quarters:], sweeping[-quarters:]),
        "file_vs_live_highest": highest,
        "verified": float(verified),
    }
    config: dict[str, object] = {
        "filled_clips": fill_clips,
        "churned_clips": churn_clips,
        "clips_between_sweeps": SWEEP_CLIPS,
        "bytes_per_clip": clip_bytes,
    }
    ratios = {"churn_write_vs_fresh": churn_rate / fresh_rate, "file_vs_live": file_vs_live}
    return result("churn", setup, config, figures, ratios)


def _rate(writing: list[float], sweeping: list[float]) -> float:
    return SWEEP_CLIPS * len(writing) / (sum(writing) + sum(sweeping))


def _data_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("users/*/data.mdb"))


def _verified(database: EmbeddedDatabase) -> bool:
    return database.verify().ok

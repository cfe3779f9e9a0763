"""Taking a snapshot must cost the same whatever the size of the memory.

Clips are tiny (8-d, no short-term memory): only their number matters here.  A snapshot is a durable commit, so
it contains one sync of the disk.
"""

from __future__ import annotations

import itertools

import memdb
from bench import data
from bench.report import Result, Setup, median, percentile, result, time_ms

SPACE = "bench-8"
DIM = 8
NAMES = 16
"""Snapshots that live at once; each is moved again and again."""
_COMMIT_CLIPS = 512


def run(setup: Setup) -> Result:
    """Measure."""
    sizes = (10, 1_000) if setup.quick else (10, 10_000, 100_000)
    count = 20 if setup.quick else 400
    figures: dict[str, float] = {}
    with memdb.open(setup.folder / "data") as database:
        database.create_space(SPACE, dim=DIM, model="bench")
        for size in sizes:
            user = database.user(f"clips-{size}")
            camera = user.stream("camera", space=SPACE)
            clips = data.clips(setup.seed, data.vectors(setup.seed, size, DIM), transcript=False)
            while commit := list(itertools.islice(clips, _COMMIT_CLIPS)):
                camera.write_many(commit)
            for turn in range(NAMES):
                user.snapshot(f"speech-{turn}")
            spent = [
                time_ms(lambda: user.snapshot(f"speech-{turn % NAMES}"))  # noqa: B023
                for turn in range(count)
            ]
            figures[f"snapshot_ms_{size}"] = median(spent)
            figures[f"snapshot_p99_ms_{size}"] = percentile(spent, 99)
    ratios = {
        f"snapshot_{sizes[-1]}_vs_{sizes[0]}": figures[f"snapshot_ms_{sizes[-1]}"]
        / figures[f"snapshot_ms_{sizes[0]}"]
    }
    config: dict[str, object] = {"dim": DIM, "snapshots": count, "live_snapshots": NAMES}
    return result("snapshot", setup, config, figures, ratios)

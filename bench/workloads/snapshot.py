"""Taking a snapshot, and asking as of one, must cost the same whatever the size of the memory.

Clips are tiny (8-d, no short-term memory): only their number matters here.  A snapshot is a durable commit, so
it contains one sync of the disk.  The question as of an early moment, and the one about an early time as of a late
moment, have the same answers in all sizes; they are timed in turns, by the processor time of their thread.
"""

from __future__ import annotations

import itertools
import time

import memdb
from bench import data
from bench.report import Result, Setup, median, percentile, result, time_ms
from memdb.types.database import User

SPACE = "bench-8"
DIM = 8
NAMES = 16
"""Snapshots that live at once; each is moved again and again."""
_COMMIT_CLIPS = 512
_FIRST_CLIPS = 500
"""Those of the early moment, and of the early time."""
ASKED = (1_000, 10_000, 100_000)
ASKED_DIM = 64
QUESTIONS = 100
ROUNDS = 5


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
    asked = _asked(setup, (1_000, 2_000) if setup.quick else ASKED)
    figures |= asked
    ratios |= {
        f"{way}_{asked_at[-1]}_vs_{asked_at[0]}": asked[f"{way}_cpu_ms_{asked_at[-1]}"]
        / asked[f"{way}_cpu_ms_{asked_at[0]}"]
        for asked_at in ((1_000, 2_000) if setup.quick else ASKED,)
        for way in ("as_of_early", "as_of_window")
    }
    config: dict[str, object] = {"dim": DIM, "snapshots": count, "live_snapshots": NAMES}
    return result("snapshot", setup, config, figures, ratios)


def _asked(setup: Setup, sizes: tuple[int, ...]) -> dict[str, float]:
    """Medians of a question as of the first clips, and of one about their time as of the newest."""
    rounds = 1 if setup.quick else ROUNDS
    questions = data.vectors(setup.seed, QUESTIONS, ASKED_DIM, stream=1)
    end_ns = data.start_of(_FIRST_CLIPS)
    spent: dict[str, list[float]] = {}
    with memdb.open(setup.folder / "asked") as database:
        database.create_space(SPACE, dim=ASKED_DIM, model="bench")
        users: dict[int, User] = {}
        early: dict[int, int] = {}
        for size in sizes:
            user = database.user(f"clips-{size}")
            users[size] = user
            camera = user.stream("camera", space=SPACE)
            vectors = data.vectors(setup.seed, size, ASKED_DIM)
            clips = data.clips(setup.seed, vectors, transcript=False)
            camera.write_many(itertools.islice(clips, _FIRST_CLIPS))
            early[size] = user.revision()
            while commit := list(itertools.islice(clips, _COMMIT_CLIPS)):
                camera.write_many(commit)
        for _ in range(rounds):
            for size, asked in users.items():
                newest = asked.revision() - 1
                ways: dict[str, dict[str, int]] = {
                    "as_of_early": {"as_of": early[size]},
                    "as_of_window": {"as_of": newest, "end_ns": end_ns},
                }
                for way, options in ways.items():
                    for question in questions:
                        began = time.thread_time()
                        asked.ground(question, limit=4, **options)  # type: ignore[arg-type]  # moments and times
                        took = (time.thread_time() - began) * 1e3
                        spent.setdefault(f"{way}_cpu_ms_{size}", []).append(took)
    return {name: median(values) for name, values in spent.items()}

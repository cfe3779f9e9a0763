"""Of what standing questions with labels and hours are told: exactly the clips that `ground` finds with the same
options, of random clips about the moments at which clocks are turned.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Not, StandingQuestion
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser

pytestmark = pytest.mark.property

SEEDS = int(os.environ.get("MEMDB_STANDING_SEEDS", "3"))
DIM = 8
MINUTE_NS = 60 * 10**9
ZONES = {
    "door": "Europe/Berlin",
    "yard": "America/New_York",
    "hall": "Pacific/Apia",
    "roof": "Australia/Lord_Howe",
}
TURNED = ("2026-03-29T01:00", "2026-10-25T01:00", "2026-03-08T07:00", "2011-12-30T10:00")
"""Moments (UTC) at which a clock is turned, or a day left out."""
CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[EmbeddedUser]:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as opened:
        opened.create_space("cam", dim=DIM)
        alice = opened.user("alice")
        for name, zone in ZONES.items():
            alice.stream(name, space="cam").create(zone=zone)
        yield alice


def options(rng: np.random.Generator) -> dict[str, Any]:
    """Those of a random question; at least one of them restricts."""
    chosen: dict[str, Any] = {}
    if rng.random() < 0.5:
        chosen["labels"] = [
            {"zone": "porch"},
            {"zone": ["porch", "drive"], "light": "night"},
            {"zone": Not("porch", "roof")},
        ][rng.integers(3)]
    if rng.random() < 0.7 or not chosen:
        minutes = rng.integers(0, 24 * 60, (2, 2))
        chosen["hours"] = [
            (f"{a // 60:02}:{a % 60:02}", f"{b // 60:02}:{b % 60:02}") for a, b in minutes if a != b
        ]
    if rng.random() < 0.4:
        chosen["weekdays"] = rng.choice(7, 3, replace=False).tolist()
    if ("hours" in chosen or "weekdays" in chosen) and rng.random() < 0.3:
        chosen["zone"] = str(rng.choice(["UTC", "Asia/Kolkata", "Europe/Berlin"]))
    return chosen


def random_clip(rng: np.random.Generator, seq: int, **more: Any) -> Clip:
    turned = datetime.fromisoformat(TURNED[rng.integers(len(TURNED))] + "+00:00")
    offset, length = rng.integers(-2 * 24 * 60, 2 * 24 * 60), rng.choice([0, 1, 30, 200, 2000])
    start_ns = int(turned.timestamp()) * 10**9 + int(offset) * MINUTE_NS
    labels = [{}, {"zone": "porch"}, {"zone": "drive", "light": "night"}][rng.integers(3)]
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + int(length) * MINUTE_NS,
        global_memory=rng.standard_normal(DIM).astype(np.float32),
        labels=labels,
        **more,
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_it_is_told_of_what_ground_finds(user: EmbeddedUser, seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked: list[tuple[StandingQuestion, dict[str, Any]]] = []

    def ask() -> None:
        more = options(rng) | {"min_score": float(rng.uniform(-0.3, 0.3))}
        if rng.random() < 0.4:
            more["streams"] = rng.choice(list(ZONES), 2, replace=False).tolist()
        feature = rng.standard_normal(DIM).astype(np.float32)
        question = user.standing.create(feature, sealed_only=bool(rng.random() < 0.5), **more)
        asked.append((question, more))

    for _ in range(25):
        ask()
    for seq in range(40):
        camera = user.stream(list(ZONES)[rng.integers(len(ZONES))])
        if rng.random() < 0.3:
            camera.write(random_clip(rng, seq, sealed=False))
        camera.write(random_clip(rng, seq))
        if seq % 10 == 9:
            ask()

    alerts = list(user.standing.watch(follow=False))

    told = {(one.question_id, one.clip_id, one.revision) for one in alerts}
    assert len(told) == len(alerts) > 200
    expected = set()
    for question, more in asked:
        seen = set()
        for revision in range(question.revision + 1, user.revision() + 1):
            for hit in user.ground(question.feature, as_of=revision, limit=1000, **more).hits:
                is_told = hit.clip.sealed or not question.sealed_only
                if hit.clip.revision == revision and is_told and hit.clip.id not in seen:
                    seen.add(hit.clip.id)
                    expected.add((question.id, hit.clip.id, revision))
    assert told == expected
    for place in range(0, len(alerts), 61):
        assert (
            list(user.standing.watch(cursor=alerts[place].cursor, follow=False))
            == alerts[place + 1 :]
        )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_back_test_counts_what_ground_finds(user: EmbeddedUser, seed: int) -> None:
    rng = np.random.default_rng(seed + 1000)
    for name in ZONES:
        user.stream(name).write_many(random_clip(rng, seq) for seq in range(60))
    for _ in range(15):
        feature = rng.standard_normal(DIM).astype(np.float32)
        more = options(rng)
        thresholds = rng.uniform(-0.5, 0.5, 3).tolist()

        test = user.standing.backtest(
            feature, min_score=thresholds[0], thresholds=thresholds, limit=1000, **more
        )

        counts = {
            point: len(user.ground(feature, min_score=point, limit=1000, **more).hits)
            for point in thresholds
        }
        assert {point.threshold: point.alerts for point in test.curve} == counts
        found = user.ground(feature, min_score=thresholds[0], limit=1000, **more).hits
        assert {one.clip_id for one in test.alerts} == {hit.clip.id for hit in found}

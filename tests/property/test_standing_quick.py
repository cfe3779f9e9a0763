"""What standing questions tell, found by outlines, scans and products, against their plain definition: each clip
beside each question, one pair at a time.

Of random questions, cameras and thresholds, of which many lie on a score or a relevance to the last bit; told from the
begin, as it comes, and from any cursor on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Alert, Clip
from memdb.config import EngineConfig
from memdb.engine import (
    standing,
    standing_follower,
    standing_margins,
    standing_questions,
    standing_relevance,
    standing_rows,
    standing_step,
)
from memdb.engine.calendar_rows import within_calendar
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.standing_questions import exact_score, exact_scores, vector_of
from memdb.engine.standing_relevance import relevance_at_birth
from memdb.engine.user import EmbeddedUser
from memdb.engine.view import View
from memdb.index import outline
from memdb.index.partition import Filter, PartitionView
from memdb.types.arrays import Array
from memdb.types.calendar import Calendar
from memdb.types.clip_filter import ClipFilter

SEEDS = int(os.environ.get("MEMDB_STANDING_SEEDS", "2"))
DIM = 48
ZONES = {"door": "UTC", "yard": "Asia/Kolkata", "hall": "Europe/Berlin"}
CAMERAS = tuple(ZONES)
LABELS: list[dict[str, str]] = [{}, {}, {"zone": "porch"}, {"zone": "drive", "light": "night"}]
FILTERS = [
    *[ClipFilter()] * 4,
    ClipFilter((("zone", ("porch",)),)),
    ClipFilter((("light", ("day", "night")), ("zone", ("drive", "porch")))),
    ClipFilter(calendar=Calendar(((22 * 3600, 6 * 3600),))),
    ClipFilter(calendar=Calendar((), (4,), "UTC")),
    ClipFilter((("zone", ("drive",)),), Calendar(((6 * 3600, 12 * 3600),), (3, 4))),
]
"""1970-01-01 was a Thursday."""
SECOND_NS = 10**9
REACHED = standing_margins.Margins.reached
CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)


@dataclass(frozen=True)
class Asked:
    """One question as it was created; None for what it does not ask for."""

    id: str
    number: int
    feature: Array
    min_score: float | None
    min_relevance: float | None
    streams: tuple[str, ...] | None
    sealed_only: bool
    birth: int
    only: ClipFilter


@pytest.fixture(params=["outlines", "scans", "products"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way in which questions are looked through."""
    if request.param != "products":
        for module in (standing_questions, standing_relevance):
            monkeypatch.setattr(module, "SEARCHED_PROBES_MIN", 1)
            monkeypatch.setattr(module, "SEARCHED_CLIPS_MAX", 64)
    if request.param == "outlines":
        monkeypatch.setattr(outline, "DIRECTIONS", 13)
        monkeypatch.setattr(standing_margins, "OUTLINE_CLIPS", 0)
        monkeypatch.setattr(standing_margins, "MANY", 1)
        monkeypatch.setattr(standing_margins, "_TOLD_SHARE", 0.0)
        monkeypatch.setattr(standing_margins.Margins, "reached", reached_with_outline)
    return str(request.param)


def reached_with_outline(margins: Any, *given: Any) -> Array | None:
    """Outlines as soon as they are due, whatever else there is to be made."""
    margins._count(1.0)
    margins.maintain(lambda: False)
    found: Array | None = REACHED(margins, *given)
    return found


@pytest.fixture(params=["large", "small"])
def pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pages as they are, and such that end within a clip."""
    if request.param == "small":
        monkeypatch.setattr(standing, "PAGE_ALERTS", 7)
        monkeypatch.setattr(standing_rows, "PAGE_ROWS", 5)
        monkeypatch.setattr(standing_follower, "PAGE_S", 0.0)
        monkeypatch.setattr(standing_step, "_BLOCK_ROWS_MIN", 1)
        monkeypatch.setattr(standing_step, "_BLOCK_ROWS_MAX", 4)
    return str(request.param)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as opened:
        opened.create_space("cosine", dim=DIM, model="m")
        opened.create_space("dot", dim=DIM, metric="dot", model="m")
        yield opened


class Life:
    """A user whose clips and questions are random."""

    def __init__(self, user: EmbeddedUser, space: str, seed: int) -> None:
        self.user = user
        self.random = np.random.default_rng(seed)
        self.scenes = self.random.normal(size=(5, DIM))
        self.features: list[Array] = []
        self.asked: list[Asked] = []
        self._seqs = dict.fromkeys(CAMERAS, 0)
        for name, zone in ZONES.items():
            user.stream(name, space=space).create(zone=zone)

    def vector(self) -> Array:
        scene = self.scenes[self.random.integers(len(self.scenes))]
        noisy = scene + self.random.choice([0.1, 0.5, 2.0]) * self.random.normal(size=DIM)
        return np.asarray(noisy * self.random.choice([1, 1, 0.5, 30]), np.float32)

    def see(self, commits: int) -> None:
        """Clips of some cameras, alone and together; some grow."""
        for _ in range(commits):
            name = CAMERAS[self.random.integers(len(CAMERAS))]
            clips = []
            for _ in range(self.random.choice([1, 1, 4])):
                seq = self._seqs[name]
                self._seqs[name] += 1
                if self.random.random() < 0.2:
                    self.user.stream(name).write(self.clip(seq, sealed=False))
                clips.append(self.clip(seq))
            self.user.stream(name).write_many(clips)

    def clip(self, seq: int, **more: Any) -> Clip:
        begin_ns = 1_700_000_000_123_456_789 + seq * 3600 * SECOND_NS
        return Clip(
            seq=seq,
            start_ns=begin_ns,
            end_ns=begin_ns + 10 * SECOND_NS,
            global_memory=self.vector(),
            labels=LABELS[self.random.integers(len(LABELS))],
            **more,
        )

    def ask(self, count: int) -> None:
        """Some questions, of which some take a clip's value for that is there for their threshold."""
        for _ in range(count):
            feature = self.vector()
            score, relevance = self.value_of_some_clip(feature)
            by_score = self.random.random() < 0.5
            streams = None
            if self.random.random() < 0.4:
                streams = tuple(self.random.choice(CAMERAS, 2, replace=False).tolist())
            sealed_only = bool(self.random.random() < 0.6)
            only = FILTERS[self.random.integers(len(FILTERS))]
            question = self.user.standing.create(
                feature,
                min_score=score if by_score else None,
                min_relevance=None if by_score else relevance,
                streams=streams,
                space=None,
                sealed_only=sealed_only,
                **only.options(),
            )
            self.asked.append(
                Asked(
                    question.id,
                    len(self.asked),
                    feature,
                    score if by_score else None,
                    None if by_score else relevance,
                    streams,
                    sealed_only,
                    question.revision,
                    only,
                )
            )

    def value_of_some_clip(self, feature: Array) -> tuple[float, float]:
        with self.user.memory() as memory:
            partitions = [one for one in memory.view.partitions.values() if one.rows]
            if not partitions or self.random.random() < 0.3:
                return float(self.random.uniform(-1, 1)), float(self.random.uniform(0.01, 0.99))
            (partition,) = partitions
            probe = partition.unit(feature)
            row = int(self.random.integers(partition.rows))
            score, relevance = relevance_at_birth(partition, row, probe)
            return score, min(max(relevance, 1e-9), 1 - 1e-9)

    def _rows_of(self, view: View, partition: PartitionView, only: ClipFilter) -> Array:
        """As `ground` chooses them, of every version."""
        rows = partition.allowed(Filter(labels=only.labels), None, every_version=True)
        if only.calendar is None:
            return np.ones(partition.rows, bool) if rows is None else rows
        return within_calendar(only.calendar, partition, rows, view.state.streams.values())

    def plainly(self) -> list[tuple[str, int, float, int]]:
        """(question id, clip's number, score, revision) of all that is to be told, in its order."""
        found: dict[tuple[int, int], tuple[int, tuple[str, int, float, int]]] = {}
        with self.user.memory() as memory:
            view = memory.view
            (partition,) = [one for one in view.partitions.values() if one.rows]
            column = partition.columns
            looked_at = {only: self._rows_of(view, partition, only) for only in FILTERS}
            for row in range(partition.rows):
                birth, clip_no = int(column["birth"][row]), int(column["clip_no"][row])
                name = view.state.stream_names[int(column["stream_no"][row])]
                for asked in self.asked:
                    key = clip_no, asked.number
                    if (
                        key in found
                        or birth <= asked.birth
                        or (asked.streams is not None and name not in asked.streams)
                        or (asked.sealed_only and not column["sealed"][row])
                        or not looked_at[asked.only][row]
                    ):
                        continue
                    probe = partition.unit(asked.feature)
                    score = exact_score(vector_of(partition, row), probe)
                    if asked.min_relevance is None:
                        assert asked.min_score is not None
                        is_match = score >= asked.min_score
                    else:
                        relevance = relevance_at_birth(partition, row, probe)[1]
                        is_match = relevance >= asked.min_relevance
                    if is_match:
                        found[key] = birth, (asked.id, clip_no, score, birth)
        return [found[key][1] for key in sorted(found, key=lambda key: (found[key][0], *key))]


def told(user: EmbeddedUser, cursor: str | None = None) -> list[Alert]:
    return list(user.standing.watch(cursor=cursor, follow=False))


def numbers(user: EmbeddedUser, alerts: list[Alert]) -> list[tuple[str, int, float, int]]:
    """Alerts as `Life.plainly` has them."""
    return [
        (a.question_id, int(str(a.clip_id)[2:16], 16), float(a.score or 0.0), a.revision)
        for a in alerts
    ]


@pytest.mark.parametrize("space", ["cosine", "dot"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_quick_ways_tell_what_the_plain_one_does(
    database: EmbeddedDatabase, way: str, pages: str, space: str, seed: int
) -> None:
    user = database.user("alice")
    life = Life(user, space, seed)
    life.see(8)
    life.ask(60)
    watched = user.standing.watched()
    heard: list[Alert] = []
    for _ in range(6):
        life.see(3)
        # As it comes: questions that are asked meanwhile are asked beside those that were.
        heard += page_by_page(watched)
        life.ask(6)
    life.see(3)
    heard += page_by_page(watched)

    alerts = told(user)

    assert alerts == heard
    assert numbers(user, alerts) == life.plainly()
    assert len(alerts) > 100
    assert len({alert.id for alert in alerts}) == len(alerts)
    for at in range(0, len(alerts), 97):
        assert told(user, alerts[at].cursor) == alerts[at + 1 :]


def page_by_page(watched: standing.WatchedStanding) -> list[Alert]:
    found: list[Alert] = []
    while True:
        page = watched.page()
        found += page
        if not page and watched.is_at_end:
            return found


@pytest.mark.parametrize("dim", [1, 2, 7, 8, 9, 127, 128, 129, 384, 1000, 1536, 4099])
def test_pairs_that_are_scored_together_score_as_alone(dim: int) -> None:
    random = np.random.default_rng(dim)
    probes = random.normal(size=(100, dim)).astype(np.float32)
    for vector in (random.normal(size=dim), random.normal(size=dim).astype(np.float32)):
        for count in (1, 2, 31, 32, 33, 100):
            chosen = np.sort(random.permutation(len(probes))[:count])
            alone = [exact_score(vector, probes[one]) for one in chosen]
            assert exact_scores(vector, probes, chosen).tolist() == alone


@pytest.mark.parametrize("other", [None, "sequence", "absent"])
def test_a_page_looks_at_no_more_than_it_tells(
    database: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, other: str | None
) -> None:
    """All clips of a commit were scored against every question before the first alert, and again for each page; then
    only where one question of the user waited for a sequence.
    """
    monkeypatch.setattr(standing, "PAGE_ALERTS", 10)
    user = database.user("alice")
    user.stream("door", space="cosine").create()
    random = np.random.default_rng(0)
    for _ in range(8):
        user.standing.create(random.normal(size=DIM).astype(np.float32), min_score=-1.0)
    if other is not None:
        then = np.ones(DIM, np.float32) if other == "sequence" else None
        user.standing.create(
            np.ones(DIM, np.float32), min_score=1.0, kind=other, then_feature=then, window_s=1e6
        )
    life = [
        Clip(
            seq=seq,
            start_ns=seq,
            end_ns=seq + 1,
            global_memory=random.normal(size=DIM).astype(np.float32),
        )
        for seq in range(100)
    ]
    user.stream("door").write_many(life)
    scored: list[int] = []
    matched = standing_questions.SpaceQuestions.matched

    def counting(self: Any, partition: Any, row: int, candidates: Array) -> Any:
        scored.append(len(candidates))
        return matched(self, partition, row, candidates)

    monkeypatch.setattr(standing_questions.SpaceQuestions, "matched", counting)
    watched = user.standing.watched()
    alerts: list[Alert] = []
    for _ in range(80):
        scored.clear()
        page = watched.page()
        assert len(page) == 10
        # What is told, and the clip after it, which says that there is more.
        assert sum(scored) <= 10 + 8
        alerts += page
    assert watched.page() == []
    assert watched.is_at_end
    assert alerts == told(user)
    assert len({alert.id for alert in alerts}) == 800

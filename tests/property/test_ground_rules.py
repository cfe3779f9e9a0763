"""What the guarantees say of scores, bars and relevance, of odd data: each question beside what its definition gives.

Vectors that are equal, next to nothing or next to too much, of one element or many; clips of no length; cosines and
products; growing clips and gaps.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb import Clip, Grounding, Not
from memdb.types.arrays import Array
from memdb.types.database import User

SEEDS = range(8)
HOUR_NS = 3600 * 10**9
T0_NS = 1_743_278_400 * 10**9 + 1
STREAMS = ("door", "yard")
EVERYTHING = 1000
QUESTIONS = 30
ROUNDING = 1e-5
"""Of a cosine, and of a product as a share of the lengths."""


def odd_vector(draw: random.Random, dim: int, known: list[Array]) -> Array:
    """One that is equal to another, of few values, of any length, or of float16."""
    chance = draw.random()
    if known and chance < 0.3:
        return draw.choice(known)
    vector = np.array([draw.gauss(0, 1) for _ in range(dim)], np.float32)
    if chance < 0.45:
        vector = np.sign(vector.round())
    elif chance < 0.6:
        vector *= np.float32(draw.choice([1e-45, 1e-38, 1e-20, 1e15]))
    elif chance < 0.7:
        vector = (vector * draw.choice([6e-8, 1000])).astype(np.float16)
    if not vector.any():
        vector[draw.randrange(dim)] = 1
    known.append(vector)
    return vector


def unit(vector: Array) -> Array:
    """(dim,) float64 of length 1."""
    wide = vector.astype(np.float64) / np.abs(vector).max()
    return np.asarray(wide / np.linalg.norm(wide))


@dataclass
class Life:
    """The clips of a user, and how they are written."""

    user: User
    draw: random.Random
    dim: int
    cosine: bool
    clips: dict[tuple[str, int], Clip] = field(default_factory=dict)
    vectors: list[Array] = field(default_factory=list)

    def write(self) -> None:
        stream = self.draw.choice(STREAMS)
        mine = [seq for name, seq in self.clips if name == stream]
        seq = max(mine, default=-1) + self.draw.choice([1, 1, 2])
        if mine and not self.clips[stream, max(mine)].sealed:
            seq = max(mine)
        start_ns = T0_NS + self.draw.randrange(30) * HOUR_NS // 2
        labels = {"zone": self.draw.choice(["a", "", "A", " "])} if self.draw.random() < 0.5 else {}
        one = Clip(
            seq=seq,
            start_ns=start_ns,
            end_ns=start_ns + self.draw.choice([0, 1, HOUR_NS]),
            global_memory=odd_vector(self.draw, self.dim, self.vectors),
            labels=labels,
            sealed=self.draw.random() < 0.7,
        )
        self.user.stream(stream, space="space").write(one)
        self.clips[stream, seq] = one

    def question(self) -> tuple[Array, dict[str, Any]]:
        """A feature, and the filters beside it."""
        feature = odd_vector(self.draw, self.dim, self.vectors)
        filters: dict[str, Any] = {}
        if self.draw.random() < 0.3:
            filters["streams"] = [self.draw.choice(sorted({name for name, _ in self.clips}))]
        if self.draw.random() < 0.4:
            filters["start_ns"] = T0_NS + self.draw.randrange(30) * HOUR_NS // 2
        if self.draw.random() < 0.3:
            begin_ns = filters.get("start_ns", T0_NS)
            filters["end_ns"] = begin_ns + self.draw.choice([1, HOUR_NS, 9 * HOUR_NS])
        if self.draw.random() < 0.3:
            filters["labels"] = {"zone": self.draw.choice(["a", "", ["A", " "], Not("a")])}
        return feature, filters

    def admitted(self, filters: dict[str, Any]) -> set[tuple[str, int]]:
        """The clips that filters admit, looked at one by one."""
        zone = filters.get("labels", {}).get("zone")

        def is_in(name: str, one: Clip) -> bool:
            if name not in filters.get("streams", STREAMS):
                return False
            if "end_ns" in filters and one.start_ns >= filters["end_ns"]:
                return False
            start_ns = filters.get("start_ns", one.start_ns)
            if one.end_ns <= start_ns and one.start_ns < start_ns:
                return False
            there = one.labels.get("zone")
            if isinstance(zone, Not):
                return there != "a"
            return zone is None or there in ([zone] if isinstance(zone, str) else zone)

        return {key for key, one in self.clips.items() if is_in(key[0], one)}

    def score(self, feature: Array, key: tuple[str, int]) -> tuple[float, float]:
        """That of a clip by its definition, in float64, and how far float32 may be from it."""
        vector = self.clips[key].global_memory
        if self.cosine:
            return float(unit(feature) @ unit(vector)), ROUNDING
        wide, other = feature.astype(np.float64), vector.astype(np.float64)
        lengths = float(np.linalg.norm(wide) * np.linalg.norm(other))
        # Below the smallest number of float32 there is nothing.
        return float(wide @ other), ROUNDING * lengths + 1e-42


@pytest.fixture(params=SEEDS)
def life(request: pytest.FixtureRequest, folder: Path) -> Iterator[Life]:
    draw = random.Random(request.param)
    dim, metric = draw.choice([1, 2, 5, 64]), draw.choice(["cosine", "dot"])
    with memdb.open(folder / "data") as db:
        db.create_space("space", dim=dim, metric=metric)
        one = Life(db.user("alice"), draw, dim, metric == "cosine")
        for _ in range(draw.choice([1, 2, 20, 80])):
            one.write()
        yield one


def keys(found: Grounding) -> list[tuple[str, int]]:
    return [(hit.clip.stream, hit.clip.seq) for hit in found.hits]


def told(found: Grounding) -> list[tuple[str, int, float, float | None]]:
    return [(hit.clip.stream, hit.clip.seq, hit.score, hit.relevance) for hit in found.hits]


def test_everything_that_the_filters_admit_is_found_with_its_score(life: Life) -> None:
    for _ in range(QUESTIONS):
        feature, filters = life.question()
        found = life.user.ground(feature, limit=EVERYTHING, **filters)
        assert len(found.hits) == len(set(keys(found)))
        assert set(keys(found)) == life.admitted(filters), filters
        scores = [hit.score for hit in found.hits]
        assert scores == sorted(scores, reverse=True)
        for key, score in zip(keys(found), scores, strict=True):
            exact, error = life.score(feature, key)
            assert abs(score - exact) <= error, (key, exact)


def test_bars_and_limits_take_from_the_end_alone(life: Life) -> None:
    for _ in range(QUESTIONS):
        feature, filters = life.question()
        every = life.user.ground(feature, limit=EVERYTHING, **filters).hits
        # On a score or a relevance that there is, to the last bit, as well as between.
        least = life.draw.choice([hit.score for hit in every] or [0.0])
        relevant = life.draw.choice([hit.relevance or 0.0 for hit in every] or [0.5])
        limit = life.draw.choice([1, 3, EVERYTHING])
        bars: dict[str, Any] = {}
        if life.draw.random() < 0.6:
            bars["min_score"] = least
        if life.draw.random() < 0.6:
            bars["min_relevance"] = relevant
        found = life.user.ground(feature, limit=limit, **bars, **filters)
        passed = [
            hit
            for hit in every
            if hit.score >= bars.get("min_score", -np.inf)
            and (hit.relevance or 0.0) >= bars.get("min_relevance", 0.0)
        ]
        assert told(found) == told(Grounding(tuple(passed[:limit]), found.revision)), bars
        assert found.abstained == (not passed)


def test_a_relevance_is_of_the_clip_whatever_else_is_asked(life: Life) -> None:
    for _ in range(QUESTIONS):
        feature, filters = life.question()
        every = life.user.ground(feature, limit=EVERYTHING).hits
        relevance = {(hit.clip.stream, hit.clip.seq): hit.relevance for hit in every}
        for hit in life.user.ground(feature, limit=3, **filters).hits:
            assert hit.relevance == relevance[hit.clip.stream, hit.clip.seq]
        for name in STREAMS:
            # By score, best first.
            mine = [hit.relevance or 0.0 for hit in every if hit.clip.stream == name]
            assert all(0 <= one <= 1 for one in mine)
            assert all(more >= less * (1 - 1e-13) for more, less in pairwise(mine))


def test_the_newest_takes_the_place_of_nothing(life: Life) -> None:
    for _ in range(QUESTIONS):
        feature, filters = life.question()
        found = life.user.ground(
            feature, min_score=float(np.finfo(np.float32).max), fallback="recent", **filters
        )
        admitted = life.admitted(filters)
        assert found.abstained
        assert len(found.hits) == min(1, len(admitted))
        for key, hit in zip(keys(found), found.hits, strict=True):
            assert found.fallback == "recent"
            assert hit.clip.end_ns == max(life.clips[one].end_ns for one in admitted)
            exact, error = life.score(feature, key)
            assert abs(hit.score - exact) <= error


def test_the_same_numbers_are_the_same_question(life: Life) -> None:
    for _ in range(QUESTIONS):
        feature, filters = life.question()
        asked = told(life.user.ground(feature, **filters))
        wide = feature.astype(np.float32)
        apart = np.zeros(3 * len(wide), np.float32)
        apart[::3] = wide
        backwards = wide[::-1].copy()[::-1]
        for same in (wide, apart[::3], backwards, wide[None], wide.tolist()):
            assert told(life.user.ground(same, **filters)) == asked
        many = life.user.ground_many(np.stack([wide, wide]), **filters)
        assert [told(one) for one in many] == [asked, asked]

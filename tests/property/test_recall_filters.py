"""A recall under any filters is what a look at every fact and utterance that there was finds, one by one."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from memdb import Clip, Statement, Utterance
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.index.terms import STOP_TERMS, terms
from memdb.types.arrays import Array
from tests.property.conftest import memory_folder

pytestmark = pytest.mark.property

WORDS = ("red", "mug", "door", "opens", "the", "is", "Alice")
STREAMS = {"porch": "four", "yard": "four", "mic": "five"}
CLOCKS = {"porch": "Asia/Kolkata", "yard": "UTC", "mic": "America/New_York"}
ZONES = ("a", "b", "c")
THINGS = ("Alice", "mug", "door")
UNIT_NS = 1_800_000_000_000
"""Half an hour: all begins and ends with one, by every clock."""
END_NS = 60 * UNIT_NS


@dataclass(frozen=True)
class Text:
    """A fact or an utterance, and what a filter asks of it."""

    id: tuple[str, int]
    kind: str
    text: str
    start_ns: int
    end_ns: int | None
    feature: Array | None
    stream: str = ""
    zone: str = ""
    about: tuple[str, ...] = ()


class Life:
    """A user who writes, and every text that there was at each revision."""

    def __init__(self, user: EmbeddedUser, rng: np.random.Generator) -> None:
        self._user, self._rng = user, rng
        self._seqs = dict.fromkeys(STREAMS, 0)
        self._created: set[str] = set()
        self._clips: dict[tuple[str, int], list[Text]] = {}
        self._facts: dict[str, Text] = {}
        self.known: list[list[Text]] = [[]]
        user.configure(text_space="text")
        self._note()

    def _note(self) -> None:
        now = [text for texts in self._clips.values() for text in texts]
        while len(self.known) <= self._user.revision():
            self.known.append([*now, *self._facts.values()])

    def step(self) -> None:
        rng = self._rng
        if rng.random() < 0.5:
            self._write(str(rng.choice(list(STREAMS))))
        elif rng.random() < 0.1 and self._facts:
            gone = str(rng.choice(list(self._facts)))
            self._user.forget(gone)
            del self._facts[gone]
            # Of every revision.
            self.known = [[text for text in then if text.id[0] != gone] for then in self.known]
        else:
            self._remember()
        self._note()

    def _write(self, stream: str) -> None:
        rng, seq = self._rng, self._seqs[stream]
        handle = self._user.stream(stream, space=STREAMS[stream])
        if stream not in self._created:
            handle.create(zone=CLOCKS[stream])
            self._created.add(stream)
            self._note()
        begin = _time(rng)
        zone = str(rng.choice(ZONES))
        # Some of it is said before or after its clip.
        starts = [_time(rng) for _ in range(int(rng.integers(0, 4)))]
        said = [
            Utterance(
                start, start + int(rng.choice([0, 3, 9])) * UNIT_NS, _words(rng), _speaker(rng)
            )
            for start in starts
        ]
        features = _vector(rng, len(said), 3) if said and rng.random() < 0.7 else None
        sealed = bool(rng.random() < 0.7)
        ack = handle.write(
            Clip(
                seq=seq,
                start_ns=begin,
                end_ns=begin + 5 * UNIT_NS,
                global_memory=_vector(rng, 1, int(STREAMS[stream] == "five") + 4)[0],
                transcript=tuple(said),
                transcript_features=features,
                labels={"zone": zone},
                sealed=sealed,
            )
        )
        self._clips[stream, seq] = [
            Text(
                (ack.clip_id, index),
                "utterance",
                one.text if one.speaker is None else f"{one.speaker} {one.text}",
                one.start_ns,
                one.end_ns,
                None if features is None else features[index],
                stream,
                zone,
            )
            for index, one in enumerate(said)
        ]
        self._seqs[stream] += sealed

    def _remember(self) -> None:
        rng = self._rng
        begin = _time(rng)
        end = begin + int(rng.integers(0, 20)) * UNIT_NS if rng.random() < 0.7 else None
        text, feature = _words(rng), _vector(rng, 1, 3)[0] if rng.random() < 0.7 else None
        key = str(rng.choice(["one", "two"])) if rng.random() < 0.3 else None
        about = tuple(rng.choice(THINGS, int(rng.integers(0, 3))).tolist())
        options: dict[str, Any] = {
            "about": about,
            "valid_from": begin,
            "valid_to": end,
            "key": key,
            "feature": feature,
        }
        if rng.random() < 0.5:
            fact = self._user.remember(text, **options)
        else:
            # Two of one commit.
            other = _words(rng)
            first, fact = self._user.remember_many(
                [Statement(other, valid_from=0), Statement(text, **options)]
            )
            self._facts[first.id] = Text((first.id, 0), "fact", other, 0, None, None)
        self._facts[fact.id] = Text((fact.id, 0), "fact", text, begin, end, feature, about=about)


def _time(rng: np.random.Generator) -> int:
    return int(rng.integers(0, END_NS // UNIT_NS)) * UNIT_NS


def _words(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, int(rng.integers(1, 5))))


def _speaker(rng: np.random.Generator) -> str | None:
    return "Alice" if rng.random() < 0.2 else None


def _vector(rng: np.random.Generator, count: int, dim: int) -> Array:
    made = rng.standard_normal((count, dim)).astype(np.float32)
    made[:, 0] += 0.5
    return made


def looked_at(
    known: list[Text], question: str, feature: Array | None, **which: Any
) -> dict[tuple[str, int], float]:
    """The score of each text that a look at all of them finds."""
    split = {text.id: terms(text.text) for text in known}
    lengths = {name: sum(word not in STOP_TERMS for word in one) for name, one in split.items()}
    mean = sum(lengths.values()) / len(known) or 1.0
    asked = set(terms(question))
    ceiling, lexical = 0.0, dict.fromkeys(split, 0.0)
    for word in asked - STOP_TERMS or asked:
        having = sum(word in one for one in split.values())
        idf = math.log(1 + (len(known) - having + 0.5) / (having + 0.5))
        ceiling += idf * 1.9
        for name, one in split.items():
            if times := one.count(word):
                norm = 0.9 * (0.6 + 0.4 * lengths[name] / mean)
                lexical[name] += idf * times * 1.9 / (times + norm)
    admitted = [text for text in known if _admits(text, **which)]
    best = max((lexical[text.id] for text in admitted), default=0.0)
    scores = {}
    for text in admitted:
        score = lexical[text.id] / max(best, 0.2 * ceiling) if best else 0.0
        if feature is not None:
            cosine = 0.0
            if text.feature is not None:
                lengths_ = np.linalg.norm(text.feature) * np.linalg.norm(feature)
                cosine = max(float(text.feature @ feature / lengths_), 0.0)
            score = 0.7 * score + 0.3 * cosine
        if score > 1e-9:
            scores[text.id] = score
    return scores


def _admits(
    text: Text,
    *,
    kinds: list[str] | None,
    streams: list[str] | None,
    zones: list[str] | None,
    start_ns: int | None,
    end_ns: int | None,
    valid_at: int | str,
    hours: list[tuple[str, str]] | None,
    weekdays: list[int] | None,
    zone: str | None,
    about: list[str] | None,
) -> bool:
    if kinds is not None and text.kind not in kinds:
        return False
    if text.kind == "fact":
        if about is not None and not set(about) & set(text.about):
            return False
        if isinstance(valid_at, str):
            return True
        return text.start_ns <= valid_at and (text.end_ns is None or valid_at < text.end_ns)
    assert text.end_ns is not None
    begun = start_ns is None or text.end_ns > start_ns or text.start_ns >= start_ns
    return (
        begun
        and (end_ns is None or text.start_ns < end_ns)
        and (streams is None or text.stream in streams)
        and (zones is None or text.zone in zones)
        and any(
            _is_within(at, hours, weekdays, ZoneInfo(zone or CLOCKS[text.stream]))
            for at in range(text.start_ns, max(text.end_ns, text.start_ns + 1), UNIT_NS)
        )
    )


def _is_within(
    at_ns: int, hours: list[tuple[str, str]] | None, weekdays: list[int] | None, zone: ZoneInfo
) -> bool:
    """Whether the half hour is of one of the hours, which are whole, on one of the days."""
    local = datetime.fromtimestamp(at_ns // 10**9, zone)
    # A stretch that began the day before goes on until its end.
    for day, hour in ((local.weekday(), local.hour), ((local.weekday() - 1) % 7, local.hour + 24)):
        if weekdays is not None and day not in weekdays:
            continue
        for start, end in hours or [("00:00", "24:00")]:
            first, last = int(start[:2]), int(end[:2])
            if first <= hour < (last if last > first else last + 24):
                return True
    return False


def drawn_filter(rng: np.random.Generator, streams: list[str]) -> dict[str, Any]:
    def maybe(value: Any) -> Any:
        return value if rng.random() < 0.5 else None

    kinds = [None, None, ["fact"], ["utterance"]][int(rng.integers(4))]
    said, known = kinds != ["fact"], kinds != ["utterance"]
    begin = _time(rng)
    first, length = int(rng.integers(0, 24)), int(rng.integers(1, 12))
    hours = maybe([(f"{first:02}:00", f"{(first + length) % 24 or 24:02}:00")]) if said else None
    weekdays = maybe([int(rng.choice([2, 3, 4]))]) if said else None  # it all begins on a Thursday
    some = [name for name in streams if rng.random() < 0.5]
    return {
        "kinds": kinds,
        "streams": maybe(some or None) if said else None,
        "zones": maybe([str(rng.choice(ZONES)), "nowhere"]) if said else None,
        "start_ns": maybe(begin) if said else None,
        "end_ns": maybe(begin + int(rng.integers(1, 30)) * UNIT_NS) if said else None,
        "valid_at": (_time(rng) if rng.random() < 0.7 else "any") if known else None,
        "hours": hours,
        "weekdays": weekdays,
        "zone": maybe("Asia/Kolkata") if hours or weekdays else None,
        "about": maybe(rng.choice([*THINGS, "nothing"], 2).tolist()) if known else None,
    }


@contextmanager
def opened() -> Iterator[EmbeddedUser]:
    folder = memory_folder()
    config = EngineConfig(durability="relaxed")
    try:
        with EmbeddedDatabase(
            folder / "data", clock=ManualClock(10**6), config=config, embed_texts=False
        ) as db:
            for name, dim in {"four": 4, "five": 5, "text": 3}.items():
                db.create_space(name, dim=dim)
            yield db.user("alice")
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("seed", range(8))
def test_no_filter_loses_what_there_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    with opened() as user:
        life, by_hours = Life(user, rng), 0
        for _ in range(40):
            life.step()
        for _ in range(25):
            revision = int(rng.integers(1, user.revision() + 1))
            if rng.random() < 0.5:
                revision = user.revision()
            known = life.known[revision]
            there = sorted({info.name for info in user.streams() if info.revision <= revision})
            which = drawn_filter(rng, there)
            question = _words(rng)
            feature = _vector(rng, 1, 3)[0] if rng.random() < 0.5 else None
            wanted = looked_at(known, question, feature, **which) if known else {}
            zones = which.pop("zones")
            options = {**which, "labels": None if zones is None else {"zone": zones}}

            found = user.recall(
                question, limit=1000, feature=feature, as_of=revision, **options
            ).hits

            names = {_name(hit): hit.score for hit in found}
            assert names == pytest.approx(wanted, abs=1e-5), (which, zones)
            by_hours += bool(wanted) and not (which["hours"] is which["weekdays"] is None)
            if which["about"] is not None:
                of_them = {
                    text.id[0]
                    for text in known
                    if text.kind == "fact" and set(text.about) & set(which["about"])
                }
                listed = user.facts(about=which["about"], as_of=revision)
                assert {fact.id for fact in listed} == of_them
            # The best are the first of all, however few are asked for.
            for limit in (1, 3):
                few = user.recall(
                    question, limit=limit, feature=feature, as_of=revision, **options
                ).hits
                assert list(map(_name, few)) == list(map(_name, found[:limit]))
    assert by_hours > 3, "hours left nothing to compare"


def _name(hit: Any) -> tuple[str, int]:
    if hit.fact is not None:
        return hit.fact.id, 0
    return hit.clip.id, hit.clip.transcript.index(hit.utterance)

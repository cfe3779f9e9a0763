"""What memory brings forward for a question, from two arms, and which of them speaks first.

Two arms search.  *Seen*: `ground` compares the question feature with the clips' global memory, and
the question's words with their labels and sounds; its order is that of `ground`, its score the cosine.
*Said*: `recall` finds utterances (and facts) by words and by meaning; its strength is

    strength = (semantic cosine + coverage) / 2     (coverage alone where recall was lexical)

where coverage is the share of the question's meaningful words that occur in the text.  Both lie in
[0, 1], but they measure different things and are never compared with each other.  `fuse` instead
decides which arm goes first:

    the question has a word of speech   said first, if its strength reaches `SAID_MIN`
    the question has a word of seeing   seen first
    neither                             said first, if its strength reaches `SAID_STRONG`

and the other arm's evidence follows; `answers` then says whether the first piece answers at all.
An utterance counts once, however many clips carry it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from memdb.types.arm import VECTOR
from memdb.types.label_filter import has_labels
from memdb.types.limits import LIMIT_MAX
from memdb.types.times import as_text
from memdb.types.wall_clock import touches
from memdb.types.zone import UTC_ZONE
from reasoner.fact_clips import FactClips, OutOfLookUps
from reasoner.questions import SAID, SEEN, Question, terms
from reasoner.wall_clock import time_range

if TYPE_CHECKING:
    from memdb.types.calendar import Calendar
    from memdb.types.clip import StoredClip, Utterance
    from memdb.types.database import User
    from memdb.types.fact import Fact, RecallHit
    from memdb.types.grounding import AsOf, Hit
    from memdb.types.label_filter import LabelFilter

FACT_CLIPS_MAX: Final = 16
"""Clips that a fact is looked for at."""
SAID_MIN: Final = 0.25
"""A question about speech is answered from speech at least this strong."""

SAID_STRONG: Final = 0.6
"""A question that does not tell is answered from speech this strong: nearly its words, or
plainly its meaning.
"""

FACT: Final = "fact"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One remembered moment that speaks to a question."""

    arm: str
    """``seen``, ``said`` or ``fact``."""
    camera: str
    """The stream; empty for a fact that names no clip."""
    start_ns: int
    end_ns: int
    score: float
    """Cosine of ``seen``, strength of ``said`` and ``fact``; comparable within one arm only."""
    clip_id: str | None
    said: tuple[str, ...] = ()
    """What was said then; for ``said`` and ``fact`` the matching text alone."""
    labels: tuple[str, ...] = ()
    """What the encoder and the sound tagger named."""
    arms: dict[str, float] = field(default_factory=dict)
    """How it was found: ``cosine``, ``relevance``, ``labels`` and ``events`` (BM25), or ``semantic``,
    ``lexical`` (as recalled) and ``coverage``.
    """

    def line(self, zone: str | None = None) -> str:
        """The evidence as one line of text, its time by the clock of ``zone``."""
        when = time_range(self.start_ns, self.end_ns, zone)
        where = f"{self.camera} {when}" if self.camera else "fact"
        parts = [f"{where} {self.arm} {self.score:.2f}"]
        if self.labels:
            parts.append(f"labels: {', '.join(self.labels)}")
        if self.said:
            parts.append("said: " + " ".join(f'"{text}"' for text in self.said))
        return "; ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """The evidence as JSON values."""
        return {
            "arm": self.arm,
            "camera": self.camera,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "start": as_text(self.start_ns),
            "end": as_text(self.end_ns),
            "score": round(self.score, 4),
            "clip_id": self.clip_id,
            "said": list(self.said),
            "labels": list(self.labels),
            "arms": {name: round(score, 4) for name, score in self.arms.items()},
        }


def fuse(
    question: Question, seen: Sequence[Evidence], said: Sequence[Evidence], limit: int
) -> tuple[Evidence, ...]:
    """At most ``limit`` pieces of evidence: the arm that the question means first, each arm best
    first.

    seen: best first; its order is not that of its scores where words found it.
    """
    said = _ranked(said)
    strength = max((item.score for item in said), default=0.0)
    enough = {SAID: SAID_MIN, SEEN: float("inf"), None: SAID_STRONG}[question.cue]
    first, second = (said, seen) if strength >= enough else (seen, said)
    # What the other arm found still belongs to the evidence: half of the places, more where the
    # first leaves them.
    kept = max(limit - len(second), (limit + 1) // 2)
    head = first[:kept]
    return (*head, *second[: limit - len(head)])


def answers(question: Question, evidence: Sequence[Evidence]) -> bool:
    """Whether the best evidence answers: speech and facts of some strength, and pictures unless the
    question is about speech.

    There is no bound for pictures: in the bundled space the best clip for a thing that was never
    there is often as similar as the right one for a thing that was.
    """
    if not evidence:
        return False
    if evidence[0].arm == SEEN:
        return question.cue != SAID
    return evidence[0].score >= SAID_MIN


def seen_evidence(hits: Iterable[Hit]) -> list[Evidence]:
    """One piece per grounded clip, in their order."""
    found: list[Evidence] = []
    for hit in hits:
        arms = {"cosine" if arm.name == VECTOR else arm.name: arm.raw for arm in hit.arms}
        if not hit.arms:
            arms = {"cosine": hit.score}
        if hit.relevance is not None:
            arms["relevance"] = hit.relevance
        found.append(
            Evidence(
                SEEN,
                hit.clip.stream,
                hit.clip.start_ns,
                hit.clip.end_ns,
                # One that only its names found, behind a hundred that are more alike, has none.
                arms.get("cosine", 0.0),
                hit.clip.id,
                tuple(utterance.text for utterance in hit.clip.transcript),
                labels_of(hit.clip),
                arms,
            )
        )
    return found


def said_evidence(
    question: Question,
    hits: Iterable[RecallHit],
    scope: Scope,
    user: User,
    as_of: AsOf | None = None,
    limit: int = LIMIT_MAX,
) -> Said:
    """One piece per utterance and fact within ``scope``; clips of facts as they were ``as_of`` the hits' moment.

    Facts are looked at the strongest first, and none that ``limit`` stronger pieces are before.
    """
    wanted = terms(question.subject)
    found: dict[tuple[object, ...], Evidence] = {}
    known: list[tuple[float, dict[str, float], RecallHit]] = []
    for hit in hits:
        strength, arms = _strength(hit, wanted)
        clip, utterance = hit.clip, hit.utterance
        if (
            utterance is not None
            and clip is not None
            and scope.holds(clip.stream, utterance.start_ns, utterance.end_ns)
            and scope.labelled(clip.labels)
        ):
            found.setdefault(
                (clip.stream, utterance.start_ns, utterance.text),
                _utterance(clip, utterance, strength, arms),
            )
        elif hit.fact is not None:
            known.append((strength, arms, hit))
    clips, unplaced = FactClips(user, as_of), 0
    best = heapq.nlargest(limit, (item.score for item in found.values()))
    heapq.heapify(best)
    known.sort(key=lambda one: one[0], reverse=True)
    clips.expect(_clips_of(known, best, limit, scope))
    for strength, arms, hit in known:
        if len(best) == limit and strength < best[0]:
            break
        assert hit.fact is not None
        try:
            item = _fact(hit, strength, arms, scope, clips)
        except OutOfLookUps:
            unplaced += 1
            # Without its moment it is known all the same, where any moment would do.
            item = _timeless(hit.fact, strength, arms) if scope.is_whole else None
        if item is not None:
            found[(hit.fact.id,)] = item
            heapq.heappush(best, strength)
            if len(best) > limit:
                heapq.heappop(best)
    return Said(tuple(found.values()), unplaced)


def _clips_of(
    known: Sequence[tuple[float, dict[str, float], RecallHit]],
    best: Sequence[float],
    limit: int,
    scope: Scope,
) -> Iterator[str]:
    """Clips that are looked at if every fact is told.

    known: the strongest first; best: how strong the utterances are.
    """
    told = heapq.nlargest(limit, [*best, *(strength for strength, _, _ in known)])
    weakest = told[-1] if len(told) == limit else -math.inf
    for strength, _, hit in known:
        if strength < weakest:
            return
        # Where nothing is left out the first is enough.
        evidence = () if hit.fact is None else hit.fact.evidence
        yield from evidence[: 1 if scope.is_whole else FACT_CLIPS_MAX]


@dataclass(frozen=True, slots=True)
class Said:
    """What was said and is known."""

    evidence: tuple[Evidence, ...]
    unplaced: int
    """Facts whose clips were not all looked at: one within the scope may be left out, or told without its moment."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The cameras, the time and the labels that a question is about; None where it is about all."""

    cameras: tuple[str, ...] | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    calendar: Calendar | None = None
    zones: Mapping[str, str] = field(default_factory=dict)
    """Time zone of each camera; UTC of one that is not there."""
    labels: LabelFilter = ()

    @property
    def has_times(self) -> bool:
        """Whether it leaves any time out."""
        return (self.start_ns, self.end_ns, self.calendar) != (None, None, None)

    def holds(self, camera: str, start_ns: int, end_ns: int) -> bool:
        """Whether a moment lies in it; one that overlaps its time does."""
        return (
            (self.cameras is None or camera in self.cameras)
            # One of no length counts as a point, as in `User.ground`.
            and (self.start_ns is None or end_ns > self.start_ns or start_ns >= self.start_ns)
            and (self.end_ns is None or start_ns < self.end_ns)
            and (
                self.calendar is None or self._in_calendar(self.calendar, camera, start_ns, end_ns)
            )
        )

    def labelled(self, labels: Mapping[str, str]) -> bool:
        """Whether a clip with these labels lies in it."""
        return has_labels(self.labels, labels)

    def _in_calendar(self, calendar: Calendar, camera: str, start_ns: int, end_ns: int) -> bool:
        zone = calendar.zone or self.zones.get(camera, UTC_ZONE)
        times = np.array([[start_ns], [end_ns]], np.int64)
        return bool(touches(calendar, zone, times[0], times[1])[0])

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self == EVERYWHERE


EVERYWHERE: Final = Scope()


def labels_of(clip: StoredClip) -> tuple[str, ...]:
    """What was named in a clip: the values of its labels, split at commas, and its sounds."""
    names = [name.strip() for value in clip.labels.values() for name in value.split(",")]
    return tuple(
        dict.fromkeys(name for name in (*names, *(event.label for event in clip.events)) if name)
    )


def _ranked(items: Sequence[Evidence]) -> list[Evidence]:
    return sorted(items, key=lambda item: (-item.score, item.start_ns, item.camera))


def _strength(hit: RecallHit, wanted: frozenset[str]) -> tuple[float, dict[str, float]]:
    coverage = len(wanted & terms(hit.text)) / len(wanted) if wanted else 0.0
    arms = {**hit.arms, "coverage": coverage}
    if "semantic" not in hit.arms:
        return coverage, arms
    return (min(max(hit.arms["semantic"], 0.0), 1.0) + coverage) / 2, arms


def _utterance(
    clip: StoredClip, utterance: Utterance, strength: float, arms: dict[str, float]
) -> Evidence:
    return Evidence(
        SAID,
        clip.stream,
        utterance.start_ns,
        utterance.end_ns,
        strength,
        clip.id,
        (utterance.text,),
        labels_of(clip),
        arms,
    )


def _fact(
    hit: RecallHit,
    strength: float,
    arms: dict[str, float],
    scope: Scope,
    clips: FactClips,
) -> Evidence | None:
    """A fact at the moment of the first of its clips within the scope, at its validity where none is left; None
    where it lies outside.  Raises `OutOfLookUps`.
    """
    fact = hit.fact
    assert fact is not None
    text = (fact.text,)
    looked_at = 0
    for clip_id in fact.evidence:
        clip = clips.find(clip_id)
        if clip is None:
            continue
        begin_ns, end_ns = clip.start_ns, clip.end_ns
        if scope.holds(clip.stream, begin_ns, end_ns) and scope.labelled(clip.labels):
            named = labels_of(clip)
            return Evidence(
                FACT, clip.stream, begin_ns, end_ns, strength, clip.id, text, named, arms
            )
        looked_at += 1
        if looked_at == FACT_CLIPS_MAX:
            break
    found = _timeless(fact, strength, arms)
    if looked_at or not scope.holds("", found.start_ns, found.end_ns) or not scope.labelled({}):
        return None
    return found


def _timeless(fact: Fact, strength: float, arms: dict[str, float]) -> Evidence:
    """A fact of no clip, at its validity."""
    begin_ns = fact.valid_from_ns
    end_ns = begin_ns if fact.valid_to_ns is None else fact.valid_to_ns
    return Evidence(FACT, "", begin_ns, end_ns, strength, None, (fact.text,), (), arms)

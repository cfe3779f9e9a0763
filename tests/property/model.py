"""The oracle: what a user's memory must answer, from dicts and brute-force numpy.

Written from the promises, not from the engine: nothing here is imported from ``memdb.engine``,
``memdb.store`` or ``memdb.index``, nothing is incremental, and every answer is computed anew from
the list of all versions ever written.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from memdb import Clip, Gap, Keyframe, Not, Utterance

HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
SEQ_AHEAD_MAX = 2**32
"""Numbers that a clip may skip."""
CLOSE = 1e-5
"""Scores nearer than this are ties: float32 dot products against float64 ones."""

THE = "the"
"""The one word of the sequences that does not count, unless a question has no other."""

Vector = npt.NDArray[Any]


@dataclass(frozen=True)
class SpaceModel:
    """A feature space."""

    name: str
    dim: int
    metric: str

    def similarity(self, question: Vector, vector: Vector) -> float:
        """Cosine or inner product in double precision."""
        a, b = question.astype(np.float64), vector.astype(np.float64)
        if self.metric == "cosine":
            a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        return float(a @ b)


@dataclass(frozen=True)
class Content:
    """Everything that a sender chooses for one version of a clip; equal contents are duplicates."""

    start_ns: int
    end_ns: int
    sealed: bool
    vector: int
    """Seed of the global memory; negative: the opposite of it."""
    half: bool
    short_rows: int
    text: str | None
    keyframes: int
    label: str | None

    # One sequence looks at its clips over and over; nothing of a clip can be changed.
    @lru_cache(maxsize=4096)  # noqa: B019 - a content is a value, and few
    def clip(self, epoch: int, seq: int, space: SpaceModel) -> Clip:
        """The clip to write."""
        return Clip(
            epoch=epoch,
            seq=seq,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            sealed=self.sealed,
            global_memory=self.global_memory(space),
            short_memory=self.short_memory(space),
            transcript=()
            if self.text is None
            else (Utterance(self.start_ns, self.end_ns, self.text),),
            keyframes=tuple(
                Keyframe(self.start_ns, bytes([255, 216, number]))
                for number in range(self.keyframes)
            ),
            labels={} if self.label is None else {"zone": self.label},
        )

    def global_memory(self, space: SpaceModel) -> Vector:
        """The vector that the seed names."""
        return named_vector(self.vector, space.dim).astype(np.float16 if self.half else np.float32)

    def short_memory(self, space: SpaceModel) -> Vector | None:
        """(short_rows, dim) float16, None for 0 rows."""
        if self.short_rows == 0:
            return None
        return _drawn(self.vector + 1000, (self.short_rows, space.dim)).astype(np.float16)


def named_vector(seed: int, dim: int) -> Vector:
    """A vector of a small family: some equal, some opposite, some short, some long."""
    made = _drawn(abs(seed), (dim,)).astype(np.float32)
    return np.float32(-0.25 if seed < 0 else 3.0 if seed % 2 else 1.0) * made


@lru_cache(maxsize=4096)
def _drawn(seed: int, shape: tuple[int, ...]) -> Vector:
    return np.random.default_rng(seed).standard_normal(shape)


@dataclass
class Version:
    """One version of a clip, alive in revisions [birth, death)."""

    stream: str
    space: SpaceModel
    epoch: int
    seq: int
    content: Content
    birth: int
    order: int
    """Rank of the clip among the user's clips, by arrival."""
    clip_id: str
    death: float = math.inf

    def alive(self, revision: int) -> bool:
        """Whether this is the clip's version as of ``revision``."""
        return self.birth <= revision < self.death

    def labelled(self, wanted: dict[str, list[str] | Not]) -> bool:
        """Whether it has, of each key, one of the values, or none where it must not."""
        mine = {} if self.content.label is None else {"zone": self.content.label}
        return all(
            mine.get(key, "no label") not in values.values
            if isinstance(values, Not)
            else key in mine and mine[key] in values
            for key, values in wanted.items()
        )

    def overlaps(self, start_ns: int | None, end_ns: int | None) -> bool:
        """Whether the clip overlaps [start_ns, end_ns); one of no length is a point."""
        if end_ns is not None and self.content.start_ns >= end_ns:
            return False
        if start_ns is None:
            return True
        point = self.content.start_ns == self.content.end_ns
        return self.content.end_ns > start_ns or (point and self.content.start_ns == start_ns)


@dataclass
class FactVersion:
    """One version of a fact."""

    birth: int
    text: str
    about: tuple[str, ...]
    key: str | None
    evidence: tuple[str, ...]


@dataclass
class Refused:
    """The model's word for: this operation is answered with an error of this reason."""

    reason: str


@dataclass
class Stored:
    """The model's word for: this operation is acknowledged."""

    revision: int
    duplicate: bool
    version: Version


@dataclass
class UserModel:
    """One user."""

    name: str
    spaces: dict[str, SpaceModel]
    revision: int = 0
    times: list[int] = field(default_factory=lambda: [0])
    """Commit time by revision."""
    versions: list[Version] = field(default_factory=list)
    streams: dict[str, tuple[SpaceModel, int]] = field(default_factory=dict)
    """name -> space, revision that created it."""
    facts: dict[str, list[FactVersion]] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    values: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    snapshots: dict[str, int] = field(default_factory=dict)
    """name -> revision, also of those whose lease has ended."""
    leases: dict[str, int] = field(default_factory=dict)
    """Snapshot -> the end of its lease."""
    changes: list[tuple[int, str, object]] = field(default_factory=list)
    """(revision, kind, subject) as a watcher sees them."""
    asked: dict[str, Any] = field(default_factory=dict)
    """Standing questions by id, as `tests.property.standing_rules` has them."""
    names: dict[str, str] = field(default_factory=dict)
    """Name of a standing question -> id."""

    # -- writing

    def write(
        self, stream: str, space: str, clips: list[tuple[int, int, Content]], now_ns: int
    ) -> list[Stored | Refused]:
        """Clips of one call, as (epoch, seq, content); one commit holds one version of a clip."""
        outcomes: list[Stored | Refused] = []
        # Refused before anything else is looked at; nothing that is stored comes near it.
        rest = [clip for clip in clips if clip[1] <= SEQ_AHEAD_MAX]
        while rest:
            taken: set[tuple[int, int]] = set()
            group = []
            while rest and rest[0][:2] not in taken:
                taken.add(rest[0][:2])
                group.append(rest.pop(0))
            outcomes += self._commit(stream, space, group, now_ns)
        taken_ones = iter(outcomes)
        return [
            next(taken_ones) if seq <= SEQ_AHEAD_MAX else Refused("TOO_FAR_AHEAD")
            for _, seq, _ in clips
        ]

    def _commit(
        self, stream: str, space: str, group: list[tuple[int, int, Content]], now_ns: int
    ) -> list[Stored | Refused]:
        revision = self.revision + 1
        changes: list[tuple[int, str, object]] = []
        outcomes: list[Stored | Refused] = []
        for epoch, seq, content in group:
            if stream in self.streams:
                if self.streams[stream][0].name != space:
                    outcomes.append(Refused("SPACE_MISMATCH"))
                    continue
            else:
                self.streams[stream] = (self.spaces[space], revision)
                changes.append((revision, "stream", stream))
            known = self.history(stream, epoch, seq)
            same = [version for version in known if version.content == content]
            if same:
                # The newest of equal content: a late copy names the version it is a copy of.
                outcomes.append(Stored(same[-1].birth, True, same[-1]))
                continue
            if known and known[-1].content.sealed:
                outcomes.append(Refused("SEQ_REUSED"))
                continue
            order = known[-1].order if known else self._clips()
            version = Version(stream, self.spaces[space], epoch, seq, content, revision, order, "")
            if known:
                known[-1].death = revision
                version.clip_id = known[-1].clip_id
            self.versions.append(version)
            changes.append((revision, "clip", version))
            outcomes.append(Stored(revision, False, version))
        if changes:
            self.committed(changes, now_ns)
        return outcomes

    def committed(self, changes: list[tuple[int, str, object]], now_ns: int) -> None:
        """Note a commit; commit times always go forward, in whole microseconds."""
        self.revision += 1
        self.times.append(max(now_ns - now_ns % 1000, self.times[-1] + 1000))
        self.changes += changes

    def history(self, stream: str, epoch: int, seq: int) -> list[Version]:
        """Every version of a clip, oldest first."""
        return [
            version
            for version in self.versions
            if (version.stream, version.epoch, version.seq) == (stream, epoch, seq)
        ]

    def _clips(self) -> int:
        return len({version.order for version in self.versions})

    # -- moments

    def revision_at(self, time_ns: int) -> int:
        """The newest revision committed at or before a time."""
        return max(r for r, committed in enumerate(self.times) if r == 0 or committed <= time_ns)

    def leased(self, now_ns: int) -> dict[str, int]:
        """The snapshots whose lease has not ended."""
        return {name: r for name, r in self.snapshots.items() if self.leases[name] > now_ns}

    def streams_at(self, revision: int) -> dict[str, SpaceModel]:
        """Streams that exist as of a revision."""
        return {name: space for name, (space, born) in self.streams.items() if born <= revision}

    # -- reading

    def alive(
        self,
        revision: int,
        streams: Iterable[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        space: str | None = None,
        labels: dict[str, list[str] | Not] | None = None,
    ) -> list[Version]:
        """Versions that a filter admits, in the order they were written."""
        wanted = None if streams is None else set(streams)
        return [
            version
            for version in self.versions
            if version.alive(revision)
            and (wanted is None or version.stream in wanted)
            and (space is None or version.space.name == space)
            and version.overlaps(start_ns, end_ns)
            and version.labelled(labels or {})
        ]

    def scored(self, question: Vector, admitted: list[Version]) -> list[tuple[float, Version]]:
        """Similarity of each."""
        return [
            (
                version.space.similarity(question, version.content.global_memory(version.space)),
                version,
            )
            for version in admitted
        ]

    def gaps(
        self,
        revision: int,
        streams: Iterable[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> list[Gap]:
        """Numbers below the highest received that had not arrived, as maximal runs that touch the
        range.

        A run's times are the end of its left neighbour and the start of its right one, as they are at the
        revision; none where these contradict each other, and then it touches every range.
        """
        wanted = None if streams is None else set(streams)
        current: dict[tuple[str, int], dict[int, Version]] = defaultdict(dict)
        for version in self.versions:
            if version.birth <= revision:
                current[version.stream, version.epoch][version.seq] = version
        found = []
        for (stream, epoch), arrived in sorted(current.items()):
            if wanted is not None and stream not in wanted:
                continue
            seq = 0
            for present in sorted(arrived):
                if present > seq:
                    left = arrived.get(seq - 1)
                    begin = None if left is None else left.content.end_ns
                    end: int | None = arrived[present].content.start_ns
                    if begin is not None and end is not None and begin > end:
                        begin = end = None
                    hidden = not (
                        (end_ns is not None and begin is not None and begin >= end_ns)
                        or (
                            start_ns is not None
                            and end is not None
                            and end <= start_ns
                            and not begin == end == start_ns
                        )
                    )
                    if hidden:
                        found.append(Gap(stream, epoch, seq, present - 1, begin, end))
                seq = present + 1
        return found

    def buckets(
        self, revision: int, space: str, streams: Iterable[str] | None
    ) -> dict[tuple[str, str, int], tuple[int, Vector | None]]:
        """(stream, level, start) -> clips and token of every hour and day with sealed clips."""
        members: dict[tuple[str, str, int], list[Vector]] = defaultdict(list)
        for version in self.alive(revision, streams, space=space):
            if not version.content.sealed:
                continue
            vector = version.content.global_memory(version.space).astype(np.float64)
            if version.space.metric == "cosine":
                vector = vector / np.linalg.norm(vector)
            for level, length in (("hour", HOUR_NS), ("day", DAY_NS)):
                start = version.content.start_ns // length * length
                members[version.stream, level, start].append(vector)
        tokens: dict[tuple[str, str, int], tuple[int, Vector | None]] = {}
        for key, vectors in members.items():
            total = np.sum(vectors, axis=0)
            norm = np.linalg.norm(total) if self.spaces[space].metric == "cosine" else len(vectors)
            # Opposite vectors leave no direction, only rounding.
            tokens[key] = (len(vectors), None if norm < 1e-3 else total / norm)
        return tokens

    def value(self, key: str, revision: int) -> object:
        """The value as of a revision, None when there was none."""
        known = [value for birth, value in self.values.get(key, []) if birth <= revision]
        return known[-1] if known else None

    def keys(self, revision: int) -> list[str]:
        """Keys that had a value as of a revision, sorted."""
        return sorted(key for key, known in self.values.items() if known[0][0] <= revision)

    def facts_at(self, revision: int) -> dict[str, tuple[FactVersion, int | None]]:
        """fact id -> its version as of a revision, and the commit that had replaced it by then."""
        found: dict[str, tuple[FactVersion, int | None]] = {}
        for fact_id, versions in self.facts.items():
            known = [version for version in versions if version.birth <= revision]
            if known:
                found[fact_id] = (known[-1], None)
        return found

    def lexical(
        self,
        question: str,
        revision: int,
        kinds: tuple[str, ...] | None = None,
        labels: dict[str, list[str] | Not] | None = None,
    ) -> tuple[dict[tuple[str, str], float], float]:
        """BM25 of every text alive: ("fact", fact id) or ("utterance", clip id) -> score > 0; and the
        score that counts as full.

        kinds, labels: of those to score; the others count for what words are worth.
        """
        documents: dict[tuple[str, str], list[str]] = {}
        for version in self.alive(revision):
            if version.content.text is not None:
                documents["utterance", version.clip_id] = _words(version.content.text)
        for fact_id, (fact, _) in self.facts_at(revision).items():
            documents["fact", fact_id] = _words(fact.text)
        if not documents:
            return {}, 0.0
        lengths = {name: sum(word != THE for word in text) for name, text in documents.items()}
        mean = sum(lengths.values()) / len(documents) or 1.0
        scores: dict[tuple[str, str], float] = defaultdict(float)
        ceiling = 0.0
        for word in set(_words(question)) - {THE} or {THE}:
            holding = {
                name: Counter(text)[word] for name, text in documents.items() if word in text
            }
            idf = math.log(1 + (len(documents) - len(holding) + 0.5) / (len(holding) + 0.5))
            ceiling += idf * 1.9
            for name, count in holding.items():
                length = lengths[name] / mean
                scores[name] += idf * count * 1.9 / (count + 0.9 * (0.6 + 0.4 * length))
        labelled = {version.clip_id for version in self.alive(revision, labels=labels)}
        admitted = {
            (kind, name): score
            for (kind, name), score in scores.items()
            if (kinds is None or kind in kinds) and (kind == "fact" or name in labelled)
        }
        return admitted, max([*admitted.values(), 0.2 * ceiling])


def _words(text: str) -> list[str]:
    return text.lower().split()

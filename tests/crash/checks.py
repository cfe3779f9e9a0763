"""What must hold after a restart, whoever was killed: counted, so that a run can say what it saw."""

from __future__ import annotations

import random
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np

from memdb import Clip, Grounding, StoredClip
from memdb.types.database import Database, User
from tests.crash.load import (
    SPACE,
    STREAMS,
    Record,
    clip_of,
    digest,
    same_clip,
    same_short_memory,
    standing_question,
    versions_of,
)

FINDABLE = 24
"""Clips of a cycle whose vectors are searched for."""
SHORT = 64
"""Clips of a cycle whose short-term memory is read."""


@dataclass
class Tally:
    """Figures over all cycles of a run."""

    cycles: int = 0
    acked: int = 0
    checked: int = 0
    findable: int = 0
    resent: int = 0
    unacked_present: int = 0
    answers: int = 0
    lost: int = 0
    torn: int = 0
    doubled: int = 0
    diverged: int = 0
    restart_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def fault(self, kind: str, what: str) -> None:
        """Count a violation."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.faults.append(f"{kind}: {what}")

    def add(self, other: Tally, *, acked: int) -> None:
        """Take another run's figures in, as one cycle."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        self.cycles += 1
        self.acked += acked

    def __str__(self) -> str:
        restart = sorted(self.restart_s) or [0.0]
        p99 = restart[min(len(restart) - 1, int(len(restart) * 0.99))]
        return (
            f"cycles {self.cycles}  acknowledged {self.acked}  lost {self.lost}  torn {self.torn}  "
            f"doubled {self.doubled}  diverged {self.diverged}  checked {self.checked}  "
            f"found by vector {self.findable}  sent again {self.resent}  "
            f"stored unacknowledged {self.unacked_present}  past answers {self.answers}  "
            f"restart median {restart[len(restart) // 2]:.2f} s, p99 {p99:.2f} s"
        )


def list_clips(user: User, stream: str) -> list[StoredClip]:
    """Every clip of a stream."""
    found: list[StoredClip] = []
    while True:
        page = user.clips(stream=stream, after=found[-1].id if found else None, limit=500)
        found += page
        if len(page) < 500:
            return found


def check_user(
    db: Database,
    record: Record,
    tally: Tally,
    seed: int,
    *,
    fresh: set[tuple[str, int]],
    known: AbstractSet[int] = frozenset(),
) -> None:
    """All that was acknowledged is there, once and whole, is found by its vector, and the past answers
    as it did.

    fresh: the clips of this cycle, which are read in full; of the others all but their short-term
    memory is.  known: revisions whose answers were looked at after another cycle and need not be now.
    """
    if not record.acks:
        return
    user = db.user(record.user)
    chosen = random.Random(seed)
    for stream in sorted({name for name, _ in record.acks}):
        found = list_clips(user, stream)
        by_seq = {clip.seq: clip for clip in found}
        if len(by_seq) != len(found):
            tally.fault(
                "doubled", f"{record.user}/{stream}: {len(found)} clips, {len(by_seq)} numbers"
            )
        mine = sorted(seq for name, seq in record.acks if name == stream)
        tally.unacked_present += len(set(by_seq) - set(mine))
        for seq in mine:
            tally.checked += 1
            _check_clip(record, stream, seq, by_seq.get(seq), tally)
        _check_ledger(user, stream, by_seq, tally)
        recent = [seq for seq in mine if (stream, seq) in fresh and seq in by_seq]
        asked = chosen.sample(recent, min(SHORT, len(recent)))
        several = user.short_memory([by_seq[seq].id for seq in asked]) if asked else []
        for seq, short in zip(asked, several, strict=True):
            wanted = _stored_version(record.user, stream, by_seq[seq])
            if not same_short_memory(short, wanted):
                tally.fault("torn", f"{record.user}/{stream}/{seq}: short-term memory")
        asked = chosen.sample(recent, min(FINDABLE, len(recent)))
        for seq, answer in zip(asked, _found(user, [by_seq[seq] for seq in asked]), strict=True):
            tally.findable += 1
            clip, hits = by_seq[seq], answer.hits
            if [hit.clip.id for hit in hits] != [clip.id] or abs(hits[0].score - 1) > 1e-4:
                tally.fault("diverged", f"{record.user}/{stream}/{seq}: not found by its vector")
    for revision, told in record.answers.items():
        if revision in known:
            continue
        tally.answers += 1
        again = user.ground(standing_question(record.user), limit=8, as_of=revision)
        if digest(again) != told:
            tally.fault("diverged", f"{record.user}: the answer as of {revision} has changed")


def _found(user: User, clips: list[StoredClip]) -> list[Grounding]:
    """What is found by the vector of each: one asked for by itself, the others together."""
    if not clips:
        return []
    first, *others = clips
    answers = [user.ground(first.global_memory, limit=1)]
    if others:
        answers += user.ground_many(np.stack([one.global_memory for one in others]), limit=1)
    return answers


def _stored_version(user: str, stream: str, clip: StoredClip) -> Clip:
    """The version of the load that a stored clip should be."""
    for version in versions_of(user, stream, clip.seq):
        if version.sealed == clip.sealed and version.end_ns == clip.end_ns:
            return version
    return clip_of(user, stream, clip.seq)


def _check_clip(
    record: Record, stream: str, seq: int, clip: StoredClip | None, tally: Tally
) -> None:
    where = f"{record.user}/{stream}/{seq}"
    ack = record.acks[stream, seq]
    if clip is None:
        tally.fault("lost", where)
        return
    if ack is not None and (clip.id != ack.clip_id or clip.revision < ack.revision):
        tally.fault(
            "lost", f"{where}: acknowledged {ack}, stored revision {clip.revision} as {clip.id}"
        )
    if (stream, seq) in record.sealed and not clip.sealed:
        tally.fault("lost", f"{where}: sealed, and open again")
    wrong = same_clip(clip, _stored_version(record.user, stream, clip))
    if wrong:
        tally.fault("torn", f"{where}: {wrong}")


def _check_ledger(user: User, stream: str, by_seq: dict[int, StoredClip], tally: Tally) -> None:
    ledger = user.stream(stream).ledger()
    sealed = [seq for seq, clip in by_seq.items() if clip.sealed]
    if (
        ledger.clips != len(by_seq)
        or ledger.next_seq != max(sealed, default=-1) + 1
        or ledger.gaps
        or sorted(by_seq) != list(range(len(by_seq)))
    ):
        tally.fault("diverged", f"{user.id}/{stream}: {len(by_seq)} clips and {ledger}")


def resend(db: Database, record: Record, tally: Tally, fresh: set[tuple[str, int]]) -> None:
    """Send everything of this cycle again: what was acknowledged is a duplicate, and nothing grows."""
    user = db.user(record.user)
    for name in STREAMS:
        seqs = sorted(seq for stream, seq in fresh if stream == name)
        if not seqs:
            continue
        stream = user.stream(name, space=SPACE)
        before = stream.ledger().clips
        for begin in range(0, len(seqs), 64):
            part = [seq for seq in seqs[begin : begin + 64] if (name, seq) in record.sealed]
            acks = stream.write_many([clip_of(record.user, name, seq) for seq in part])
            for seq, ack in zip(part, acks, strict=True):
                tally.resent += 1
                known = record.acks[name, seq]
                same = known is None or (ack.clip_id, ack.revision) == (
                    known.clip_id,
                    known.revision,
                )
                if not ack.duplicate or not same:
                    tally.fault("doubled", f"{record.user}/{name}/{seq}: {known}, again {ack}")
        if stream.ledger().clips != before:
            tally.fault("doubled", f"{record.user}/{name}: {before} clips, then more")

"""Plain clips that are applied together leave what each of them leaves by itself, to the byte."""

from __future__ import annotations

import random

import numpy as np
import pytest

from memdb import Keyframe, MemdbError, SoundEvent, Utterance
from memdb.codecs.tensors import encode_tensor
from memdb.engine.applied import Applied
from memdb.engine.apply import apply
from memdb.engine.apply_plain import plain_from
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.reached import Reached
from memdb.engine.state import Draft
from memdb.engine.stream import EmbeddedStream
from memdb.store.environment import Environment
from memdb.store.staging import Entries, Staged
from memdb.types.operation import Operation, PutValue, WriteClip, subject
from memdb.types.tensor import Codec
from tests.unit.engine.conftest import DIM, SECOND_NS, clip, vector

STREAMS = ("door", "gate", "yard", "unknown")
SPACES = {"door": "cam", "gate": "cam", "yard": "dot", "unknown": "cam"}


def drawn(rng: random.Random, streams: dict[str, EmbeddedStream], stored: int) -> Operation:
    """A clip or, seldom, something else; nearly all clips are plain."""
    if rng.random() < 0.05:
        return PutValue(f"key-{rng.randrange(4)}", "1")
    stream = streams[rng.choice(STREAMS if rng.random() < 0.3 else STREAMS[:1])]
    # Of those that are stored already one in five, and now and then one that comes twice.
    seq = rng.randrange(stored) if rng.random() < 0.2 else stored + rng.randrange(40)
    changes: dict[str, object] = {}
    kind = rng.random()
    if kind < 0.1:
        changes["sealed"] = False
    elif kind < 0.2:
        more: list[dict[str, object]] = [
            {"transcript": (Utterance(0, 1, "hello"),)},
            {"events": (SoundEvent(0, 1, "bark", 0.5),)},
            {"keyframes": (Keyframe(0, b"jpeg"),)},
            {"labels": {"zone": "porch"}},
        ]
        changes |= rng.choice(more)
    elif kind < 0.3:
        changes["global_memory"] = rng.choice([
            np.zeros(DIM, np.float32),
            vector(3, DIM + 1),
            vector(4).astype(np.float16),
            np.r_[np.float32(0), vector(5)[1:]],
        ])  # fmt: skip
    if rng.random() < 0.5 and len(changes.get("global_memory", vector(0))) == DIM:  # type: ignore[arg-type]  # arrays
        rows = np.asarray(np.random.default_rng(seq).standard_normal((3, DIM)), np.float32)
        coded = encode_tensor(rows, rng.choice([Codec.F16, Codec.F16_PLANES]))
        changes["short_memory"] = rng.choice([rows, coded])
    if rng.random() < 0.3:
        changes["frames_per_token_row"] = 0.25
    if rng.random() < 0.3:
        changes["epoch"] = rng.randrange(3)
    if rng.random() < 0.1:
        changes["end_ns"] = (seq + 2) * 10 * SECOND_NS
    return stream.prepare(clip(seq, **changes))


def said(outcome: object) -> object:
    """Of an error what it says, since it is equal to itself alone."""
    return (
        (type(outcome), str(outcome), outcome.reason, outcome.field)
        if isinstance(outcome, MemdbError)
        else outcome
    )


def decided(
    environment: Environment, draft: Draft, reached: Reached, groups: list[list[Operation]]
) -> tuple[Entries, Applied]:
    """What a group of operations that comes in parts is decided to be."""
    applied = Applied(draft, reached=reached)
    entries: Entries = {}
    with environment.read() as txn:
        for operations in groups:
            apply(Staged(txn, (), entries), applied, operations)
    return entries, applied


@pytest.mark.parametrize("seed", range(40))
def test_plain_clips_together_are_as_one_by_one(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    db.create_space("dot", dim=DIM, metric="dot")
    user = db.user("alice")
    streams = {name: user.stream(name, space=SPACES[name]) for name in STREAMS}
    stored = 8
    for name in STREAMS[:-1]:
        streams[name].write_many([clip(seq) for seq in range(stored)])
    streams["gate"].erase(start_ns=0, end_ns=20 * SECOND_NS)
    contents: dict[object, bytes] = {}
    groups: list[list[Operation]] = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        groups.append([])
        for _ in range(rng.randrange(30)):
            operation = drawn(rng, streams, stored)
            if isinstance(operation, WriteClip):
                # A commit has one version of a clip: two would ask more of the store than single keys.
                content = contents.setdefault(subject(operation), operation.content)
                if content != operation.content:
                    continue
            groups[-1].append(operation)
    with user.memory() as memory:
        state, environment = memory.view.state, memory.environment
        reached = Reached(rng.choice([None, memory.view.coverage]))
        together = decided(environment, Draft(state, 10**18), reached, groups)
        monkeypatch.setattr("memdb.engine.apply.plain_from", lambda *_: None)
        alone = decided(environment, Draft(state, 10**18), Reached(None), groups)
    entries, applied = together
    wanted, by_itself = alone
    assert {table: dict(kept) for table, kept in entries.items()} == wanted
    assert [said(one) for one in applied.outcomes] == [said(one) for one in by_itself.outcomes]
    assert applied.entries == by_itself.entries
    assert applied.draft.counters() == by_itself.draft.counters()
    found = [
        *applied.effects.clips,
        *(one for rows in applied.effects.rows for one in rows.clips()),
    ]
    found.sort(key=lambda one: one.clip_no)
    for ours, theirs in zip(found, by_itself.effects.clips, strict=True):
        assert ours.vector.dtype == theirs.vector.dtype
        assert ours.vector.tobytes() == theirs.vector.tobytes()
        nothing = np.empty(0)
        assert ours._replace(documents=[], vector=nothing) == theirs._replace(
            documents=[], vector=nothing
        )
        assert list(map(repr, ours.documents)) == list(map(repr, theirs.documents))


def test_a_batch_that_is_sent_again_is_looked_at_once(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each clip of it is there: none of them makes the others be looked at once more."""
    door = db.user("alice").stream("door", space="cam")
    clips = [clip(seq) for seq in range(300)]
    door.write_many(clips)
    looked = 0

    def counted(applied: Applied, operations: list[Operation], begin: int) -> object:
        nonlocal looked
        found = plain_from(applied, operations, begin)
        looked += 1 if found is None else len(found)
        return found

    monkeypatch.setattr("memdb.engine.apply.plain_from", counted)
    acks = door.write_many(clips)
    assert all(ack.duplicate for ack in acks)
    assert looked == 300

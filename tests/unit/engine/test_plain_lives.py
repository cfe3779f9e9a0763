"""A database whose plain clips were decided together, or came as runs of them, is, to the byte, the one whose clips
were decided one by one: whoever wrote at once, whatever was erased, given up, refused or failed in between, however
often it was opened anew.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from memdb import Clip, Keyframe, MemdbError, Retention, Utterance, failpoints
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine import native
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.failpoints import FailpointError
from memdb.store.mapped import MappedFile
from memdb.store.schema import USER_TABLES
from memdb.types.operation import PutValue
from memdb.types.plain_run import PlainRun
from tests.unit.engine.conftest import DIM, SECOND_NS, clip, vector

SPACES = {"door": "cam", "gate": "cam", "yard": "dot", "wide": "wide"}
DIMS = {"cam": DIM, "dot": DIM, "wide": 2 * DIM}
STEPS = 14

Part = tuple[str, str | None, list[Clip]]
"""What one caller writes: to which stream, under the name of which space; without clips, a value."""


def drawn_clip(rng: random.Random, dim: int, newest: int) -> Clip:
    """Of a number that comes next, mostly; the same number has the same content, mostly."""
    seq = newest + rng.randrange(8) if rng.random() < 0.7 else rng.randrange(newest + 1)
    other = rng.random() < 0.1
    memory = vector(seq + 1000 * other, dim)
    changes: dict[str, object] = {"epoch": rng.choice([0, 0, 0, 2])}
    kind = rng.random()
    if kind < 0.05:
        memory[0] = 0
    elif kind < 0.1:
        memory = memory.astype(np.float16)
    elif kind < 0.13:
        memory = vector(seq, dim + 1)
    elif kind < 0.16:
        memory = np.zeros(dim, np.float32)
    elif kind < 0.3:
        changes["sealed"] = False
        changes["end_ns"] = (seq + rng.choice([1, 2])) * 10 * SECOND_NS
    elif kind < 0.35:
        changes["transcript"] = (Utterance(0, 1, "hello"),)
    elif kind < 0.4:
        changes["keyframes"] = (Keyframe(0, b"jpeg"),)
    elif kind < 0.45:
        changes["labels"] = {"zone": "porch"}
    if len(memory) == dim and seq % 3 == 0:
        rows = rng.choice([2, 2, 3000])
        changes["short_memory"] = np.full((rows, dim), seq, np.float16)
        changes["frames_per_token_row"] = 0.25
    return clip(seq, global_memory=memory, **changes)


def drawn_stretch(rng: random.Random, dim: int, newest: int) -> list[Clip]:
    """Plain clips whose numbers follow each other, as a camera sends them: new, or some of them sent again."""
    first = max(0, newest + rng.randrange(-6, 4))
    return [
        clip(
            seq,
            epoch=3,
            global_memory=vector(seq, dim),
            short_memory=np.full((20, dim), seq, np.float16) if seq % 3 == 0 else None,
        )
        for seq in range(first, first + rng.choice([1, 5, 30]))
    ]


def drawn_part(rng: random.Random, newest: int) -> Part:
    if rng.random() < 0.15:
        return "", None, []  # a group that has it is decided within its transaction
    name = rng.choice(["door", "door", "door", *SPACES])
    dim = DIMS[SPACES[name]]
    clips = [drawn_clip(rng, dim, newest) for _ in range(rng.choice([1, 3, 20]))]
    if rng.random() < 0.5:
        clips[rng.randrange(len(clips)) :] = drawn_stretch(rng, dim, newest)
    space = rng.choice([SPACES[name]] * 9 + [None, "dot"])
    return name, space, clips


def said(outcome: object) -> object:
    """Of an error what it says, since it is equal to itself alone."""
    if isinstance(outcome, MemdbError):
        return type(outcome), str(outcome), outcome.reason, outcome.field
    return repr(outcome)


Packed = Callable[[list[Clip]], Sequence[Clip | PlainRun]]


def written_at_once(user: EmbeddedUser, parts: Sequence[Part], packed: Packed) -> list[object]:
    """What callers are told that write at the same time, queued in their order."""
    told: list[object] = [None] * len(parts)

    def write(place: int, queued: threading.Event) -> None:
        name, space, clips = parts[place]
        try:
            if clips:
                stream = user.stream(name, space=space)
                operations, _ = stream.prepare_all(packed(clips))
                outcomes: Sequence[object] = stream.write_prepared(operations, queued.set)
            else:
                outcomes = memory.write([PutValue(f"key-{place}", "1")], queued.set)
            told[place] = [said(one) for one in outcomes]
        except (MemdbError, FailpointError) as error:
            told[place] = said(error)
        finally:
            queued.set()

    with user.memory() as memory:
        threads: list[threading.Thread] = []
        with memory.held_back():
            for place in range(len(parts)):
                queued = threading.Event()
                threads.append(threading.Thread(target=write, args=(place, queued)))
                threads[-1].start()
                assert queued.wait(60)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    return told


def dumped(user: EmbeddedUser) -> dict[str, object]:
    """All that the store has, and what is in memory of it."""
    found: dict[str, object] = {}
    with user.memory() as memory:
        with memory.environment.read() as txn:
            for table in USER_TABLES:
                found[table.value] = sorted((key, bytes(value)) for key, value in txn.scan(table))
        view = memory.view
        found["rows"] = {
            no: {name: column.tolist() for name, column in partition.columns.items()}
            for no, partition in view.partitions.items()
        }
        found["coverage"] = repr(sorted(view.coverage._epochs.items()))
    return found


def lived(
    folder: Path, config: EngineConfig, seed: int, packed: Packed = list
) -> tuple[list[object], dict[str, object]]:
    """What was told during one life, and what is left of it.

    packed: how clips come that one caller writes."""
    rng = random.Random(seed)
    clock = ManualClock()
    told: list[object] = []
    db = EmbeddedDatabase(folder, config=config, clock=clock)
    try:
        for name, dim in DIMS.items():
            db.create_space(name, dim=dim, metric="dot" if name == "dot" else "cosine")
        user = db.user("alice")
        user.stream("door", space="cam").create()
        newest = 0
        for _ in range(STEPS):
            clock.advance(SECOND_NS)
            parts = [drawn_part(rng, newest) for _ in range(rng.choice([1, 1, 2, 4]))]
            kind = rng.random()
            if kind < 0.1:
                failpoints.arm("commit.before=error")
            told.append(written_at_once(user, parts, packed))
            failpoints.arm("")
            newest += rng.randrange(10)
            if kind > 0.95:
                told.append(user.put("key", newest))
            elif kind > 0.88:
                user.stream("door").set_retention(Retention(max_clips=rng.choice([5, 40])))
                told.append(repr(db.sweep()))
            elif kind > 0.8:
                begin = rng.randrange(newest + 1)
                with suppress(MemdbError):
                    user.stream("door").erase(
                        start_ns=begin * 10 * SECOND_NS, end_ns=(begin + 3) * 10 * SECOND_NS
                    )
            elif kind > 0.75:
                with suppress(MemdbError):
                    user.stream("gate").erase()
            elif kind > 0.6:
                db.close()
                db = EmbeddedDatabase(folder, config=config, clock=clock)
                user = db.user("alice")
        assert db.verify().ok
        return told, dumped(user)
    finally:
        failpoints.arm("")
        db.close()


@pytest.mark.parametrize("staged_by", ["whoever is there", "Python"])
@pytest.mark.parametrize("seed", range(8))
def test_a_life_of_plain_groups_is_one_of_single_clips(
    folder: Path,
    config: EngineConfig,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    staged_by: str,
) -> None:
    native.lend()
    if staged_by == "Python":
        monkeypatch.setattr("memdb.store.plain_clips._staged_by", None)
    if seed % 2:
        # The map is found to be too small in the middle of a transaction, which is run again.
        monkeypatch.setattr(MappedFile, "grow_ahead", lambda *_: None)
    # Ids are of a user's own key, and the log has some of them.
    monkeypatch.setattr("memdb.engine.opening.secrets", SimpleNamespace(token_bytes=bytes))
    told, left = lived(folder / "together", config, seed)
    monkeypatch.setattr("memdb.engine.apply.plain_from", lambda *_: None)
    told_alone, left_alone = lived(folder / "alone", config, seed)
    assert told == told_alone
    for name, found in left.items():
        assert found == left_alone[name], name


def as_runs(clips: list[Clip]) -> Sequence[Clip | PlainRun]:
    """Those that the native edge reads as runs in such, the others as they are."""
    from tests.unit.engine.plain_runs import some_runs  # it needs the edge

    packed: list[Clip | PlainRun] = []
    for epoch, group in groupby(clips, lambda one: one.epoch if some_runs([one]) else None):
        alike = list(group)
        packed += alike if epoch is None else some_runs(alike)
    return packed


@pytest.mark.parametrize("seed", range(8))
def test_a_life_of_runs_is_one_of_single_clips(
    folder: Path, config: EngineConfig, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Where each ends a group is that of runs in both."""
    pytest.importorskip("memdb_edge", reason="the native edge is not installed")
    if seed % 2:
        monkeypatch.setattr(MappedFile, "grow_ahead", lambda *_: None)
    monkeypatch.setattr("memdb.engine.opening.secrets", SimpleNamespace(token_bytes=bytes))
    told, left = lived(folder / "runs", config, seed, as_runs)
    monkeypatch.setattr("memdb.engine.apply.write_run", lambda *_: None)
    monkeypatch.setattr("memdb.engine.apply.plain_from", lambda *_: None)
    told_alone, left_alone = lived(folder / "alone", config, seed, as_runs)
    assert told == told_alone
    for name, found in left.items():
        assert found == left_alone[name], name

"""Batches of several streams in one go: what befalls one is not another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memdb.engine.database import EmbeddedDatabase
from memdb.engine.passage import Passage
from memdb.engine.stream import EmbeddedStream
from memdb.engine.stream_batches import Written, write_batches
from memdb.errors import MemdbError, Unavailable
from memdb.types.clip import Ack, Clip, Keyframe
from tests.unit.engine.conftest import CONFIG, DIM, clip


def told(written: Sequence[Written]) -> list[object]:
    """Reasons of what was refused, what is no refusal by its type, and whether what was acknowledged is a duplicate."""

    def one(outcome: Ack | Exception) -> object:
        if isinstance(outcome, Ack):
            return outcome.duplicate
        return outcome.reason if isinstance(outcome, MemdbError) else type(outcome)

    return [
        one(each) if isinstance(each, Exception) else [one(outcome) for outcome in each]
        for each in written
    ]


def streams(db: EmbeddedDatabase, *names: str) -> list[EmbeddedStream]:
    return [db.user("alice").stream(name, space="cam") for name in names]


def test_they_share_a_commit(folder: Path) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        before = user.revision()
        batches = [(stream, [clip(0), clip(1)]) for stream in streams(db, "a", "b", "c")]
        assert told(write_batches(batches)) == [[False, False]] * 3
        assert user.revision() == before + 1
        # Sent again beside what is new: each in its place.
        a, b, c = streams(db, "a", "b", "c")
        assert told(write_batches([(a, [clip(1), clip(2)]), (b, [clip(0)]), (c, [])])) == [
            [True, False],
            [True],
            [],
        ]
        assert write_batches([]) == []


def test_each_hears_what_is_wrong_with_its_own(folder: Path) -> None:
    wide = Clip(seq=1, start_ns=1, end_ns=2, global_memory=np.ones(DIM + 1, np.float32))
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        good, bad, late = streams(db, "good", "bad", "late")
        no_space = user.stream("no-space", space="nowhere")
        ahead = replace(clip(0), seq=1 << 40)
        # The first of them creates the user: one by one, and then together.
        for seq in (0, 1):
            written = write_batches(
                [
                    (good, [clip(seq)]),
                    (bad, [replace(wide, seq=seq), clip(seq + 10)]),
                    (no_space, [clip(seq)]),
                    (late, [clip(seq), ahead, clip(seq + 10)]),
                ]
            )
            assert told(written) == [
                [False],
                ["DIM_MISMATCH", False],
                "SPACE_NOT_FOUND",
                [False, "TOO_FAR_AHEAD", False],
            ]
        assert db.verify().ok


def test_what_is_no_refusal_is_of_its_stream_alone(folder: Path) -> None:
    """Here a fault of who calls; it could be one of ours, or that there is no memory for a large clip."""
    no_clips: list[Clip] = [object()]  # type: ignore[list-item]
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        db.create_space("cam", dim=DIM)
        a, b, c = streams(db, "a", "b", "c")
        # The first of them creates the user: one by one, and then together.
        for seq in (0, 1):
            written = write_batches([(a, [clip(seq)]), (b, no_clips), (c, [clip(seq)])])
            assert told(written) == [[False], TypeError, [False]]


def test_who_writes_a_little_is_not_refused_with_who_writes_much(folder: Path) -> None:
    quota = replace(CONFIG, map_bytes_max=1 << 20)
    large = clip(0, keyframes=tuple(Keyframe(n, b"\xff" * 175_000) for n in range(4)))
    with EmbeddedDatabase(folder / "data", config=quota) as db:
        db.create_space("cam", dim=DIM)
        db.user("alice").put("made", 1)
        a, b, c, d = streams(db, "a", "b", "c", "d")
        written = write_batches([(a, [clip(0)]), (b, [large]), (c, [large]), (d, [clip(0)])])
        assert told(written)[0] == told(written)[3] == [False]
        assert "QUOTA" in told(written)[1:3]
        assert db.verify().ok


@pytest.mark.parametrize("error", [MemoryError(), Unavailable("broken", reason="INDEX_BROKEN")])
def test_what_one_is_behind_befalls_it_alone(folder: Path, error: Exception) -> None:
    """Others that shared its commit were told what had befallen an earlier one, which had nothing of theirs."""
    refused = Passage()
    refused.error = error
    passages = [Passage(), Passage((refused,)), Passage()]
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        db.create_space("cam", dim=DIM)
        db.user("alice").put("made", 1)
        batches = [(stream, [clip(0)]) for stream in streams(db, "a", "b", "c")]
        written = told(write_batches(batches, passages=passages))
        its_own = error.reason if isinstance(error, MemdbError) else type(error)
        assert written == [[False], its_own, [False]]


def test_all_hear_that_the_user_was_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by an error of its own, since each raises it."""
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        with user.memory() as memory:
            memory._writer.close()
            a, b = streams(db, "a", "b")
            first, second = write_batches([(a, [clip(0)]), (b, [clip(0)])])
        assert isinstance(first, Unavailable)
        assert isinstance(second, Unavailable)
        assert first is not second

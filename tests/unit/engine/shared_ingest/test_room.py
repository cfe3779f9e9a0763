"""Writers that share commits where not all have room: who writes a little is not refused, and nothing leaves a hole."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from memdb import Keyframe, ResourceExhausted
from memdb.engine import shared_ingest
from memdb.engine.database import EmbeddedDatabase
from tests.unit.engine.conftest import CONFIG, DIM, clip
from tests.unit.engine.shared_ingest.cameras import PATIENCE_S, camera, held_back, threads


def test_who_writes_a_little_is_not_refused_with_who_writes_much(folder: Path) -> None:
    quota = replace(CONFIG, map_bytes_max=1 << 20)
    frames = tuple(Keyframe(n, b"\xff" * 175_000) for n in range(4))
    with EmbeddedDatabase(folder / "data", config=quota) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        names = ("a", "b", "c", "d")
        writers = {name: camera(user, name) for name in names}
        with held_back(db):
            # What is taken first, until all the others are ready.
            writers["a"].send(clip(0, sealed=False))
            for name in names:
                large = {"keyframes": frames} if name in ("b", "c") else {}
                writers[name].send(clip(1, **large))
        refused: dict[str, str] = {}
        for name, writer in writers.items():
            try:
                writer.flush()
            except ResourceExhausted as error:
                refused[name] = error.reason
            with suppress(ResourceExhausted):
                writer.close()
        assert set(refused.values()) == {"QUOTA"}
        assert refused.keys() <= {"b", "c"}
        assert db.verify().ok


def test_who_is_refused_with_who_writes_much_leaves_no_hole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though later clips of it are in the next commit, whose number would be where to go on."""
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 3)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    quota = replace(CONFIG, map_bytes_max=1 << 20)
    frames = tuple(Keyframe(n, b"\xff" * 200_000) for n in range(5))
    with EmbeddedDatabase(folder / "data", config=quota) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        little, much = camera(user, "little"), camera(user, "much")
        with held_back(db):
            little.send(clip(0))
            much.send(clip(0, keyframes=frames))
            little.send(clip(1))
            while not little._feed.going:
                threads()[0].join(0.001)
            for seq in (2, 3, 4):
                little.send(clip(seq))
            while len(little._feed.going) < 2:
                threads()[0].join(0.001)
        assert len(little.flush()) == 5
        assert [found.seq for found in user.clips()] == list(range(5))
        little.close()
        with pytest.raises(ResourceExhausted):
            much.close()


def test_what_shares_a_commit_does_not_pass_either_though_its_writer_knows_of_the_refusal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time it is tried alone."""
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 2)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    frames = tuple(Keyframe(n, b"\xff" * 200_000) for n in range(5))
    with EmbeddedDatabase(folder / "data", config=replace(CONFIG, map_bytes_max=1 << 20)) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        door, other = camera(user, "door"), camera(user, "other")
        turn = door._shared._turn
        with ExitStack() as stack:
            with held_back(db):
                for taken, (writer, seq) in enumerate(
                    [(door, 0), (door, 1), (other, 0), (door, 2)], 1
                ):
                    writer.send(clip(seq, keyframes=frames if seq == 1 else ()))
                    while len(door._feed.going) < taken // 2:
                        threads()[0].join(0.001)
                # Both commits have their place: who is to be tried alone waits for it.
                stack.enter_context(turn)
            while door._error is None:
                assert door.acks == 0
                threads()[0].join(0.001)
        assert len(other.flush()) == 1
        other.close()
        with pytest.raises(ResourceExhausted):
            door.close()
        assert [(found.stream, found.seq) for found in user.clips()] == [("other", 0)]
        assert user.stream("door", space="cam").ledger().next_seq == 0


def test_what_is_smaller_does_not_pass_where_what_was_sent_before_has_no_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One camera, and two commits of it on their way: the number behind a hole would be where to go on."""
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 2)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    frames = tuple(Keyframe(n, b"\xff" * 200_000) for n in range(5))
    with EmbeddedDatabase(folder / "data", config=replace(CONFIG, map_bytes_max=1 << 20)) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        writer = camera(user, "door")
        with held_back(db):
            for seq in range(4):
                writer.send(clip(seq, keyframes=frames if seq == 1 else ()))
                while len(writer._feed.going) < (seq + 1) // 2:
                    threads()[0].join(0.001)
        with pytest.raises(ResourceExhausted):
            writer.close()
        assert writer.acks == 0
        assert user.clips() == []
        assert user.stream("door").ledger().next_seq == 0
        with camera(user, "door") as again:
            again.send(clip(again.next_seq))
        assert user.stream("door").ledger().next_seq == 1

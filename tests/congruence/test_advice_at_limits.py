"""Whoever meets a limit, or something that is kept, is told what to do about it, alike on every way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import FailedPrecondition, MemdbError, NotFound, ResourceExhausted, Retention
from memdb.config import EngineConfig
from memdb.engine import apply, apply_standing, apply_stream, lateness
from memdb.engine.database import EmbeddedDatabase
from memdb.types.database import Database, Stream, User
from memdb_client import connect
from tests.congruence.conftest import opened
from tests.congruence.media import clip, vector
from tests.congruence.server import ServerThread

pytestmark = pytest.mark.congruence

SMALL = EngineConfig(map_bytes_initial=1 << 20, map_bytes_max=4 << 20)
MESSAGE_BYTES = 1 << 20
LARGE = np.ones((64_000, 4), np.float16)
"""Short-term memory of half a megabyte; three of these are no message."""


@contextmanager
def small(transport: str, directory: Path) -> Iterator[Database]:
    """A database that has little room, over a transport."""
    if transport == "embedded":
        with EmbeddedDatabase(directory, config=SMALL) as db:
            yield db
        return
    with ServerThread(directory, engine=SMALL) as server, connect(server.address) as db:
        yield db


@pytest.mark.parametrize("transport", ["embedded", "sync"])
def test_a_file_that_is_full(transport: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with small(transport, tmp_path / "data") as db:
        db.create_space("clip", dim=4)
        door = db.user("alice").stream("door", space="clip")

        def fill() -> None:
            for seq in range(100):
                door.write(clip(seq, short_memory=rng.standard_normal((16_384, 4), np.float32)))

        with pytest.raises(ResourceExhausted) as full:
            fill()
    assert (full.value.reason, full.value.field) == ("QUOTA", "map_bytes")
    assert "a policy of retention and a sweep, or by an erasure" in full.value.message


MANY: dict[str, tuple[Any, str, Callable[[User], Any], str]] = {
    "streams": (
        apply_stream,
        "STREAMS_MAX",
        lambda user: user.stream("yard", space="clip").create(),
        "erase one of them",
    ),
    "snapshots": (
        apply,
        "SNAPSHOTS_MAX",
        lambda user: [user.snapshot(name, ttl_s=60) for name in ("a", "b")],
        "release one of them",
    ),
    "standing questions": (
        apply_standing,
        "STANDING_MAX",
        lambda user: [user.standing.create(vector(n), min_score=0.5) for n in (1, 2)],
        "remove one of them",
    ),
    "gaps": (
        lateness,
        "GAPS_MAX",
        lambda user: [user.stream("door").write(clip(seq)) for seq in (2, 4)],
        "begin another",
    ),
}


@pytest.mark.parametrize("what", MANY)
def test_as_many_as_there_may_be(
    user: User, door: Stream, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    module, limit, one_more, advice = MANY[what]
    door.write(clip(0))
    monkeypatch.setattr(module, limit, 1)
    with pytest.raises(ResourceExhausted) as full:
        one_more(user)
    assert full.value.reason == "QUOTA"
    assert advice in full.value.message


def test_what_is_held(user: User, door: Stream) -> None:
    """How a hold is ended is said at a prompt (`tests/unit/cli/test_keeping.py`): in a program it is an argument."""
    door.write(clip(0))
    door.set_retention(Retention(hold=True))
    held: list[MemdbError] = []
    for erase in (door.erase, user.erase):
        with pytest.raises(FailedPrecondition, match="under legal hold") as refused:
            erase()
        held.append(refused.value)
    assert [(one.reason, one.field, one.value) for one in held] == [
        ("LEGAL_HOLD", "stream", "door")
    ] * 2


def test_an_archive_in_the_place_of_an_export(db: Database, door: Stream, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
    pytest.importorskip("safetensors", reason="the extra memdb[export] is not installed")
    from memdb.portable.importer import import_user

    door.write(clip(0))
    backups = tmp_path / "backups"
    backups.mkdir(exist_ok=True)
    db.backup(backups / "monday")
    for folder, is_archive in ((backups / "monday", True), (backups, False)):
        with pytest.raises(NotFound) as refused:
            import_user(db, folder, user="bob")
        assert (refused.value.reason, refused.value.value) == ("NOT_AN_EXPORT", str(folder))
        assert ("`memdb restore`" in refused.value.message) == is_archive


def test_an_answer_that_is_no_message(tmp_path: Path) -> None:
    """In one's own process there are none, but for whom asks so."""
    advice = "ask for less at once: fewer, less of each, or pages"
    with (
        ServerThread(tmp_path / "data", message_bytes_max=MESSAGE_BYTES) as server,
        connect(server.address) as db,
    ):
        db.create_space("clip", dim=4)
        alice = db.user("alice")
        for seq in range(3):
            alice.stream("door", space="clip").write(
                clip(seq, vector(1), short_memory=LARGE * np.float16(seq + 1))
            )
        with pytest.raises(ResourceExhausted) as refused:
            alice.ground(vector(1), with_short_memory=True)
        assert refused.value.reason == "MESSAGE_TOO_LARGE"
        assert advice in refused.value.message
    with opened("embedded", tmp_path / "data") as embedded:
        assert isinstance(embedded, EmbeddedDatabase)
        with pytest.raises(ResourceExhausted) as refused:
            embedded.user("alice").ground(
                vector(1), with_short_memory=True, answer_bytes_max=MESSAGE_BYTES
            )
        assert refused.value.reason == "MESSAGE_TOO_LARGE"
        assert advice in refused.value.message

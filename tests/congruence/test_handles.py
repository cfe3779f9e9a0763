"""Handles go to no other process, as a pool sends them, and say so; values and errors do."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest

from memdb import NotFound
from memdb.types.database import Database, Stream, User
from memdb_client import connect_async
from tests.congruence.conftest import opened
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector
from tests.congruence.server import ServerThread

pytestmark = pytest.mark.congruence

WHAT_TO_DO = r"cannot be pickled.*Another process connects by itself \(memdb_client"


@pytest.fixture(params=["embedded", "sync"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Not of asyncio, whose handles the blocking ones of these tests hide: those have a test of their own."""
    with opened(request.param, tmp_path / "data") as db:
        db.create_space("clip", dim=4)
        yield db


def check(handle: Any) -> None:
    with pytest.raises(TypeError, match=WHAT_TO_DO):
        ForkingPickler.dumps(handle)
    assert copy.copy(handle) is handle
    assert copy.deepcopy({"kept": [handle]})["kept"][0] is handle


def test_a_handle_that_is_pickled_says_what_to_do(db: Database, user: User, door: Stream) -> None:
    with door.ingest(epoch=3) as writer:
        for handle in (db, user, door, user.standing, writer):
            check(handle)
        assert "door of alice, epoch 3" in repr(writer)
    assert "alice" in repr(user.standing)


async def test_a_handle_of_asyncio_that_is_pickled_says_what_to_do(tmp_path: Path) -> None:
    with ServerThread(tmp_path / "data") as server:
        connecting = connect_async(server.address)
        check(connecting)
        async with connecting as db:
            await db.create_space("clip", dim=4)
            user = db.user("alice")
            door = user.stream("door", space="clip")
            async with door.ingest(epoch=3) as writer:
                for handle in (db, user, door, user.standing, writer):
                    check(handle)
                assert "door of alice, epoch 3" in repr(writer)
            assert "alice" in repr(user.standing)


def test_values_and_errors_go_to_other_processes(user: User, door: Stream) -> None:
    door.write(clip(0, start_ns=T0_NS, end_ns=T0_NS + SECOND_NS))
    answer = user.ground(vector(1))
    (again,) = ForkingPickler.loads(ForkingPickler.dumps(answer)).hits
    assert (again.clip.id, again.score) == (answer.hits[0].clip.id, answer.hits[0].score)
    with pytest.raises(NotFound) as refused:
        user.fact("nobody knows")
    error = ForkingPickler.loads(ForkingPickler.dumps(refused.value))
    assert (error.reason, error.field, str(error)) == (
        refused.value.reason, refused.value.field, str(refused.value),
    )  # fmt: skip

"""Once an erasure is acknowledged, the server's memory holds nothing that names the user or was said of it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Utterance
from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.server.grounding_service import GroundingService, read_question, read_questions
from memdb.server.resources import Resources
from memdb.server.user_service import UserService
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2
from memdb.v1 import user_service_pb2 as user_pb

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

from tests.unit.server.ready import made_shelf

DIM = 8
MARK = ("qzx", "vkj")
"""Put together it stands in everything of the user, and nowhere else."""


def live(database: EmbeddedDatabase, services: tuple[GroundingService, UserService]) -> None:
    """A user with a life, which is asked in every way, and erased."""
    mark = "".join(MARK)
    grounding, users = services
    user = database.user(f"user-{mark}")
    ones = np.ones(DIM, np.float32)
    user.stream(f"stream-{mark}", space="cam").write_many(
        [
            Clip(
                seq=seq,
                start_ns=seq,
                end_ns=seq + 1,
                global_memory=ones,
                labels={"key": mark},
                transcript=(Utterance(seq, seq + 1, f"we say {mark}"),),
            )
            for seq in range(30)
        ]
    )
    user.remember(f"the {mark} is blue")
    user.forget(user.remember(f"the {mark} was red").id)
    feature = types_pb2.Vector(f32=ones.tobytes())
    for streams in ([], [f"stream-{mark}"]):
        for _ in range(6):
            one = pb.GroundRequest(user=user.id, question_feature=feature, streams=streams)
            grounding.ground(read_question(one.SerializeToString(), user.id))
            many = pb.GroundManyRequest(
                user=user.id,
                question_features=types_pb2.Matrix(rows=1, dim=DIM, f32=ones.tobytes()),
                options=pb.GroundRequest(streams=streams),
            )
            grounding.ground_many(read_questions(many.SerializeToString(), user.id))
    assert user.recall(mark)
    database.sweep()
    user.put(mark, mark)
    # It stands within the user, and behind a key.
    while mark.encode() not in database._scrub._place.after:
        database.scrub(1)
    users.erase_user(user_pb.EraseUserRequest(user=user.id))


def test_a_server_that_has_gone_is_let_go_of(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "data") as database:
        resources = Resources.make(database, ServerConfig())
        gone = weakref.ref(made_shelf(database)), weakref.ref(GroundingService(resources))
        gc.collect()
        assert [each() for each in gone] == [None, None]
        database.user("alice").put("n", 1)
        database.user("alice").erase()


def names(thing: Any, depth: int = 0) -> Iterator[Any]:
    """What has the mark, of a thing and what the collector does not know below it."""
    mark = "".join(MARK)
    for part in gc.get_referents(thing):
        kind = type(
            part
        )  # `isinstance` asks the object as well, and some warn or load what they stand for
        if (issubclass(kind, str) and mark in part) or (
            issubclass(kind, bytes) and mark.encode() in part
        ):
            yield part
        elif depth < 2 and kind in (dict, tuple, list) and not gc.is_tracked(part):
            yield from names(part, depth + 1)


def test_nothing_names_them(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "data") as database:
        database.create_space("cam", dim=DIM)
        shelf = made_shelf(database)
        resources = Resources.make(database, ServerConfig())
        services = GroundingService(resources, shelf.was_asked), UserService(resources)
        live(database, services)
        database._users._upkeep.close()  # what was under way
        gc.collect()
        found = [
            (type(holder).__name__, named) for holder in gc.get_objects() for named in names(holder)
        ]
    assert found == []

"""A server of an earlier contract: what it does not know it refuses, and what it is not asked it need not know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from memdb import Clip, FailedPrecondition, MemdbError, Not, Retention, Snapshot, Utterance
from memdb.server.requests import parse
from memdb.types.database import Database, Stream, User
from memdb.v1 import (
    clip_service_pb2,
    database_service_pb2,
    grounding_service_pb2,
    memory_service_pb2,
    user_service_pb2,
)
from memdb.wire.status import code_of, error_to_trailers
from memdb.wire.unknown_fields import name_of
from tests.unit.client.conftest import Connect

CONTRACT = Path(__file__).parents[3] / "proto" / "released.binpb"
QUESTION = np.ones(4, np.float32)


MODULES = (
    clip_service_pb2,
    database_service_pb2,
    grounding_service_pb2,
    memory_service_pb2,
    user_service_pb2,
)
"""Of the services that the released contract has."""


def methods() -> Iterator[grpc.GenericRpcHandler]:
    """Every method of the released contract, which parses requests by it and answers nothing."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(CONTRACT.read_bytes()).file:
        pool.Add(file)
    for module in MODULES:
        for name in module.DESCRIPTOR.services_by_name:
            service = pool.FindServiceByName(f"memdb.v1.{name}")

            def handler(method: Any) -> Any:
                def check(data: bytes, context: Any) -> None:
                    try:
                        parse(GetMessageClass(method.input_type), data)
                    except MemdbError as error:
                        context.set_trailing_metadata(error_to_trailers(error, "req-1"))
                        context.abort(grpc.StatusCode[code_of(error).name], error.message)

                def answer(data: bytes, context: Any) -> bytes:
                    check(data, context)
                    return b""

                def answers(data: bytes, context: Any) -> Iterator[bytes]:
                    check(data, context)
                    yield b""

                def converses(messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
                    for data in messages:
                        yield from answers(data, context)

                if method.client_streaming:
                    return grpc.stream_stream_rpc_method_handler(converses)
                if method.server_streaming:
                    return grpc.unary_stream_rpc_method_handler(answers)
                return grpc.unary_unary_rpc_method_handler(answer)

            yield grpc.method_handlers_generic_handler(
                service.full_name, {method.name: handler(method) for method in service.methods}
            )


@pytest.fixture
def older(connect_to: Connect) -> Iterator[Database]:
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=list(methods()))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with connect_to(f"127.0.0.1:{port}", timeout_s=5.0) as db:
            yield db
    finally:
        server.stop(None).wait(10)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"streams": ["door"]}, "streams"),
        ({"labels": {"zone": Not("street")}}, "labels"),
        ({"kinds": ["fact"]}, "kinds"),
        ({"valid_at": "any"}, "valid_at_word"),
        ({"about": ["Bob"]}, "about"),
        ({"end_ns": 7, "limit": 2}, "end_ns"),
    ],
)
def test_a_filter_that_it_does_not_know_is_no_answer(
    older: Database, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        older.user("u").recall("mug", feature=QUESTION, **options)
    number = memory_service_pb2.RecallRequest.DESCRIPTOR.fields_by_name[field].number
    assert (refused.value.reason, refused.value.field, refused.value.value) == (
        "UNKNOWN_FIELD",
        field,
        f"memdb.v1.RecallRequest.{number}",
    )
    assert [violation.field for violation in refused.value.violations] == [field]


def test_facts_about_one_thing_are_older_than_those_about_several(older: Database) -> None:
    user = older.user("u")
    assert user.recall("mug", feature=QUESTION).hits == ()
    with pytest.raises(FailedPrecondition) as refused:
        user.facts(about=["Bob", "Carol"])
    assert refused.value.reason == "UNKNOWN_FIELD"


def test_a_call_that_it_does_not_have_is_no_answer(older: Database) -> None:
    with pytest.raises(FailedPrecondition, match="UNIMPLEMENTED"):
        older.user("u").count_clips()
    with pytest.raises(FailedPrecondition, match="UNIMPLEMENTED"):
        older.user("u").remember_many(["mug"])
    with pytest.raises(FailedPrecondition, match="UNIMPLEMENTED"):
        older.user("u").get_clips([ID])
    with pytest.raises(FailedPrecondition, match="UNIMPLEMENTED"):
        older.user("u").fact(key="mug")


def test_a_field_of_a_message_in_the_request_counts(older: Database) -> None:
    taken = Snapshot(name="then", revision=1, created_ns=1, expires_ns=2, user="u")
    with pytest.raises(FailedPrecondition) as refused:
        older.user("u").get("diet", as_of=taken)
    assert (refused.value.field, refused.value.value) == ("taken", "memdb.v1.AsOf.4")


def test_what_it_is_not_asked_it_need_not_know(older: Database) -> None:
    user = older.user("u")
    assert user.recall("mug", feature=QUESTION, limit=3, as_of=7, min_revision=1).hits == ()
    assert user.get("diet") is None
    user.forget("0" * 32)


CLIP = Clip(
    seq=0,
    start_ns=0,
    end_ns=1,
    global_memory=QUESTION,
    short_memory=np.ones((2, 4), np.float16),
    transcript=(Utterance(0, 1, "hello"),),
    labels={"zone": "porch"},
)
ID = "0" * 32
CALLS: dict[str, Callable[[Database, User, Stream], Any]] = {
    "ground": lambda db, user, door: user.ground(QUESTION),
    "ground_many": lambda db, user, door: user.ground_many(np.stack([QUESTION] * 2)),
    "ground_stream": lambda db, user, door: list(user.ground_stream([QUESTION])),
    "recall": lambda db, user, door: user.recall("mug", feature=QUESTION),
    "clips": lambda db, user, door: user.clips(),
    "clip": lambda db, user, door: user.clip(ID),
    "short_memory": lambda db, user, door: user.short_memory([ID]),
    "long_term": lambda db, user, door: user.long_term(),
    "remember": lambda db, user, door: user.remember("x", valid_to=7, feature=QUESTION),
    "revise": lambda db, user, door: user.revise(ID, text="x", valid_to=7, feature=QUESTION),
    "put": lambda db, user, door: user.put("k", 1),
    "watch": lambda db, user, door: list(user.watch(follow=False)),
    "snapshot": lambda db, user, door: user.snapshot("s"),
    "erase": lambda db, user, door: user.erase(),
    "erase_clips": lambda db, user, door: user.erase_clips([ID]),
    "write_many": lambda db, user, door: door.write_many([CLIP]),
    "create": lambda db, user, door: door.create(),
    "set_retention": lambda db, user, door: door.set_retention(Retention(max_clips=1)),
    "ledger": lambda db, user, door: door.ledger(),
    "create_space": lambda db, user, door: db.create_space("s", dim=4),
    "verify": lambda db, user, door: db.verify(),
    "backup": lambda db, user, door: db.backup("x"),
}
"""Calls without an option that the released contract does not have; not those that ask for pages, which are newer."""


@pytest.mark.parametrize("name", CALLS)
def test_a_call_without_newer_options_is_understood(older: Database, name: str) -> None:
    """Who sends a new field though nobody asks for what it says ends that call with every older server."""
    user = older.user("u")
    try:
        CALLS[name](older, user, user.stream("door", space="s"))
    except MemdbError as error:
        # An answer without anything is none; the question was one.
        assert error.reason != "UNKNOWN_FIELD", error  # noqa: PT017


def test_a_field_that_nobody_knows_is_told_by_its_number() -> None:
    for unknown in ("memdb.v1.RecallRequest.9999", "memdb.v2.Planet.1", "", ".", "memdb.v1.x"):
        assert name_of(unknown) == unknown

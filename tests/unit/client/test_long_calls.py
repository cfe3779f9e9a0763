"""What a call that goes through everything there is may take: an hour, more where the connection allows
more, and what the call itself says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from memdb.errors import InvalidArgument, MemdbError, Unavailable
from memdb_client._options import SECONDS_MAX, WHOLE_TIMEOUT_S
from tests.unit.client.conftest import Connect

HOUR_S = 3600.0

LONG: dict[str, Callable[..., Any]] = {
    "Verify": lambda db, **options: db.verify(**options),
    "Sweep": lambda db, **options: db.sweep(**options),
    "Backup": lambda db, **options: db.backup("monday", **options),
    "EraseUser": lambda db, **options: db.user("alice").erase(**options),
    "CompactUser": lambda db, **options: db.user("alice").compact(**options),
    "EraseClips": lambda db, **options: db.user("alice").erase_clips(["0" * 32], **options),
    "EraseClips of a stream": lambda db, **options: (
        db.user("alice").stream("door").erase(**options)
    ),
}


class Deadlines(grpc.GenericRpcHandler):
    """Notes the method and the time left of each call, and refuses it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        def note(_request: bytes, context: Any) -> bytes:
            self.seen.append((details.method.rpartition("/")[2], context.time_remaining()))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "noted")
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(note)


@pytest.fixture
def deadlines() -> Deadlines:
    return Deadlines()


@pytest.fixture
def server(deadlines: Deadlines) -> Iterator[grpc.Server]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((deadlines,))
    yield server
    server.stop(None).wait(10)


@pytest.fixture
def address(server: grpc.Server) -> str:
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return f"127.0.0.1:{port}"


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize(
    ("connection_s", "call_s", "expected_s"),
    [
        (5.0, None, HOUR_S),
        (7 * HOUR_S, None, 7 * HOUR_S),
        (5.0, 20.0, 20.0),
        (5.0, 9 * HOUR_S, 9 * HOUR_S),
    ],
)
def test_a_long_call_takes_its_own_deadline(
    name: str,
    connection_s: float,
    call_s: float | None,
    expected_s: float,
    connect_to: Connect,
    address: str,
    deadlines: Deadlines,
) -> None:
    with connect_to(address, timeout_s=connection_s) as db:
        options = {} if call_s is None else {"timeout_s": call_s}
        with pytest.raises(MemdbError):
            LONG[name](db, **options)
        with pytest.raises(MemdbError):
            db.users()
    (method, left_s), (_, others_s) = deadlines.seen
    assert method == name.partition(" ")[0]
    # gRPC rounds long ones up.
    assert left_s == pytest.approx(expected_s, rel=0.01, abs=4)
    assert others_s == pytest.approx(connection_s, rel=0.01, abs=4)


@pytest.mark.parametrize("name", LONG)
def test_its_deadline_is_checked_before_anything_is_sent(
    name: str, connect_to: Connect, address: str, deadlines: Deadlines
) -> None:
    with connect_to(address) as db:
        for wrong in (0, -1.0, float("inf"), 2 * SECONDS_MAX, "long", True):
            with pytest.raises(InvalidArgument) as refused:
                LONG[name](db, timeout_s=wrong)
            assert (refused.value.reason, refused.value.field) == ("OUT_OF_RANGE", "timeout_s")
    assert deadlines.seen == []


def test_an_hour_is_the_default() -> None:
    assert WHOLE_TIMEOUT_S == HOUR_S


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", LONG)
def test_a_server_that_is_not_there_is_not_waited_for_for_an_hour(
    name: str, connect_to: Connect, address: str, server: grpc.Server
) -> None:
    server.stop(None).wait(10)
    with connect_to(address, timeout_s=0.4) as db, pytest.raises(Unavailable):
        LONG[name](db)


@pytest.mark.timeout(60)
def test_nor_is_one_whose_name_is_not_found(connect_to: Connect) -> None:
    # A longer label than there can be: no name server is asked.
    nowhere = f"{'a' * 64}.invalid:7700"
    with connect_to(nowhere, timeout_s=2.5) as db, pytest.raises(Unavailable):
        LONG["Verify"](db, timeout_s=HOUR_S)

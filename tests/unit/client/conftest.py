"""A peer with a script, and both clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from memdb.types.database import Database
from memdb_client import connect
from tests.congruence.blocking import connect_blocking
from tests.unit.client.peer import Peer, Script

Connect = Callable[..., Database]


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def peer(script: Script) -> Iterator[Peer]:
    with Peer(script) as peer:
        yield peer


@pytest.fixture(params=["sync", "async"])
def connect_to(request: pytest.FixtureRequest) -> Connect:
    """`connect`, or the asyncio client behind the same interface."""
    connects: dict[str, Connect] = {"sync": connect, "async": connect_blocking}
    return connects[request.param]


@pytest.fixture
def db(peer: Peer, connect_to: Connect) -> Iterator[Database]:
    with connect_to(peer.address, timeout_s=5.0) as db:
        yield db

"""The clients have the one interface: checked by the type checker for the sync one, by name and
signature for both.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import memdb
import memdb_client
from memdb.engine.user import EmbeddedUser
from memdb.types import database as interface
from memdb_client import (
    AsyncDatabase,
    AsyncIngestWriter,
    AsyncStream,
    AsyncUser,
    Database,
    IngestWriter,
    Stream,
    User,
)


def typed(
    database: Database, user: User, stream: Stream, writer: IngestWriter
) -> tuple[interface.Database, interface.User, interface.Stream, interface.IngestWriter]:
    """Never called: mypy refuses it when a client departs from the interface."""
    return database, user, stream, writer


def public(kind: type[Any]) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("protocol", "client"),
    [
        (interface.Database, Database),
        (interface.Database, AsyncDatabase),
        (interface.User, User),
        (interface.User, AsyncUser),
        (interface.Stream, Stream),
        (interface.Stream, AsyncStream),
        (interface.IngestWriter, IngestWriter),
        (interface.IngestWriter, AsyncIngestWriter),
    ],
)
def test_methods_and_parameters_are_those_of_the_interface(
    protocol: type[Any], client: type[Any]
) -> None:
    beyond = {"open"} if client in (IngestWriter, AsyncIngestWriter) else set()
    assert public(client) - beyond == public(protocol)
    for name in public(protocol):
        expected = inspect.getattr_static(protocol, name)
        if isinstance(expected, property):
            continue
        parameters = dict(inspect.signature(getattr(client, name)).parameters)
        # What is about the connection and who is behind it, only clients have.
        for ours in ("reconnect_timeout_s", "timeout_s", "wait_for_room"):
            parameters.pop(ours, None)
        # The asyncio client takes async iterables as well.
        for given, parameter in parameters.items():
            if parameter.annotation == "compat.Values[VectorLike]":
                parameters[given] = parameter.replace(annotation="Iterable[VectorLike]")
        assert parameters == dict(inspect.signature(expected).parameters), name


PARTS = [part for part in interface.User.__mro__ if part.__name__.startswith("User")]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("handle", [User, AsyncUser, EmbeddedUser])
def test_a_user_is_made_of_the_same_parts_everywhere(part: type[Any], handle: type[Any]) -> None:
    names = (part.__name__, f"Async{part.__name__}", f"Embedded{part.__name__}")
    (ours,) = (one for one in handle.__mro__ if one.__name__ in names)
    own = {name for name in vars(ours) if not name.startswith("_")}
    wanted = {name for name in vars(part) if not name.startswith("_")}
    assert own >= wanted


def test_every_value_and_error_of_memdb_is_exported() -> None:
    assert set(memdb.__all__) - {"open"} <= set(memdb_client.__all__)
    assert memdb_client.__version__ == memdb.__version__


def test_public_names_are_exactly_all() -> None:
    names = {
        name
        for name, value in vars(memdb_client).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert names == set(memdb_client.__all__)
    assert memdb_client.__all__ == sorted(memdb_client.__all__)

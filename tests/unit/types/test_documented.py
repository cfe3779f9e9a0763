"""`help` says of every method what docs/api.md says of it, whichever database it is of."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import memdb_client
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.ingest import EmbeddedIngestWriter
from memdb.engine.standing import EmbeddedStanding
from memdb.engine.stream import EmbeddedStream
from memdb.engine.user import EmbeddedUser
from memdb.types import database

EMBEDDED = {
    "Database": EmbeddedDatabase,
    "User": EmbeddedUser,
    "Stream": EmbeddedStream,
    "Standing": EmbeddedStanding,
    "IngestWriter": EmbeddedIngestWriter,
}


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_method_says_what_it_does(name: str) -> None:
    interface: Any = getattr(database, name)
    public = [member for member in dir(interface) if not member.startswith("_")]
    assert public
    for cls in (
        EMBEDDED[name],
        getattr(memdb_client, name),
        getattr(memdb_client, f"Async{name}"),
    ):
        silent = [member for member in public if not inspect.getdoc(getattr(cls, member))]
        assert silent == [], cls


def test_what_a_class_says_itself_stays() -> None:
    said = inspect.getdoc(EmbeddedIngestWriter.send) or ""
    assert "Queue a clip" in said
    assert inspect.getdoc(EmbeddedUser.ground) == inspect.getdoc(database.User.ground)
    assert inspect.getdoc(EmbeddedUser.id) == inspect.getdoc(database.User.id)

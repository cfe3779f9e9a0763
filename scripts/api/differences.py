"""In what the methods of the clients differ from those of the interface, found by their signatures."""

from __future__ import annotations

import inspect

import memdb_client
from memdb.types import database
from scripts.api.text import line

PAIRS = (
    ("Database", "db"),
    ("User", "user"),
    ("Stream", "stream"),
    ("Standing", "user.standing"),
    ("IngestWriter", "writer"),
)


def differences() -> str:
    """A list of what a client has beside the interface."""
    lines: list[str] = []
    for name, handle in PAIRS:
        wanted = getattr(database, name)
        # The asyncio client has the same: the sync one is generated from it.
        client = getattr(memdb_client, name)
        for member, given in _public(client).items():
            expected = _public(wanted).get(member)
            if expected is None:
                said = line(inspect.getdoc(getattr(client, member)) or "")
                lines.append(f"- `{handle}.{member}`: {said}")
            elif extra := [one for one in given if one not in expected]:
                options = ", ".join(f"`{one}=`" for one in extra)
                lines.append(f"- `{handle}.{member}` also takes {options}")
    return "\n".join(lines)


def _public(cls: type) -> dict[str, list[str]]:
    """Public methods of a class and of the parts that it is made of, and their parameters."""
    return {
        name: list(inspect.signature(found).parameters) if callable(found) else []
        for part in cls.__mro__
        for name, found in vars(part).items()
        if not name.startswith("_")
    }

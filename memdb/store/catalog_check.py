"""What is wrong with the catalog as it lies there, held against the names in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from memdb.errors import DataLoss
from memdb.store.records import NameRecord, NumberRecord, SpaceRecord, unpack
from memdb.store.schema import CATALOG, META_FORMAT, Table
from memdb.store.transaction import Transaction
from memdb.types.space import Space


def catalog_differences(
    txn: Transaction, spaces: Mapping[str, Space], users: Mapping[str, str]
) -> list[tuple[str, str]]:
    """(where, what) of all that cannot be read, is missing or says something else.

    users: the names of their directories, by their ids.
    """
    return [
        *_differences(txn, Table.META, NumberRecord, {META_FORMAT.decode(): None}),
        *_differences(txn, Table.SPACES, SpaceRecord, spaces),
        *_differences(txn, Table.USERS, NameRecord, users),
    ]


def place_of(within: str) -> str:
    """What a discrepancy names, of a table or an entry."""
    return CATALOG if within in ("", CATALOG) else f"{CATALOG}/{within}"


def space_of(record: SpaceRecord) -> Space:
    """The space that an entry of the catalog, or of a user, holds."""
    return Space(record.name, record.dim, record.metric, record.model)


def _differences(
    txn: Transaction,
    table: Table,
    kind: type[NumberRecord | SpaceRecord | NameRecord],
    known: Mapping[str, Space | str | None],
) -> Iterator[tuple[str, str]]:
    """What of a table cannot be read, or differs from what is in memory.

    known: by name, what each entry has to say; None: anything.
    """
    seen: set[str] = set()
    try:
        for key, stored in txn.scan(table):
            where = place_of(f"{table.value}/{key.hex()}")
            try:
                record = unpack(table, key, stored, kind)
            except DataLoss as error:
                yield where, str(error)
                seen.add(key.decode(errors="replace"))
                continue
            name = key.decode()
            seen.add(name)
            said = record.name if isinstance(record, NameRecord) else None
            if isinstance(record, SpaceRecord):
                if known.get(name) != space_of(record):
                    yield where, "says something else than when it was opened"
            elif name not in known or (said is not None and known[name] != said):
                yield where, "says something else than when it was opened"
    except DataLoss as error:  # of its structure, or of an encrypted name
        yield place_of(table.value), str(error)
        return
    missing = sorted(known.keys() - seen)
    if missing:
        yield (
            place_of(table.value),
            f"{len(missing)} entries are missing, the first {missing[0]!r}",
        )

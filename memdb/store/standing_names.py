"""Names of standing questions in a transaction: which question was created under which."""

from __future__ import annotations

from memdb.errors import DataLoss
from memdb.store import schema
from memdb.store.records import NumberRecord, StandingRecord, pack, unpack
from memdb.store.schema import META_QUESTION_NAMES, Table
from memdb.store.transaction import Transaction


def named(txn: Transaction, id_key: bytes, name: str) -> int | None:
    """Number of the question of a name; raises `DataLoss`."""
    key = schema.standing_name_key(id_key, name)
    stored = txn.get(Table.META, key)
    return None if stored is None else unpack(Table.META, key, stored, NumberRecord).no


def put(txn: Transaction, id_key: bytes, name: str, no: int) -> None:
    """Give a name to a question."""
    key = schema.standing_name_key(id_key, name)
    txn.put(Table.META, key, pack(key, NumberRecord(no)))


def remove(txn: Transaction, id_key: bytes, record: StandingRecord) -> None:
    """Free the name of a question that goes, if it has one."""
    if record.name:
        txn.delete(Table.META, schema.standing_name_key(id_key, record.name))


def damage(txn: Transaction, named_nos: set[int]) -> list[tuple[str, str]]:
    """(where, what) is wrong with the names.

    named_nos: numbers of the questions that have one.
    """
    found: list[tuple[str, str]] = []
    told: set[int] = set()
    for key, stored in txn.scan(Table.META, META_QUESTION_NAMES):
        where = f"{Table.META.value}/{key.hex()}"
        try:
            no = unpack(Table.META, key, stored, NumberRecord).no
        except DataLoss as error:
            found.append((where, str(error)))
            continue
        told.add(no)
        if no not in named_nos:
            found.append(
                (where, f"names standing question {no}, which is not there or has no name")
            )
    where = f"{Table.META.value}/{META_QUESTION_NAMES.hex()}"
    found += [(where, f"the name of standing question {no} is missing") for no in named_nos - told]
    return found

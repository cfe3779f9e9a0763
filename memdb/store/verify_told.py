"""Whether facts, their keys and values are those that the log tells of.

Nothing else says how many there should be: an old page in the place of a newer one, or a fault of our own, could take
one away, and what is left would look whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from memdb import deadline
from memdb.store import schema
from memdb.store.records import FactRecord, LogRecord, NumberRecord, unpack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction


def untold(txn: Transaction) -> Iterator[tuple[str, str]]:
    """(where, what) is there and in no commit, or the other way; raises `DataLoss` where something cannot be read."""
    facts, values = _told(txn)
    there = {schema.split_version_key(key) for key in txn.keys(Table.FACTS)}
    of_commits = {(no, birth) for no, births in facts.items() for birth in births}
    for no, birth in sorted(there ^ of_commits):
        where = f"{Table.FACTS.value}/{schema.version_key(no, birth).hex()}"
        yield where, _what(birth, is_there=(no, birth) in there)
    kept = {schema.split_value_key(key) for key in txn.keys(Table.VALUES)}
    put = {(name, birth) for name, births in values.items() for birth in births}
    for name, birth in sorted(kept ^ put):
        where = f"{Table.VALUES.value}/{schema.value_key(name, birth).hex()}"
        yield where, _what(birth, is_there=(name, birth) in kept)
    yield from _keys(txn)


def _what(birth: int, *, is_there: bool) -> str:
    if is_there:
        return f"the log has no such version of commit {birth}"
    return f"is missing: the log has it of commit {birth}"


def _told(txn: Transaction) -> tuple[dict[int, list[int]], dict[str, list[int]]]:
    """Commits of the versions of each fact, by number, and of each value, by key, that should be there."""
    facts: dict[int, list[int]] = {}
    values: dict[str, list[int]] = {}
    for key, stored in txn.scan(Table.LOG):
        deadline.check()
        birth = int.from_bytes(key, "big")
        for entry in unpack(Table.LOG, key, stored, LogRecord).entries:
            match entry.kind:
                case "fact":
                    facts.setdefault(entry.no, []).append(birth)
                case "forget":
                    facts.pop(entry.no, None)
                case "value":
                    values.setdefault(entry.name, []).append(birth)
                case "remove-value":
                    values.pop(entry.name, None)
                case _:
                    pass
    return facts, values


def _keys(txn: Transaction) -> Iterator[tuple[str, str]]:
    """What the keys of facts and the facts say of each other."""
    keyed: dict[bytes, int] = {}
    for key, stored in txn.scan(Table.FACTS):
        deadline.check()
        name = unpack(Table.FACTS, key, stored, FactRecord).key
        if name is not None:
            keyed[name.encode()] = schema.split_version_key(key)[0]
    held = {
        key: unpack(Table.FACT_KEYS, key, stored, NumberRecord).no
        for key, stored in txn.scan(Table.FACT_KEYS)
    }
    for key in sorted(keyed.keys() | held.keys()):
        if keyed.get(key) != held.get(key):
            yield f"{Table.FACT_KEYS.value}/{key.hex()}", "is not the key of the fact that has it"

"""Whether facts, their keys, values, snapshots and policies are those that the log tells of.

Nothing else says how many there should be: an old page in the place of a newer one, or a fault of our own, could take
one away, and what is left would look whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

import xxhash

from memdb import deadline
from memdb.errors import DataLoss
from memdb.store import schema
from memdb.store.records import (
    FactRecord,
    LogEntry,
    LogRecord,
    NumberRecord,
    SnapshotRecord,
    unpack,
)
from memdb.store.schema import Table
from memdb.store.transaction import Transaction

_MISSING: Final = "is missing: the log has a policy of this stream"


@dataclass(slots=True)
class _Told:
    """What should be there."""

    facts: dict[int, list[int]] = field(default_factory=dict)
    """Commits of the versions of each fact, by number."""
    values: dict[str, list[int]] = field(default_factory=dict)
    """The same of each value, by key."""
    snapshots: dict[bytes, tuple[int, SnapshotRecord]] = field(default_factory=dict)
    """By name; each with how many were made until then."""
    made_ns: list[int] = field(default_factory=list)
    """When they were made, those too that are there no more."""
    policies: dict[int, int | None] = field(default_factory=dict)
    """By stream, `LogEntry.content`."""

    def add(self, birth: int, entry: LogEntry) -> None:
        """An entry of a commit."""
        match entry.kind:
            case "fact":
                self.facts.setdefault(entry.no, []).append(birth)
            case "forget":
                self.facts.pop(entry.no, None)
            case "value":
                self.values.setdefault(entry.name, []).append(birth)
            case "remove-value":
                self.values.pop(entry.name, None)
            case "snapshot":
                record = SnapshotRecord(entry.no, entry.created_ns, entry.expires_ns)
                self.made_ns.append(entry.created_ns)
                self.snapshots[entry.name.encode()] = len(self.made_ns), record
            case "release":
                self.snapshots.pop(entry.name.encode(), None)
            case "retention":
                self.policies[entry.no] = entry.content
            case "remove-stream":
                self.policies.pop(entry.no, None)
            case _:
                pass


def untold(txn: Transaction) -> Iterator[tuple[str, str]]:
    """(where, what) is there and in no commit, or the other way, or cannot be read; raises `DataLoss` where the log
    cannot be.
    """
    told = _Told()
    for key, stored in txn.scan(Table.LOG):
        deadline.check()
        birth = int.from_bytes(key, "big")
        for entry in unpack(Table.LOG, key, stored, LogRecord).entries:
            told.add(birth, entry)
    for check in (_facts, _values, _keys, _snapshots, _policies):
        try:
            yield from check(txn, told)
        except DataLoss as error:  # what is damaged in one table hides nothing in the others
            yield error.field or "tables", str(error)


def _facts(txn: Transaction, told: _Told) -> Iterator[tuple[str, str]]:
    there = {schema.split_version_key(key) for key in txn.keys(Table.FACTS)}
    of_commits = {(no, birth) for no, births in told.facts.items() for birth in births}
    for no, birth in sorted(there ^ of_commits):
        where = f"{Table.FACTS.value}/{schema.version_key(no, birth).hex()}"
        yield where, _what(birth, is_there=(no, birth) in there)


def _values(txn: Transaction, told: _Told) -> Iterator[tuple[str, str]]:
    kept = {schema.split_value_key(key) for key in txn.keys(Table.VALUES)}
    put = {(name, birth) for name, births in told.values.items() for birth in births}
    for name, birth in sorted(kept ^ put):
        where = f"{Table.VALUES.value}/{schema.value_key(name, birth).hex()}"
        yield where, _what(birth, is_there=(name, birth) in kept)


def _what(birth: int, *, is_there: bool) -> str:
    if is_there:
        return f"the log has no such version of commit {birth}"
    return f"is missing: the log has it of commit {birth}"


def _snapshots(txn: Transaction, told: _Told) -> Iterator[tuple[str, str]]:
    """Those that were made and not released, but for those that had run out when a later one was made: it may have
    taken their room.
    """
    latest_ns = [*accumulate(reversed(told.made_ns), max)][::-1]
    there = set(txn.keys(Table.SNAPSHOTS))
    for name in sorted(there | told.snapshots.keys()):
        where = f"{Table.SNAPSHOTS.value}/{name.hex()}"
        if name not in told.snapshots:
            yield where, "the log has no such snapshot"
            continue
        number, record = told.snapshots[name]
        if name in there:
            if _snapshot(txn, name) not in (record, None):
                yield where, f"is not the snapshot that the log has of commit {record.revision}"
        elif number == len(latest_ns) or latest_ns[number] < record.expires_ns:
            yield where, _what(record.revision, is_there=False)


def _snapshot(txn: Transaction, name: bytes) -> SnapshotRecord | None:
    """None where it is damaged, which is told as that."""
    try:
        stored = txn.get(Table.SNAPSHOTS, name)
        assert stored is not None, "its name was there in this transaction"
        return unpack(Table.SNAPSHOTS, name, stored, SnapshotRecord)
    except DataLoss:
        return None


def _policies(txn: Transaction, told: _Told) -> Iterator[tuple[str, str]]:
    """Those that were set last, of which the log says how they were since this release."""
    there = {int.from_bytes(key, "big"): key for key in txn.keys(Table.RETENTION)}
    for no in sorted(there.keys() | told.policies.keys()):
        key = schema.number_key(no)
        where = f"{Table.RETENTION.value}/{key.hex()}"
        if no not in told.policies:
            yield where, "the log has no policy of this stream"
            continue
        content = told.policies[no]
        stored = txn.get(Table.RETENTION, key)
        found = 0 if stored is None else xxhash.xxh3_64_intdigest(stored)
        if content is not None and found != content:
            yield where, "is not the stream's policy, as the log has it" if found else _MISSING


def _keys(txn: Transaction, _: _Told) -> Iterator[tuple[str, str]]:
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

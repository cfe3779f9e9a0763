"""Reading the facts and values of an export into a user, version by version.

Versions are compared by what they say, in their order.  Of each only a digest is held, of the export as of the
user: a value may have a megabyte, and a thousand versions of it a gigabyte.  So the files are read once to check
them, once to compare, and once more to write what is not there.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from memdb.errors import NotFound
from memdb.portable.layout import FACTS, VALUES
from memdb.portable.rows import reading, rows_of
from memdb.types.database import User
from memdb.types.fact import Fact
from memdb.types.json_value import value_to_json
from memdb.types.validity import OPEN

_Version = tuple[Any, ...]
"""What a version of a fact says: text, about, key, validity, evidence."""
_DIGEST_BYTES: Final = 16
_REMOVED: Final = object()
"""In the place of a value that was removed since."""


@dataclass(frozen=True, slots=True)
class History:
    """The facts and values of an export, which are as the format says."""

    folder: Path
    facts: int
    """Versions."""
    values: int
    """Versions."""
    cited: set[str]
    """Ids of clips that facts name as evidence."""


@dataclass(frozen=True, slots=True)
class HistoryWritten:
    """What was written of a history."""

    facts: int
    """Versions."""
    values: int
    """Versions."""
    evidence_dropped: int
    """References to clips that the export does not hold."""


def checked_history(folder: Path) -> History:
    """Read both files; raises `DataLoss` (``BAD_EXPORT``) naming the one that is not as the format says."""
    facts = values = 0
    cited: set[str] = set()
    with reading(FACTS):
        for row in rows_of(folder / FACTS):
            _version(row, {})
            cited.update(row["evidence"])
            facts += 1
    with reading(VALUES):
        for _ in _values(folder):
            values += 1
    return History(folder, facts, values, cited)


def write_history(user: User, history: History, ids: Mapping[str, str]) -> HistoryWritten:
    """Write what the user has not, in the order of the export's commits.

    ids: the user's clips by the ids that facts cite them under.
    """
    known = _known(user)
    facts, dropped = _write_facts(user, history.folder, ids, known)
    values = _write_values(user, history.folder, known)
    return HistoryWritten(facts, values, dropped)


@dataclass(slots=True)
class _Known:
    """Versions that the user has, as digests."""

    facts: defaultdict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """Of each fact, by id."""
    names: defaultdict[object, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Ids of facts by what one is looked for by."""
    values: defaultdict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """Of each value, by key."""


def _known(user: User) -> _Known:
    known = _Known()
    try:
        for change in user.watch(from_revision=0, follow=False):
            if change.kind == "fact" and change.fact is not None:
                version = _version_of(change.fact)
                if change.fact.id not in known.facts:
                    known.names[_name(version)].append(change.fact.id)
                known.facts[change.fact.id].append(_digest(version))
            elif change.kind == "value" and change.key is not None:
                value = user.get(change.key, _REMOVED, as_of=change.revision)
                if value is _REMOVED:
                    continue
                known.values[change.key].append(_digest(value_to_json(value)))
    except NotFound as error:
        if error.reason != "USER_NOT_FOUND":
            raise
    return known


def _digest(said: object) -> bytes:
    """(16,) bytes that tell apart what versions say."""
    return hashlib.blake2b(json.dumps(said).encode("ascii"), digest_size=_DIGEST_BYTES).digest()


def _present(wanted: Sequence[bytes], there: Sequence[bytes]) -> int:
    """How many of ``wanted``, from its first, stand in ``there`` in this order."""
    count = 0
    for item in there:
        if count < len(wanted) and item == wanted[count]:
            count += 1
    return count


# -- facts


@dataclass(slots=True)
class _Copy:
    """A fact of the export while its versions are passed."""

    fact_id: str | None
    """In the user's memory; None where nothing of it is there."""
    present: int
    """So many of its next versions are there."""
    had_end: bool = False
    """Whether the version before has one."""


def _version(row: dict[str, Any], ids: Mapping[str, str]) -> _Version:
    return (
        row["text"],
        tuple(row["about"]),
        row["key"],
        row["valid_from_ns"],
        row["valid_to_ns"],
        tuple(ids[clip] for clip in row["evidence"] if clip in ids),
    )


def _version_of(fact: Fact) -> _Version:
    return (
        fact.text, fact.about, fact.key, fact.valid_from_ns, fact.valid_to_ns, fact.evidence,
    )  # fmt: skip


def _name(first: _Version) -> object:
    """What a fact is looked for by: its key, or its first version."""
    key: str | None = first[2]
    return _digest(first) if key is None else key


def _copies(folder: Path, ids: Mapping[str, str], known: _Known) -> dict[str, _Copy]:
    """What is there of each fact of the export."""
    names: dict[str, object] = {}
    wanted: defaultdict[str, list[bytes]] = defaultdict(list)
    for row in rows_of(folder / FACTS):
        version = _version(row, ids)
        if row["id"] not in names:
            names[row["id"]] = _name(version)
        wanted[row["id"]].append(_digest(version))
    copies: dict[str, _Copy] = {}
    for exported, name in names.items():
        versions = wanted.pop(exported)
        candidates = known.names.get(name, [])
        fact_id = max(
            candidates, key=lambda one: _present(versions, known.facts[one]), default=None
        )
        there = 0 if fact_id is None else _present(versions, known.facts[fact_id])
        if fact_id is not None and there:
            candidates.remove(fact_id)
        else:
            fact_id = None
        copies[exported] = _Copy(fact_id, there)
    return copies


def _write_facts(
    user: User, folder: Path, ids: Mapping[str, str], known: _Known
) -> tuple[int, int]:
    """How many versions are written, and how many of their references are dropped."""
    copies = _copies(folder, ids, known)
    written = dropped = 0
    for row in rows_of(folder / FACTS):
        dropped += sum(clip not in ids for clip in row["evidence"])
        copy, version = copies[row["id"]], _version(row, ids)
        if copy.present:
            copy.present -= 1
        else:
            copy.fact_id = _write_fact(user, copy.fact_id, version, had_end=copy.had_end)
            written += 1
        copy.had_end = row["valid_to_ns"] is not None
    return written, dropped


def _write_fact(user: User, fact_id: str | None, version: _Version, *, had_end: bool) -> str:
    text, about, key, valid_from, valid_to, evidence = version
    if fact_id is None or key is not None:
        # Under a key the next statement is the next version, whichever fact holds it.
        fact = user.remember(
            text,
            about=about,
            key=key,
            valid_from=valid_from,
            valid_to=valid_to,
            evidence=evidence,
        )
    else:
        fact = user.revise(
            fact_id,
            text=text,
            about=about,
            valid_from=valid_from,
            valid_to=OPEN if valid_to is None and had_end else valid_to,
            evidence=evidence,
        )
    return fact.id


# -- values


def _values(folder: Path) -> Iterator[tuple[str, str]]:
    """Key and JSON of each version."""
    for row in rows_of(folder / VALUES):
        yield row["key"], value_to_json(json.loads(row["json"]))


def _write_values(user: User, folder: Path, known: _Known) -> int:
    wanted: defaultdict[str, list[bytes]] = defaultdict(list)
    for key, text in _values(folder):
        wanted[key].append(_digest(text))
    present = {
        key: _present(versions, known.values.get(key, ())) for key, versions in wanted.items()
    }
    written = 0
    for key, text in _values(folder):
        if present[key]:
            present[key] -= 1
            continue
        user.put(key, json.loads(text))
        written += 1
    return written

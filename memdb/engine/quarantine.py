"""What of a user is damaged, found when it cannot be loaded as a whole.

A damaged value costs one clip: it is left out of the indexes, told in the gaps of whoever asks about its
stream and time, and refused by name to whoever wants it or sends its number again.  A version of a
clip stands under the same key in two tables, so an entry whose key was damaged shows as one that
lacks its twin.  A fact whose text's feature is damaged stays, since its words are whole, and is found by
them alone.  Other tables have no twin: where one of their entries is damaged, the table is
*suspect*, and what it says of anything may be wrong, so those calls are refused and all others go on.

What everything else hangs on (counters, spaces, streams, policies) cannot be left out: damage there
keeps the one user closed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from memdb.errors import DataLoss
from memdb.store import schema, standing
from memdb.store.envelope import Kind, unseal
from memdb.store.records import ClipRecord, FactRecord, LedgerRecord, unpack
from memdb.store.rows import Row, unpack_row
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.stream import Gap

_SUSPECTS: Final = {
    Table.VALUES: Kind.RECORD,
    Table.SNAPSHOTS: Kind.RECORD,
    Table.FACT_KEYS: Kind.RECORD,
    Table.FACTS: Kind.RECORD,
}

T = TypeVar("T")
K = TypeVar("K", bound=tuple[int, ...])
Version = tuple[int, int]
"""(clip number, birth)."""
Number = tuple[int, int, int]
"""(stream number, epoch, seq)."""


@dataclass(frozen=True, slots=True)
class DamagedClip:
    """A version of a clip that cannot be read whole."""

    clip_no: int
    birth: int
    stream_no: int
    epoch: int
    seq: int
    start_ns: int | None
    end_ns: int | None
    sealed: bool = True
    death: int | None = None
    """The revision at which another version took its place, None of the newest: at others it is nobody's loss."""

    def is_of(self, revision: int) -> bool:
        """Whether it is what the clip was at a revision."""
        return self.birth <= revision and (self.death is None or revision < self.death)

    def touches(self, start_ns: int | None, end_ns: int | None) -> bool:
        """Whether it belongs to [start_ns, end_ns), as far as one knows."""
        if self.start_ns is None or self.end_ns is None:
            return True
        # One of no length counts as a point, as a whole clip does.
        return (end_ns is None or self.start_ns < end_ns) and (
            start_ns is None or self.end_ns > start_ns or self.start_ns >= start_ns
        )


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The damage of one user, as of its opening."""

    versions: frozenset[Version] = frozenset()
    """Versions that are left out, also those of which nothing more is known."""
    clips: tuple[DamagedClip, ...] = ()
    numbers: frozenset[Number] = frozenset()
    """Numbers that must not be written: what they hold cannot be told."""
    suspect: frozenset[Table] = frozenset()
    """Tables whose look-ups cannot be trusted."""
    standing_suspect: bool = False
    """Whether a standing question is damaged, or hidden."""
    facts: frozenset[Version] = frozenset()
    """Versions of facts, (number, birth), that are whole but for what they were found by: their
    text's feature."""
    notes: tuple[tuple[str, str], ...] = field(default=())
    """(where, what) of everything that was found."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is damaged."""
        return not self.notes

    def with_more(self, found: Iterable[DamagedClip]) -> Quarantine:
        """What was known, and clips that were found since."""
        known = set(self.clips)
        new = [clip for clip in dict.fromkeys(found) if clip not in known]
        return replace(
            self,
            versions=self.versions | {(clip.clip_no, clip.birth) for clip in new},
            clips=(*self.clips, *new),
            numbers=self.numbers | _numbers(new),
            notes=(*self.notes, *((f"clips/{clip.clip_no}", "found by a read") for clip in new)),
        )

    def succeeded(self, clip_nos: Container[int], revision: int) -> Quarantine:
        """What was known, where a commit has written other versions of these clips in the place of what is damaged."""
        ended = {clip for clip in self.clips if _ends(clip, clip_nos, revision)}
        if not ended:
            return self
        clips = (replace(clip, death=revision) if clip in ended else clip for clip in self.clips)
        return replace(self, clips=tuple(clips), numbers=self.numbers - _numbers(ended))

    def check(self, *tables: Table) -> None:
        """Raise `DataLoss` (``QUARANTINED``) for a table that is suspect."""
        for table in tables:
            if table in self.suspect:
                raise DataLoss(
                    "the table has damaged entries: restore the user, or see `memdb verify`",
                    reason="QUARANTINED",
                    field=table.value,
                )

    def check_standing(self) -> None:
        """Raise `DataLoss` (``QUARANTINED``) where standing questions are suspect."""
        if self.standing_suspect:
            raise DataLoss(
                "a standing question is damaged: restore the user, or see `memdb verify`",
                reason="QUARANTINED",
                field="standing",
            )

    def refusal(self, stream_no: int, epoch: int, seq: int) -> DataLoss | None:
        """Why a number cannot be written, None when it can."""
        if (stream_no, epoch, seq) not in self.numbers:
            return None
        return DataLoss(
            "the clip under this number is damaged",
            reason="QUARANTINED",
            field="clip.seq",
            value=seq,
        )

    def free_seq(self, stream_no: int, epoch: int, seq: int) -> int:
        """The first number from ``seq`` on that may be written."""
        while (stream_no, epoch, seq) in self.numbers:
            seq += 1
        return seq

    def gaps(
        self, names: dict[int, str], revision: int, start_ns: int | None, end_ns: int | None
    ) -> list[Gap]:
        """The clips of streams (number -> name) that are damaged as they were at ``revision``, and touch a time."""
        newest: dict[Number, DamagedClip] = {}
        for clip in self.clips:
            if clip.stream_no in names and clip.is_of(revision) and clip.touches(start_ns, end_ns):
                known = newest.setdefault((clip.stream_no, clip.epoch, clip.seq), clip)
                if known.birth < clip.birth:
                    newest[clip.stream_no, clip.epoch, clip.seq] = clip
        return [damaged_gap(names[clip.stream_no], clip) for clip in newest.values()]


NOTHING_DAMAGED: Final = Quarantine()


def damaged_gap(stream: str, clip: DamagedClip) -> Gap:
    """How a damaged clip is told."""
    return Gap(stream, clip.epoch, clip.seq, clip.seq, clip.start_ns, clip.end_ns, "damaged")


def heavy_part(place: str) -> tuple[int, int] | None:
    """(clip number, birth) of short-term memory or a keyframe, None for any other place."""
    table, _, digits = place.partition("/")
    try:
        key = bytes.fromhex(digits)
        if table == Table.SHORT_MEMORY:
            return schema.split_version_key(key)
        if table == Table.KEYFRAMES:
            return schema.split_keyframe_key(key)[:2]
    except (ValueError, DataLoss):
        return None  # the name of a file, or a key that is damaged itself
    return None


def inspect(txn: Transaction) -> Quarantine:
    """Look at every entry that a user is loaded from; raises `DataLoss` where keys are out of order."""
    notes: list[tuple[str, str]] = []
    clips = _opened(txn, Table.CLIPS, schema.split_version_key, _record, notes)
    rows = _opened(txn, Table.VECTORS, schema.split_vector_key, _row, notes)
    ledger = _opened(txn, Table.LEDGER, schema.split_ledger_key, _ledger, notes)
    known = {(clip_no, birth): row for (_, clip_no, birth), row in rows.items()}
    there: set[Version] = {version for version in clips if version in known}
    damaged = {v for v in there if clips[v] is None or known[v] is None}
    damaged |= {v for v, row in known.items() if row is not None and v not in clips}
    damaged |= {v for v, record in clips.items() if record is not None and v not in known}
    damaged.update(_without_twins(ledger, there, clips.keys() | known.keys()))
    notes += [
        (f"clips/{schema.version_key(*v).hex()}", "a version lacks its record or its vector")
        for v in sorted(damaged)
        if not (v in clips and v in known)
    ]
    damaged.update(_without_features(txn, clips, notes))
    found = _found(ledger, known, clips, damaged)
    numbers = {number for number, row in ledger.items() if row is None}
    for row in known.values():
        if row is not None and ledger.get((row.stream_no, row.epoch, row.seq)) is None:
            numbers.add((row.stream_no, row.epoch, row.seq))
    numbers |= _numbers(found)
    facts = frozenset(_facts_without_features(txn, notes))
    suspect: set[Table] = set()
    for table, kind in _SUSPECTS.items():
        before = len(notes)
        for key, stored in txn.scan(table):
            _noted(notes, table, key, lambda: unseal(table, key, stored, kind))  # noqa: B023
        if len(notes) > before:
            suspect.add(table)
    before = len(notes)
    notes += standing.damage(txn)
    return Quarantine(
        versions=frozenset(damaged),
        clips=tuple(found),
        numbers=frozenset(numbers),
        suspect=frozenset(suspect),
        standing_suspect=len(notes) > before,
        facts=facts,
        notes=tuple(notes),
    )


def _found(
    ledger: dict[Number, LedgerRecord | None],
    rows: dict[Version, Row | None],
    records: dict[Version, ClipRecord | None],
    damaged: set[Version],
) -> list[DamagedClip]:
    """Versions that are damaged, as far as rows, records or the ledger tell what they are."""
    found: list[DamagedClip] = []
    by_clip = {row.clip_no: number for number, row in ledger.items() if row is not None}
    births: dict[int, list[int]] = {}
    # Of keys that are damaged themselves nothing is believed.
    whole = {version for version, row in rows.items() if row is not None and records.get(version)}
    for clip_no, birth in sorted(whole | damaged):
        births.setdefault(clip_no, []).append(birth)
    for clip_no, birth in sorted(damaged):
        later = births[clip_no][births[clip_no].index(birth) + 1 :]
        death = later[0] if later else None
        what = rows.get((clip_no, birth)) or records.get((clip_no, birth))
        number = by_clip.get(clip_no)
        if what is not None:
            its_number = what.stream_no, what.epoch, what.seq
            times = what.start_ns, what.end_ns
            found.append(DamagedClip(clip_no, birth, *its_number, *times, what.sealed, death))
        elif number is not None:
            found.append(DamagedClip(clip_no, birth, *number, None, None, death=death))
    return found


def _numbers(clips: Iterable[DamagedClip]) -> set[Number]:
    """Those of which nobody can tell what they hold now."""
    return {(clip.stream_no, clip.epoch, clip.seq) for clip in clips if clip.death is None}


def _ends(clip: DamagedClip, clip_nos: Container[int], revision: int) -> bool:
    return clip.death is None and clip.birth < revision and clip.clip_no in clip_nos


def _without_twins(
    ledger: dict[Number, LedgerRecord | None], there: set[Version], found: Iterable[Version]
) -> Iterator[Version]:
    """Versions that the ledger knows of and that are not in both tables, as where of one the value is damaged and of
    the other the key.

    found: those that are in one of the tables, under keys that may be damaged."""
    newest = {row.clip_no: row.birth for row in ledger.values() if row is not None}
    for row in ledger.values():
        if row is not None and not row.removed and (row.clip_no, row.birth) not in there:
            yield row.clip_no, row.birth
    for version in found:
        clip_no, birth = version
        if version not in there and birth < newest.get(clip_no, 0):
            yield version


def _opened(
    txn: Transaction,
    table: Table,
    split: Callable[[bytes], K],
    read: Callable[[bytes, memoryview], T],
    notes: list[tuple[str, str]],
) -> dict[K, T | None]:
    """By the parts of their keys the values of a table, None for those that cannot be read."""
    found: dict[K, T | None] = {}
    for key, stored in txn.scan(table):
        parts = _noted(notes, table, key, lambda: split(key))  # noqa: B023
        if parts is not None:
            found[parts] = _noted(notes, table, key, lambda: read(key, stored))  # noqa: B023
    return found


def _record(key: bytes, stored: memoryview) -> ClipRecord:
    return unpack(Table.CLIPS, key, stored, ClipRecord)


def _row(key: bytes, stored: memoryview) -> Row:
    return unpack_row(Table.VECTORS, key, stored)[0]


def _ledger(key: bytes, stored: memoryview) -> LedgerRecord:
    return unpack(Table.LEDGER, key, stored, LedgerRecord)


def _without_features(
    txn: Transaction,
    clips: dict[Version, ClipRecord | None],
    notes: list[tuple[str, str]],
) -> Iterator[Version]:
    """Versions whose transcripts came with features that are damaged or missing."""
    for (clip_no, birth), record in clips.items():
        if record is None or record.text_space_no is None:
            continue
        for index in range(len(record.transcript)):
            key = schema.text_key(record.text_space_no, schema.UTTERANCE, clip_no, index, birth)
            if not _has_feature(txn, key, notes):
                yield clip_no, birth


def _facts_without_features(txn: Transaction, notes: list[tuple[str, str]]) -> Iterator[Version]:
    """Versions of facts that came with a feature which is damaged or missing."""
    for key, stored in txn.scan(Table.FACTS):
        try:
            fact_no, birth = schema.split_version_key(key)
            record = unpack(Table.FACTS, key, stored, FactRecord)
        except DataLoss:
            continue  # makes the table suspect, see `inspect`
        if record.text_space_no is not None:
            text_key = schema.text_key(record.text_space_no, schema.FACT, fact_no, 0, birth)
            if not _has_feature(txn, text_key, notes):
                yield fact_no, birth


def _has_feature(txn: Transaction, key: bytes, notes: list[tuple[str, str]]) -> bool:
    """Whether the feature under a key is there and whole; noted where it is not."""
    stored = txn.get(Table.TEXTS, key)
    if stored is None:
        notes.append((f"texts/{key.hex()}", "a text's feature is missing"))
        return False
    return _noted(notes, Table.TEXTS, key, lambda: unpack_row(Table.TEXTS, key, stored)) is not None


def _noted(
    notes: list[tuple[str, str]], table: Table, key: bytes, look: Callable[[], T]
) -> T | None:
    try:
        return look()
    except DataLoss as error:
        notes.append((f"{table.value}/{key.hex()}", str(error)))
        return None

"""The texts of a user as the store has them, every checksum verified, and the index made of them.

As columns, not text by text: most users that are opened are never asked for words, and what is made for
each utterance alone costs every opening.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Final

import numpy as np

from memdb.engine.quarantine import NOTHING_DAMAGED, Quarantine
from memdb.engine.validity import holds_from
from memdb.errors import DataLoss
from memdb.index.columns import ALIVE
from memdb.index.names import NAMELESS, ClipNames, clip_names
from memdb.index.partition import Partition
from memdb.index.text import PLACES, TextIndex, spoken
from memdb.index.text_filter import NO_END
from memdb.store import schema
from memdb.store.envelope import Kind
from memdb.store.key_arrays import split_version_keys
from memdb.store.opened import opened
from memdb.store.records import ClipRecord, FactRecord, decoded, unpack
from memdb.store.rows import NO_STREAM, unpack_row
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.store.verify import expect_entries
from memdb.types.arrays import Array

_END: Final = int(ALIVE)
_Names = dict[tuple[int, int], ClipNames]
"""By (clip number, birth)."""


class _Texts:
    """Texts in the order in which they are met."""

    def __init__(self, txn: Transaction) -> None:
        self._txn = txn
        self._texts: list[str] = []
        # One after the other: of as many tuples Python's collector would begin a round.
        self._places: list[int] = []
        self._deaths: list[int] = []
        self._features: list[tuple[int, int, Array]] = []
        self._about: list[tuple[int, tuple[str, ...]]] = []

    def __len__(self) -> int:
        return len(self._texts)

    def add(
        self,
        text: str,
        kind: int,
        no: int,
        index: int,
        birth: int,
        start_ns: int,
        end_ns: int,
        stream_no: int,
    ) -> None:
        """The next one."""
        self._texts.append(text)
        self._places += kind, no, index, birth, start_ns, end_ns, stream_no
        self._deaths.append(_END)

    def end(self, first: int, death: int) -> None:
        """Those from ``first`` on were superseded."""
        self._deaths[first:] = [death] * (len(self._deaths) - first)

    def feature(self, space_no: int) -> None:
        """The last one came with a feature; raises `DataLoss` where that is missing or damaged."""
        kind, no, index, birth = self._places[-7:-3]
        key = schema.text_key(space_no, kind, no, index, birth)
        stored = self._txn.get(Table.TEXTS, key)
        if stored is None:
            raise DataLoss(
                "a text's feature is missing", reason="MISSING", field=f"texts/{key.hex()}"
            )
        vector = unpack_row(Table.TEXTS, key, stored)[1].astype(np.float32)
        self._features.append((len(self._texts) - 1, space_no, vector))

    def about(self, things: tuple[str, ...]) -> None:
        """The last one is a fact about some things."""
        if things:
            self._about.append((len(self._texts) - 1, things))

    def index(self) -> TextIndex:
        """An index of them, in the order in which they were written."""
        index = TextIndex()
        if not self._texts:
            return index
        rows = np.empty(len(self._texts), PLACES)
        names = ("kind", "no", "index", "birth", "start_ns", "end_ns", "stream_no")
        columns = np.array(self._places, np.int64).reshape(-1, len(names)).T
        for name, column in zip(names, columns, strict=True):
            rows[name] = column
        rows["death"] = self._deaths
        order = np.lexsort((rows["no"], rows["kind"], rows["birth"]))
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        index.add_rows(
            rows[order],
            [self._texts[place] for place in order.tolist()],
            sorted(
                [(int(places[at]), no, feature) for at, no, feature in self._features],
                key=itemgetter(0),
            ),
            sorted([(int(places[at]), things) for at, things in self._about], key=itemgetter(0)),
        )
        return index


def load_texts(
    txn: Transaction, partitions: Mapping[int, Partition], quarantine: Quarantine = NOTHING_DAMAGED
) -> TextIndex:
    """Every utterance and fact version but what is damaged, with the features they came with; and
    what the rows of the partitions, which have no names yet, are called.

    Raises `DataLoss` for damage that ``quarantine`` does not name.
    """
    texts, names = _Texts(txn), _Names()
    _add_utterances(txn, quarantine, texts, names)
    if Table.FACTS not in quarantine.suspect:
        _add_facts(txn, quarantine, texts)
    if names:
        for partition in partitions.values():
            columns = partition.columns
            versions = zip(columns["clip_no"].tolist(), columns["birth"].tolist(), strict=True)
            partition.name([names.get(version, NAMELESS) for version in versions])
    return texts.index()


def _add_utterances(txn: Transaction, quarantine: Quarantine, texts: _Texts, names: _Names) -> None:
    """What was said; what the clips are called goes to ``names``, in the one scan of them."""
    last_no: int | None = None
    begin = found = 0
    for (clip_no, birth), record in _records(txn, quarantine):
        found += 1
        if last_no == clip_no:
            texts.end(begin, birth)
        last_no, begin = clip_no, len(texts)
        if record is None:
            continue
        if record.events or record.labels:
            names[clip_no, birth] = clip_names(
                [event.label for event in record.events], record.labels
            )
        for index, said in enumerate(record.transcript):
            texts.add(
                spoken(said.text, said.speaker),
                schema.UTTERANCE,
                clip_no,
                index,
                birth,
                said.start_ns,
                said.end_ns,
                record.stream_no,
            )
            if record.text_space_no is not None:
                texts.feature(record.text_space_no)
    expect_entries(txn, Table.CLIPS, found)


def _records(
    txn: Transaction, quarantine: Quarantine
) -> Iterator[tuple[tuple[int, int], ClipRecord | None]]:
    """((clip number, birth), record) of every version of a clip; None of one that is damaged.

    Raises `DataLoss` for damage that ``quarantine`` does not name.
    """
    if quarantine.is_empty:
        for block in opened(txn, Table.CLIPS, Kind.RECORD):
            versions = split_version_keys(block.keys).tolist()
            records = decoded(Table.CLIPS, block.keys, block.payloads(), ClipRecord)
            yield from zip(versions, records, strict=True)
        return
    for key, stored in txn.scan(Table.CLIPS):
        version = schema.split_version_key(key)
        record: ClipRecord | None = None
        if version not in quarantine.versions:
            with suppress(DataLoss):  # an entry under another's key
                record = unpack(Table.CLIPS, key, stored, ClipRecord)
        yield version, record


def _add_facts(txn: Transaction, quarantine: Quarantine, texts: _Texts) -> None:
    last_no: int | None = None
    found = 0
    for key, stored in txn.scan(Table.FACTS):
        found += 1
        fact_no, birth = schema.split_version_key(key)
        if last_no == fact_no:
            texts.end(len(texts) - 1, birth)
        last_no = fact_no
        record = unpack(Table.FACTS, key, stored, FactRecord)
        begin, end = holds_from(txn, record, birth), record.valid_to_ns
        end = NO_END if end is None else end
        texts.add(record.text, schema.FACT, fact_no, 0, birth, begin, end, NO_STREAM)
        texts.about(record.about)
        if record.text_space_no is not None and (fact_no, birth) not in quarantine.facts:
            texts.feature(record.text_space_no)
    expect_entries(txn, Table.FACTS, found)

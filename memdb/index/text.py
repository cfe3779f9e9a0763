"""Words and text features of a user's facts and utterances: BM25 and exact cosine, fused, at any
revision.

Words are scored by `memdb.index.bm25` over the documents alive at the asked revision, so an answer as
of a revision does not depend on what came later.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import numpy as np

from memdb.index.bm25 import bm25
from memdb.index.columns import ALIVE, Columns
from memdb.index.directions import unit_rows
from memdb.index.fusion import word_scores
from memdb.index.matrix import Matrix
from memdb.index.terms import forget_words
from memdb.index.text_cosines import TextCosines
from memdb.index.text_filter import EVERYTHING, FACT, TextFilter
from memdb.index.things import Things
from memdb.index.words import Words
from memdb.types.arrays import Array

_SEMANTIC_WEIGHT: Final = 0.3
GONE_MAX: Final = 4096
_COLUMNS: Final = [
    ("kind", np.uint8),
    ("no", np.uint64),
    ("index", np.uint32),
    ("birth", np.uint64),
    ("death", np.uint64),
    ("start_ns", np.int64),
    ("end_ns", np.int64),
    ("stream_no", np.uint32),
]
PLACES: Final = np.dtype(_COLUMNS)
_place: Final = attrgetter(*(name for name, _ in _COLUMNS))
"""What `_COLUMNS` hold of a document; all of a commit become one array, in one call of numpy."""


@dataclass(slots=True)
class Document:
    """One version of a text to be added; nobody changes one.

    Not frozen: it would take four times as long to make, and a commit makes one of every utterance.
    """

    kind: int
    no: int
    """Number of the clip or the fact."""
    index: int
    birth: int
    death: int
    start_ns: int
    """When an utterance was said; since when a fact is valid."""
    end_ns: int
    """Exclusive; of a fact without an end `memdb.index.text_filter.NO_END`."""
    stream_no: int
    text: str
    space_no: int | None
    feature: Array | None
    """(dim,) in space ``space_no``."""
    about: tuple[str, ...] = ()
    """The things that a fact is about."""


def spoken(text: str, speaker: str | None) -> str:
    """What an utterance is found by: its words and who said them."""
    return text if speaker is None else f"{speaker} {text}"


@dataclass(frozen=True, slots=True)
class Match:
    """One document of an answer."""

    kind: int
    no: int
    index: int
    birth: int
    score: float
    arms: dict[str, float]


@dataclass(frozen=True, slots=True)
class TextView:
    """The texts as of one commit."""

    documents: int
    columns: dict[str, Array]
    features: dict[int, TextCosines]
    """By number of the space."""
    words: Words
    things: Things

    def about(self, things: Sequence[str]) -> Array:
        """(n,) int64, ascending: the documents, of any time, that are facts about one of some things."""
        return self.things.rows(things, self.documents)

    def search(
        self,
        question: str,
        feature: Array | None,
        space_no: int | None,
        limit: int,
        as_of: int,
        which: TextFilter = EVERYTHING,
    ) -> list[Match]:
        """The ``limit`` best documents alive at ``as_of`` that ``which`` admits.

        score = 0.3 * max(cosine, 0) + 0.7 * words, or the second term alone without a feature; words
        as `memdb.index.fusion` scales them.  Documents that neither arm finds are left out.  What a word
        is worth depends on all documents alive, whatever is admitted.
        """
        count = self.documents
        if count == 0:
            return []
        column = self.columns
        alive = (column["birth"] <= np.uint64(as_of)) & (column["death"] > np.uint64(as_of))
        rows = which.rows(column, alive)
        if len(rows) == 0:
            return []
        found_words = bm25(self.words, question, alive)
        lexical = found_words.scores[rows]
        semantic = np.full(len(rows), np.nan, np.float32)
        fused = word_scores(lexical, found_words.ceiling)
        if feature is not None:
            fused = (1.0 - _SEMANTIC_WEIGHT) * fused
            cosines = None if space_no is None else self.features.get(space_no)
            if cosines is not None:
                likely = _likely(cosines, feature, rows, fused, limit)
                rows, lexical, fused = rows[likely], lexical[likely], fused[likely]
                semantic = cosines.of(feature, rows)
            fused = _SEMANTIC_WEIGHT * np.nan_to_num(np.maximum(semantic, 0.0)) + fused
        found = np.flatnonzero(fused > 0.0)
        order = found[np.lexsort((found, -fused[found]))][:limit]
        return [
            self._match(int(rows[at]), float(fused[at]), float(lexical[at]), float(semantic[at]))
            for at in order
        ]

    def _match(self, row: int, score: float, lexical: float, semantic: float) -> Match:
        arms: dict[str, float] = {}
        if lexical > 0.0:
            arms["lexical"] = lexical
        if not math.isnan(semantic):
            arms["semantic"] = semantic
        column = self.columns
        return Match(
            int(column["kind"][row]),
            int(column["no"][row]),
            int(column["index"][row]),
            int(column["birth"][row]),
            score,
            arms,
        )


def _likely(
    cosines: TextCosines, feature: Array, rows: Array, words: Array, limit: int
) -> Array | slice:
    """Which of some documents, ascending, may be among the ``limit`` best with these shares of their scores for words;
    what is left out has less than each of so many others.
    """
    near = cosines.near(feature, rows) if limit < len(rows) else None
    if near is None:
        return slice(None)
    # One without a feature has none of it, as one with a cosine below 0.
    about = np.nan_to_num(near.cosines.astype(np.float64))
    least = words + _SEMANTIC_WEIGHT * np.maximum(about - near.bound, 0.0)
    most = words + _SEMANTIC_WEIGHT * np.maximum(about + near.bound, 0.0)
    return np.flatnonzero(most >= np.partition(least, len(rows) - limit)[len(rows) - limit])


class TextIndex:
    """The growing side; one writer."""

    def __init__(self) -> None:
        self._columns = Columns(**dict(_COLUMNS))
        self._words = Words()
        self._things = Things()
        self._features: dict[int, tuple[Matrix, Columns]] = {}
        self._current: dict[tuple[int, int], list[int]] | None = None
        """See `_currently`."""
        self._gone: set[int] = set()
        """Documents that are gone and whose words are still here."""

    def add(self, documents: Sequence[Document]) -> None:
        """Add versions of texts, in order."""
        if not documents:
            return
        self.add_rows(
            np.array([_place(document) for document in documents], PLACES),
            [document.text for document in documents],
            [
                (row, document.space_no, document.feature)
                for row, document in enumerate(documents)
                if document.feature is not None and document.space_no is not None
            ],
            [(row, document.about) for row, document in enumerate(documents) if document.about],
        )

    def add_rows(
        self,
        rows: Array,
        texts: Sequence[str],
        features: Sequence[tuple[int, int, Array]],
        about: Sequence[tuple[int, tuple[str, ...]]] = (),
    ) -> None:
        """`add`, column by column.

        rows: (n,) `PLACES`; features: (which of them, number of the space, feature), in order; about: (which of
        them, what it is about), in order.
        """
        first = self._columns.rows
        # Before the rows: whoever takes a view meanwhile asks for no text that does not wait.
        self._words.add(texts)
        self._columns.append(**{name: rows[name] for name in PLACES.names or ()})
        for row, space_no, feature in features:
            self._add_feature(first + row, space_no, feature)
        for row, things in about:
            self._things.add(first + row, things)
        if self._current is not None:
            self._note_current(self._current, rows, first)

    def _currently(self) -> dict[tuple[int, int], list[int]]:
        """Rows of the current versions, by (kind, number); made when a text is first superseded or
        removed, which many a user's never are."""
        if self._current is None:
            self._current = {}
            columns = self._columns.views()
            self._note_current(self._current, columns, 0)
        return self._current

    @staticmethod
    def _note_current(current: dict[tuple[int, int], list[int]], rows: Any, first: int) -> None:
        alive = np.flatnonzero(rows["death"] == ALIVE)
        for row, kind, no in zip(
            (alive + first).tolist(),
            rows["kind"][alive].tolist(),
            rows["no"][alive].tolist(),
            strict=True,
        ):
            current.setdefault((kind, no), []).append(row)

    def _add_feature(self, row: int, space_no: int, feature: Array) -> None:
        if space_no not in self._features:
            self._features[space_no] = (Matrix(feature.shape[0]), Columns(document=np.int64))
        matrix, documents = self._features[space_no]
        matrix.append(unit_rows(feature[None]))
        documents.append(document=row)

    def end(self, kind: int, no: int, death: int) -> None:
        """End the current versions of the texts of a clip or fact."""
        for row in self._currently().pop((kind, no), []):
            self._columns.set("death", row, death)

    def drop(self, kind: int, nos: Sequence[int]) -> None:
        """Make every version of some texts unfindable at any revision, and lose their words and
        features, once half of the documents are gone: the postings and features are rebuilt without them.
        """
        columns = self._columns.views()
        chosen = (columns["kind"] == kind) & np.isin(columns["no"], np.array(nos, np.uint64))
        rows = np.flatnonzero(chosen & (columns["birth"] != ALIVE))
        if not len(rows):
            return
        current = self._currently()
        self._columns.end_ever(rows)
        for no in nos:
            current.pop((kind, no), None)
        self._gone.update(rows.tolist())
        self._purge_many()

    def forget(self, fact_no: int, texts: Mapping[int, str], about: Collection[str] = ()) -> None:
        """`drop` of a fact, birth -> text of its versions, whose words and features, and what they were about, are lost
        at once: what they say must not stay behind.
        """
        columns = self._columns.views()
        chosen = (columns["kind"] == FACT) & (columns["no"] == fact_no)
        rows = np.flatnonzero(chosen & (columns["birth"] != ALIVE))
        if not len(rows):
            return
        births = columns["birth"][rows].tolist()
        self._currently().pop((FACT, fact_no), None)
        self._columns.end_ever(rows)
        self._gone.update(rows.tolist())
        self._things.forget(rows, about)
        if sorted(births) != sorted(texts):
            # Of two versions in one commit the store has the text of the last alone.
            self._purge()
            return
        self._words.forget(
            {row: texts[birth] for row, birth in zip(rows.tolist(), births, strict=True)}
        )
        forget_words()  # which were just looked up once more
        for matrix, documents in self._features.values():
            matrix.wipe(np.flatnonzero(np.isin(documents.views()["document"], rows)))
        self._purge_many()

    def drop_versions(self, kind: int, versions: Collection[tuple[int, int, int]]) -> None:
        """`drop` superseded versions, (number, birth, death) each; the version before one lasts
        until the one after it."""
        columns = self._columns.views()
        nos = np.array([no for no, _, _ in versions], np.uint64)
        rows = np.flatnonzero((columns["kind"] == kind) & np.isin(columns["no"], nos))
        taken = self._columns.take_versions("no", rows, versions)
        self._gone.update(taken.tolist())
        # A camera that never stops leaves such versions for ever.
        self._purge_many()

    def _purge_many(self) -> None:
        if len(self._gone) > max(GONE_MAX, self._columns.rows // 2):
            self._purge()

    def _purge(self) -> None:
        """Make everything anew without the documents that are gone; views keep the old."""
        there = self._columns.views()["birth"] != ALIVE
        places = np.cumsum(there) - 1
        self._gone = set()
        self._words = self._words.without(there, places)
        self._things = self._things.without(there, places)
        self._columns = self._columns.kept(np.flatnonzero(there))
        self._current = None
        for space_no, (matrix, documents) in list(self._features.items()):
            held = documents.views()["document"]
            kept_rows = np.flatnonzero(there[held])
            smaller, numbers = Matrix(matrix.dim), Columns(document=np.int64)
            if len(kept_rows):
                smaller.append(matrix.take(kept_rows))
                numbers.append(document=places[held[kept_rows]])
            self._features[space_no] = (smaller, numbers)

    def view(self) -> TextView:
        """What readers may use from now on; the writer makes it, between two changes."""
        return TextView(
            self._columns.rows,
            self._columns.views(),
            {
                space_no: TextCosines(matrix, matrix.rows, documents.views()["document"])
                for space_no, (matrix, documents) in self._features.items()
            },
            self._words,
            self._things,
        )

"""Which words are in which documents, counted when they are first asked for.

Splitting texts costs more than all the rest of indexing them, and most commits, and most opened
users, are never asked for words.  So texts wait as they came, and whoever asks first counts all that
wait; postings only grow, and a reader looks at no document beyond those of its view.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Final

import numpy as np

from memdb.index.columns import Columns
from memdb.types.arrays import Array

Postings = dict[str, list[tuple[int, int]]]
"""word -> (document, occurrences), documents ascending."""

_WORD: Final = re.compile(r"[^\W_]+")  # \w is `str.isalnum` and the underscore


def words(text: str) -> list[str]:
    """Lower-case runs of letters and digits; the possessive ``'s`` is dropped."""
    text = text.lower().replace("'s", " ").replace("\u2019s", " ")
    return _WORD.findall(text)


class Words:
    """The words of a growing list of documents; one writer adds, any readers ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[str] = deque()
        self._postings: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._lengths = Columns(length=np.uint32)

    def add(self, texts: Iterable[str]) -> None:
        """Documents that come next."""
        self._waiting.extend(texts)

    def known(self, documents: int) -> tuple[Postings, Array]:
        """Postings, and (documents,) u32 how many words each has, of at least the first
        ``documents`` documents.
        """
        with self._lock:
            first = self._lengths.rows
            lengths = [
                self._count(document, self._waiting.popleft())
                for document in range(first, documents)
            ]
            if lengths:
                self._lengths.append(length=np.array(lengths, np.uint32))
            return self._postings, self._lengths.views()["length"][:documents]

    def without(self, there: Array, places: Array) -> Words:
        """The words of the documents that are ``there``, (n,) bool, numbered anew by ``places``."""
        postings, lengths = self.known(len(there))
        kept = Words()
        for word, posted in postings.items():
            pairs = [(int(places[row]), occurrences) for row, occurrences in posted if there[row]]
            if pairs:
                kept._postings[word] = pairs
        kept._lengths.append(length=lengths[there])
        return kept

    def _count(self, document: int, text: str) -> int:
        found = words(text)
        counted: dict[str, int] = {}
        for word in found:
            counted[word] = counted.get(word, 0) + 1
        postings = self._postings
        for word, occurrences in counted.items():
            postings[word].append((document, occurrences))
        return len(found)

"""The words of documents, without some of them."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.index.words import Words

TEXTS = [f"{'red' if n % 3 else 'blue'} mug {n} {n} of {n % 7}" for n in range(60)]


def posted(words: Words, documents: int) -> dict[str, list[list[int]]]:
    """term -> its documents and how often."""
    postings, _ = words.known(documents)
    return {
        word: [column.tolist() for column in words.posted(word, documents)] for word in postings
    }


@pytest.mark.parametrize("gone", [[], [0], [59], [0, 1, 2, 30, 59], list(range(60))])
def test_words_without_some_documents_are_those_of_the_others(gone: list[int]) -> None:
    words, others = Words(), Words()
    words.add(TEXTS)
    there = ~np.isin(np.arange(len(TEXTS)), gone)
    kept = words.without(there, np.cumsum(there) - 1)
    left = [text for n, text in enumerate(TEXTS) if n not in gone]
    others.add(left)
    assert posted(kept, len(left)) == posted(others, len(left))
    assert kept.known(len(left))[1].tolist() == others.known(len(left))[1].tolist()
    # And they grow on.
    for one in (kept, others):
        one.add(["a red door"])
    assert posted(kept, len(left) + 1) == posted(others, len(left) + 1)


def test_no_words_without_anything() -> None:
    assert posted(Words().without(np.empty(0, bool), np.empty(0, np.int64)), 0) == {}


@pytest.mark.parametrize("counted", [0, 20, 60])
@pytest.mark.parametrize("gone", [[0], [59], [3, 19, 20, 58]])
def test_words_are_forgotten_whether_they_were_counted_or_not(
    gone: list[int], counted: int
) -> None:
    words, others = Words(), Words()
    words.add([*TEXTS, "a word of its own"])
    words.known(counted)
    words.forget({n: TEXTS[n] for n in gone})
    assert words._lengths.rows == counted  # nothing is counted for that
    others.add(["" if n in gone else text for n, text in enumerate(TEXTS)])
    assert posted(words, len(TEXTS)) == posted(others, len(TEXTS))
    words.forget({len(TEXTS): "a word of its own"})
    assert not words.known(len(TEXTS) + 1)[0].keys() & {"word", "own"}

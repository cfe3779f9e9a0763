"""The words of documents: as counted one by one, also without some of them."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdb.deadline import Deadline
from memdb.errors import DeadlineExceeded
from memdb.index.columns import Columns
from memdb.index.terms import STOP_TERMS, terms
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


SAID = (
    "",
    "the",
    "a red mug",
    "a red mug, the red mug",
    "Mugs",
    "\u00e9t\u00e9 \u0915\u093f",
    "blue dogs bark",
)


@given(st.lists(st.sampled_from(SAID) | st.text(max_size=4), max_size=40), st.integers(1, 40))
def test_texts_are_counted_at_once_as_one_by_one(texts: list[str], first: int) -> None:
    words = Words()
    words.add(texts)
    expected: dict[str, list[list[int]]] = {}
    for document, text in enumerate(texts):
        for term, times in Counter(terms(text)).items():
            documents, counts = expected.setdefault(term, [[], []])
            documents.append(document)
            counts.append(times)
    words.known(min(first, len(texts)))
    assert posted(words, len(texts)) == expected
    lengths = [sum(term not in STOP_TERMS for term in terms(text)) for text in texts]
    assert words.known(len(texts))[1].tolist() == lengths


@pytest.mark.parametrize("asked", [1, 5, 30])
@pytest.mark.parametrize("at", range(12))
def test_who_was_interrupted_while_texts_were_counted_moves_none(
    monkeypatch: pytest.MonkeyPatch, at: int, asked: int
) -> None:
    calls = 0

    class Interrupted(array):  # type: ignore[type-arg]
        def frombytes(self, buffer: object) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                raise KeyboardInterrupt
            super().frombytes(buffer)  # type: ignore[arg-type]

    words, others = Words(), Words()
    monkeypatch.setattr(words._postings, "default_factory", lambda: Interrupted("q"))
    words.add(TEXTS)
    with suppress(KeyboardInterrupt):
        words.known(30)
    # Who asks next may be on a view of before, or on one of more.
    with suppress(KeyboardInterrupt):
        words.known(asked)
    words.forget({3: TEXTS[3], 40: TEXTS[40]})
    words.add(["a red door"])
    others.add(["" if n in (3, 40) else text for n, text in enumerate(TEXTS)])
    others.add(["a red door"])
    assert posted(words, 61) == posted(others, 61)
    assert len(words.known(61)[1]) == 61


def test_who_was_interrupted_between_the_steps_of_it_moves_none_either() -> None:
    """Ctrl-C comes between any two lines."""
    expected = Words()
    expected.add([*TEXTS, "a red door"])
    interrupted, line = True, 0
    while interrupted:
        line += 1
        words = Words()
        words.add(TEXTS)
        interrupted = is_interrupted(partial(words.known, 30), line)
        words.add(["a red door"])
        assert posted(words, 61) == posted(expected, 61), line
    assert line > 10


def is_interrupted(work: Callable[[], object], at: int) -> bool:
    """Whether a call came to so many lines of `Words._count_some` and `Columns.append`, where it was interrupted."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if frame.f_code not in (Words._count_some.__code__, Columns.append.__code__):
            return None
        lines += event == "line"
        if lines == at:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_whoever_has_left_is_not_waited_for() -> None:
    words = Words()
    texts = [f"text {number}" for number in range(20_000)]
    words.add(texts)

    def left(work: Callable[[], Words | None]) -> Words | None:
        deadline = Deadline()

        def begun() -> Words | None:
            deadline.leave()
            return work()

        return deadline.within(begun)

    with pytest.raises(DeadlineExceeded):
        left(lambda: words.known(len(texts)) and None)
    assert 0 < words._lengths.rows < len(texts)
    # A commit clears away what is gone, whoever waits for it.
    everything = np.ones(len(texts), bool)
    kept = left(lambda: words.without(everything, np.arange(len(texts))))
    assert kept is not None
    assert kept._lengths.rows == len(texts)
    assert kept.posted("7", len(texts))[0].tolist() == [7]

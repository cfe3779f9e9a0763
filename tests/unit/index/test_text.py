"""Words and features of texts: what is found, what is forgotten, what it costs."""

from __future__ import annotations

import math
import threading
import tracemalloc

import numpy as np
import pytest

from memdb.index import flat
from memdb.index import text as index_text
from memdb.index.columns import ALIVE
from memdb.index.terms import STOP_TERMS, terms
from memdb.index.text import Document, TextIndex, TextView
from memdb.index.text_filter import FACT, TextFilter
from memdb.types.arrays import Array

UTTERANCE = 2
TEXTS = (
    "the dog barks at the door",
    "a cat sleeps",
    "the door is open, the door is shut",
    "nobody is at home",
)


def document(no: int, birth: int, text: str) -> Document:
    return Document(UTTERANCE, no, 0, birth, int(ALIVE), 0, 0, 0, text, None, None)


def found(view: TextView, question: str, revision: int) -> list[tuple[int, int, float]]:
    matches = view.search(question, None, None, 100, revision)
    return [(match.no, match.birth, match.score) for match in matches]


def bm25(texts: tuple[str, ...], question: str) -> list[float]:
    """The formula, word by word."""
    split = [terms(text) for text in texts]
    lengths = [sum(term not in STOP_TERMS for term in one) for one in split]
    mean = sum(lengths) / len(lengths)
    asked = set(terms(question)) - STOP_TERMS or set(terms(question))
    scores = [0.0] * len(texts)
    for word in asked:
        having = sum(word in one for one in split)
        idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        for number, (one, length) in enumerate(zip(split, lengths, strict=True)):
            times = one.count(word)
            scores[number] += (
                idf * times * 1.9 / (times + 0.9 * (0.6 + 0.4 * length / mean)) if times else 0
            )
    return scores


@pytest.mark.parametrize("question", ["door", "the door", "dog cat home", "is at a", "nothing"])
def test_scores_are_those_of_the_formula(question: str) -> None:
    index = TextIndex()
    index.add([document(no, no + 1, text) for no, text in enumerate(TEXTS)])
    # What comes later weighs nothing in an answer as of before.
    index.add([document(100, 50, "the door the dog the cat")])
    expected = bm25(TEXTS, question)
    matches = index.view().search(question, None, None, 10, len(TEXTS))
    assert {match.no: match.arms["lexical"] for match in matches} == pytest.approx(
        {no: score for no, score in enumerate(expected) if score > 0}
    )


def test_versions_that_are_collected_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_text, "GONE_MAX", 100)
    index, plain = TextIndex(), TextIndex()
    revision = 0
    for clip in range(300):
        for version in range(10):
            revision += 1
            text = f"clip{clip} version{version} of many"
            index.end(UTTERANCE, clip, revision)
            index.add([document(clip, revision, text)])
        plain.add([document(clip, revision, text)])
        index.drop_versions(
            UTTERANCE, {(clip, born, born + 1) for born in range(revision - 9, revision)}
        )
    view = index.view()
    assert view.documents < 3 * 300
    for question in ("many", "version9 clip7", "version3"):
        assert found(view, question, revision) == found(plain.view(), question, revision)
    assert len(view.words.known(view.documents)[0]) < 3 * 300


def test_frequent_words_take_little_memory() -> None:
    index = TextIndex()
    text = " ".join(f"word{number}" for number in range(20))
    index.add([document(no, 1, text) for no in range(20_000)])
    view = index.view()
    tracemalloc.start()
    try:
        view.words.known(view.documents)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 12 << 20  # 6.4 MB of numbers; 37 MB as objects


def test_readers_and_a_writer_at_once() -> None:
    index = TextIndex()
    index.add([document(0, 1, "word")])
    shown = [index.view()]  # by the writer alone, as the engine does
    failures: list[BaseException] = []
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                view = shown[0]
                matches = view.search("word", None, None, 5, 10**6)
                assert len(matches) == min(5, view.documents)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for no in range(1, 2000):
        index.add([document(no, no + 1, "word")])
        shown[0] = index.view()
    over.set()
    for reader in readers:
        reader.join()
    assert failures == []
    scores = np.array([score for *_, score in found(index.view(), "word", 10**6)])
    assert len(scores) == 100
    assert (scores == 1.0).all()


def test_a_filter_scores_the_features_that_it_admits_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index, rng = TextIndex(), np.random.default_rng(0)
    features = rng.standard_normal((4000, 8)).astype(np.float32)
    index.add(
        [
            Document(0, no, 0, 1, int(ALIVE), no, no + 1, no % 50, "a mug", 0, features[no])
            for no in range(4000)
        ]
    )
    view = index.view()
    scored = 0
    row_scores = flat.row_scores

    def counted(block: Array, query: Array) -> Array:
        nonlocal scored
        scored += len(block)
        return row_scores(block, query)

    monkeypatch.setattr(flat, "row_scores", counted)
    everything = view.search("", features[7], 0, 4000, 1)
    assert scored == 4000
    for which in (
        TextFilter(stream_nos=(7,)),
        TextFilter(start_ns=500, end_ns=580),
        TextFilter(clip_nos=np.arange(40, 120, dtype=np.uint64)),
    ):
        scored = 0
        few = view.search("", features[7], 0, 4000, 1, which)
        assert scored == 80
        # Scored alone or among all, to the last bit.
        numbers = {match.no for match in few}
        assert few == [match for match in everything if match.no in numbers]
    scored = 0
    assert view.search("", features[7], 0, 4000, 1, TextFilter(utterances=False)) == []
    assert scored == 0


def test_what_was_loaded_at_once_ends_as_what_grew() -> None:
    """Current versions are looked up when one is first superseded, whatever came before and after."""
    documents = [document(no, no + 1, "a mug" if no % 2 else "a cup") for no in range(6)]
    grown, loaded = TextIndex(), TextIndex()
    grown.end(UTTERANCE, 0, 0)  # there is none yet; from now on it keeps count
    for one in documents:
        grown.add([one])
    loaded.add(documents)
    for index in (grown, loaded):
        index.end(UTTERANCE, 3, 9)
        index.add([document(3, 9, "a plate")])
        index.end(UTTERANCE, 3, 11)
        index.drop(UTTERANCE, [4])
    for revision, count in ((5, 4), (8, 5), (9, 5), (10, 5), (12, 4)):
        answers = [found(index.view(), "mug cup plate", revision) for index in (grown, loaded)]
        assert answers[0] == answers[1]
        assert len(answers[0]) == count


@pytest.mark.parametrize("twice", [False, True])
def test_a_fact_is_forgotten_alone(twice: bool) -> None:
    """With every version, words and features; nothing of all the other texts is counted or made anew."""
    rng = np.random.default_rng(4)

    def version(birth: int, text: str) -> Document:
        feature = rng.standard_normal(8).astype(np.float32)
        return Document(FACT, 7, 0, birth, int(ALIVE), 0, 0, 0, text, 0, feature)

    index = TextIndex()
    index.add([document(no, 1, f"mug {no}") for no in range(50)])
    index.add([version(2, "the secret mug")])
    index.end(FACT, 7, 3)
    # Of two versions in one commit the store has the last alone.
    index.add([version(3, "the other mug") for _ in range(1 + twice)])
    before, words = index.view(), index._words
    index.forget(7, {2: "the secret mug", 3: "the other mug"})
    view = index.view()

    assert (index._words is words) is not twice
    if not twice:
        assert words._lengths.rows == 0
    postings, _ = view.words.known(view.documents)
    assert not postings.keys() & set(terms("secret other"))
    for matrix, rows in ((one.matrix, one.rows) for one in view.features.values()):
        assert not matrix.take(np.arange(rows)).any()
    for revision in (1, 2, 3):
        assert len(found(view, "mug", revision)) == 50
        assert found(view, "secret other", revision) == []
    assert before.documents == 52 + twice

"""Which texts are facts about a thing, as they come, end and go."""

from __future__ import annotations

import threading

import numpy as np

from memdb.index.columns import ALIVE
from memdb.index.text import GONE_MAX, Document, TextIndex
from memdb.index.text_filter import FACT
from memdb.index.things import Things

UTTERANCE = 0


def fact(no: int, birth: int, *about: str) -> Document:
    return Document(FACT, no, 0, birth, int(ALIVE), 0, 1, 0, "a mug", None, None, about)


def said(no: int) -> Document:
    return Document(UTTERANCE, no, 0, 1, int(ALIVE), 0, 1, 0, "a mug", None, None)


def test_a_view_knows_what_was_there() -> None:
    index = TextIndex()
    index.add([said(0), fact(0, 1, "Bob", "mug", "Bob"), fact(1, 1)])
    before = index.view()
    index.add([said(1), fact(2, 2, "mug"), fact(3, 2, "Ann")])
    view = index.view()
    assert before.about(["mug"]).tolist() == [1]
    assert view.about(["mug"]).tolist() == [1, 4]
    assert view.about(["mug", "Bob", "Ann", "nothing"]).tolist() == [1, 4, 5]
    assert view.about([]).tolist() == [] == view.about(["nothing"]).tolist()
    assert before.things.known(before.documents) == {"Bob": [1], "mug": [1]}


def test_what_is_forgotten_leaves_no_name() -> None:
    index = TextIndex()
    index.add([fact(0, 1, "the secret", "mug"), fact(1, 1, "mug")])
    index.end(FACT, 0, 2)
    index.add([fact(0, 2, "another secret")])
    index.forget(0, {1: "a mug", 2: "a mug"}, frozenset(["the secret", "mug", "another secret"]))
    view = index.view()
    assert view.things.known(view.documents) == {"mug": [1]}


def test_rows_are_numbered_anew() -> None:
    index = TextIndex()
    index.add([said(no) for no in range(2 * GONE_MAX)])
    index.add([fact(0, 1, "mug"), fact(1, 1, "mug", "cup"), fact(2, 1, "cup")])
    before = index.view()
    index.forget(1, {1: "a mug"}, ["mug", "cup"])
    index.drop(UTTERANCE, list(range(2 * GONE_MAX)))
    view = index.view()
    assert view.documents == 2
    assert view.things.known(view.documents) == {"mug": [0], "cup": [1]}
    assert before.about(["mug", "cup"]).tolist() == [2 * GONE_MAX, 2 * GONE_MAX + 2]


def test_a_reader_and_a_writer_at_once() -> None:
    things, failures = Things(), list[BaseException]()
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                rows = things.rows(["mug"], 10**6)
                assert np.array_equal(rows, np.arange(len(rows)))
                assert len(things.rows(["mug"], 5)) >= min(len(rows), 5)
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for row in range(20_000):
        things.add(row, ["mug"])
    over.set()
    reader.join()
    assert failures == []

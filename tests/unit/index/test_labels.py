"""Which rows have a label, against a list of dictionaries."""

from __future__ import annotations

import threading
import tracemalloc
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdb.deadline import Deadline
from memdb.errors import DeadlineExceeded
from memdb.index import labels as index_labels
from memdb.index.labels import LabelRows, joined
from memdb.index.names import clip_names
from memdb.index.terms import terms
from memdb.types.label_filter import LabelFilter, Not, checked_labels, has_labels

texts = st.text("ab \0=\u00e9", max_size=2)
keys = st.text("ab \0=\u00e9", min_size=1, max_size=2)
labelled = st.lists(st.dictionaries(keys, texts, max_size=3), max_size=12)
some = st.lists(texts, min_size=1, max_size=3)
filters = st.dictionaries(
    keys, texts | some | some.map(lambda values: Not(*values)), min_size=1, max_size=2
)


def expected(rows: list[dict[str, str]], wanted: LabelFilter) -> list[bool]:
    return [
        all(
            key not in row or row[key] not in values.values
            if isinstance(values, Not)
            else key in row and row[key] in values
            for key, values in wanted
        )
        for row in rows
    ]


@given(labelled, filters)
def test_one_clip_is_looked_at_alike(
    rows: list[dict[str, str]], asked: dict[str, str | list[str] | Not]
) -> None:
    wanted = checked_labels(asked)
    assert [has_labels(wanted, row) for row in rows] == expected(rows, wanted)


@given(labelled, labelled, st.lists(filters, max_size=4), st.data())
def test_a_filter_admits_what_has_the_labels(
    first: list[dict[str, str]],
    later: list[dict[str, str]],
    asked: list[dict[str, str | list[str] | Not]],
    data: st.DataObject,
) -> None:
    labels = LabelRows()
    labels.add(map(joined, first))
    wanted = [checked_labels(one) for one in asked]
    for one in wanted:
        assert labels.mask(one, len(first)).tolist() == expected(first, one)
    labels.add(map(joined, later))
    everything = first + later
    there = np.array(data.draw(st.tuples(*[st.booleans()] * len(everything))), bool)
    kept = labels.without(there, np.cumsum(there) - 1)
    left = [row for row, stays in zip(everything, there, strict=True) if stays]
    kept.add(map(joined, first))
    for one in wanted:
        # A view of before sees no later row.
        assert labels.mask(one, len(first)).tolist() == expected(first, one)
        assert labels.mask(one, len(everything)).tolist() == expected(everything, one)
        assert kept.mask(one, len(left)).tolist() == expected(left, one)
        assert kept.mask(one, len(left) + len(first)).tolist() == expected(left + first, one)


@pytest.mark.parametrize("values", [2, 50])
def test_rows_that_are_labelled_alike_are_found_as_those_that_are_not(values: int) -> None:
    """Split together where most are alike, and one by one where few are."""
    rng = np.random.default_rng(values)
    rows: list[dict[str, str]] = [
        {key: str(rng.integers(values)) for key in ("zone", "light") if rng.random() < 0.6}
        for _ in range(200)
    ]
    labels = LabelRows()
    labels.add(map(joined, rows))
    for seen in (7, 90, 200):
        for key in ("zone", "light"):
            for value in map(str, range(values)):
                having = [row for row in range(seen) if rows[row].get(key) == value]
                found = labels.mask(((key, (value,)),), seen)
                assert np.flatnonzero(found).tolist() == having
                assert labels.count((key, value), seen, None) == len(having)


def test_what_words_are_found_by_is_the_same() -> None:
    assert terms(clip_names([], {"zone": "front door", "n": "7"}).labels) == terms(
        "n 7 zone front door"
    )


def test_whoever_has_left_is_not_waited_for() -> None:
    labels = LabelRows()
    labels.add(joined({"n": str(row)}) for row in range(20_000))
    left = Deadline()

    def ask() -> object:
        left.leave()
        return labels.mask((("n", ("7",)),), 20_000)

    with pytest.raises(DeadlineExceeded):
        left.within(ask)
    assert np.flatnonzero(labels.mask((("n", ("7",)),), 20_000)).tolist() == [7]


def test_readers_ask_while_a_writer_adds() -> None:
    labels = LabelRows()
    rows = 0
    wrong: list[int] = []
    grown = threading.Event()

    def ask() -> None:
        while not grown.is_set():
            seen = rows
            found = np.flatnonzero(labels.mask((("even", ("1",)),), seen))
            if found.tolist() != list(range(0, seen, 2)):
                wrong.append(seen)

    readers = [threading.Thread(target=ask) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(300):
        labels.add(
            joined({"even": str(1 - row % 2)}) for row in range(number * 20, number * 20 + 20)
        )
        rows = number * 20 + 20
    grown.set()
    for reader in readers:
        reader.join()
    assert not wrong


@pytest.mark.parametrize("alike", [1, 10])
def test_who_was_interrupted_while_labels_were_split_breaks_no_other_question(
    monkeypatch: pytest.MonkeyPatch, alike: int
) -> None:
    class Interrupted(array):  # type: ignore[type-arg]
        def append(self, number: int) -> None:
            raise KeyboardInterrupt

        def extend(self, numbers: object) -> None:
            raise KeyboardInterrupt

    labels, seen, wanted = LabelRows(), np.arange(100), (("zone", ("porch",)),)
    labels.add([joined({"light": "day"})] * 100)
    assert not labels.among(wanted, seen).any()
    labels.add([joined({"light": "day", "zone": "porch"})] * alike)
    with monkeypatch.context() as patched:
        patched.setattr(index_labels, "_numbers", lambda: Interrupted("q"))
        with pytest.raises(KeyboardInterrupt):
            labels.mask(wanted, 100 + alike)
    # By a view of before.
    assert not labels.among(wanted, seen).any()
    del labels._having["zone"]  # which can be interrupted no more
    for rows in (101, 100 + alike):
        assert np.flatnonzero(labels.mask(wanted, rows)).tolist() == list(range(100, rows))
        assert labels.mask((("light", ("day",)),), rows).all()
    assert labels.count(("light", "day"), 100 + alike, None) == 100 + alike


def test_a_label_of_its_own_takes_some_200_bytes() -> None:
    rows = 20_000
    labels = LabelRows()
    labels.add(joined({"objects": f"a cat, a dog {row:08}"}) for row in range(rows))
    tracemalloc.start()
    labels.mask((("objects", ("a cat",)),), rows)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / rows < 260

"""Versions that are taken out of columns: those before them last until those after them."""

from __future__ import annotations

import time
from collections.abc import Collection

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memdb.index.columns import ALIVE, Columns

Version = tuple[int, int, int]


def columns_of(versions: Collection[Version]) -> Columns:
    made = Columns(no=np.uint64, birth=np.uint64, death=np.uint64)
    for number, birth, death in versions:
        made.append(no=number, birth=birth, death=death)
    return made


def chains(births: dict[int, list[int]]) -> list[Version]:
    """Every version of some numbers, in the order of their births."""
    found = [
        (number, birth, following)
        for number, known in births.items()
        for birth, following in zip(known, [*known[1:], int(ALIVE)], strict=True)
    ]
    return sorted(found, key=lambda version: (version[1], version[0]))


@given(
    st.dictionaries(
        st.integers(0, 3), st.sets(st.integers(1, 12), min_size=1).map(sorted), min_size=1
    ),
    st.data(),
)
def test_what_is_left_covers_what_was_there(
    births: dict[int, list[int]], data: st.DataObject
) -> None:
    versions = chains(births)
    superseded = [version for version in versions if version[2] != int(ALIVE)]
    gone = data.draw(st.sets(st.sampled_from(superseded))) if superseded else set()
    columns = columns_of(versions)
    taken = columns.take_versions("no", np.arange(len(versions)), gone)
    assert {versions[row] for row in taken.tolist()} == gone
    view = columns.views()
    left = [
        (int(number), int(birth), int(death))
        for number, birth, death in zip(view["no"], view["birth"], view["death"], strict=True)
        if birth != ALIVE
    ]
    kept = {
        number: [birth for birth in known if not any(g[:2] == (number, birth) for g in gone)]
        for number, known in births.items()
    }
    assert left == chains({number: known for number, known in kept.items() if known})


def test_a_clip_of_many_versions_takes_no_time() -> None:
    births = list(range(1, 5001))
    versions = chains({7: births})
    columns = columns_of(versions)
    begin = time.process_time()
    taken = columns.take_versions("no", np.arange(5000), versions[:-1])
    assert len(taken) == 4999
    assert time.process_time() - begin < 10  # a search for each took half a minute

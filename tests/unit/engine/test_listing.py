"""Pages of clips, by start time and number, whatever order they came in."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.engine.database import EmbeddedDatabase
from tests.unit.engine.conftest import SECOND_NS, clip


@pytest.mark.parametrize("starts", [1, 7, 90])
def test_pages_have_every_clip_once_in_order(db: EmbeddedDatabase, starts: int) -> None:
    user = db.user("alice")
    came = np.random.default_rng(0).permutation(90)
    door = user.stream("door", space="cam")
    door.write_many(
        [
            clip(seq, start_ns=int(place % starts) * SECOND_NS, end_ns=200 * SECOND_NS)
            for seq, place in enumerate(came)
        ]
    )
    expected = [found.id for found in user.clips(limit=1000)]
    for limit in (1, 4, 89, 90):
        listed: list[str] = []
        after = None
        while page := user.clips(limit=limit, after=after):
            listed += [found.id for found in page]
            after = page[-1].cursor
        assert listed == expected
    found = user.clips(limit=1000)
    assert [(c.start_ns, c.seq) for c in found] == sorted((c.start_ns, c.seq) for c in found)


@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_of_clips_that_begin_a_few_nanoseconds_apart(
    db: EmbeddedDatabase, newest_first: bool
) -> None:
    now_ns = 1_795_948_038_537_024_501  # no float of 64 bits is this number
    starts = [now_ns + step for step in (3, 0, 1, 255, 2, 1000)]
    db.user("alice").stream("door", space="cam").write_many(
        [clip(seq, start_ns=start, end_ns=start + 5) for seq, start in enumerate(starts)]
    )
    listed: list[int] = []
    after = None
    for _ in range(len(starts)):
        (one,) = db.user("alice").clips(limit=1, after=after, newest_first=newest_first)
        listed.append(one.start_ns)
        after = one.cursor
    assert db.user("alice").clips(limit=1, after=after, newest_first=newest_first) == []
    assert listed == sorted(starts, reverse=newest_first)


def test_a_page_sorts_no_more_than_it_gives(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    user.stream("door", space="cam").write_many([clip(seq) for seq in range(200)])
    sorted_rows: list[int] = []
    lexsort = np.lexsort

    def counting(keys: tuple[np.ndarray, ...]) -> np.ndarray:
        sorted_rows.append(len(keys[0]))
        return lexsort(keys)

    monkeypatch.setattr(np, "lexsort", counting)
    after = user.clips(limit=10)[-1].cursor
    assert [found.seq for found in user.clips(limit=10, after=after)] == list(range(10, 20))
    assert sorted_rows == [11, 11]

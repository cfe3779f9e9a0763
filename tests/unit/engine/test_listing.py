"""Pages of clips, by start time and number, whatever order they came in."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.engine.database import EmbeddedDatabase
from memdb.types.limits import TIME_NS_MAX, TIME_NS_MIN
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
@pytest.mark.parametrize("begin_ns", [1_764_412_345_678_901_234, TIME_NS_MAX - 9_000, TIME_NS_MIN])
def test_pages_know_a_nanosecond(db: EmbeddedDatabase, begin_ns: int, newest_first: bool) -> None:
    """Starts of today take more digits than a float has."""
    user = db.user("alice")
    starts = begin_ns + np.sort(np.random.default_rng(1).integers(0, 8_000, 60))
    user.stream("door", space="cam").write_many(
        [clip(seq, start_ns=start, end_ns=start + 10) for seq, start in enumerate(starts.tolist())]
    )
    expected = sorted(((c.start_ns, c.seq) for c in user.clips(limit=1000)), reverse=newest_first)
    assert len(expected) == 60
    for limit in (1, 7, 59, 60):
        for name in ("cursor", "id"):
            listed: list[tuple[int, int]] = []
            after = None
            while page := user.clips(limit=limit, after=after, newest_first=newest_first):
                listed += [(found.start_ns, found.seq) for found in page]
                assert len(listed) <= 60
                after = getattr(page[-1], name)
            assert listed == expected


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

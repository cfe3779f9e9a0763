"""Which rows belong to which frame."""

from __future__ import annotations

import pytest

from memdb.index.frame_rows import FrameRows


@pytest.mark.parametrize(
    ("rows", "ratio", "starts"),
    [
        (6, None, [0, 1, 2, 3, 4, 5]),
        (6, 1.0, [0, 1, 2, 3, 4, 5]),
        (3, 2.5, [0, 1, 2]),
        (8, 0.25, [0, 4]),
        (10, 0.25, [0, 4, 8]),
        (7, 0.4, [0, 3, 5]),
        (5, 1e-9, [0]),
    ],
)
def test_frames_begin_where_the_clip_says(
    rows: int, ratio: float | None, starts: list[int]
) -> None:
    assert FrameRows(rows, ratio).starts().tolist() == starts


@pytest.mark.parametrize("period", [3, 7, 49, 103, 107])
def test_no_frame_is_split_by_rounding(period: int) -> None:
    found = FrameRows(period * 50, 1 / period).starts()
    assert found.tolist() == list(range(0, period * 50, period))


def test_rows_that_cover_several_frames_tell_them_all() -> None:
    assert FrameRows(4, 2.5).frames(0, 0) == (0, 2)
    assert FrameRows(4, 2.5).frames(1, 2) == (2, 7)
    assert FrameRows(4, 2.0).frames(1, 1) == (2, 3)
    assert FrameRows(8, 0.25).frames(1, 1) == (1, 1)
    assert FrameRows(8, None).frames(1, 1) is None

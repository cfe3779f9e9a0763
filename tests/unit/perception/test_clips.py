"""The clip rule: 3 to 16 frames, cut where a frame looks different."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.clips import COSINE_MAX, FRAMES_MAX, FRAMES_MIN, ClipCutter, ClipRule

angles = st.lists(st.integers(0, 180), min_size=1, max_size=80)


def vectors(degrees: list[int]) -> list[np.ndarray]:
    return [np.array([math.cos(a), math.sin(a)], np.float32) for a in map(math.radians, degrees)]


def cut(scene_vectors: list[np.ndarray]) -> list[int]:
    """Index of the first frame of every clip."""
    cutter = ClipCutter()
    return [i for i, vector in enumerate(scene_vectors) if cutter.begins_clip(vector)]


@pytest.mark.parametrize(
    ("frames", "cosine", "begins"),
    [
        (0, 1.0, True),
        (1, -1.0, False),
        (2, -1.0, False),
        (3, 0.9, True),
        (3, 0.901, False),
        (15, 1.0, False),
        (16, 1.0, True),
    ],
)
def test_the_published_rule(frames: int, cosine: float, begins: bool) -> None:
    assert ClipRule().begins_clip(frames, cosine) is begins


@pytest.mark.property
@given(angles)
def test_every_clip_has_3_to_16_frames_and_ends_for_a_reason(degrees: list[int]) -> None:
    scene_vectors = vectors(degrees)
    starts = cut(scene_vectors)
    assert starts[0] == 0
    for start, end in pairwise(starts):
        assert FRAMES_MIN <= end - start <= FRAMES_MAX
        cosine = float(np.dot(scene_vectors[end - 1], scene_vectors[end]))
        assert end - start == FRAMES_MAX or cosine <= COSINE_MAX
        for frame in range(start + FRAMES_MIN, end):
            assert float(np.dot(scene_vectors[frame - 1], scene_vectors[frame])) > COSINE_MAX
    assert len(degrees) - starts[-1] <= FRAMES_MAX


@pytest.mark.property
@given(angles, st.data())
def test_cutting_anew_at_a_clip_gives_the_same_clips(
    degrees: list[int], data: st.DataObject
) -> None:
    scene_vectors = vectors(degrees)
    starts = cut(scene_vectors)
    begin = data.draw(st.sampled_from(starts))
    assert [begin + start for start in cut(scene_vectors[begin:])] == [
        start for start in starts if start >= begin
    ]

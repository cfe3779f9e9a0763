"""Which lists a question is near, told by bytes: about what float32 tells."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.index.basis import Basis, fit
from memdb.index.lists import Centres, places_of
from memdb.index.nearby import Nearby
from memdb.types.arrays import Array
from tests.unit.index.test_indexed import DIM, noise, structured

CODE_BYTES = 64


@pytest.fixture(scope="module")
def basis() -> Basis:
    found = fit(structured(2048, 1), CODE_BYTES)
    assert found is not None
    return found


def centres_of(basis: Basis, rows: Array) -> Centres:
    places = places_of(basis.encode(rows)[0], basis)
    return Centres(places, np.einsum("ij,ij->i", places, places) / np.float32(2))


@pytest.mark.parametrize("questions", [structured(20, 3), noise(20, 3), 300 * structured(20, 3)])
def test_weights_are_about_those_of_bounds(basis: Basis, questions: Array) -> None:
    centres = centres_of(basis, structured(40, 2))
    nearby = Nearby.of(basis, centres.places, centres.halves)
    for question in questions:
        told = basis.query(question, 1.0)
        weights = nearby.weights(question, 1.0)
        assert told is not None
        assert weights is not None
        # The square root of what cancels out may be a hundredth of the whole.
        assert np.linalg.norm(weights - told[0]) < 0.04 * np.linalg.norm(told[0])


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e3])
def test_the_nearest_lists_are_those_of_float32(basis: Basis, size: float) -> None:
    # Of different lengths, so that distances and inner products have orders of their own.
    rows = structured(200, 2) * np.linspace(0.5, 1, 200, dtype=np.float32)[:, np.newaxis]
    centres = centres_of(basis, rows)
    nearby = Nearby.of(basis, centres.places, centres.halves)
    for question in structured(20, 3):
        weights = nearby.weights(question * np.float32(size), 1.0)
        assert weights is not None
        places = basis.directions @ question * np.float32(size)
        for by_distance, away in ((True, centres.halves), (False, np.float32(0))):
            near = centres.places @ places - away
            found = nearby.nearest(weights, 16, by_distance=by_distance)
            assert len(set(found.tolist())) == 16
            # In their order but for what bytes do not tell.
            unsure = 0.02 * (np.abs(near).max() + np.abs(away).max())
            assert (np.diff(near[found]) <= unsure).all()
            others = np.delete(near, found)
            assert others.max() <= near[found[-1]] + unsure


def test_centres_without_length_are_centres(basis: Basis) -> None:
    nothing = np.zeros((20, len(basis.steps)), np.float32)
    nearby = Nearby.of(basis, nothing, np.zeros(20, np.float32))
    weights = nearby.weights(structured(1, 3)[0], 1.0)
    assert weights is not None
    assert sorted(nearby.nearest(weights, 20, by_distance=True).tolist()) == list(range(20))


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e15, np.inf, np.nan])
def test_what_has_no_length_to_speak_of_has_no_weights(basis: Basis, size: float) -> None:
    centres = centres_of(basis, structured(40, 2))
    nearby = Nearby.of(basis, centres.places, centres.halves)
    question = np.full(DIM, size, np.float32)
    assert nearby.weights(question, 1.0) is None
    assert nearby.weights(structured(1, 3)[0], 1e37) is None

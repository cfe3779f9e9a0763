"""A question as bytes says what its request does, and is refused as it is."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from memdb import InvalidArgument
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.grounding import GroundArguments, ground_request
from memdb.wire.question import ground_bytes
from memdb_client import AsyncUser

DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(AsyncUser.ground).parameters.items()
    if name in GroundArguments.__annotations__
}
VECTOR = np.linspace(-1, 1, 300, dtype=np.float32)


def said(feature: Any, options: dict[str, Any], user: str = "alice") -> pb.GroundRequest:
    return pb.GroundRequest.FromString(ground_bytes(user, feature, **{**DEFAULTS, **options}))


def test_it_knows_every_option() -> None:
    assert set(DEFAULTS) == set(GroundArguments.__annotations__)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit": 10, "with_global_memory": False, "with_keyframes": False},
        {"min_score": 0.0, "min_relevance": 0.5, "fallback": "recent", "space": "clip"},
        {"policy": "ixc-live", "weighting": "uniform", "explain": True, "exact": True},
        {"rerank": 3, "cursor": "", "min_revision": 2, "with_coverage": True},
        {"start_ns": 5, "end_ns": 2**60},
        {"end_ns": 7},
        {"streams": ["door", "hall"], "as_of": 3, "labels": {"room": "hall"}},
        {"hours": [("22:00", "06:00")], "weekdays": [0], "zone": "Europe/Berlin"},
        {"question_tokens": np.ones((2, 300), np.float32), "rerank": 2},
        {"text": "a red car", "text_feature": np.ones(4, np.float32), "weights": {"labels": 1.0}},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "feature", [VECTOR, VECTOR.astype(np.float16), VECTOR[::-1], VECTOR[None], VECTOR.tolist()]
)
def test_it_is_the_request(feature: Any, options: dict[str, Any]) -> None:
    wanted = ground_request("alice", feature, **options)
    for _ in range(2):  # the second time from what is remembered
        assert said(feature, options) == wanted


def test_every_question_has_its_own_feature_user_and_times() -> None:
    for place in range(3):
        feature = np.full(3, place, np.float32)
        request = said(feature, {"start_ns": place}, f"user-{place}")
        assert request.user == f"user-{place}"
        assert request.question_feature.f32 == feature.tobytes()
        assert request.start_ns == place


def test_the_user_comes_first_and_then_the_feature() -> None:
    """As a serialised message has them: who reads the bytes by hand may count on it."""
    data = ground_bytes("alice", VECTOR, **{**DEFAULTS, "limit": 10, "exact": True})
    assert data == ground_request("alice", VECTOR, limit=10, exact=True).SerializeToString(
        deterministic=True
    )


def test_what_is_changed_after_it_was_given_is_read_again() -> None:
    streams = ["door"]
    said(VECTOR, {"streams": streams})
    streams.append("hall")
    assert list(said(VECTOR, {"streams": streams}).streams) == ["door", "hall"]


@pytest.mark.parametrize(
    ("good", "bad", "field"),
    [
        ({"limit": 1}, {"limit": True}, "limit"),
        ({"limit": 1}, {"limit": 1.0}, "limit"),
        ({"with_keyframes": False}, {"with_keyframes": 0}, "with_keyframes"),
        ({"exact": True}, {"exact": 1}, "exact"),
        ({}, {"limit": [4]}, "limit"),
        ({}, {"space": {}}, "space"),
        ({}, {"min_score": float("nan")}, "min_score"),
        ({}, {"min_score": VECTOR}, "min_score"),
        ({}, {"policy": "tokens"}, "policy"),
        ({}, {"start_ns": 5, "end_ns": 4}, "end_ns"),
        ({}, {"weights": {"labels": 1.0}}, "weights"),
    ],
    ids=str,
)
def test_what_is_like_a_good_one_is_refused(
    good: dict[str, Any], bad: dict[str, Any], field: str
) -> None:
    said(VECTOR, good)
    for _ in range(2):
        with pytest.raises(InvalidArgument) as refused:
            said(VECTOR, bad)
        assert refused.value.field == field


@pytest.mark.parametrize(
    "feature",
    [
        *(np.full(300, bad, np.float32) for bad in (np.nan, np.inf, -np.inf)),
        *(np.ones(3), np.ones((2, 3), np.float32), np.ones(0, np.float32), "words", None),
        np.ma.masked_array(np.ones(3, np.float32), mask=[True, False, False]),
    ],
    ids=repr,
)
def test_a_bad_feature_is_refused(feature: Any) -> None:
    with pytest.raises(InvalidArgument) as wanted:
        ground_request("alice", feature)
    with pytest.raises(InvalidArgument) as refused:
        said(feature, {})
    assert (refused.value.reason, refused.value.field) == (wanted.value.reason, "question_feature")


def test_a_bad_user_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        said(VECTOR, {}, "../x")
    assert refused.value.field == "user"

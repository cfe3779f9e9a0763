"""Every option of a call survives the wire, and what is bad never becomes a request."""

from __future__ import annotations

from datetime import UTC, datetime
from inspect import signature
from typing import Any

import numpy as np
import pytest

from memdb.engine.user import EmbeddedUser
from memdb.errors import InvalidArgument, NotFound
from memdb.types.snapshot import Snapshot
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.wire import facts, grounding, moments
from tests.unit.wire.values import ID, over_the_wire, same


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        (None, None),
        (0, 0),
        (np.int64(7), 7),
        ("speech-42", "speech-42"),
        (Snapshot("n", 9, 0, 0, "u"), Snapshot("n", 9, 0, 0, "u")),
        (
            datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        ),
    ],
    ids=str,
)
def test_as_of(as_of: Any, expected: Any) -> None:
    message = grounding_pb.GroundRequest(as_of=moments.as_of_to_proto(as_of))
    assert moments.as_of_from_proto(message.as_of, message.HasField("as_of")) == expected


@pytest.mark.parametrize("as_of", [True, -1, 2**63, 1.5, "../x", datetime(2026, 1, 1)], ids=repr)  # noqa: DTZ001
def test_bad_as_of_is_refused(as_of: Any) -> None:
    with pytest.raises((InvalidArgument, NotFound)) as caught:
        moments.as_of_to_proto(as_of)
    assert caught.value.field == "as_of"


def test_requests_carry_every_option() -> None:
    options: dict[str, Any] = {
        "limit": 3,
        "streams": ["a", "b"],
        "start_ns": -7,
        "end_ns": 9,
        "as_of": 4,
        "min_score": 0.5,
        "policy": "ixc-live",
        "question_tokens": np.ones((2, 3), np.float32),
        "rerank": 5,
        "with_short_memory": True,
        "fallback": "recent",
        "space": "p",
        "min_revision": 6,
        "weighting": "uniform",
        "text": None,
        "text_feature": None,
        "weights": None,
        "explain": True,
        "min_relevance": 0.75,
        "hours": [("22:00", "06:30:15"), ("12:00", "24:00")],
        "weekdays": [0, 6],
        "zone": "Europe/Berlin",
        "labels": {"plate": [""], "zone": ["drive", "porch"]},
        "with_coverage": True,
        "cursor": "00ff",
        "exact": True,
        "with_global_memory": False,
        "with_keyframes": False,
    }
    request = over_the_wire(grounding.ground_request("u", np.ones(3, np.float32), **options))
    feature, back = grounding.ground_arguments(request)
    assert feature is not None
    assert np.array_equal(feature, np.ones(3))
    assert set(back) == {name for name, value in options.items() if value is not None}
    assert all(same(value, options[name]) for name, value in back.items())

    bare = over_the_wire(grounding.ground_request("u", np.ones(3, np.float16)))
    assert grounding.ground_arguments(bare)[1] == {"limit": 4}


def test_what_a_request_leaves_out_is_the_default_of_the_call() -> None:
    """Whatever the options are called with has its place in a message, and no other default than there."""
    request = grounding_pb.GroundRequest(policy="top", fallback="none", weighting="idf")
    assert grounding.ground_arguments(request)[1] == {}
    sent = signature(grounding.ground_request).parameters
    called = signature(EmbeddedUser.ground).parameters
    for name in grounding.GroundArguments.__annotations__:
        assert called[name].default == sent[name].default, name
        assert called[name].default in (None, False, True, 0, "top", "none", "idf", 4), name


def test_a_question_of_words_alone_comes_through() -> None:
    weights = {"transcript": 1.0, "labels": 0.0}
    asked = over_the_wire(
        grounding.ground_request(
            "u", text="a red car", text_feature=np.ones(3, np.float32), weights=weights
        )
    )
    feature, back = grounding.ground_arguments(asked)
    assert feature is None
    assert (back["text"], back["weights"]) == ("a red car", weights)
    assert same(back["text_feature"], np.ones(3, np.float32))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": True}, "limit"),
        ({"streams": []}, "streams"),
        ({"streams": "front"}, "streams"),
        ({"streams": ["ok", "../x"]}, "streams"),
        ({"min_score": float("nan")}, "min_score"),
        ({"min_score": "high"}, "min_score"),
        ({"policy": "best"}, "policy"),
        ({"fallback": "oldest"}, "fallback"),
        ({"rerank": -1}, "rerank"),
        ({"weighting": "heavy"}, "weighting"),
        ({"policy": "tokens"}, "policy"),
        ({"space": ""}, "space"),
        ({"min_revision": -1}, "min_revision"),
        ({"start_ns": 1.5}, "start_ns"),
        ({"question_tokens": np.ones((0, 3), np.float32)}, "question_tokens"),
        ({"min_relevance": 1.5}, "min_relevance"),
        ({"hours": [("22:00", "22:00")]}, "hours[0]"),
        ({"weekdays": [7]}, "weekdays[0]"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"labels": {}}, "labels"),
        ({"labels": {"zone": 5}}, "labels[zone]"),
        ({"with_coverage": 1}, "with_coverage"),
        ({"exact": 1}, "exact"),
    ],
    ids=str,
)
def test_a_bad_question_never_becomes_a_request(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        grounding.ground_request("u", np.ones(3, np.float32), **options)
    assert caught.value.field == field


def test_fact_requests() -> None:
    request = over_the_wire(
        facts.revise_request("u", ID, about=[], valid_to=5, feature=np.ones(2, np.float32))
    )
    back = facts.revise_arguments(request)
    assert (back["about"], back["evidence"], back["text"], back["valid_to"]) == ([], None, None, 5)
    for valid_to in (None, 0, "open"):
        ended = over_the_wire(facts.revise_request("u", ID, valid_to=valid_to))
        assert facts.revise_arguments(ended)["valid_to"] == valid_to
    ended.valid_to_ns = 5
    with pytest.raises(InvalidArgument, match="AMBIGUOUS"):
        facts.revise_arguments(ended)
    with pytest.raises(InvalidArgument, match="evidence"):
        facts.remember_request("u", "text", evidence=ID)
    with pytest.raises(InvalidArgument):
        facts.revise_request("u", "\ud800")
    # An id is opaque: whether anything has it is the server's to say.
    assert facts.revise_request("u", "é").fact_id == "é"


def test_a_recall_keeps_its_filters() -> None:
    options: dict[str, Any] = {
        "streams": ["door"],
        "start_ns": -5,
        "end_ns": 0,
        "labels": {"zone": ["porch", "roof"]},
        "kinds": ["utterance"],
        "valid_at": None,
        "hours": [("22:00", "06:30:15"), ("12:00", "24:00")],
        "weekdays": [0, 6],
        "zone": "Asia/Kolkata",
    }
    request = over_the_wire(facts.recall_request("u", "mug", **options))
    back = facts.recall_arguments(request)
    assert {name: back[name] for name in options} == options  # type: ignore[literal-required]
    for valid_at in (0, -(2**61), "now", "any", None):
        asked = over_the_wire(facts.recall_request("u", "mug", valid_at=valid_at))
        told = facts.recall_arguments(asked)
        assert (told["valid_at"], told["kinds"], told["streams"], told["labels"]) == (
            valid_at,
            None,
            None,
            None,
        )
        assert told["about"] is None
    for about, wanted in (("Bob", ["Bob"]), (["Bob", "Carol", "Bob"], ["Bob", "Carol"])):
        asked = over_the_wire(facts.recall_request("u", "mug", about=about))
        assert facts.recall_arguments(asked)["about"] == wanted


@pytest.mark.parametrize(
    ("about", "back"),
    [(None, None), ("Bob", "Bob"), (["Bob"], "Bob"), (["Bob", "Carol"], ["Bob", "Carol"])],
)
def test_a_list_of_facts_keeps_what_they_are_about(about: Any, back: Any) -> None:
    request = over_the_wire(facts.list_facts_request("u", about=about))
    assert facts.facts_about(request) == back

"""Every value survives the wire, and what is refused is named."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from inspect import signature
from typing import Any

import numpy as np
import pytest

from memdb.codecs.tensors import encode_tensor
from memdb.engine.user import EmbeddedUser
from memdb.errors import InvalidArgument, NotFound
from memdb.types import json_value
from memdb.types.arm import Arm, ArmMatch
from memdb.types.arrays import Array
from memdb.types.change import Change, Discrepancy, ErasureReport, Verification
from memdb.types.clip import (
    NO_GLOBAL_MEMORY,
    Ack,
    Clip,
    Keyframe,
    SoundEvent,
    StoredClip,
    Utterance,
)
from memdb.types.coverage import StreamCoverage
from memdb.types.fact import Fact, LongTermMemory, MemorySpan, Recall, RecallHit
from memdb.types.grounding import Grounding, Hit, Span
from memdb.types.snapshot import Snapshot
from memdb.types.space import Space
from memdb.types.stream import Gap, Ledger, StreamInfo
from memdb.types.tensor import EncodedTensor
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire import clips, facts, grounding, moments, spaces, streams, users
from memdb.wire.arrays import (
    array_from_tensor,
    matrix_from_proto,
    matrix_to_proto,
    tensor_from_proto,
    tensor_to_proto,
    vector_from_proto,
    vector_to_proto,
)

ID = "0123456789abcdef" * 2


def over_the_wire(message: Any) -> Any:
    """The message as the other side parses it."""
    return type(message).FromString(message.SerializeToString())


def same(left: object, right: object) -> bool:
    """Equality that looks into clips, whose arrays have no truth value."""
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and left.dtype == right.dtype
            and np.array_equal(left, right)
        )
    if isinstance(left, tuple):
        return isinstance(right, tuple) and len(left) == len(right) and all(map(same, left, right))
    if hasattr(left, "__dataclass_fields__"):
        names = [item.name for item in fields(left)]  # type: ignore[arg-type]
        return type(left) is type(right) and all(
            same(getattr(left, name), getattr(right, name)) for name in names
        )
    return left == right


def content(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    return {
        "seq": 2**63 - 1,
        "epoch": 2**32 - 1,
        "start_ns": -5,
        "end_ns": 2**61,
        "global_memory": rng.standard_normal(8).astype(np.float16),
        "frames_per_token_row": 0.25,
        "transcript": (
            Utterance(0, 5, "hello\n\u2028", "Ann", "en"),
            Utterance(5, 6, "\U0001f600"),
        ),
        "transcript_features": rng.standard_normal((2, 4)).astype(np.float32),
        "events": (SoundEvent(1, 2, "dog", 0.5),),
        "keyframes": (Keyframe(3, b"\xff\xd8"),),
        "labels": {"zone": "porch", "empty": ""},
        "sealed": False,
    } | changes


def stored(**changes: Any) -> StoredClip:
    return StoredClip(**content(**changes), id=ID, user="u", stream="s", space="p", revision=2**40)


FACT = Fact(ID, "u", "text", ("a", "b"), "key", -1, 7, (ID,), 3, 4, 5)
BARE_FACT = Fact(ID, "u", "text", (), None, 0, None, (), 3, 4)


def test_clip_keeps_every_field_and_its_tensor_stays_coded() -> None:
    tokens = np.arange(24, dtype=np.float32).reshape(3, 8)
    clip = Clip(**content(short_memory=tokens))
    back = clips.clip_from_proto(over_the_wire(clips.clip_to_proto(clip)))
    assert isinstance(back.short_memory, EncodedTensor)
    assert back.short_memory == encode_tensor(tokens)
    for item in fields(Clip):
        if item.name != "short_memory":
            assert same(getattr(back, item.name), getattr(clip, item.name)), item.name


@pytest.mark.parametrize("short_memory", [None, np.ones((2, 8), np.float16)], ids=["none", "some"])
def test_stored_clip_comes_back_decoded(short_memory: Array | None) -> None:
    clip = stored(short_memory=short_memory)
    assert same(clips.stored_clip_from_proto(over_the_wire(clips.stored_clip_to_proto(clip))), clip)


def test_a_light_clip_comes_back_with_all_but_its_heavy_parts() -> None:
    light = stored(global_memory=NO_GLOBAL_MEMORY, short_memory=None, keyframes=())
    message = over_the_wire(clips.stored_clip_to_proto(light))
    assert same(clips.stored_clip_from_proto(message, light=True), light)
    answer = Grounding((Hit(light, 0.5, 0.0), Hit(light, 0.25)), 9)
    back = grounding.grounding_from_proto(
        over_the_wire(grounding.grounding_to_proto(answer)), tells=False, light=True
    )
    assert same(back, answer)


def test_smallest_clip() -> None:
    clip = Clip(seq=0, start_ns=0, end_ns=0, global_memory=np.ones(1, np.float32))
    assert same(clips.clip_from_proto(over_the_wire(clips.clip_to_proto(clip))), clip)


@pytest.mark.parametrize("fact", [FACT, BARE_FACT], ids=["full", "bare"])
def test_fact(fact: Fact) -> None:
    assert facts.fact_from_proto(over_the_wire(facts.fact_to_proto(fact))) == fact


ARMS = (
    Arm("transcript", 1.0, 0.75, 1, 7.5, (ArmMatch(-1, 2, 3, ("red", "car")), ArmMatch(5, 6, 0))),
    Arm("vector", 0.5, 0.25, 12, -0.25),
)


def test_grounding() -> None:
    answer = Grounding(
        (
            Hit(stored(), -0.5, 0.25, (Span(1, 2, 0.5),)),
            Hit(stored(), 0.5, arms=ARMS),
            Hit(stored(), 0.0),
        ),
        9,
        "recent",
        (Gap("s", 1, 2, 3, -4, 5), Gap("s", 0, 0, 0)),
        (
            StreamCoverage("s", 7, "Asia/Kolkata", -4, 2**62, 3, ((-(2**62), 1), (5, 6)), 9),
            StreamCoverage("t", 0),
        ),
        True,
    )
    back = grounding.grounding_from_proto(over_the_wire(grounding.grounding_to_proto(answer)))
    assert same(back, answer)


def test_recall() -> None:
    answer = Recall(
        (
            RecallHit("fact", 1.0, {"lexical": 2.0}, fact=FACT),
            RecallHit("utterance", 0.5, {}, utterance=Utterance(0, 1, "x"), clip=stored()),
        ),
        3,
        ("lexical", "semantic"),
        -(2**62),
    )
    assert same(facts.recall_from_proto(over_the_wire(facts.recall_to_proto(answer))), answer)


def test_arms_of_a_recall_come_by_name() -> None:
    names = [f"arm{number}" for number in (3, 1, 9, 0, 7, 2, 8, 5, 4, 6)]
    hit = RecallHit("fact", 1.0, dict.fromkeys(names, 1.0), fact=FACT)
    message = over_the_wire(facts.recall_to_proto(Recall((hit,), 3, ("lexical",))))
    assert list(facts.recall_from_proto(message).hits[0].arms) == sorted(names)


@pytest.mark.parametrize("rows", [0, 2])
def test_long_term_memory_may_be_empty(rows: int) -> None:
    memory = LongTermMemory(
        np.ones((rows, 3), np.float32), (MemorySpan("s", "hour", 0, 1, 5),) * rows, "p", 8
    )
    back = facts.long_term_from_proto(over_the_wire(facts.long_term_to_proto(memory)))
    assert same(back, memory)


@pytest.mark.parametrize(
    "change",
    [
        Change(1, 0, 5, "clip", clip=stored()),
        Change(1, 1, 5, "fact", fact=FACT),
        Change(1, 2, 5, "stream", stream=StreamInfo("s", "p", 1, "03" * 16, "Asia/Kolkata")),
        Change(1, 3, 5, "snapshot", snapshot=Snapshot("n", 1, 2, 3, "u")),
        Change(1, 4, 5, "value", key="k"),
    ],
    ids=lambda change: change.kind,
)
def test_change(change: Change) -> None:
    assert same(users.change_from_proto(over_the_wire(users.change_to_proto(change))), change)


def test_plain_values() -> None:
    space = Space("p", 8192, "dot", "m@1")
    assert spaces.space_from_proto(over_the_wire(spaces.space_to_proto(space))) == space
    found = Verification(1, 2, 3, (Discrepancy("u", "t", "w"),))
    assert (
        spaces.verification_from_proto(over_the_wire(spaces.verification_to_proto(found))) == found
    )
    ledger = Ledger("s", 1, 5, 4, None, -1, (Gap("s", 1, 2, 2),))
    assert streams.ledger_from_proto(over_the_wire(streams.ledger_to_proto(ledger))) == ledger
    ack = Ack(ID, 7, True)
    message = clip_pb.ClipAck()
    clips.fill_ack(message, ack)
    assert clips.ack_from_proto(over_the_wire(message)) == ack
    report = ErasureReport("u", 1, 2, 3, 4)
    assert users.erasure_from_proto("u", over_the_wire(users.erasure_to_proto(report))) == report


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


@pytest.mark.parametrize("value", [None, 0, "é\u2028", [1, {"a": [True, 1.5]}]], ids=str)
def test_json_values(value: Any) -> None:
    assert json_value.value_from_json(json_value.value_to_json(value)) == value


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "9" * 5000, "[" * 100_000], ids=len)
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        json_value.value_from_json(text)
    assert (caught.value.reason, caught.value.field) == ("BAD_VALUE", "value")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"x", "\ud800"], ids=repr)
def test_values_that_are_not_json_are_refused(value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        json_value.value_to_json(value)
    assert caught.value.reason == "BAD_VALUE"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (pb.Vector(), "EMPTY"),
        (pb.Vector(f32=b""), "EMPTY"),
        (pb.Vector(f32=b"\0\0\0"), "BAD_SHAPE"),
        (pb.Vector(f16=b"\0" * 2 * 8193), "BAD_SHAPE"),
        (pb.Vector(f32=np.array([1, np.nan], "<f4").tobytes()), "NOT_FINITE"),
        (pb.Vector(f16=np.array([1, np.inf], "<f2").tobytes()), "NOT_FINITE"),
    ],
    ids=["none", "empty", "odd", "long", "nan", "inf"],
)
def test_bad_vectors(message: pb.Vector, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        vector_from_proto(message, "where")
    assert (caught.value.reason, caught.value.field) == (reason, "where")


def test_vectors_keep_their_dtype() -> None:
    for dtype in (np.float16, np.float32):
        vector = np.arange(6, dtype=dtype)[::2]
        assert same(vector_from_proto(over_the_wire(vector_to_proto(vector)), "v"), vector.copy())


@pytest.mark.parametrize(
    ("rows", "dim", "size"),
    [(0, 0, 0), (0, 3, 0), (1, 1, 3), (2**32 - 1, 2**32 - 1, 4), (2, 2**31, 0)],
)
def test_bad_matrices(rows: int, dim: int, size: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        matrix_from_proto(pb.Matrix(rows=rows, dim=dim, f32=b"\0" * size), "where")
    assert caught.value.field == "where"


def test_matrix() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert same(matrix_from_proto(over_the_wire(matrix_to_proto(matrix)), "m"), matrix)


def test_tensor_checks_and_passes_through() -> None:
    tokens = np.arange(6, dtype=np.float16).reshape(2, 3)
    message = over_the_wire(tensor_to_proto(tokens))
    assert tensor_from_proto(message, "t") == encode_tensor(tokens)
    assert np.array_equal(array_from_tensor(message), tokens)
    for change, reason in (
        ({"codec": 0}, "BAD_CODEC"),
        ({"codec": 77}, "BAD_CODEC"),
        ({"shape": [2, 4]}, "LENGTH_MISMATCH"),
        ({"shape": [2**32 - 1, 2**32 - 1]}, "BAD_SHAPE"),
        ({"shape": []}, "BAD_SHAPE"),
        ({"shape": [0, 3], "payload": b""}, "EMPTY"),
        ({"checksum": 1}, "CHECKSUM"),
    ):
        fields_of = {
            "codec": message.codec,
            "shape": list(message.shape),
            "payload": message.payload,
            "checksum": message.checksum,
        }
        with pytest.raises(InvalidArgument) as caught:
            tensor_from_proto(pb.Tensor(**(fields_of | change)), "t")
        assert (caught.value.reason, caught.value.field) == (reason, "t")

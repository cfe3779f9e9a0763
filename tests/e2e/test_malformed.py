"""Every method against malformed input: a typed error that names the fault, and nothing changed.

One server serves the whole module; a test that changed anything would fail the next one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import xxhash
import zstandard
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

from memdb import Utterance
from memdb.errors import MemdbError
from memdb.types import limits
from memdb.v1 import (
    clip_service_pb2,
    database_service_pb2,
    grounding_service_pb2,
    memory_service_pb2,
    standing_service_pb2,
    user_service_pb2,
)
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.v1 import standing_service_pb2 as standing_pb
from memdb.v1 import types_pb2 as pb
from memdb.v1.grounding_service_pb2 import CalendarFilter, HoursOfDay
from memdb.v1.types_pb2 import LabelFilter
from memdb.wire.arrays import matrix_to_proto
from memdb.wire.clips import clip_to_proto
from memdb.wire.fields import head, tag_of
from memdb.wire.grounding import ground_request
from tests.e2e.serving import DIM, Served, clip, error_of, serving, vector

pytestmark = pytest.mark.e2e

METHODS: list[MethodDescriptor] = [
    method
    for module in (
        clip_service_pb2,
        grounding_service_pb2,
        memory_service_pb2,
        standing_service_pb2,
        user_service_pb2,
        database_service_pb2,
        health_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
HARMLESS = {"ListUsers", "ListSpaces", "Verify", "Sweep", "Check", "List", "Watch"}
"""Methods to which an empty request is a good one."""

BAD_IDS = ["", ".hidden", "-x", "../etc", "a/b", "a b", "a\n", "a\0b", "é", "x" * 64, "x" * 100_000]


LATER = 1000
"""Number of a field that no message has."""


def later(value: bytes) -> bytes:
    """That field on the wire."""
    return head(tag_of(LATER), len(value)) + value


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("malformed") / "db") as running:
        database = running.database
        database.create_space("p", dim=DIM)
        database.create_space("other", dim=DIM + 1)
        user = database.user("u")
        user.stream("cam", space="p").write(clip(0))
        user.configure(text_space="p")
        user.remember("the mug is blue", key="mug")
        database.user("stranger").stream("cam", space="p").write(clip(0))
        yield running


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    before = state(shared)
    yield shared
    assert state(shared) == before


def state(served: Served) -> Any:
    """What a refused call must not change."""
    users = served.database.users()
    return (
        users,
        [served.database.user(name).revision() for name in users],
        served.database.spaces(),
    )


def call(served: Served, method: MethodDescriptor, *requests: bytes) -> Any:
    """The answers of a method to raw bytes."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    channel: Any = served.channel
    if method.client_streaming:
        return list(channel.stream_stream(path)(iter(requests), timeout=30))
    if method.server_streaming:
        return list(channel.unary_stream(path)(requests[0], timeout=30))
    return channel.unary_unary(path)(requests[0], timeout=30)


def refusal(served: Served, method: MethodDescriptor, *requests: bytes) -> MemdbError:
    """The error of a call that must fail, which is never ours."""
    with pytest.raises(grpc.RpcError) as caught:
        call(served, method, *requests)
    raw: Any = caught.value
    assert raw.code() not in (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ), raw
    error = error_of(raw)
    assert error.request_id
    return error


def method_named(name: str) -> MethodDescriptor:
    (method,) = [method for method in METHODS if method.name == name]
    return method


def hours(*stretches: tuple[int, int]) -> CalendarFilter:
    return CalendarFilter(hours=[HoursOfDay(start_s=start, end_s=end) for start, end in stretches])


def asked(**changes: Any) -> standing_pb.StandingSpec:
    """A good standing question, and what is changed of it."""
    fields: dict[str, Any] = {
        "question_feature": pb.Vector(f32=vector(0).tobytes()),
        "min_score": 0.5,
    }
    return standing_pb.StandingSpec(**(fields | changes))


def names(methods: list[MethodDescriptor]) -> list[str]:
    return [f"{method.containing_service.name}.{method.name}" for method in methods]


def filled(method: MethodDescriptor) -> Any:
    """A request whose every id is good."""
    request: Any = GetMessageClass(method.input_type)()
    for field in method.input_type.fields:
        match field.name:
            case "user":
                request.user = "u"
            case "stream" if field.message_type is None:
                request.stream = "cam"
            case "name":
                request.name = "p"
            case "text_space":
                request.text_space = "p"
            case "text" | "question":
                setattr(request, field.name, "mug")
            case "question_feature":
                request.question_feature.f32 = vector(0).tobytes()
            case "question_features":
                request.question_features.CopyFrom(matrix_to_proto(vector(0).reshape(1, -1)))
            case "key" if not field.has_presence:
                request.key = "k"
            case "json":
                request.json = "1"
            case "spec":
                request.spec.CopyFrom(asked())
            case "clip_id" | "fact_id" | "question_id":
                setattr(request, field.name, "0" * 32)
            case "clip_ids":
                request.clip_ids.append("0" * 32)
            case "clips":
                request.clips.append(clip_to_proto(clip(0)))
    return request


@pytest.mark.parametrize(
    "data", [b"\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe", b"\x07" * 50], ids=repr
)
@pytest.mark.parametrize("method", METHODS, ids=names(METHODS))
def test_bytes_that_are_no_message(served: Served, method: MethodDescriptor, data: bytes) -> None:
    error = refusal(served, method, data)
    if data == b"\x0a\x02\xff\xfe" and not method.input_type.fields:
        assert error.reason == "UNKNOWN_FIELD"  # of a message without fields
        return
    assert (error.reason, error.field) == ("BAD_MESSAGE", "message")


@pytest.mark.parametrize("method", METHODS, ids=names(METHODS))
def test_fields_of_a_later_release(served: Served, method: MethodDescriptor) -> None:
    request = filled(method).SerializeToString()
    error = refusal(served, method, request + later(b""))
    kind = method.input_type.full_name
    assert (error.reason, error.field) == ("UNKNOWN_FIELD", f"{kind}.{LATER}")


@pytest.mark.parametrize("part", ["clip", "utterance", "tensor"])
@pytest.mark.parametrize("name", ["WriteClips", "IngestClips"])
def test_fields_of_a_later_release_in_a_clip(served: Served, name: str, part: str) -> None:
    method = method_named(name)
    whole = clip_to_proto(clip(1, transcript=(Utterance(1, 2, "hello"),)))
    message: Any = {
        "clip": whole,
        "utterance": whole.transcript[0],
        "tensor": whole.short_memory,
    }[part]
    message.MergeFromString(later(b"x"))
    if name == "WriteClips":
        requests: list[Any] = [clip_pb.WriteClipsRequest(user="u", stream="cam", clips=[whole])]
    else:
        start = clip_pb.IngestStart(user="u", stream="cam")
        requests = [
            clip_pb.IngestClipsRequest(start=start),
            clip_pb.IngestClipsRequest(clips=[whole]),
        ]
    error = refusal(served, method, *[request.SerializeToString() for request in requests])
    kind = message.DESCRIPTOR.full_name
    assert (error.reason, error.field) == ("UNKNOWN_FIELD", f"{kind}.{LATER}")


@pytest.mark.parametrize("method", METHODS, ids=names(METHODS))
def test_empty_requests(served: Served, method: MethodDescriptor) -> None:
    if method.name in HARMLESS:
        if not method.server_streaming:
            call(served, method, b"")
        return
    assert refusal(served, method, b"").field


WITH_USER = [m for m in METHODS if any(f.name == "user" for f in m.input_type.fields)]


@pytest.mark.parametrize("method", WITH_USER, ids=names(WITH_USER))
def test_ids_that_are_none(served: Served, method: MethodDescriptor) -> None:
    for field in ("user", "stream", "space"):
        known = method.input_type.fields_by_name.get(field)
        if known is None or known.message_type is not None:
            continue
        for bad in BAD_IDS:
            request = filled(method)
            setattr(request, field, bad)
            error = refusal(served, method, request.SerializeToString())
            assert (error.reason, error.field) == ("BAD_ID", field), bad
            assert error.value is not None
            assert len(error.value) <= 120


@pytest.mark.parametrize("method", WITH_USER, ids=names(WITH_USER))
def test_unknown_users(served: Served, method: MethodDescriptor) -> None:
    request = filled(method)
    request.user = "nobody"
    if method.name == "GetLedger":
        assert call(served, method, request.SerializeToString())  # of nothing, nothing
        return
    if method.name in ("Remember", "PutValue", "ConfigureUser"):
        return  # they create the user
    error = refusal(served, method, request.SerializeToString())
    if method.name == "CreateStream":
        assert (error.reason, error.field) == ("SPACE_REQUIRED", "space")
    else:
        assert (error.reason, error.field, error.value) == ("USER_NOT_FOUND", "user", "nobody")


@pytest.mark.parametrize(
    ("name", "changes", "reason", "field", "value"),
    [
        ("Ground", {"streams": ["nowhere"]}, "STREAM_NOT_FOUND", "streams", "nowhere"),
        ("Ground", {"space": "nowhere"}, "SPACE_NOT_FOUND", "space", "nowhere"),
        ("Ground", {"limit": 1001}, "OUT_OF_RANGE", "limit", "1001"),
        ("Ground", {"rerank": 5}, "TOKENS_REQUIRED", "rerank", "5"),
        ("Ground", {"rerank": 2**32 - 1}, "OUT_OF_RANGE", "rerank", "4294967295"),
        ("Ground", {"policy": "best"}, "BAD_POLICY", "policy", "best"),
        ("Ground", {"policy": "tokens", "text": None}, "TOKENS_REQUIRED", "policy", "tokens"),
        ("Ground", {"weighting": "tf"}, "BAD_WEIGHTING", "weighting", "tf"),
        (
            "Ground",
            {
                "policy": "tokens",
                "question_tokens": pb.Matrix(rows=1, dim=DIM, f32=b"\0" * 4 * DIM),
                "text": None,
            },
            "NOT_USED",
            "question_feature",
            None,
        ),
        ("Ground", {"fallback": "oldest"}, "BAD_FALLBACK", "fallback", "oldest"),
        ("Ground", {"min_score": float("nan")}, "OUT_OF_RANGE", "min_score", "nan"),
        ("Ground", {"min_relevance": float("nan")}, "OUT_OF_RANGE", "min_relevance", "nan"),
        ("Ground", {"min_relevance": -0.1}, "OUT_OF_RANGE", "min_relevance", "-0.1"),
        ("Ground", {"min_relevance": 0.5, "text": "a cat"}, "NOT_USED", "min_relevance", "0.5"),
        ("Ground", {"calendar": hours((5, 5))}, "BAD_HOURS", "hours[0]", None),
        ("Ground", {"calendar": hours((0, 3600), (86_400, 5))}, "BAD_HOURS", "hours[1]", None),
        ("Ground", {"calendar": hours((0, 2**32 - 1))}, "BAD_HOURS", "hours[0]", "4294967295"),
        ("Ground", {"calendar": hours(*[(0, 60)] * 25)}, "TOO_LARGE", "hours", "25"),
        ("Ground", {"calendar": CalendarFilter(weekdays=[0, 7])}, "BAD_WEEKDAY", "weekdays[1]", "7"),
        ("Ground", {"calendar": CalendarFilter(weekdays=[2**32 - 1])}, "BAD_WEEKDAY", "weekdays[0]", None),
        ("Ground", {"calendar": CalendarFilter(weekdays=[1] * 8)}, "TOO_LARGE", "weekdays", "8"),
        ("Ground", {"calendar": CalendarFilter(weekdays=[1], zone="../x")}, "BAD_ZONE", "zone", "../x"),
        ("Ground", {"calendar": CalendarFilter(zone="")}, "EMPTY", "zone", None),
        ("Ground", {"labels": [LabelFilter(key="zone")]}, "EMPTY", "labels[zone]", None),
        ("Ground", {"labels": [LabelFilter(values=["porch"])]}, "EMPTY", "labels", None),
        ("Ground", {"labels": [LabelFilter(key="z", values=["x"])] * 2}, "AMBIGUOUS", "labels", "z"),
        ("Ground", {"labels": [LabelFilter(key="z", values=["x"], other_than=["y"])]}, "AMBIGUOUS", "labels", "z"),
        ("Ground", {"labels": [LabelFilter(key="z", other_than=["x"] * 65)]}, "TOO_LARGE", "labels[z]", "65"),
        ("Ground", {"labels": [LabelFilter(key="z", values=["x"] * 65)]}, "TOO_LARGE", "labels[z]", "65"),
        ("Ground", {"labels": [LabelFilter(key=f"{n}", values=["x"]) for n in range(65)]}, "TOO_LARGE", "labels", "65"),
        ("Ground", {"labels": [LabelFilter(key="z" * 65, values=["x"])]}, "TOO_LARGE", "labels", "65"),
        ("Ground", {"labels": [LabelFilter(key="z", values=["x" * 1025])]}, "TOO_LARGE", "labels[z]", "1025"),
        ("Ground", {"calendar": CalendarFilter(zone="x" * 65)}, "TOO_LARGE", "zone", "65"),
        ("Ground", {"start_ns": 5, "end_ns": 4}, "TIME_RANGE", "end_ns", "[5, 4)"),
        ("Ground", {"start_ns": -(2**63)}, "TIME_RANGE", "start_ns", str(-(2**63))),
        ("Ground", {"min_revision": 10**6}, "BEHIND", "min_revision", "1000000"),
        ("Ground", {"as_of": pb.AsOf(revision=99)}, "REVISION_NOT_FOUND", "as_of", "99"),
        ("Ground", {"as_of": pb.AsOf(revision=2**64 - 1)}, "REVISION_NOT_FOUND", "as_of", None),
        ("Ground", {"as_of": pb.AsOf(snapshot="s")}, "SNAPSHOT_NOT_FOUND", "as_of", "s"),
        ("Ground", {"as_of": pb.AsOf(snapshot="../s")}, "BAD_ID", "as_of", "../s"),
        ("Ground", {"as_of": pb.AsOf(time_ns=2**63 - 1)}, "TIME_RANGE", "as_of", None),
        ("Ground", {"as_of": pb.AsOf()}, "EMPTY", "as_of", None),
        ("Ground", {"question_feature": pb.Vector()}, "EMPTY", "question_feature", None),
        ("Ground", {"question_feature": pb.Vector(f32=b"\0" * 12)}, "DIM_MISMATCH", "question_feature", "3"),
        ("Ground", {"question_feature": pb.Vector(f32=b"\0" * 3)}, "BAD_SHAPE", "question_feature", "3"),
        ("Ground", {"question_feature": pb.Vector(f32=b"\0" * 4 * DIM)}, "ZERO_VECTOR", "question_feature", None),
        (
            "Ground",
            {"question_feature": pb.Vector(f32=np.full(DIM, np.nan, "<f4").tobytes())},
            "NOT_FINITE",
            "question_feature",
            None,
        ),
        (
            "Ground",
            {"question_tokens": pb.Matrix(rows=2**32 - 1, dim=2**32 - 1), "rerank": 1},
            "BAD_SHAPE",
            "question_tokens",
            "0",
        ),
        (
            "Ground",
            {"question_tokens": pb.Matrix(rows=0, dim=DIM), "rerank": 1},
            "EMPTY",
            "question_tokens",
            None,
        ),
        ("GroundMany", {"options": grounding_service_pb2.GroundRequest(limit=1001)}, "OUT_OF_RANGE", "limit", "1001"),
        ("GroundMany", {"options": grounding_service_pb2.GroundRequest(user="u")}, "NOT_SHARED", "options.user", None),
        (
            "GroundMany",
            {"options": grounding_service_pb2.GroundRequest(rerank=3)},
            "TOKENS_REQUIRED",
            "rerank",
            "3",
        ),
        (
            "GroundMany",
            {"question_tokens": [pb.Matrix(rows=1, dim=DIM, f32=b"\0" * 4 * DIM)] * 2},
            "BAD_SHAPE",
            "question_tokens",
            "2",
        ),
        (
            "GroundMany",
            {"question_tokens": [pb.Matrix(rows=2**31, dim=2**31)]},
            "BAD_SHAPE",
            "question_tokens[0]",
            "0",
        ),
        (
            "GroundMany",
            {"question_features": pb.Matrix(rows=2**32 - 1, dim=2**32 - 1)},
            "BAD_SHAPE",
            "question_features",
            "0",
        ),
        (
            "GroundMany",
            {"question_features": pb.Matrix(rows=257, dim=1, f32=b"\0" * 4 * 257)},
            "TOO_LARGE",
            "question_features",
            "257",
        ),
        (
            "GroundMany",
            {"question_features": pb.Matrix(rows=2, dim=DIM, f32=b"\0" * 8 * DIM)},
            "ZERO_VECTOR",
            "question_features[0]",
            None,
        ),
        ("Ground", {"text": ""}, "EMPTY", "text", None),
        ("Ground", {"text": "x" * 16_385}, "TOO_LARGE", "text", "16385"),
        ("Ground", {"text": "a", "policy": "ixc-live"}, "BAD_POLICY", "policy", "ixc-live"),
        ("Ground", {"text": "a", "fusion": grounding_pb.Fusion(weights={"nose": 1.0})}, "BAD_ARM", "weights", "nose"),
        (
            "Ground",
            {"text": "a", "fusion": grounding_pb.Fusion(weights={"labels": float("nan")})},
            "OUT_OF_RANGE",
            "weights[labels]",
            "nan",
        ),
        (
            "Ground",
            {"text": "a", "fusion": grounding_pb.Fusion(text_feature=pb.Vector())},
            "EMPTY",
            "text_feature",
            None,
        ),
        (
            "Ground",
            {"text": "a", "fusion": grounding_pb.Fusion(text_feature=pb.Vector(f32=b"\0" * 12))},
            "DIM_MISMATCH",
            "text_feature",
            "3",
        ),
        ("ListClips", {"stream": "nowhere"}, "STREAM_NOT_FOUND", "stream", "nowhere"),
        ("ListClips", {"limit": 1001}, "OUT_OF_RANGE", "limit", "1001"),
        ("ListClips", {"after": "0" * 32}, "CLIP_NOT_FOUND", "after", "0" * 32),
        ("ListClips", {"start_ns": 5, "end_ns": 4}, "TIME_RANGE", "end_ns", "[5, 4)"),
        ("ListLabels", {"after": clip_pb.Label(value="x")}, "EMPTY", "after", None),
        ("ListLabels", {"key": "k" * 65}, "TOO_LARGE", "key", "65"),
        ("ListLabels", {"limit": 1001}, "OUT_OF_RANGE", "limit", "1001"),
        ("ListClips", {"labels": [LabelFilter(key="zone")]}, "EMPTY", "labels[zone]", None),
        ("ListGaps", {"stream": "nowhere"}, "STREAM_NOT_FOUND", "stream", "nowhere"),
        ("GetClip", {"clip_id": "x" * 10_000}, "TOO_LARGE", "clip_id", "10000"),
        ("GetShortMemory", {"clip_ids": ["x"] * 1001}, "TOO_LARGE", "clip_ids", "1001"),
        ("GetHistory", {"fact_id": "../x"}, "FACT_NOT_FOUND", "fact_id", "../x"),
        ("Forget", {"fact_id": ""}, "EMPTY", "fact_id", None),
        ("Revise", {"fact_id": "0" * 32}, "FACT_NOT_FOUND", "fact_id", "0" * 32),
        ("Remember", {"text": ""}, "EMPTY", "text", None),
        ("Remember", {"text": "x" * 16_385}, "TOO_LARGE", "text", "16385"),
        ("Remember", {"about": ["x"] * 65}, "TOO_LARGE", "about", "65"),
        ("Remember", {"about": [""]}, "EMPTY", "about[0]", None),
        ("Remember", {"evidence": ["0" * 32]}, "CLIP_NOT_FOUND", None, "0" * 32),
        ("Remember", {"key": "k" * 257}, "TOO_LARGE", "key", "257"),
        ("Remember", {"valid_from_ns": 5, "valid_to_ns": 4}, "TIME_RANGE", "valid_to", "[5, 4)"),
        ("Remember", {"feature": pb.Vector(f32=b"\0" * 12)}, "DIM_MISMATCH", "feature", "3"),
        ("Recall", {"question": ""}, "EMPTY", "question", None),
        ("Recall", {"limit": 5000}, "OUT_OF_RANGE", "limit", "5000"),
        ("Recall", {"streams": ["nowhere"]}, "STREAM_NOT_FOUND", "streams", "nowhere"),
        ("Recall", {"streams": ["x"] * 1001}, "TOO_LARGE", "streams", "1001"),
        ("Recall", {"start_ns": 5, "end_ns": 4}, "TIME_RANGE", "end_ns", "[5, 4)"),
        ("Recall", {"labels": [LabelFilter(key="zone")]}, "EMPTY", "labels[zone]", None),
        ("Recall", {"labels": [LabelFilter(key="a", values="b")] * 2}, "AMBIGUOUS", "labels", "a"),
        ("Recall", {"kinds": ["clip"]}, "BAD_KIND", "kinds", "clip"),
        ("Recall", {"kinds": ["fact"] * 17}, "TOO_LARGE", "kinds", "17"),
        ("Recall", {"kinds": ["fact"], "end_ns": 4}, "NOT_USED", "end_ns", None),
        ("Recall", {"valid_at_word": ""}, "BAD_TIME", "valid_at", None),
        ("Recall", {"valid_at_ns": 2**63 - 1}, "TIME_RANGE", "valid_at", str(2**63 - 1)),
        ("ListFacts", {"valid_at_word": "then"}, "BAD_TIME", "valid_at", "then"),
        ("ListFacts", {"limit": 5000}, "OUT_OF_RANGE", "limit", "5000"),
        ("GetLongTermMemory", {"max_tokens": 2**32 - 1}, "OUT_OF_RANGE", "max_tokens", None),
        ("GetLongTermMemory", {"stream": "nowhere"}, "STREAM_NOT_FOUND", "stream", "nowhere"),
        ("RemoveValue", {"key": ""}, "EMPTY", "key", None),
        ("RemoveValue", {"key": "nothing"}, "VALUE_NOT_FOUND", "key", "nothing"),
        ("ListKeys", {"limit": 5000}, "OUT_OF_RANGE", "limit", "5000"),
        ("ListKeys", {"prefix": "k" * 257}, "TOO_LARGE", "prefix", "257"),
        ("ListKeys", {"after": ""}, "EMPTY", "after", None),
        ("PutValue", {"key": ""}, "EMPTY", "key", None),
        ("PutValue", {"json": "NaN"}, "BAD_VALUE", "value", "NaN"),
        ("PutValue", {"json": "[" * 100_000}, "BAD_VALUE", "value", None),
        ("PutValue", {"json": json.dumps("x" * 2**20)}, "TOO_LARGE", "value", None),
        ("ConfigureUser", {"text_space": "nowhere"}, "SPACE_NOT_FOUND", "space", "nowhere"),
        ("CreateStream", {"stream": "new"}, "SPACE_REQUIRED", "space", None),
        ("CreateStream", {"space": "nowhere"}, "SPACE_NOT_FOUND", "space", "nowhere"),
        ("CreateStream", {"space": "other"}, "SPACE_MISMATCH", "space", None),
        ("CreateStream", {"zone": "Mars/Olympus"}, "BAD_ZONE", "zone", "Mars/Olympus"),
        ("CreateStream", {"zone": "America"}, "BAD_ZONE", "zone", "America"),
        ("CreateStream", {"zone": "Europe/Paris"}, "ZONE_MISMATCH", "zone", "Europe/Paris"),
        ("CreateSnapshot", {"name": "../x"}, "BAD_ID", "snapshot", "../x"),
        ("CreateSnapshot", {"ttl_s": -1.0}, "OUT_OF_RANGE", "ttl_s", "-1.0"),
        ("CreateSnapshot", {"ttl_s": float("inf")}, "OUT_OF_RANGE", "ttl_s", "inf"),
        ("ReleaseSnapshot", {"name": "s"}, "SNAPSHOT_NOT_FOUND", "snapshot", "s"),
        ("WatchUser", {"from_revision": 2**64 - 1}, "OUT_OF_RANGE", "from_revision", None),
        ("GetSpace", {"name": "nowhere"}, "SPACE_NOT_FOUND", "space", "nowhere"),
        ("GetSpace", {"name": "../x"}, "BAD_ID", "space", "../x"),
        ("CreateSpace", {"space": pb.Space(name="q")}, "BAD_SHAPE", "space.dim", "0"),
        ("CreateSpace", {"space": pb.Space(name="q", dim=2**32 - 1)}, "BAD_SHAPE", "space.dim", None),
        ("CreateSpace", {"space": pb.Space(name="", dim=3)}, "BAD_ID", "space.name", ""),
        ("CreateSpace", {"space": pb.Space(name="q", dim=3, metric="l2")}, "BAD_METRIC", "space.metric", "l2"),
        ("CreateSpace", {"space": pb.Space(name="p", dim=3)}, "SPACE_EXISTS", None, None),
        ("CreateStanding", {"spec": standing_pb.StandingSpec()}, "EMPTY", "question_feature", None),
        ("CreateStanding", {"spec": asked(kind="maybe")}, "BAD_KIND", "kind", "maybe"),
        ("CreateStanding", {"spec": asked(kind="absent")}, "WINDOW_REQUIRED", "window_s", "absent"),
        ("CreateStanding", {"spec": asked(kind="absent", window_s=-1.0)}, "OUT_OF_RANGE", "window_s", "-1.0"),
        ("CreateStanding", {"spec": asked(window_s=float("inf"))}, "OUT_OF_RANGE", "window_s", "inf"),
        ("CreateStanding", {"spec": asked(min_score=float("nan"))}, "OUT_OF_RANGE", "min_score", "nan"),
        ("CreateStanding", {"spec": asked(kind="sequence", window_s=1.0)}, "THEN_REQUIRED", "then_feature", None),
        ("CreateStanding", {"spec": asked(then_feature=pb.Vector(f32=b"\0" * 4))}, "NOT_OF_KIND", "then_feature", None),
        (
            "CreateStanding",
            {"spec": asked(kind="sequence", window_s=1.0, then_feature=pb.Vector(f32=b"\0" * 12))},
            "DIM_MISMATCH",
            "then_feature",
            "3",
        ),
        ("CreateStanding", {"spec": asked(streams=["nowhere"])}, "STREAM_NOT_FOUND", "streams", "nowhere"),
        ("CreateStanding", {"spec": asked(streams=["a"] * 1001)}, "TOO_LARGE", "streams", "1001"),
        ("CreateStanding", {"spec": asked(space="../x")}, "BAD_ID", "space", "../x"),
        ("CreateStanding", {"spec": asked(space="other")}, "DIM_MISMATCH", "question_feature", str(DIM)),
        ("CreateStanding", {"spec": asked(streams=["../x"])}, "BAD_ID", "streams", "../x"),
        ("CreateStanding", {"spec": asked(text="x" * 16_385)}, "TOO_LARGE", "text", "16385"),
        ("GetStanding", {"question_id": "x" * 257}, "TOO_LARGE", "question_id", "257"),
        ("RemoveStanding", {"question_id": "0" * 32}, "STANDING_NOT_FOUND", "question_id", "0" * 32),
        ("BacktestStanding", {"spec": asked(kind="maybe")}, "BAD_KIND", "kind", "maybe"),
        ("BacktestStanding", {"limit": 1001}, "OUT_OF_RANGE", "limit", "1001"),
        ("BacktestStanding", {"start_ns": 5, "end_ns": 4}, "TIME_RANGE", "end_ns", "[5, 4)"),
        ("BacktestStanding", {"as_of": pb.AsOf(revision=99)}, "REVISION_NOT_FOUND", "as_of", "99"),
        ("BacktestStanding", {"thresholds": [float("nan")]}, "OUT_OF_RANGE", "thresholds[0]", "nan"),
        ("BacktestStanding", {"thresholds": [0.5] * 10_000}, "TOO_LARGE", "thresholds", None),
        ("WatchStanding", {"cursor": ""}, "EMPTY", "cursor", None),
        ("WatchStanding", {"cursor": "ff" * 40}, "BAD_CURSOR", "cursor", "ff" * 40),
        ("WatchStanding", {"cursor": "x" * 10_000}, "TOO_LARGE", "cursor", "10000"),
        ("WriteClips", {"clips": []}, "EMPTY", "clips", None),
        ("WriteClips", {"space": "nowhere"}, "SPACE_NOT_FOUND", "space", "nowhere"),
        ("WriteClips", {"space": "other"}, "SPACE_MISMATCH", "space", None),
        ("WriteClips", {"stream": "new"}, "STREAM_NOT_FOUND", "stream", "new"),
    ],
)  # fmt: skip
def test_arguments_out_of_their_limits(
    served: Served,
    name: str,
    changes: dict[str, Any],
    reason: str,
    field: str | None,
    value: str | None,
) -> None:
    method = method_named(name)
    request = filled(method)
    for key, changed in changes.items():
        if changed is None:
            request.ClearField(key)
        elif isinstance(changed, list):
            request.ClearField(key)
            getattr(request, key).extend(changed)
        elif isinstance(changed, Message):
            getattr(request, key).CopyFrom(changed)
        else:
            setattr(request, key, changed)
    error = refusal(served, method, request.SerializeToString())
    assert error.reason == reason
    assert error.field == field or (field is None and error.field)
    assert value is None or error.value == value


def tensor(payload: bytes, shape: list[int], codec: Any = 1) -> pb.Tensor:
    """A tensor whose checksum is right, whatever else is not."""
    return pb.Tensor(
        codec=codec,  # also numbers that nobody declared
        shape=shape,
        payload=payload,
        checksum=xxhash.xxh3_64_intdigest(payload),
    )


def zstd(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


GOOD = np.ones((2, DIM), "<f2").tobytes()
SILENT = zstd(GOOD, write_content_size=False)
HALF_NAN = np.array([1] * (2 * DIM - 1) + [np.nan], "<f2").tobytes()
F32_INF = np.array([1] * (DIM - 1) + [np.inf], "<f4").tobytes()

VECTOR, TOKENS, FEATURES = "clip.global_memory", "clip.short_memory", "clip.transcript_features"
F16 = pb.TENSOR_CODEC_F16
LARGE = b"x" * (limits.KEYFRAME_BYTES_MAX + 1)

BAD_CLIPS: list[tuple[str, dict[str, Any], str, str]] = [
    ("no vector", {"global_memory": pb.Vector()}, "EMPTY", VECTOR),
    ("wrong dim", {"global_memory": pb.Vector(f32=b"\0\0\x80\x3f" * 3), "short_memory": None}, "DIM_MISMATCH", VECTOR),
    ("dim over the maximum", {"global_memory": pb.Vector(f32=b"\0" * 4 * 8193)}, "BAD_SHAPE", VECTOR),
    ("zero vector", {"global_memory": pb.Vector(f32=b"\0" * 4 * DIM)}, "ZERO_VECTOR", VECTOR),
    ("infinite vector", {"global_memory": pb.Vector(f32=F32_INF)}, "NOT_FINITE", VECTOR),
    ("torn vector", {"global_memory": pb.Vector(f32=b"\0" * 5)}, "BAD_SHAPE", VECTOR),
    ("zero tokens", {"short_memory": tensor(b"", [0, DIM])}, "EMPTY", TOKENS),
    ("tokens of another dim", {"short_memory": tensor(GOOD, [4, DIM // 2])}, "DIM_MISMATCH", TOKENS),
    ("one axis", {"short_memory": tensor(GOOD, [2 * DIM])}, "BAD_SHAPE", TOKENS),
    ("overflowing shape", {"short_memory": tensor(b"", [2**32 - 1, 2**32 - 1])}, "BAD_SHAPE", TOKENS),
    ("shape over the maximum", {"short_memory": tensor(b"", [65_536, 8192])}, "TOO_LARGE", TOKENS),
    ("short payload", {"short_memory": tensor(GOOD[:-1], [2, DIM])}, "LENGTH_MISMATCH", TOKENS),
    ("no codec", {"short_memory": tensor(GOOD, [2, DIM], 0)}, "BAD_CODEC", TOKENS),
    ("codec of the future", {"short_memory": tensor(GOOD, [2, DIM], 99)}, "BAD_CODEC", TOKENS),
    ("flipped bit", {"short_memory": pb.Tensor(codec=F16, shape=[2, DIM], payload=GOOD)}, "CHECKSUM", TOKENS),
    ("NaN token", {"short_memory": tensor(HALF_NAN, [2, DIM])}, "NOT_FINITE", TOKENS),
    ("NaN token in zstd", {"short_memory": tensor(zstd(HALF_NAN), [2, DIM], 2)}, "NOT_FINITE", TOKENS),
    ("no zstd frame", {"short_memory": tensor(GOOD, [2, DIM], 2)}, "BAD_FRAME", TOKENS),
    ("zstd of another size", {"short_memory": tensor(zstd(GOOD * 2), [2, DIM], 2)}, "BAD_FRAME", TOKENS),
    ("zstd bomb", {"short_memory": tensor(zstd(b"\0" * 2**26), [2, DIM], 2)}, "BAD_FRAME", TOKENS),
    ("zstd that does not say", {"short_memory": tensor(SILENT, [2, DIM], 2)}, "BAD_FRAME", TOKENS),
    ("end before start", {"start_ns": 10, "end_ns": 9}, "TIME_RANGE", "clip.end_ns"),
    ("time out of range", {"start_ns": -(2**63)}, "TIME_RANGE", "clip.start_ns"),
    ("seq out of range", {"seq": 2**64 - 1}, "OUT_OF_RANGE", "clip.seq"),
    ("seq reused", {"seq": 0}, "SEQ_REUSED", "clip.seq"),
    ("negative ratio", {"frames_per_token_row": -1.0}, "OUT_OF_RANGE", "clip.frames_per_token_row"),
    ("NaN ratio", {"frames_per_token_row": float("nan")}, "OUT_OF_RANGE", "clip.frames_per_token_row"),
    ("empty utterance", {"transcript": [pb.Utterance()]}, "EMPTY", "utterance.text"),
    ("utterance backwards", {"transcript": [pb.Utterance(start_ns=1, text="x")]}, "TIME_RANGE", "utterance.end_ns"),
    ("too many utterances", {"transcript": [pb.Utterance(text="x")] * 1025}, "TOO_LARGE", "clip.transcript"),
    ("features of nothing", {"transcript_features": pb.Matrix(rows=1, dim=1, f32=b"\0" * 4)}, "BAD_SHAPE", FEATURES),
    ("torn features", {"transcript_features": pb.Matrix(rows=2**31, dim=2**31, f32=b"\0" * 4)}, "BAD_SHAPE", FEATURES),
    ("event without label", {"events": [pb.SoundEvent(score=1)]}, "EMPTY", "event.label"),
    ("event score", {"events": [pb.SoundEvent(label="x", score=1.5)]}, "OUT_OF_RANGE", "event.score"),
    ("event NaN score", {"events": [pb.SoundEvent(label="x", score=float("nan"))]}, "OUT_OF_RANGE", "event.score"),
    ("empty keyframe", {"keyframes": [pb.Keyframe()]}, "EMPTY", "keyframe.jpeg"),
    ("too many keyframes", {"keyframes": [pb.Keyframe(jpeg=b"x")] * 65}, "TOO_LARGE", "clip.keyframes"),
    ("keyframe too large", {"keyframes": [pb.Keyframe(jpeg=LARGE)]}, "TOO_LARGE", "keyframe.jpeg"),
    ("label without key", {"labels": {"": "x"}}, "EMPTY", "clip.labels"),
    ("too many labels", {"labels": {str(n): "" for n in range(65)}}, "TOO_LARGE", "clip.labels"),
    ("label too long", {"labels": {"k": "x" * 1025}}, "TOO_LARGE", "clip.labels[k]"),
]  # fmt: skip


def bad_clip(changes: dict[str, Any]) -> pb.Clip:
    message: Any = clip_to_proto(clip(1))
    for key, changed in changes.items():
        message.ClearField(key)
        if isinstance(changed, list):
            getattr(message, key).extend(changed)
        elif isinstance(changed, dict):
            getattr(message, key).update(changed)
        elif isinstance(changed, Message):
            getattr(message, key).CopyFrom(changed)
        elif changed is not None:
            setattr(message, key, changed)
    parsed: pb.Clip = message
    return parsed


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [entry[1:] for entry in BAD_CLIPS],
    ids=[entry[0] for entry in BAD_CLIPS],
)
def test_bad_clips(served: Served, changes: dict[str, Any], reason: str, field: str) -> None:
    message = bad_clip(changes)
    write = clip_pb.WriteClipsRequest(user="u", stream="cam", clips=[message])
    start = clip_pb.IngestClipsRequest(start=clip_pb.IngestStart(user="u", stream="cam"))
    sent = clip_pb.IngestClipsRequest(clips=[message])
    unary = refusal(served, method_named("WriteClips"), write.SerializeToString())
    streamed = refusal(
        served, method_named("IngestClips"), start.SerializeToString(), sent.SerializeToString()
    )
    for error in (unary, streamed):
        assert (error.reason, error.field) == (reason, field)
    assert unary.value == streamed.value


@pytest.mark.parametrize("name", ["WriteClips", "IngestClips", "Ground"])
def test_a_message_over_the_limit(served: Served, name: str) -> None:
    data = b"\x0a" + b"\x81\x80\x80\x08" + b"x" * (17 * 1024 * 1024)
    error = refusal_of_size(served, method_named(name), data)
    assert error.reason in ("MESSAGE_TOO_LARGE", "RESOURCE_EXHAUSTED")
    # The server goes on.
    assert served.grounding.Ground(ground_request("u", vector(0))).hits


def refusal_of_size(served: Served, method: MethodDescriptor, data: bytes) -> MemdbError:
    """gRPC refuses these before our code sees them, so there is no request id."""
    with pytest.raises(grpc.RpcError) as caught:
        call(served, method, data)
    raw: Any = caught.value
    assert raw.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return error_of(raw)


def test_another_users_things_are_as_absent_as_none(served: Served) -> None:
    (theirs,) = served.database.user("stranger").clips()
    get = method_named("GetClip")
    answers = []
    for clip_id in (theirs.id, "0" * 32):
        request = clip_pb.GetClipRequest(user="u", clip_id=clip_id)
        error = refusal(served, get, request.SerializeToString())
        answers.append((type(error), error.message, error.reason, error.field))
        assert error.value == clip_id
    assert answers[0] == answers[1]

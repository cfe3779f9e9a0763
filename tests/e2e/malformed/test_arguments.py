"""Arguments out of their limits: a typed error that names the argument, and nothing changed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.v1 import standing_service_pb2 as standing_pb
from memdb.v1 import types_pb2 as pb
from memdb.v1.grounding_service_pb2 import CalendarFilter, HoursOfDay
from memdb.v1.memory_service_pb2 import Statement
from memdb.v1.types_pb2 import LabelFilter
from tests.e2e.malformed.calls import asked, filled, method_named, refusal
from tests.e2e.serving import DIM, Served

pytestmark = pytest.mark.e2e


def hours(*stretches: tuple[int, int]) -> CalendarFilter:
    return CalendarFilter(hours=[HoursOfDay(start_s=start, end_s=end) for start, end in stretches])


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
        ("GroundMany", {"options": grounding_pb.GroundRequest(limit=1001)}, "OUT_OF_RANGE", "limit", "1001"),
        ("GroundMany", {"options": grounding_pb.GroundRequest(user="u")}, "NOT_SHARED", "options.user", None),
        (
            "GroundMany",
            {"options": grounding_pb.GroundRequest(rerank=3)},
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
        ("CountClips", {"streams": ["nowhere"]}, "STREAM_NOT_FOUND", "streams", "nowhere"),
        ("CountClips", {"streams": ["x"] * 1001}, "TOO_LARGE", "streams", "1001"),
        ("CountClips", {"start_ns": 5, "end_ns": 4}, "TIME_RANGE", "end_ns", "[5, 4)"),
        ("CountClips", {"labels": [LabelFilter(key="zone")]}, "EMPTY", "labels[zone]", None),
        ("CountClips", {"labels": [LabelFilter(key="a", values="b")] * 2}, "AMBIGUOUS", "labels", "a"),
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
        ("RememberMany", {"statements": []}, "EMPTY", "statements", None),
        ("RememberMany", {"statements": [Statement(text="x")] * 257}, "TOO_LARGE", "statements", "257"),
        ("RememberMany", {"statements": [Statement(text="x")] * 20_000}, "TOO_LARGE", None, None),
        ("RememberMany", {"statements": [Statement()]}, "EMPTY", "statements[0].text", None),
        ("RememberMany", {"statements": [Statement(text="x", key="k")] * 2}, "AMBIGUOUS", "statements[1].key", "k"),
        (
            "RememberMany",
            {"statements": [Statement(text="x", feature=pb.Vector(f32=b"\0" * 3))]},
            "BAD_SHAPE",
            "statements[0].feature",
            None,
        ),
        ("ListFacts", {"about": ""}, "EMPTY", "about", None),
        ("ListFacts", {"about_one_of": ["x", ""]}, "EMPTY", "about[1]", None),
        ("ListFacts", {"about_one_of": ["x"] * 65}, "TOO_LARGE", "about", "65"),
        ("ListFacts", {"about": "x", "about_one_of": ["y"]}, "AMBIGUOUS", "about", "x"),
        ("Recall", {"about": ["a" * 1025]}, "TOO_LARGE", "about[0]", "1025"),
        ("Recall", {"about": ["x"] * 100_000}, "TOO_LARGE", "about", None),
        ("Recall", {"about": ["x"], "kinds": ["utterance"]}, "NOT_USED", "about", None),
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

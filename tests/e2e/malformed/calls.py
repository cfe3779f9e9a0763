"""Every method of every service, called with raw bytes."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

from memdb.errors import MemdbError
from memdb.v1 import (
    clip_service_pb2,
    database_service_pb2,
    grounding_service_pb2,
    memory_service_pb2,
    standing_service_pb2,
    user_service_pb2,
)
from memdb.v1 import types_pb2 as pb
from memdb.wire.arrays import matrix_to_proto
from memdb.wire.clips import clip_to_proto
from memdb.wire.fields import head, tag_of
from tests.e2e.serving import Served, clip, error_of, vector

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
            case "statements":
                request.statements.add(text="mug")
            case "clips":
                request.clips.append(clip_to_proto(clip(0)))
    return request


def asked(**changes: Any) -> standing_service_pb2.StandingSpec:
    """A good standing question, and what is changed of it."""
    fields: dict[str, Any] = {
        "question_feature": pb.Vector(f32=vector(0).tobytes()),
        "min_score": 0.5,
    }
    return standing_service_pb2.StandingSpec(**(fields | changes))


LATER = 1000
"""Number of a field that no message has."""


def later(value: bytes) -> bytes:
    """That field on the wire."""
    return head(tag_of(LATER), len(value)) + value

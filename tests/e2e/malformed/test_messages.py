"""Messages that are none, or of a later release, or empty, or too large, to every method."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from memdb import Utterance
from memdb.errors import MemdbError
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.wire.clips import clip_to_proto
from memdb.wire.grounding import ground_request
from tests.e2e.malformed.calls import (
    LATER,
    METHODS,
    call,
    filled,
    later,
    method_named,
    names,
    refusal,
)
from tests.e2e.serving import Served, clip, error_of, vector

pytestmark = pytest.mark.e2e

HARMLESS = {"ListUsers", "ListSpaces", "Verify", "Sweep", "Check", "List", "Watch"}
"""Methods to which an empty request is a good one."""


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

"""Ids that are none, users that are not there, and things of another user."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import MethodDescriptor

from memdb.v1 import clip_service_pb2 as clip_pb
from tests.e2e.malformed.calls import METHODS, call, filled, method_named, names, refusal
from tests.e2e.serving import Served

pytestmark = pytest.mark.e2e

BAD_IDS = ["", ".hidden", "-x", "../etc", "a/b", "a b", "a\n", "a\0b", "é", "x" * 64, "x" * 100_000]
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
    if method.name in ("Remember", "RememberMany", "PutValue", "ConfigureUser"):
        return  # they create the user
    error = refusal(served, method, request.SerializeToString())
    if method.name == "CreateStream":
        assert (error.reason, error.field) == ("SPACE_REQUIRED", "space")
    else:
        assert (error.reason, error.field, error.value) == ("USER_NOT_FOUND", "user", "nobody")


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

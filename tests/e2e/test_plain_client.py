"""Who writes a client of the contract alone gets what its comments, and "The gRPC services" of docs/api.md, say."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import xxhash

from memdb.types.limits import MESSAGE_BYTES_MAX
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import clip_service_pb2_grpc as clip_grpc
from memdb.v1 import database_service_pb2 as database_pb
from memdb.v1 import database_service_pb2_grpc as database_grpc
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.v1 import grounding_service_pb2_grpc as grounding_grpc
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.v1 import memory_service_pb2_grpc as memory_grpc
from memdb.v1 import standing_service_pb2 as standing_pb
from memdb.v1 import standing_service_pb2_grpc as standing_grpc
from memdb.v1 import types_pb2
from memdb.v1 import user_service_pb2 as user_pb
from memdb.v1 import user_service_pb2_grpc as user_grpc
from tests.congruence.server import ServerThread

PROTO = Path(__file__).parents[2] / "proto" / "memdb" / "v1"
DIM = 64
_BOUND = re.compile(r"((?:  //[^\n]*\n)+)  (?:uint32|double) (limit|max_tokens|ttl_s) = \d+;")
_MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.DOTALL | re.MULTILINE)


def told_defaults() -> dict[str, str]:
    """What the comment of each bound says of 0, by message and field."""
    found = {}
    for path in PROTO.glob("*.proto"):
        for message in _MESSAGE.finditer(path.read_text("utf-8")):
            for bound in _BOUND.finditer(message[2]):
                said = re.search(r"0 for (\w+)", bound[1])
                found[f"{message[1]}.{bound[2]}"] = said[1] if said else "nothing"
    return found


def vector(first: float = 1.0) -> types_pb2.Vector:
    return types_pb2.Vector(f32=struct.pack(f"<{DIM}f", first, *[1.0] * (DIM - 1)))


def clip(
    seq: int, *, sealed: bool = False, short_memory: types_pb2.Tensor | None = None
) -> types_pb2.Clip:
    begin = 1_767_614_400_000_000_000 + seq * 10**9
    return types_pb2.Clip(
        seq=seq,
        start_ns=begin,
        end_ns=begin + 10**9,
        global_memory=vector(),
        sealed=sealed,
        short_memory=short_memory,
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server in which Pat has 101 clips and 11 facts."""
    with ServerThread(tmp_path_factory.mktemp("plain") / "data") as server:
        with grpc.insecure_channel(server.address) as made:
            database_grpc.DatabaseServiceStub(made).CreateSpace(
                database_pb.CreateSpaceRequest(space=types_pb2.Space(name="mine", dim=DIM))
            )
            clip_grpc.ClipServiceStub(made).WriteClips(
                clip_pb.WriteClipsRequest(
                    user="pat",
                    stream="door",
                    space="mine",
                    clips=[clip(seq, sealed=True) for seq in range(101)],
                )
            )
            memory_grpc.MemoryServiceStub(made).RememberMany(
                memory_pb.RememberManyRequest(
                    user="pat",
                    statements=[memory_pb.Statement(text=f"tea number {n}") for n in range(11)],
                )
            )
        yield server.address


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as made:
        yield made


def test_every_bound_says_what_nothing_means(channel: grpc.Channel) -> None:
    assert told_defaults() == {
        "GroundRequest.limit": "4",
        "ListClipsRequest.limit": "1000",
        "ListGapsRequest.limit": "all",
        "ListLabelsRequest.limit": "1000",
        "ListUsersRequest.limit": "all",
        "CreateSnapshotRequest.ttl_s": "600",
        "GetHistoryRequest.limit": "all",
        "ListFactsRequest.limit": "1000",
        "ListKeysRequest.limit": "1000",
        "RecallRequest.limit": "5",
        "GetLongTermMemoryRequest.max_tokens": "512",
        "BacktestStandingRequest.limit": "100",
    }
    found = grounding_grpc.GroundingServiceStub(channel).Ground(
        grounding_pb.GroundRequest(user="pat", question_feature=vector())
    )
    memories = memory_grpc.MemoryServiceStub(channel)
    recalled = memories.Recall(memory_pb.RecallRequest(user="pat", question="tea"))
    lease = user_grpc.UserServiceStub(channel).CreateSnapshot(
        user_pb.CreateSnapshotRequest(user="pat", name="now")
    )
    tested = standing_grpc.StandingServiceStub(channel).BacktestStanding(
        standing_pb.BacktestStandingRequest(
            user="pat", spec=standing_pb.StandingSpec(question_feature=vector(), min_score=0.5)
        )
    )
    assert (len(found.hits), len(recalled.hits), len(tested.alerts)) == (4, 5, 100)
    assert lease.snapshot.expires_ns - lease.snapshot.created_ns == 600 * 10**9


def test_a_clip_that_does_not_say_that_it_is_ended_grows(channel: grpc.Channel) -> None:
    clips = clip_grpc.ClipServiceStub(channel)
    for end_ns in (1, 2):
        grown = types_pb2.Clip(seq=0, start_ns=0, end_ns=end_ns, global_memory=vector())
        (ack,) = clips.WriteClips(
            clip_pb.WriteClipsRequest(user="kim", stream="door", space="mine", clips=[grown])
        ).acks
        assert not ack.duplicate
    stored = clips.GetClip(clip_pb.GetClipRequest(user="kim", clip_id=ack.clip_id)).clip.clip
    assert (stored.end_ns, stored.sealed) == (2, False)


def test_a_policy_that_is_left_out_ends_a_hold(channel: grpc.Channel) -> None:
    users = user_grpc.UserServiceStub(channel)
    held = user_pb.SetRetentionRequest(
        user="pat", stream="door", retention=user_pb.Retention(hold=True)
    )
    users.SetRetention(held)
    named = user_pb.GetRetentionRequest(user="pat", stream="door")
    assert users.GetRetention(named).retention.hold
    users.SetRetention(user_pb.SetRetentionRequest(user="pat", stream="door"))
    assert users.GetRetention(named).retention == user_pb.Retention()


def test_a_large_answer_needs_a_channel_that_takes_it(address: str, channel: grpc.Channel) -> None:
    """The comments alone left a newcomer with an error of her own client for every large clip."""
    rows = np.random.default_rng(0).random((50_000, DIM), np.float32).astype(np.float16)
    payload = rows.tobytes()
    tensor = types_pb2.Tensor(
        codec=types_pb2.TENSOR_CODEC_F16,
        shape=rows.shape,
        payload=payload,
        checksum=xxhash.xxh3_64_intdigest(payload),
    )
    clips = clip_grpc.ClipServiceStub(channel)
    (ack,) = clips.WriteClips(
        clip_pb.WriteClipsRequest(
            user="lou", stream="door", space="mine", clips=[clip(0, short_memory=tensor)]
        )
    ).acks
    asked = clip_pb.GetClipRequest(user="lou", clip_id=ack.clip_id, with_short_memory=True)
    with pytest.raises(grpc.RpcError) as refused:
        clips.GetClip(asked)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    page = (PROTO.parents[2] / "docs" / "api.md").read_text("utf-8")
    assert "`grpc.max_receive_message_length`" in page.partition("## The gRPC services")[2]
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
    with grpc.insecure_channel(address, options) as large:
        answer = clip_grpc.ClipServiceStub(large).GetClip(asked)
    assert len(answer.clip.clip.short_memory.payload) == len(payload)


def test_compressed_calls_are_refused_as_told(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        user_grpc.UserServiceStub(channel).GetUser(
            user_pb.GetUserRequest(user="pat"), compression=grpc.Compression.Gzip
        )
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED

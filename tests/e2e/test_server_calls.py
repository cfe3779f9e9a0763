"""Every service over a real channel, once along the main road."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from memdb.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from memdb.types.change import Change
from memdb.types.space import Space
from memdb.types.stream import StreamInfo
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import database_service_pb2 as db_pb
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.arrays import array_from_tensor
from memdb.wire.clips import (
    ack_from_proto,
    clip_to_proto,
    list_clips_request,
    stored_clip_from_proto,
)
from memdb.wire.facts import (
    fact_from_proto,
    long_term_from_proto,
    recall_from_proto,
    recall_request,
    remember_request,
    revise_request,
)
from memdb.wire.grounding import ground_request, grounding_from_proto
from memdb.wire.snapshots import snapshot_from_proto
from memdb.wire.spaces import space_from_proto, space_to_proto
from memdb.wire.streams import ledger_from_proto, stream_from_proto
from memdb.wire.users import change_from_proto, snapshot_request
from tests.e2e.serving import DIM, Served, clip, error_of, serving, vector

pytestmark = pytest.mark.e2e


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "db") as running:
        running.database.create_space("p", dim=DIM)
        yield running


def write(served: Served, *clips: Any, user: str = "u", stream: str = "cam") -> list[Any]:
    request = clip_pb.WriteClipsRequest(
        user=user, stream=stream, space="p", clips=[clip_to_proto(item) for item in clips]
    )
    return [ack_from_proto(ack) for ack in served.clips.WriteClips(request).acks]


def listed(served: Served, **options: Any) -> list[Any]:
    answers = served.clips.ListClips(list_clips_request("u", **options))
    return [stored_clip_from_proto(item) for answer in answers for item in answer.clips]


def test_spaces(served: Served) -> None:
    space = Space("q", 3, "dot", "m@1")
    request = db_pb.CreateSpaceRequest(space=space_to_proto(space))
    assert space_from_proto(served.databases.CreateSpace(request).space) == space
    assert space_from_proto(served.databases.CreateSpace(request).space) == space
    assert (
        space_from_proto(served.databases.GetSpace(db_pb.GetSpaceRequest(name="q")).space) == space
    )
    spaces = served.databases.ListSpaces(db_pb.ListSpacesRequest()).spaces
    assert [item.name for item in spaces] == ["p", "q"]


def test_write_read_and_ground(served: Served) -> None:
    acks = write(served, clip(0), clip(1), clip(3))
    assert [ack.duplicate for ack in acks] == [False] * 3
    assert [ack.duplicate for ack in write(served, clip(1))] == [True]

    answer = grounding_from_proto(
        served.grounding.Ground(ground_request("u", vector(3), limit=2, with_short_memory=True))
    )
    assert answer.hits[0].clip.seq == 3
    assert answer.hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert np.array_equal(np.asarray(answer.hits[0].clip.short_memory), np.full((4, DIM), 3))
    assert [(gap.first_seq, gap.last_seq) for gap in answer.gaps] == [(2, 2)]

    request = clip_pb.GetClipRequest(user="u", clip_id=acks[0].clip_id)
    got = stored_clip_from_proto(served.clips.GetClip(request).clip)
    assert (got.id, got.user, got.stream, got.space, got.short_memory) == (
        acks[0].clip_id,
        "u",
        "cam",
        "p",
        None,
    )
    assert [item.seq for item in listed(served)] == [0, 1, 3]
    assert [item.seq for item in listed(served, limit=1, after=acks[0].clip_id)] == [1]

    ids = [acks[2].clip_id, acks[0].clip_id]
    answers = served.clips.GetShortMemory(clip_pb.GetShortMemoryRequest(user="u", clip_ids=ids))
    found = [(item.clip_id, array_from_tensor(item.short_memory)[0, 0]) for item in answers]
    assert found == [(ids[0], 3), (ids[1], 0)]

    ledger = served.clips.GetLedger(clip_pb.GetLedgerRequest(user="u", stream="cam")).ledger
    assert (ledger_from_proto(ledger).next_seq, ledger_from_proto(ledger).clips) == (4, 3)
    gaps = served.clips.ListGaps(clip_pb.ListGapsRequest(user="u", stream="cam")).gaps
    assert [(gap.first_seq, gap.last_seq) for gap in gaps] == [(2, 2)]


def test_lists_longer_than_a_page_and_a_message(served: Served) -> None:
    jpeg = b"\xff" * 100_000
    clips = [clip(seq, keyframes=(jpeg,), short_memory=None) for seq in range(300)]
    for first in range(0, 300, 100):
        write(served, *clips[first : first + 100])
    answers = list(served.clips.ListClips(list_clips_request("u")))
    assert [item.clip.seq for answer in answers for item in answer.clips] == list(range(300))
    assert max(answer.ByteSize() for answer in answers) < 4 * 1024 * 1024
    assert [item.seq for item in listed(served, limit=290)] == list(range(290))


def test_users_streams_snapshots(served: Served) -> None:
    created = served.users.CreateStream(
        user_pb.CreateStreamRequest(user="u", stream="cam", space="p")
    )
    assert stream_from_proto(created.stream) == StreamInfo("cam", "p", 1, created.stream.id)
    assert [
        s.name for s in served.users.ListStreams(user_pb.ListStreamsRequest(user="u")).streams
    ] == ["cam"]
    snapshot = snapshot_from_proto(
        served.users.CreateSnapshot(snapshot_request("u", "speech", ttl_s=60)).snapshot
    )
    write(served, clip(0))
    then = grounding_from_proto(
        served.grounding.Ground(ground_request("u", vector(0), as_of=snapshot))
    )
    assert (then.hits, then.revision) == ((), snapshot.revision)
    listed_now = served.users.ListSnapshots(user_pb.ListSnapshotsRequest(user="u")).snapshots
    assert [item.name for item in listed_now] == ["speech"]
    served.users.ReleaseSnapshot(user_pb.ReleaseSnapshotRequest(user="u", name="speech"))
    assert not served.users.ListSnapshots(user_pb.ListSnapshotsRequest(user="u")).snapshots

    served.users.ConfigureUser(user_pb.ConfigureUserRequest(user="u", text_space="p"))
    got = served.users.GetUser(user_pb.GetUserRequest(user="u"))
    assert (got.text_space.name, got.revision) == ("p", served.database.user("u").revision())
    assert list(served.users.ListUsers(user_pb.ListUsersRequest()).users) == ["u"]
    report = served.users.EraseUser(user_pb.EraseUserRequest(user="u"))
    assert report.clips == 1
    assert list(served.users.ListUsers(user_pb.ListUsersRequest()).users) == []


def test_long_term_memory(served: Served) -> None:
    (ack,) = write(served, clip(0))
    served.users.ConfigureUser(user_pb.ConfigureUserRequest(user="u", text_space="p"))
    fact = fact_from_proto(
        served.memory.Remember(
            remember_request(
                "u", "the mug is blue", about=["mug"], evidence=[ack.clip_id], feature=vector(9)
            )
        ).fact
    )
    assert (fact.text, fact.about, fact.evidence) == ("the mug is blue", ("mug",), (ack.clip_id,))
    revised = fact_from_proto(
        served.memory.Revise(revise_request("u", fact.id, text="the mug is red")).fact
    )
    history = served.memory.GetHistory(memory_pb.GetHistoryRequest(user="u", fact_id=fact.id)).facts
    assert [item.text for item in history] == ["the mug is blue", "the mug is red"]
    recalled = recall_from_proto(served.memory.Recall(recall_request("u", "which mug")))
    assert recalled[0].fact == revised
    facts = served.memory.ListFacts(memory_pb.ListFactsRequest(user="u", about="mug")).facts
    assert [item.id for item in facts] == [fact.id]
    served.memory.Forget(memory_pb.ForgetRequest(user="u", fact_id=fact.id))
    assert not served.memory.ListFacts(memory_pb.ListFactsRequest(user="u")).facts

    put = memory_pb.PutValueRequest(user="u", key="diet", json=' {"vegan": true} ')
    assert served.memory.PutValue(put).revision == served.database.user("u").revision()
    got = served.memory.GetValue(memory_pb.GetValueRequest(user="u", key="diet"))
    assert json.loads(got.json) == {"vegan": True}
    assert not served.memory.GetValue(memory_pb.GetValueRequest(user="u", key="none")).HasField(
        "json"
    )

    memory = long_term_from_proto(
        served.memory.GetLongTermMemory(memory_pb.GetLongTermMemoryRequest(user="u"))
    )
    assert (memory.tokens.shape[1], memory.space, len(memory.spans)) == (
        DIM,
        "p",
        len(memory.tokens),
    )


def test_the_feed_follows(served: Served) -> None:
    write(served, clip(0))
    feed = served.users.WatchUser(user_pb.WatchUserRequest(user="u", follow=True))
    changes: list[Change] = []

    def collect() -> None:
        for answer in feed:
            changes.extend(change_from_proto(item) for item in answer.changes)
            if len(changes) >= 4:
                return

    collector = threading.Thread(target=collect)
    collector.start()
    write(served, clip(1))
    write(served, clip(2))
    collector.join(30)
    feed.cancel()
    assert [change.kind for change in changes] == ["stream", "clip", "clip", "clip"]
    assert [change.clip.seq for change in changes if change.clip is not None] == [0, 1, 2]

    ended = served.users.WatchUser(user_pb.WatchUserRequest(user="u", from_revision=1))
    assert [item.revision for answer in ended for item in answer.changes] == [2, 3]


def test_a_server_that_stops_says_so_and_does_nothing(served: Served) -> None:
    served.memory.PutValue(memory_pb.PutValueRequest(user="alice", key="diet", json="1"))
    served.server._resources.drain.begin()

    with pytest.raises(grpc.RpcError) as caught:
        served.memory.PutValue(memory_pb.PutValueRequest(user="alice", key="diet", json="2"))

    error = error_of(caught.value)
    assert (type(error), error.reason) == (Unavailable, "SHUTTING_DOWN")
    assert served.database.user("alice").get("diet") == 1
    # A list of several messages as well, of which the notice might not see the end.
    with pytest.raises(grpc.RpcError) as caught:
        listed(served)
    assert error_of(caught.value).reason == "SHUTTING_DOWN"


def test_errors_arrive_as_they_were_raised(served: Served) -> None:
    write(served, clip(0))
    with pytest.raises(grpc.RpcError) as caught:
        write(served, clip(0, global_memory=vector(77)))
    error = error_of(caught.value)
    assert isinstance(error, AlreadyExists)
    assert (error.reason, error.field, error.value) == ("SEQ_REUSED", "clip.seq", "0")
    with pytest.raises(grpc.RpcError) as caught:
        served.users.GetUser(user_pb.GetUserRequest(user="nobody"))
    absent = error_of(caught.value)
    assert isinstance(absent, NotFound)
    assert (absent.field, absent.value) == ("user", "nobody")


def test_health(served: Served) -> None:
    stub: Any = health_pb2_grpc.HealthStub(served.channel)
    serving_now = health_pb2.HealthCheckResponse.SERVING
    for name in ("", "memdb.v1.ClipService", "memdb.v1.StandingService"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=name)).status == serving_now
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="memdb.v1.Nothing"))
    assert isinstance(error_of(caught.value), NotFound)
    listed_all: Any = served.channel.unary_unary(
        "/grpc.health.v1.Health/List",
        response_deserializer=health_pb2.HealthListResponse.FromString,
    )
    assert len(listed_all(b"").statuses) == 7


def ingest(served: Served, *messages: clip_pb.IngestClipsRequest) -> Any:
    return served.clips.IngestClips(iter(messages), timeout=30)


def collect(answers: Any, acks: list[Any]) -> None:
    """Keep the acknowledgements of a stream, also of one that fails."""
    for answer in answers:
        acks.extend(answer.acks.acks)


def start(**changes: Any) -> clip_pb.IngestClipsRequest:
    fields: dict[str, Any] = {"user": "u", "stream": "cam", "space": "p"}
    return clip_pb.IngestClipsRequest(start=clip_pb.IngestStart(**(fields | changes)))


def sent(item: Any) -> clip_pb.IngestClipsRequest:
    return clip_pb.IngestClipsRequest(clips=[clip_to_proto(item)])


def test_ingest_acknowledges_in_order_and_resumes(served: Served) -> None:
    answers = list(ingest(served, start(), *(sent(clip(seq)) for seq in range(200))))
    assert answers[0].started.next_seq == 0
    acks = [ack for answer in answers[1:] for ack in answer.acks.acks]
    assert [ack.duplicate for ack in acks] == [False] * 200
    assert [served.database.user("u").clip(ack.clip_id).seq for ack in acks] == list(range(200))
    again = list(ingest(served, start(), sent(clip(199)), sent(clip(200))))
    assert again[0].started.next_seq == 200
    assert [ack.duplicate for answer in again[1:] for ack in answer.acks.acks] == [True, False]


def test_ingest_ends_at_the_first_refused_clip(served: Served) -> None:
    bad = clip_pb.IngestClipsRequest(
        clips=[
            clip_to_proto(clip(2)),
            clip_to_proto(clip(3, global_memory=vector(1, 5), short_memory=None)),
            clip_to_proto(clip(4)),
        ]
    )
    acks: list[Any] = []
    answers = ingest(served, start(), sent(clip(0)), sent(clip(1)), bad, sent(clip(5)))
    with pytest.raises(grpc.RpcError) as caught:
        collect(answers, acks)
    error = error_of(caught.value)
    assert isinstance(error, InvalidArgument)
    assert (error.reason, error.field) == ("DIM_MISMATCH", "clip.global_memory")
    # The good one before the bad in its message counts too.
    assert len(acks) == 3


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "START_EXPECTED"),
        ([sent(clip(0))], "START_EXPECTED"),
        ([clip_pb.IngestClipsRequest()], "START_EXPECTED"),
        ([start(), start()], "CLIP_EXPECTED"),
        ([start(), clip_pb.IngestClipsRequest()], "CLIP_EXPECTED"),
        ([start(epoch=3), sent(clip(0))], "EPOCH_MISMATCH"),
        ([start(user="../x")], "BAD_ID"),
        ([start(stream="")], "BAD_ID"),
    ],
)
def test_ingest_refuses_what_is_out_of_order(
    served: Served, messages: list[Any], reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(ingest(served, *messages))
    error = error_of(caught.value)
    assert isinstance(error, InvalidArgument)
    assert error.reason == reason
    assert served.database.users() == []


def test_an_erasure_that_says_two_things_erases_nothing(served: Served) -> None:
    user = served.database.user("u")
    user.stream("cam", space="p").write(clip(0))
    before = [found.id for found in user.clips()]
    with pytest.raises(grpc.RpcError) as caught:
        served.users.EraseClips(
            user_pb.EraseClipsRequest(
                user="u", stream="cam", whole_stream=True, clip_ids=before[:1]
            )
        )
    error = error_of(caught.value)
    assert isinstance(error, InvalidArgument)
    assert (error.reason, error.field) == ("AMBIGUOUS", "clip_ids")
    assert [found.id for found in user.clips()] == before

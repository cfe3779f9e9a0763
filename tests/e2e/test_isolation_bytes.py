"""One user's answers are the same bytes whatever another does: not there, larger, busy, erased, damaged.

Real servers on copies of one directory.  Bob has the same streams, spaces, clips and words as Alice, and more of
them; whatever Alice is answered, errors included, is compared byte by byte with what she is answered where there
was never a Bob.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message

import memdb
from memdb import Clip, DataLoss, MemdbError, NotFound, SoundEvent, Utterance
from memdb.types.database import User
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.v1 import standing_service_pb2 as standing_pb
from memdb.v1 import types_pb2
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.grounding import ground_request
from memdb.wire.groundings import ground_many_request
from memdb.wire.status import REQUEST_ID_KEY
from memdb_client import connect
from tests.congruence.server import ServerProcess
from tests.e2e.serving import DIM, SECOND_NS, vector

pytestmark = pytest.mark.e2e

CLIPS = 30
ALWAYS_S = 30 * 24 * 3600
WORDS = ("the mug is blue", "somebody opens the door", "two cats", "Alice says hello")


def seen(seq: int, **changes: Any) -> Clip:
    start_ns = (1_700_000_000 + 10 * seq) * SECOND_NS
    text = WORDS[seq % len(WORDS)]
    fields: dict[str, Any] = {
        "seq": seq,
        "start_ns": start_ns,
        "end_ns": start_ns + 10 * SECOND_NS,
        "global_memory": vector(seq % 17),
        "short_memory": np.tile(vector(seq), (4, 1)).astype(np.float16),
        "frames_per_token_row": 1.0,
        "transcript": (Utterance(start_ns, start_ns + SECOND_NS, text),),
        "transcript_features": np.stack([vector(seq + 100)]),
        "events": (SoundEvent(start_ns, start_ns + SECOND_NS, "door bell", 0.5),),
        "labels": {"zone": "porch", "side": "street", "camera": "north", "floor": "1"},
    }
    return Clip(**(fields | changes))


def live(user: User, clips: int) -> None:
    """The same of everybody, as far as it goes."""
    user.configure(text_space="cam")
    door = user.stream("door", space="cam")
    user.standing.create(vector(3), min_score=0.5, text="a thing", space="cam")
    user.standing.create(
        vector(3),
        kind="sequence",
        then_feature=vector(4),
        window_s=60,
        min_score=0.5,
        space="cam",
    )
    door.write_many([seen(seq) for seq in range(clips) if seq % 11])  # with gaps
    user.stream("porch", space="cam").write_many([seen(seq, short_memory=None) for seq in range(9)])
    door.write(seen(clips, sealed=False))
    fact = user.remember("the mug is blue", about=["mug"], key="mug", feature=vector(1))
    user.revise(fact.id, text="the mug is red")
    user.remember("Alice lives here")
    user.put("diet", ["fish"])
    user.snapshot("then", ttl_s=ALWAYS_S)
    door.write(seen(clips + 1))


@dataclass(frozen=True)
class Directories:
    alone: Path
    both: Path
    bob_clip: str
    bob_fact: str
    bob_cursor: str
    alice_clips: tuple[str, ...]
    alice_fact: str


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Directories:
    folder = tmp_path_factory.mktemp("isolation")
    alone, both = folder / "alone", folder / "both"
    with memdb.open(alone) as db:
        db.create_space("cam", dim=DIM)
        alice = db.user("alice")
        live(alice, CLIPS)
        clips = tuple(clip.id for clip in alice.clips(stream="door", limit=3))
        fact = alice.facts()[0].id
    shutil.copytree(alone, both)
    with memdb.open(both) as db:
        bob = db.user("bob")
        live(bob, 10 * CLIPS)
        page = bob.ground(vector(1), limit=2, cursor="")
        assert page.next_cursor is not None
        ids = bob.clips(limit=1)[0].id, bob.facts()[0].id, page.next_cursor
    return Directories(alone, both, *ids, clips, fact)


def questions(of: Directories) -> dict[str, tuple[str, list[Message]]]:
    """What Alice asks, by name: the method and its messages."""
    feature, tokens = vector(3), np.stack([vector(3), vector(5)])
    ground: dict[str, dict[str, Any]] = {
        "plain": {"limit": 50, "with_coverage": True},
        "whole": {"with_short_memory": True},
        "time": {"start_ns": seen(5).start_ns, "end_ns": seen(12).end_ns},
        "as of": {"as_of": 3, "limit": 50},
        "snapshot": {"as_of": "then", "limit": 50},
        "relevance": {"min_relevance": 0.2, "limit": 50},
        "abstains": {"min_score": 3.0, "fallback": "recent"},
        "hours": {"hours": [("20:00", "02:00")], "weekdays": [1, 2], "zone": "Asia/Kathmandu"},
        "labels": {"labels": {"zone": ["porch", "street"]}, "limit": 50, "with_coverage": True},
        "re-ranked": {"question_tokens": tokens, "rerank": 8},
        "hybrid": {"text": "blue mug door", "text_feature": vector(101), "explain": True},
        "train": {"policy": "ixc-train"},
        "page": {"limit": 5, "cursor": ""},
        # Errors.
        "stream": {"streams": ["nope"]},
        "dim": {"question_feature": vector(1, DIM + 1)},
        "space": {"space": "nope"},
        "revision": {"as_of": 10**6},
        "another's page": {"limit": 5, "cursor": of.bob_cursor},
    }
    asked: dict[str, tuple[str, list[Message]]] = {
        f"ground: {name}": (
            "GroundingService/Ground",
            [ground_request("alice", options.pop("question_feature", feature), **options)],
        )
        for name, options in ground.items()
    }
    asked["tokens"] = (
        "GroundingService/Ground",
        [ground_request("alice", policy="tokens", question_tokens=tokens)],
    )
    asked["many"] = (
        "GroundingService/GroundMany",
        [ground_many_request("alice", np.stack([vector(n) for n in range(6)]), limit=7)],
    )
    asked["stream of questions"] = (
        "GroundingService/GroundStream",
        [
            pb.GroundStreamRequest(
                start=pb.GroundStreamStart(user="alice", options=pb.GroundRequest(limit=3))
            ),
            pb.GroundStreamRequest(
                questions=[
                    pb.StreamedQuestion(
                        id=1, question_feature=types_pb2.Vector(f32=vector(2).tobytes())
                    )
                ]
            ),
        ],
    )
    clip, memory, user = "ClipService", "MemoryService", "UserService"
    one: dict[str, Any] = {"user": "alice"}
    text = types_pb2.Vector(f32=vector(101).tobytes())
    plain: dict[str, tuple[str, Message]] = {
        "clips": (f"{clip}/ListClips", clip_pb.ListClipsRequest(**one, limit=1000)),
        "short memory": (
            f"{clip}/GetShortMemory",
            clip_pb.GetShortMemoryRequest(**one, clip_ids=of.alice_clips),
        ),
        "clip": (f"{clip}/GetClip", clip_pb.GetClipRequest(**one, clip_id=of.alice_clips[0])),
        "clips by id": (
            f"{clip}/GetClips",
            clip_pb.GetClipsRequest(**one, clip_ids=of.alice_clips, with_short_memory=True),
        ),
        "another's clip by id": (
            f"{clip}/GetClips",
            clip_pb.GetClipsRequest(**one, clip_ids=[of.alice_clips[0], of.bob_clip]),
        ),
        "another's clip": (f"{clip}/GetClip", clip_pb.GetClipRequest(**one, clip_id=of.bob_clip)),
        "another's short memory": (
            f"{clip}/GetShortMemory",
            clip_pb.GetShortMemoryRequest(**one, clip_ids=[of.bob_clip]),
        ),
        "behind another's clip": (
            f"{clip}/ListClips",
            clip_pb.ListClipsRequest(**one, after=of.bob_clip),
        ),
        "gaps": (f"{clip}/ListGaps", clip_pb.ListGapsRequest(**one, stream="door")),
        "labels": (f"{clip}/ListLabels", clip_pb.ListLabelsRequest(**one)),
        "count": (f"{clip}/CountClips", clip_pb.CountClipsRequest(**one)),
        "ledger": (f"{clip}/GetLedger", clip_pb.GetLedgerRequest(**one, stream="door")),
        "facts": (f"{memory}/ListFacts", memory_pb.ListFactsRequest(**one)),
        "history": (
            f"{memory}/GetHistory",
            memory_pb.GetHistoryRequest(**one, fact_id=of.alice_fact),
        ),
        "another's fact": (
            f"{memory}/GetHistory",
            memory_pb.GetHistoryRequest(**one, fact_id=of.bob_fact),
        ),
        "fact": (f"{memory}/GetFact", memory_pb.GetFactRequest(**one, fact_id=of.alice_fact)),
        "another's fact by id": (
            f"{memory}/GetFact",
            memory_pb.GetFactRequest(**one, fact_id=of.bob_fact),
        ),
        "fact by key": (f"{memory}/GetFact", memory_pb.GetFactRequest(**one, key="mug")),
        "recall": (
            f"{memory}/Recall",
            # About a named time: an answer about now says when that was.
            memory_pb.RecallRequest(
                **one, question="red mug", limit=20, feature=text, valid_at_ns=2**61
            ),
        ),
        "recall by filters": (
            f"{memory}/Recall",
            memory_pb.RecallRequest(
                **one, question="red mug", kinds=["utterance"], streams=["door"], end_ns=2**61
            ),
        ),
        "recall by what it is about": (
            f"{memory}/Recall",
            memory_pb.RecallRequest(
                **one, question="red mug", kinds=["fact"], about=["mug"], valid_at_ns=2**61
            ),
        ),
        "facts about": (
            f"{memory}/ListFacts",
            memory_pb.ListFactsRequest(**one, about_one_of=["mug", "door"]),
        ),
        "long term": (
            f"{memory}/GetLongTermMemory",
            memory_pb.GetLongTermMemoryRequest(**one, max_tokens=50),
        ),
        "value": (f"{memory}/GetValue", memory_pb.GetValueRequest(**one, key="diet")),
        "keys": (f"{memory}/ListKeys", memory_pb.ListKeysRequest(**one)),
        "user": (f"{user}/GetUser", user_pb.GetUserRequest(**one)),
        "streams": (f"{user}/ListStreams", user_pb.ListStreamsRequest(**one)),
        "snapshots": (f"{user}/ListSnapshots", user_pb.ListSnapshotsRequest(**one)),
        "changes": (f"{user}/WatchUser", user_pb.WatchUserRequest(**one)),
        "standing": ("StandingService/ListStanding", standing_pb.ListStandingRequest(**one)),
        "alerts": ("StandingService/WatchStanding", standing_pb.WatchStandingRequest(**one)),
    }
    return asked | {name: (method, [request]) for name, (method, request) in plain.items()}


STREAMS_BACK = {
    "ListClips",
    "GetClips",
    "GetShortMemory",
    "WatchUser",
    "WatchStanding",
    "GroundStream",
}


def answers(address: str, of: Directories) -> dict[str, Any]:
    """The bytes of every answer, or the status of its error with all that comes with it."""
    told: dict[str, Any] = {}
    with grpc.insecure_channel(address) as channel:
        for name, (method, messages) in questions(of).items():
            path, metadata = f"/memdb.v1.{method}", ((REQUEST_ID_KEY, "the-same"),)
            requests = [bytes(message.SerializeToString()) for message in messages]
            call: Any
            try:
                if method.endswith("GroundStream"):
                    call = channel.stream_stream(path)
                    told[name] = list(call(iter(requests), metadata=metadata, timeout=120))
                elif method.rpartition("/")[2] in STREAMS_BACK:
                    call = channel.unary_stream(path)
                    told[name] = b"".join(call(requests[0], metadata=metadata, timeout=120))
                else:
                    call = channel.unary_unary(path)
                    told[name] = call(requests[0], metadata=metadata, timeout=120)
            except grpc.RpcError as error:
                failed: Any = error
                trailers = sorted((key, value) for key, value in failed.trailing_metadata())
                told[name] = failed.code(), failed.details(), trailers
    return told


@pytest.fixture(scope="module")
def alone(directories: Directories) -> dict[str, Any]:
    """What Alice is answered where there was never a Bob."""
    with ServerProcess(directories.alone) as server:
        told = answers(server.address, directories)
        assert answers(server.address, directories) == told
    failed = {name for name, answer in told.items() if isinstance(answer, tuple)}
    assert failed == {
        *(f"ground: {name}" for name in ("stream", "dim", "space", "revision", "another's page")),
        *("another's clip", "another's short memory", "another's fact", "behind another's clip"),
        *("another's clip by id", "another's fact by id"),
    }
    assert all(told.values())
    return told


def check_same(alone: dict[str, Any], address: str, of: Directories) -> None:
    here = answers(address, of)
    different = {name: (alone[name], here[name]) for name in alone if here[name] != alone[name]}
    assert not different


@pytest.fixture
def both(directories: Directories, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(directories.both, tmp_path / "both"))


@contextmanager
def busy(address: str) -> Iterator[Callable[[], int]]:
    """Bob writes, asks, lists and recalls meanwhile, as much as goes; how often so far."""
    stop = threading.Event()
    turns = count()
    done = [0]

    def work(number: int, epoch: int) -> None:
        with connect(address) as db:
            user = db.user("bob")
            for seq in count():
                if stop.is_set():
                    return
                try:
                    if number % 2:
                        user.stream("door").write_many(
                            [seen(8 * seq + n, epoch=epoch) for n in range(8)]
                        )
                        user.remember(WORDS[seq % 4], feature=vector(seq))
                    else:
                        user.ground(vector(seq), limit=100, text=WORDS[seq % 4], explain=True)
                        user.recall(WORDS[seq % 4])
                        user.clips(limit=50)
                except MemdbError:
                    # He is being erased, or damaged.
                    stop.wait(0.01)
                done[0] = next(turns)

    threads = [threading.Thread(target=work, args=(n, 5 + n)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: done[0]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_another_is_there_and_at_full_load(
    alone: dict[str, Any], directories: Directories, both: Path
) -> None:
    with ServerProcess(both) as server:
        check_same(alone, server.address, directories)
        with busy(server.address) as turns:
            for _ in range(4):
                before = turns()
                while turns() < before + 8:
                    time.sleep(0.01)
                check_same(alone, server.address, directories)
        check_same(alone, server.address, directories)


def test_each_is_closed_for_the_other(
    alone: dict[str, Any],
    directories: Directories,
    both: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MEMDB_ENGINE__OPEN_USERS_MAX", "1")
    with ServerProcess(both) as server, busy(server.address):
        for _ in range(3):
            check_same(alone, server.address, directories)


def test_another_is_erased(alone: dict[str, Any], directories: Directories, both: Path) -> None:
    with ServerProcess(both) as server, connect(server.address) as db:
        erasing = threading.Thread(target=lambda: db.user("bob").erase())
        check_same(alone, server.address, directories)
        erasing.start()
        while erasing.is_alive():
            check_same(alone, server.address, directories)
        erasing.join()
        with pytest.raises(NotFound):
            db.user("bob").revision()
        check_same(alone, server.address, directories)
        live(db.user("bob"), 5)  # another of the name
        check_same(alone, server.address, directories)
        db.user("bob").erase()
    with ServerProcess(both) as server:
        check_same(alone, server.address, directories)


def test_another_is_damaged(alone: dict[str, Any], directories: Directories, both: Path) -> None:
    own = {path.name for path in (directories.alone / "users").iterdir()}
    (theirs,) = [path for path in (both / "users").iterdir() if path.name not in own]
    data = theirs / "data.mdb"
    content = bytearray(data.read_bytes())
    for place in range(0, len(content), 509):
        content[place] ^= 0xFF
    data.write_bytes(content)
    with ServerProcess(both) as server, connect(server.address) as db:
        check_same(alone, server.address, directories)
        with pytest.raises(DataLoss):
            db.user("bob").revision()
        check_same(alone, server.address, directories)
        with busy(server.address):
            check_same(alone, server.address, directories)
        db.user("bob").erase()
        check_same(alone, server.address, directories)

"""Short-term memory of many clips comes clip by clip: the server holds what is being sent, however much was asked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from memdb.engine.user import EmbeddedUser
from memdb.v1.clip_service_pb2 import GetClipsRequest, GetShortMemoryRequest
from memdb.v1.clip_service_pb2_grpc import ClipServiceStub
from tests.e2e.serving import DIM, clip, serving

pytestmark = pytest.mark.e2e

CLIPS = 24
ROWS = 65_536
"""A megabyte of each clip."""


def test_who_does_not_read_makes_the_server_hold_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    encoded = EmbeddedUser.encoded_short_memory

    def counted(user: EmbeddedUser, clip_ids: Any, **options: Any) -> Any:
        read.extend(clip_ids)
        return encoded(user, clip_ids, **options)

    monkeypatch.setattr(EmbeddedUser, "encoded_short_memory", counted)
    rng = np.random.default_rng(1)
    with serving(tmp_path / "data") as served:
        served.database.create_space("cam", dim=DIM)
        stream = served.database.user("alice").stream("door", space="cam")
        wrote = [rng.standard_normal((ROWS, DIM)).astype(np.float16) for _ in range(CLIPS)]
        for seq, memory in enumerate(wrote):
            stream.write(clip(seq, short_memory=memory))
        ids = [one.id for one in served.database.user("alice").clips()]
        # Or how much of what nobody reads travels all the same grows with how late a busy machine answers.
        channel = grpc.insecure_channel(served.address, options=[("grpc.http2.bdp_probe", 0)])
        asked = GetShortMemoryRequest(user="alice", clip_ids=ids)
        answers = ClipServiceStub(channel).GetShortMemory(asked)
        assert next(answers).clip_id == ids[0]
        held = -1
        while held < len(read):  # until it reads no further
            held = len(read)
            time.sleep(0.5)
        assert held < CLIPS // 2
        rest = list(answers)
        assert [answer.clip_id for answer in rest] == ids[1:]
        assert len(read) == CLIPS
        assert all(
            len(answer.short_memory.payload) >= memory.nbytes // 2
            for answer, memory in zip(rest, wrote[1:], strict=True)
        )
        channel.close()


def test_who_reads_no_clips_by_id_makes_the_server_hold_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    by_id = EmbeddedUser.clips_by_id

    def counted(user: EmbeddedUser, *asked: Any, **options: Any) -> Any:
        page = by_id(user, *asked, **options)
        read.extend(one.id for one in page)
        return page

    monkeypatch.setattr(EmbeddedUser, "clips_by_id", counted)
    rng = np.random.default_rng(1)
    with serving(tmp_path / "data") as served:
        served.database.create_space("cam", dim=DIM)
        stream = served.database.user("alice").stream("door", space="cam")
        for seq in range(CLIPS):
            memory = rng.standard_normal((ROWS, DIM)).astype(np.float16)
            stream.write(clip(seq, short_memory=memory))
        ids = [one.id for one in served.database.user("alice").clips()]
        channel = grpc.insecure_channel(served.address, options=[("grpc.http2.bdp_probe", 0)])
        asked = GetClipsRequest(user="alice", clip_ids=ids, with_short_memory=True)
        answers = ClipServiceStub(channel).GetClips(asked)
        given = [one.id for one in next(answers).clips]
        held = -1
        while held < len(read):  # until it reads no further
            held = len(read)
            time.sleep(0.5)
        assert held < CLIPS
        given += [one.id for answer in answers for one in answer.clips]
        assert given == ids == read
        channel.close()

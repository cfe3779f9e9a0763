"""What the pages of an answer hold while they wait to be sent."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.server import clip_service
from memdb.server.clip_service import ClipService
from memdb.server.resources import Resources
from memdb.types.clip import Clip, Keyframe, StoredClip
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.clips import list_clips_request

CLIPS = 20
FRAME_BYTES = 100_000
USER = "reads-no-further"


def listed(response: pb.ListClipsResponse) -> list[int]:
    return [item.clip.seq for item in response.clips]


def alive(kind: type) -> list[Any]:
    """What is held of the user of this test."""
    gc.collect()
    found = [item for item in gc.get_objects() if issubclass(type(item), kind)]
    return [item for item in found if getattr(item, "user", USER) == USER]


def test_a_caller_who_reads_no_further_holds_what_is_left_of_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_service, "PAGE_BYTES", 5 * FRAME_BYTES)
    with EmbeddedDatabase(tmp_path / "db") as database:
        database.create_space("p", dim=4)
        camera = database.user(USER).stream("cam", space="p")
        for seq in range(CLIPS):
            frame = Keyframe(0, b"x" * FRAME_BYTES)
            vector = np.ones(4, np.float32)
            camera.write(
                Clip(seq=seq, start_ns=seq, end_ns=seq, global_memory=vector, keyframes=(frame,))
            )
        resources = Resources.make(database, ServerConfig())
        pages = ClipService(resources).list_clips(list_clips_request(USER))
        first = next(pages)
        assert len(first.clips) == 5
        assert alive(StoredClip) == []
        rest = [seq for page in pages for seq in listed(page)]
        assert listed(first) + rest == list(range(CLIPS))
        resources.pools.shutdown()

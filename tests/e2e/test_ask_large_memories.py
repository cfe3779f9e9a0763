"""Questions about a part of a memory in which more was said than is told in one message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memdb import Clip, Keyframe, Space, Utterance
from memdb.types.arrays import Array
from memdb_client import connect
from reasoner.evidence import Scope
from reasoner.reasoner import Reasoner
from tests.e2e.serving import SECOND_NS, serving

pytestmark = pytest.mark.e2e

MESSAGE = 1 << 20
SPACE = Space("s", 4, model="tests:alike@1")


class Alike:
    """Every text is like every other: all that was said is found."""

    def encode(self, texts: Sequence[str]) -> Array:
        return np.ones((len(texts), SPACE.dim), np.float32)


def said(seq: int, text: str) -> Clip:
    begin_ns = seq * SECOND_NS
    return Clip(
        seq=seq,
        start_ns=begin_ns,
        end_ns=begin_ns + SECOND_NS,
        global_memory=np.eye(SPACE.dim, dtype=np.float32)[0],
        keyframes=(Keyframe(begin_ns, b"x" * 40_000),),
        transcript=(Utterance(begin_ns, begin_ns + 1, text),),
        transcript_features=Alike().encode([text]),
    )


def test_the_best_of_what_was_said_is_told_where_all_of_it_is_too_much(tmp_path: Path) -> None:
    options = {"message_bytes_max": MESSAGE, "bytes_in_flight_max": 2 * MESSAGE}
    with serving(tmp_path / "data", **options) as served, connect(served.address) as db:
        db.create_space(SPACE.name, dim=SPACE.dim, model=SPACE.model)
        user = db.user("alice")
        user.configure(text_space=SPACE.name)
        door = user.stream("door", space=SPACE.name)
        for seq in range(60):
            door.write(said(seq, "the mug is blue" if seq == 40 else f"number {seq}"))
        reasoner = Reasoner(user, SPACE, Alike())
        whole = reasoner.ask("Who spoke of the mug?")
        for scope in (Scope(start_ns=0), Scope(cameras=("door",))):
            answer = reasoner.ask("Who spoke of the mug?", scope=scope)
            assert '"the mug is blue"' in answer.text
            assert replace(answer.evidence[0], arms={}) == replace(whole.evidence[0], arms={})

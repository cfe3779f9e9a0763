"""Questions together that are answered by more than a message: in parts, and as an embedded database answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Keyframe, MemdbError, ResourceExhausted
from memdb.types.database import Database
from memdb_client import connect
from tests.congruence.blocking import connect_blocking
from tests.e2e.serving import Served, serving, vector

pytestmark = pytest.mark.e2e

MESSAGE = 1 << 16
QUESTIONS = np.stack([vector(seed) for seed in range(64)])


def seen(seq: int, **changes: Any) -> Clip:
    return Clip(
        **{
            "seq": seq,
            "start_ns": seq,
            "end_ns": seq + 1,
            "global_memory": vector(seq),
            "keyframes": (Keyframe(seq, b"x" * 6_000),),
            **changes,
        }
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("parts")
    options = {"message_bytes_max": MESSAGE, "bytes_in_flight_max": 2 * MESSAGE}
    with serving(folder / "db", **options) as running:
        running.database.create_space("s", dim=8)
        user = running.database.user("u")
        user.stream("door", space="s").write_many([seen(seq) for seq in range(40)])
        user.snapshot("before", ttl_s=3600)
        user.stream("door").write(seen(40, keyframes=(Keyframe(0, b"x" * MESSAGE),)))
        yield running


@pytest.fixture(params=["sync", "async"])
def db(served: Served, request: pytest.FixtureRequest) -> Iterator[Database]:
    with (connect if request.param == "sync" else connect_blocking)(served.address) as database:
        yield database


def test_answers_in_parts_are_those_of_an_embedded_database(served: Served, db: Database) -> None:
    for options in ({"end_ns": 40}, {"as_of": "before", "limit": 8}, {"with_keyframes": False}):
        together = db.user("u").ground_many(QUESTIONS, **options)
        whole = served.database.user("u").ground_many(QUESTIONS, **options)

        assert [repr(one) for one in together] == [repr(one) for one in whole]
        parts = {hit.clip.id for answer in whole for hit in answer.hits}
        # More than a message, but where keyframes stay away.
        assert (len(parts) * 6_000 > MESSAGE) or "with_keyframes" in options


def test_one_answer_that_is_too_large_is_refused(served: Served, db: Database) -> None:
    with pytest.raises(MemdbError) as refused:
        db.user("u").ground_many(QUESTIONS, limit=1000)
    assert isinstance(refused.value, ResourceExhausted)
    assert refused.value.reason == "MESSAGE_TOO_LARGE"

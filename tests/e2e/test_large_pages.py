"""Hits in pages, of which a page is more than a message: it ends early, and the next goes on behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Keyframe, ResourceExhausted, Utterance
from memdb.engine.user import EmbeddedUser
from memdb_client import connect
from tests.e2e.serving import Served, serving

pytestmark = pytest.mark.e2e

DIM = 8
CLIPS = 30
MESSAGE = 1 << 20
QUESTION = np.ones(DIM, np.float32)
TOKENS = np.eye(2, DIM, dtype=np.float32)


def seen(seq: int) -> Clip:
    random = np.random.default_rng(seq)
    said = (
        # Three bytes a letter, which nobody counts before there is a message.
        (Utterance(seq, seq + 1, "漢" * 16_000),) * (4 if seq % 2 else 1)
        if seq < 12
        else tuple(Utterance(seq, seq + 1, f"the mug {number}") for number in range(200))
    )
    return Clip(
        seq=seq,
        start_ns=seq,
        end_ns=seq + 1,
        global_memory=random.normal(size=DIM).astype(np.float32),
        short_memory=random.normal(size=(8000, DIM)).astype(np.float16),
        transcript=said,
        keyframes=(Keyframe(seq, b"x" * 20_000),),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("pages")
    # The page before is held until the server has noticed that it was read.
    options = {"message_bytes_max": MESSAGE, "bytes_in_flight_max": 8 * MESSAGE}
    with serving(folder / "db", **options) as running:
        running.database.create_space("s", dim=DIM)
        door = running.database.user("u").stream("door", space="s")
        door.write_many([seen(seq) for seq in range(CLIPS)])
        huge = Clip(**{**seen_fields(CLIPS), "keyframes": (Keyframe(0, b"x" * MESSAGE),)})
        running.database.user("huge").stream("door", space="s").write_many([seen(0), huge])
        yield running


def seen_fields(seq: int) -> dict[str, Any]:
    clip = seen(seq)
    return {"seq": seq, "start_ns": seq, "end_ns": seq + 1, "global_memory": clip.global_memory}


KINDS: dict[str, dict[str, Any]] = {
    "short memory": {"with_short_memory": True},
    "short memory alone": {"with_short_memory": True, "with_keyframes": False, "end_ns": 12},
    "letters of three bytes": {"with_keyframes": False, "end_ns": 12},
    "words": {"text": "mug", "explain": True},
    "re-ranked": {"question_tokens": TOKENS, "rerank": 20, "with_short_memory": True},
    "tokens": {"policy": "tokens", "question_tokens": TOKENS, "with_short_memory": True},
}


def told(hit: Any) -> tuple[Any, ...]:
    return hit.clip.id, hit.clip.revision, hit.score, hit.relevance, hit.spans, hit.arms


@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_the_whole(served: Served, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = KINDS[kind]
    feature = None if "policy" in options else QUESTION
    whole = served.database.user("u").ground(feature, limit=CLIPS, **options)
    asked: list[int] = []
    ground = EmbeddedUser.ground

    def counting(self: EmbeddedUser, *args: Any, **given: Any) -> Any:
        asked.append(given["limit"])
        return ground(self, *args, **given)

    monkeypatch.setattr(EmbeddedUser, "ground", counting)
    with connect(served.address) as db:
        user = db.user("u")
        with pytest.raises(ResourceExhausted) as refused:
            user.ground(feature, limit=CLIPS, **options)
        assert refused.value.reason == "MESSAGE_TOO_LARGE"
        asked.clear()
        hits: list[Any] = []
        pages = 0
        cursor: str | None = ""
        while cursor is not None:
            page = user.ground(feature, limit=CLIPS, cursor=cursor, **options)
            assert page.hits
            assert page.revision == whole.revision
            hits += page.hits
            pages += 1
            cursor = page.next_cursor
    assert [told(hit) for hit in hits] == [told(hit) for hit in whole.hits]
    assert len(hits) > pages > 1
    # What fits is found by one more look or two, not by trying.
    assert len(asked) <= 3 * pages


def test_one_hit_that_is_more_than_a_message_is_refused(served: Served) -> None:
    with connect(served.address) as db:
        user = db.user("huge")
        with pytest.raises(ResourceExhausted) as refused:
            user.ground(QUESTION, cursor="", start_ns=CLIPS)
        assert refused.value.reason == "MESSAGE_TOO_LARGE"
        assert len(user.ground(QUESTION, with_keyframes=False).hits) == 2

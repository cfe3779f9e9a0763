"""What ingest writers of one user may have on its way, each and together."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from memdb.engine import shared_ingest
from memdb.engine.database import EmbeddedDatabase
from tests.unit.engine.conftest import DIM, clip
from tests.unit.engine.shared_ingest.cameras import PATIENCE_S, camera, held_back


def test_a_writer_has_no_more_on_its_way_than_its_window(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    sent: list[int] = []
    is_full = threading.Event()

    def feed() -> None:
        with user.stream("door", space="cam").ingest(window=12) as writer:
            for seq in range(40):
                if seq == 12:
                    is_full.set()
                writer.send(clip(seq))
                sent.append(seq)
                assert writer._feed.on_their_way <= 12

    feeder = threading.Thread(target=feed)
    with camera(user, "other") as other:
        with held_back(db):
            feeder.start()
            assert is_full.wait(PATIENCE_S)
            for seq in range(12):  # the window of one is not another's
                other.send(clip(seq))
            feeder.join(0.05)
            assert len(sent) == 12
        feeder.join(PATIENCE_S)
        assert not feeder.is_alive()
    assert [c.seq for c in user.clips(stream="door", limit=99)] == list(range(40))


@pytest.mark.parametrize("limit", ["clips", "bytes"])
def test_writers_together_have_no_more_on_their_way_than_they_may(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    if limit == "clips":
        monkeypatch.setattr(shared_ingest, "IN_FLIGHT_MAX", 7)
    else:
        monkeypatch.setattr(shared_ingest, "IN_FLIGHT_BYTES_MAX", 7 * 17_000)
    user = db.user("alice")
    memory = np.ones((1000, DIM), np.float16)  # 16,000 bytes
    most: list[int] = []

    def feed(number: int) -> None:
        with camera(user, f"camera-{number}") as writer:
            for seq in range(20):
                writer.send(clip(seq, short_memory=memory))
                most.append(writer._shared._in_flight)

    feeders = [threading.Thread(target=feed, args=(number,)) for number in range(2)]
    with camera(user, "slow") as slow:
        with held_back(db):
            for feeder in feeders:
                feeder.start()
            while slow._shared._in_flight < 7:
                feeders[0].join(0.01)
            slow.send(clip(0))  # who has nothing on its way does not wait for them
        for feeder in feeders:
            feeder.join(PATIENCE_S)
            assert not feeder.is_alive()
    # Two may see room for one at once.
    assert 7 <= max(most) <= 7 + 3
    assert len(user.clips(limit=99)) == 41


def test_who_has_nothing_on_its_way_is_not_kept_waiting_by_others(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    # As where others fill it again and again.
    monkeypatch.setattr(shared_ingest, "IN_FLIGHT_MAX", 0)
    with camera(user, "door") as writer:

        def feed() -> None:
            for seq in range(5):
                writer.send(clip(seq))

        feeder = threading.Thread(target=feed)
        feeder.start()
        feeder.join(PATIENCE_S / 4)
        was_kept = feeder.is_alive()
        monkeypatch.undo()
        writer._feed.woken.put(None)
        feeder.join(PATIENCE_S)
        assert not was_kept
        assert len(writer.flush()) == 5

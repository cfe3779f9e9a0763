"""Ctrl-C of who sends, or waits for what it sent, wherever it comes."""

from __future__ import annotations

from contextlib import suppress
from types import CodeType

import pytest

from memdb.engine.database import EmbeddedDatabase
from tests.unit.engine.conftest import clip
from tests.unit.engine.shared_ingest.cameras import camera, threads
from tests.unit.engine.test_interrupted import Interrupt, InterruptAsItReturns, goes_on, is_ours


def is_of_ingest(code: CodeType) -> bool:
    return is_ours(code) and code.co_filename.endswith(("ingest.py", "ingest_feed.py"))


@pytest.mark.parametrize("kind", ["called", "returned"])
@pytest.mark.parametrize("where", ["send", "flush"])
def test_an_interrupt_wherever_it_comes(db: EmbeddedDatabase, where: str, kind: str) -> None:
    """As a function of ours is entered, or as what one calls of C returns."""
    user = db.user("alice")
    with camera(user, "other") as other:
        for times in range(1, 1000):
            writer = user.stream("door", space="cam").ingest(epoch=times, window=4)
            interrupt: Interrupt
            if kind == "called":
                interrupt = Interrupt(is_ours, times)
            else:
                interrupt = InterruptAsItReturns(is_of_ingest, times)
            with suppress(KeyboardInterrupt):
                if where == "send":
                    with interrupt.within():
                        for seq in range(8):
                            writer.send(clip(seq, epoch=times))
                else:
                    for seq in range(3):
                        writer.send(clip(seq, epoch=times))
                    with interrupt.within():
                        writer.flush()
            other.send(clip(times - 1))
            if times % 10 == 0:
                other.flush()
            writer.close()
            assert writer._feed.on_their_way == 0
            if not interrupt.came:
                break
        goes_on(db)
    assert times > 10
    by_epoch: dict[int, list[int]] = {}
    for found in user.clips(stream="door", limit=1000):
        by_epoch.setdefault(found.epoch, []).append(found.seq)
    assert all(seqs == list(range(len(seqs))) for seqs in by_epoch.values())
    assert len(user.clips(stream="other", limit=1000)) == times
    shared = other._shared
    assert (shared._ready, shared._ready_bytes, shared._in_flight_bytes) == (0, 0, 0)
    assert threads() == []

"""Pipelined writing against a peer that breaks: nothing lost, nothing twice, errors where they
belong.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
import pytest

from memdb.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from memdb.types.clip import Clip
from memdb.types.database import Database
from memdb_client import connect
from memdb_client._window import Window
from tests.unit.client.conftest import Connect
from tests.unit.client.peer import Peer, Script

SECOND_NS = 1_000_000_000


def clip(seq: int, **fields: Any) -> Clip:
    start_ns = seq * 4 * SECOND_NS
    memory = np.full(4, seq + 1, np.float32)
    fields = {"start_ns": start_ns, "end_ns": start_ns + 4 * SECOND_NS, **fields}
    return Clip(seq=seq, global_memory=memory, **fields)


@pytest.fixture
def stream(db: Database) -> Any:
    return db.user("alice").stream("door", space="clip")


def send_all(writer: Any, count: int) -> None:
    for seq in range(count):
        writer.send(clip(seq))
    writer.flush()


def fail_after_a_clip(writer: Any) -> None:
    writer.send(clip(0))
    raise ZeroDivisionError


def test_acknowledgements_come_in_order_once_each(stream: Any, script: Script) -> None:
    with stream.ingest(window=4) as writer:
        for seq in range(20):
            writer.send(clip(seq))
        acks = writer.flush()
        assert writer.flush() == []
        assert (writer.acks, writer.next_seq) == (20, 20)

    assert [ack.revision for ack in acks] == list(range(1, 21))
    assert script.received == list(range(20))
    assert script.calls == 1


def test_who_waits_is_woken_by_who_brings_the_acknowledgement(
    stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by the writer's own thread, which would have to be woken for it."""
    by: list[str] = []
    settle = Window.settle

    def noted(window: Window, acks: Any) -> None:
        by.append(threading.current_thread().name)
        settle(window, acks)

    monkeypatch.setattr(Window, "settle", noted)
    with stream.ingest() as writer:
        for seq in range(3):
            writer.send(clip(seq))
            assert len(writer.flush()) == 1
    assert len(by) == 3
    assert not any("ingest" in name for name in by)


def test_a_call_is_not_cancelled_with_the_lock_of_its_writer(peer: Peer) -> None:
    """Who brings an acknowledgement has the call's, and needs the writer's."""
    held: list[bool] = []

    class Noted:
        def __init__(self, call: Any) -> None:
            self.call = call

        def cancel(self) -> None:
            held.append(writer._changed._is_owned())
            self.call.cancel()

    with connect(peer.address) as db:
        writer: Any = db.user("alice").stream("door", space="clip").ingest()
        writer.send(clip(0))
        writer._call = Noted(writer._call)
        writer._abort()
    assert held == [False]


def test_a_broken_call_is_made_again_and_what_was_not_acknowledged_goes_again(
    stream: Any, script: Script
) -> None:
    script.drop_after = [3, 1, 5]

    with stream.ingest(window=4) as writer:
        for seq in range(20):
            writer.send(clip(seq))
        acks = writer.flush()

    assert [ack.clip_id for ack in acks] == [f"{seq:032x}" for seq in range(20)]
    assert sorted(script.stored) == list(range(20))
    assert script.calls == 4
    # The third clip was stored by the first call and came again by the second, both unanswered.
    assert [ack.duplicate for ack in acks][2] is True
    assert sum(ack.duplicate for ack in acks) == 2


def test_a_restarted_server_is_found_again(connect_to: Connect, script: Script) -> None:
    first = Peer(script)
    with connect_to(first.address, timeout_s=5.0) as db:
        stream: Any = db.user("alice").stream("door", space="clip")
        with stream.ingest(window=8) as writer:
            for seq in range(4):
                writer.send(clip(seq))
            early = writer.flush()
            first.stop()
            for seq in range(4, 8):
                writer.send(clip(seq))  # nobody is there; the window takes it
            with Peer(script, first.port):
                late = writer.flush()

    assert [ack.revision for ack in early + late] == list(range(1, 9))
    assert sorted(script.stored) == list(range(8))


def test_a_server_that_stays_away_ends_the_writer(connect_to: Connect, script: Script) -> None:
    peer = Peer(script)
    with connect_to(peer.address, timeout_s=5.0) as db:
        stream: Any = db.user("alice").stream("door", space="clip")
        writer = stream.ingest(reconnect_timeout_s=0.5)
        writer.send(clip(0))
        assert len(writer.flush()) == 1
        peer.stop()
        writer.send(clip(1))
        with pytest.raises(Unavailable, match=r"; no server was there in \d"):
            writer.flush()
        with pytest.raises(Unavailable):
            writer.send(clip(2))
        with pytest.raises(Unavailable):
            writer.close()


def test_a_writer_that_gave_up_does_not_wait_again(connect_to: Connect, script: Script) -> None:
    script.hold.set()
    with Peer(script) as peer, connect_to(peer.address, timeout_s=0.3) as db:
        stream: Any = db.user("alice").stream("door", space="clip")
        writer = stream.ingest(reconnect_timeout_s=0.3)
        writer.send(clip(0))
        with pytest.raises(DeadlineExceeded) as caught:
            writer.flush()
        assert caught.value.reason == "NO_ACKNOWLEDGEMENT"
        # It would be acknowledged by now, if it were waited for.
        script.hold.clear()
        for end in (writer.flush, writer.close):
            with pytest.raises(DeadlineExceeded):
                end()


def test_a_server_may_be_waited_for_for_ever(connect_to: Connect, script: Script) -> None:
    peer = Peer(script)
    with connect_to(peer.address, timeout_s=0.3) as db:
        stream: Any = db.user("alice").stream("door", space="clip")
        writer = stream.ingest(reconnect_timeout_s=math.inf)
        writer.send(clip(0))
        assert len(writer.flush()) == 1
        peer.stop()
        writer.send(clip(1))
        timer = threading.Timer(1.0, lambda: peers.append(Peer(script, peer.port)))
        peers: list[Peer] = []
        timer.start()
        writer.close()
        timer.join()
        peers[0].stop()
    assert sorted(script.stored) == [0, 1]
    for wrong in (-math.inf, math.nan, 0.0, np.ones(2), "inf"):
        with pytest.raises(InvalidArgument):
            stream.ingest(reconnect_timeout_s=wrong)


def test_a_full_window_makes_send_wait(stream: Any, script: Script) -> None:
    script.hold.set()
    with stream.ingest(window=3) as writer:
        for seq in range(3):
            writer.send(clip(seq))
        sender = threading.Thread(target=lambda: writer.send(clip(3)))
        sender.start()
        sender.join(0.3)
        assert sender.is_alive()
        script.hold.clear()
        sender.join(30)
        assert not sender.is_alive()
        assert len(writer.flush()) == 4


def test_the_error_of_an_earlier_clip_reaches_the_next_call(stream: Any, script: Script) -> None:
    script.refuse_seq = 2

    writer = stream.ingest(window=4)

    with pytest.raises(InvalidArgument) as caught:
        send_all(writer, 20)

    assert (caught.value.reason, caught.value.field) == ("DIM_MISMATCH", "clip")
    assert sorted(script.stored) == [0, 1]
    # grpc.aio may lose the reason of a call that ends while it sends: then the server is asked again.
    assert script.calls <= 2
    with pytest.raises(InvalidArgument):
        writer.send(clip(3))


def test_a_full_disk_is_waited_for(stream: Any, script: Script) -> None:
    script.full.set()

    with stream.ingest(window=4, wait_for_room=True) as writer:
        sender = threading.Thread(target=send_all, args=(writer, 20))
        sender.start()
        began_s = time.monotonic()
        sender.join(1.5)
        calls, passed_s = script.calls, time.monotonic() - began_s
        while script.calls < 2:
            assert time.monotonic() - began_s < 30
            time.sleep(0.01)
        assert sender.is_alive()
        # Tried now and again, and not with all that waits.
        assert set(script.received) == {0}
        assert calls < 8 * passed_s
        script.full.clear()
        sender.join(30)
        assert not sender.is_alive()
        assert writer.acks == 20

    assert sorted(script.stored) == list(range(20))


def test_a_disk_that_stays_full_is_not_waited_for_for_ever(stream: Any, script: Script) -> None:
    with stream.ingest(window=4, wait_for_room=True, reconnect_timeout_s=1.0) as writer:
        send_all(writer, 3)
        script.full.set()
        began_s = time.monotonic()
        writer.send(clip(3))
        with pytest.raises(ResourceExhausted) as caught:
            writer.flush()
        assert caught.value.reason == "DISK_FULL"
        assert 0.3 < time.monotonic() - began_s < 10
        script.full.clear()
        with pytest.raises(ResourceExhausted):
            writer.close()


def test_a_full_disk_is_an_error_where_nobody_waits(stream: Any, script: Script) -> None:
    script.full.set()

    writer = stream.ingest(window=4)

    with pytest.raises(ResourceExhausted) as caught:
        send_all(writer, 20)
    assert caught.value.reason == "DISK_FULL"


def test_next_seq_tells_where_to_go_on(stream: Any) -> None:
    with stream.ingest() as writer:
        for seq in range(5):
            writer.send(clip(seq))

    with stream.ingest() as again:
        assert again.next_seq == 5


def test_an_open_clip_does_not_move_next_seq(stream: Any) -> None:
    with stream.ingest() as writer:
        writer.send(clip(0, sealed=False))
        writer.flush()
        assert writer.next_seq == 0


def test_an_exception_of_the_caller_ends_the_writer_at_once(stream: Any, script: Script) -> None:
    script.hold.set()
    began_s = time.monotonic()

    writer = stream.ingest()

    with pytest.raises(ZeroDivisionError), writer:
        fail_after_a_clip(writer)

    assert time.monotonic() - began_s < 3
    with pytest.raises(FailedPrecondition):
        writer.send(clip(1))
    script.hold.clear()


def test_a_closed_writer_takes_nothing(stream: Any) -> None:
    writer = stream.ingest()
    writer.send(clip(0))
    writer.close()
    writer.close()

    with pytest.raises(FailedPrecondition) as caught:
        writer.send(clip(1))
    assert caught.value.reason == "CLOSED"


def test_what_cannot_be_sent_is_refused_before_it_is_queued(stream: Any, script: Script) -> None:
    with stream.ingest() as writer:
        with pytest.raises(InvalidArgument) as caught:
            writer.send(clip(0, epoch=3))
        assert caught.value.field == "clip.epoch"
        with pytest.raises(InvalidArgument) as wrong:
            writer.send("clip")
        assert (wrong.value.reason, wrong.value.field) == ("BAD_TYPE", "clip")
        writer.send(clip(0))

    assert sorted(script.stored) == [0]


def test_no_server_at_all(connect_to: Connect, script: Script) -> None:
    peer = Peer(script)
    peer.stop()
    with connect_to(peer.address, timeout_s=0.5) as db:
        writer: Any = db.user("alice").stream("door").ingest  # the async one opens when entered
        with pytest.raises(Unavailable):
            writer().flush()


@pytest.mark.parametrize("window", [0, -1, 1.5, 100_000])
def test_the_window_is_bounded(stream: Any, window: float) -> None:
    with pytest.raises(InvalidArgument) as caught:
        stream.ingest(window=window)
    assert caught.value.field == "window"


def test_closing_the_database_ends_the_writer(peer: Peer, script: Script) -> None:
    script.hold.set()
    db = connect(peer.address, timeout_s=5.0)
    writer = db.user("alice").stream("door").ingest()
    writer.send(clip(0))
    db.close()

    with pytest.raises(Unavailable) as caught:
        writer.flush()
    assert caught.value.reason == "CLOSED"
    script.hold.clear()

"""The window of an ingest: how much fits, what goes next, what an acknowledgement settles."""

from __future__ import annotations

import pytest

from memdb.errors import Internal
from memdb.types.clip import Ack
from memdb.types.ingest import INGEST_WINDOW_MAX
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire.lists import check_lists
from memdb_client import _window
from memdb_client._window import Window


def data(seq: int) -> bytes:
    return clip_pb.IngestClipsRequest(clips=[pb.Clip(seq=seq, sealed=True)]).SerializeToString()


def add(window: Window, seq: int, *, sealed: bool = True) -> None:
    window.add((data(seq),), len(data(seq)), seq, sealed=sealed)


def ack(seq: int) -> Ack:
    return Ack(f"{seq:032x}", seq + 1, False)


def sent(window: Window) -> list[int]:
    numbers = []
    while request := window.next_to_send():
        numbers += [clip.seq for clip in clip_pb.IngestClipsRequest.FromString(request).clips]
    return numbers


@pytest.fixture
def window() -> Window:
    window = Window(4)
    for seq in range(4):
        add(window, seq)
    return window


def test_it_is_full_by_count_or_by_bytes_but_one_clip_always_fits(window: Window) -> None:
    assert not window.has_room(1)
    small = Window(4, bytes_max=len(data(0)) + 5)
    assert small.has_room(1_000)
    add(small, 0)
    assert small.has_room(5)
    assert not small.has_room(6)


def test_where_nobody_says_it_is_full_by_count_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memdb.types.ingest.INGEST_WINDOW_BYTES", 100)

    def room(size: int) -> int:
        window = Window(None)
        while window.has_room(size):
            window.add((b"",), size, 0, sealed=True)
        return len(window._pending)

    assert [room(size) for size in (200, 2, 1, 0)] == [64, 64, 100, 512]


def test_a_crowd_shares_messages_up_to_their_size(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_window, "MESSAGE_BYTES", 3 * len(data(1)))
    first = clip_pb.IngestClipsRequest.FromString(window.next_to_send())
    second = clip_pb.IngestClipsRequest.FromString(window.next_to_send())
    assert [clip.seq for clip in first.clips] == [0, 1, 2]
    assert [clip.seq for clip in second.clips] == [3]
    assert window.next_to_send() == b""


def test_no_message_has_more_clips_than_a_commit_takes() -> None:
    window = Window(None)
    numbers = range(INGEST_WINDOW_MAX)
    for seq in numbers:
        add(window, seq)

    requests = list(iter(window.next_to_send, b""))

    for request in requests:
        check_lists(clip_pb.IngestClipsRequest, request)
    clips = [
        clip.seq for one in requests for clip in clip_pb.IngestClipsRequest.FromString(one).clips
    ]
    assert clips == list(numbers)
    assert len(requests) == 2


def test_each_clip_goes_once_in_order(window: Window) -> None:
    assert sent(window) == [0, 1, 2, 3]
    assert sent(window) == []


def test_an_acknowledgement_settles_the_oldest(window: Window) -> None:
    sent(window)
    window.settle([ack(0), ack(1)])

    assert (window.acks, window.next_seq) == (2, 2)
    assert window.has_room(10)
    assert window.take_answers() == [ack(0), ack(1)]
    assert window.take_answers() == []
    assert not window.is_empty


def test_after_a_restart_what_is_not_acknowledged_goes_again(window: Window) -> None:
    sent(window)
    window.settle([ack(0)])
    window.restart()

    assert sent(window) == [1, 2, 3]


def test_one_by_one_each_waits_for_the_one_before_until_all_are_settled(window: Window) -> None:
    window.restart(one_by_one=True)
    for seq in range(4):
        assert sent(window) == [seq]
        window.settle([ack(seq)])
    assert window.is_empty

    add(window, 4)
    add(window, 5)
    assert sent(window) == [4, 5]


def test_the_ledger_and_sealed_clips_move_next_seq() -> None:
    window = Window(4)
    window.started(7)
    add(window, 7, sealed=False)
    add(window, 3)
    sent(window)
    window.settle([ack(7), ack(3)])
    assert window.next_seq == 7


def test_an_acknowledgement_of_nothing_is_the_servers_fault() -> None:
    window = Window(4)
    add(window, 0)
    with pytest.raises(Internal):
        window.settle([ack(0)])


def test_a_writer_that_never_flushes_keeps_a_bounded_number_of_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_window, "ACKS_KEPT_MAX", 3)
    window = Window(8)
    for seq in range(5):
        add(window, seq)
    sent(window)
    window.settle([ack(seq) for seq in range(5)])

    assert window.acks == 5
    assert window.take_answers() == [ack(2), ack(3), ack(4)]

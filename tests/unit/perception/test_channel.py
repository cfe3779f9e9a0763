"""A bounded queue that carries ends and errors."""

from __future__ import annotations

import threading

import pytest

from perception.channel import Channel, ChannelClosed
from tests.interrupted_locks import free_after_each_interrupt


def test_items_come_in_order_and_then_the_end() -> None:
    channel: Channel[int] = Channel(2)

    def write() -> None:
        for item in range(9):
            channel.put(item)
        channel.end()

    thread = threading.Thread(target=write)
    thread.start()
    assert list(channel) == list(range(9))
    thread.join()


def test_what_is_offered_is_taken_where_there_is_room() -> None:
    channel: Channel[int] = Channel(2)
    assert [channel.offer(item) for item in range(3)] == [True, True, False]
    channel.end()
    assert list(channel) == [0, 1]
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.offer(3)


def test_a_writer_waits_for_room() -> None:
    channel: Channel[int] = Channel(1)
    written: list[int] = []

    def write() -> None:
        for item in range(3):
            channel.put(item)
            written.append(item)
        channel.end()

    thread = threading.Thread(target=write)
    thread.start()
    reader = iter(channel)
    assert next(reader) == 0
    assert len(written) <= 2
    assert list(reader) == [1, 2]
    thread.join()


def test_an_error_comes_after_the_items_before_it() -> None:
    channel: Channel[int] = Channel(4)
    channel.put(1)
    channel.end(ValueError("broken"))
    reader = iter(channel)
    assert next(reader) == 1
    with pytest.raises(ValueError, match="broken"):
        next(reader)


def test_a_writer_is_told_that_the_reader_left() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    threading.Timer(0.05, channel.close).start()
    with pytest.raises(ChannelClosed):
        channel.put(2)


def test_ctrl_c_on_the_way_to_the_lock_leaves_it_free() -> None:
    channel: Channel[int] = Channel(1000)
    assert free_after_each_interrupt(lambda: channel.put(1), lambda: channel.is_empty) > 0

"""What several streams of a user have ready: in one commit, and each with its own outcome."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from memdb.config import EngineConfig, ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import InvalidArgument, MemdbError, NotFound, ResourceExhausted
from memdb.server import gathered
from memdb.server.gathered import Fate, Gathered, Ready, Told
from memdb.server.resources import Resources
from memdb.types.clip import Clip, Keyframe
from memdb.v1 import clip_service_pb2 as pb

DIM = 4


class Tells:
    """Says who sent how many acknowledgements, in the place of sending them."""

    def __init__(self, told: Callable[[tuple[str, int]], None]) -> None:
        self.told = told

    def __call__(self, message: bytes) -> None:
        acks = pb.IngestClipsResponse.FromString(message).acks.acks
        self.told((threading.current_thread().name, len(acks)))

    def together(self, messages: Sequence[tuple[Tells, bytes]]) -> None:
        for tells, message in messages:
            tells(message)


class Bench:
    """A user who is there and open, and threads that the test may hold."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self.database = database
        self.user = database.user("u")
        self.user.put("made", 1)
        self.resources = Resources.make(database, ServerConfig(write_threads=8))
        self.told: list[tuple[str, int]] = []
        """By whom, and how many acknowledgements."""

    @property
    def gathered(self) -> Gathered:
        return self.resources.gatherings.of("u")

    def ready(
        self, stream: str, *seqs: int, space: str = "p", dim: int = DIM, size: int = 100
    ) -> Ready:
        vector = np.ones(dim, np.float32)
        clips = [Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=vector) for seq in seqs]

        return Ready(
            partial(self.user.stream, stream, space=space), clips, size, Tells(self.told.append)
        )

    @contextmanager
    def held_back(self) -> Iterator[Callable[[], int]]:
        """No commit is made meanwhile; how many callers wait for one."""
        with self.user.memory() as memory, memory._writer.held_back():
            yield lambda: len(memory._writer._queue)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    with EmbeddedDatabase(tmp_path / "db") as database:
        database.create_space("p", dim=DIM)
        made = Bench(database)
        yield made
        await asyncio.to_thread(made.resources.pools.shutdown)


def acks(told: tuple[bytes, MemdbError | None]) -> int:
    return len(pb.IngestClipsResponse.FromString(told[0]).acks.acks)


async def committed(crowd: Gathered, ready: Ready) -> Told:
    """What became of it; who gives up waiting takes it back."""
    crowd.put(ready)
    try:
        return await ready.outcome
    except asyncio.CancelledError:
        crowd.take_back(ready)
        raise


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_true():
            await asyncio.sleep(0.001)


async def test_a_crowd_shares_commits(bench: Bench) -> None:
    """Forty streams that come while one is committed: one thread more, and two commits in the place of forty."""
    before = bench.user.revision()
    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0)))]
        await until(lambda: waiting() == 1)
        tasks += [asyncio.create_task(committed(crowd, bench.ready(f"s{n}", 0))) for n in range(40)]
        await asyncio.sleep(0)  # each has said what it has ready
        assert len(crowd._going) == gathered.GOING_MAX
    told = await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert [acks(one) for one in told] == [1] * 41
    assert bench.user.revision() <= before + 3
    assert len(bench.told) == 41
    assert all(by.startswith("memdb-write") for by, _ in bench.told)


async def test_a_commit_beside_another_waits_until_as_much_is_ready(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", *range(5))))]
        await until(lambda: waiting() == 1)
        tasks += [asyncio.create_task(committed(crowd, bench.ready(f"s{n}", 0))) for n in range(4)]
        await asyncio.sleep(0)
        assert len(crowd._going) == 1
        tasks.append(asyncio.create_task(committed(crowd, bench.ready("s4", 0))))
        await until(lambda: waiting() == 2)
    assert sum(map(acks, await asyncio.wait_for(asyncio.gather(*tasks), 30))) == 10


@pytest.mark.parametrize("by", ["clips", "bytes"])
async def test_what_a_commit_takes_is_bounded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(gathered, "CLIPS_MAX" if by == "clips" else "BYTES_MAX", 10)
    size = 1 if by == "clips" else 4
    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0)))]
        await until(lambda: waiting() == 1)
        # The first is taken whatever it has.
        large = bench.ready("large", *range(20), size=20)
        tasks.append(asyncio.create_task(committed(crowd, large)))
        await until(lambda: waiting() == 2)
        ready = [bench.ready(f"s{n}", *range(4), size=size) for n in range(6)]
        tasks += [asyncio.create_task(committed(crowd, one)) for one in ready]
        await asyncio.sleep(0)
        assert len(crowd.take(None)) == 2
    await until(lambda: sum(task.done() for task in tasks) == 6)
    done = [task for task in tasks if task.done()]
    assert [acks(task.result()) for task in done] == [1, 20] + [4] * 4
    for task in set(tasks) - set(done):  # which the test took
        task.cancel()


async def test_each_hears_of_its_own(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first = asyncio.create_task(committed(crowd, bench.ready("first", 0)))
        await until(lambda: waiting() == 1)
        good = asyncio.create_task(committed(crowd, bench.ready("good", 0)))
        bad = asyncio.create_task(committed(crowd, bench.ready("bad", 0, dim=DIM + 1)))
        no_space = asyncio.create_task(committed(crowd, bench.ready("none", 0, space="nowhere")))
        no_name = asyncio.create_task(committed(crowd, bench.ready("no name", 0)))
    assert acks(await asyncio.wait_for(first, 30)) == 1
    assert acks(await asyncio.wait_for(good, 30)) == 1
    told, refusal = await asyncio.wait_for(bad, 30)
    assert (told, refusal and refusal.reason) == (b"", "DIM_MISMATCH")
    with pytest.raises(NotFound):
        await no_space
    with pytest.raises(InvalidArgument):
        await no_name


async def test_what_befalls_one_is_not_told_to_others(bench: Bench) -> None:
    """Also what is no refusal: a fault of ours, or no memory."""
    crowd = bench.gathered

    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0)))]
        await until(lambda: waiting() == 1)
        good, bad = bench.ready("good", 0), bench.ready("bad", 0)
        bad.clips = [object()]  # type: ignore[list-item]
        tasks += [asyncio.create_task(committed(crowd, one)) for one in (bad, good)]
        await asyncio.sleep(0)
    first, befell, told = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
    assert isinstance(befell, AttributeError)
    for one in (first, told):
        assert isinstance(one, tuple)
        assert acks(one) == 1


@pytest.mark.parametrize("streams", [1, 3])
async def test_what_cannot_be_sent_ahead_is_left_to_the_loop(bench: Bench, streams: int) -> None:
    def no_memory(_: tuple[str, int]) -> None:
        raise MemoryError

    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0)))]
        await until(lambda: waiting() == 1)
        ready = [bench.ready(f"s{number}", 0) for number in range(streams)]
        ready[0].tell = Tells(no_memory)
        tasks += [asyncio.create_task(committed(crowd, one)) for one in ready]
        await asyncio.sleep(0)
    told = await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert [acks(one) for one in told] == [1] * (1 + streams)
    assert len(bench.told) == 1


class NoMemory(list[Clip]):
    """Clips of which the thread that takes them finds no memory to count them."""

    asked = 0

    def __len__(self) -> int:
        self.asked += 1
        if self.asked == 2:
            raise MemoryError
        return super().__len__()


async def test_who_was_taken_by_a_thread_that_fails_is_told(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first = asyncio.create_task(committed(crowd, bench.ready("first", 0, 1)))
        await until(lambda: waiting() == 1)
        a, b = bench.ready("a", 0), bench.ready("b", 0)
        b.clips = NoMemory(b.clips)
        tasks = [asyncio.create_task(committed(crowd, one)) for one in (a, b)]
        for task in tasks:
            with pytest.raises(MemoryError):
                await asyncio.wait_for(task, 30)
    assert acks(await asyncio.wait_for(first, 30)) == 2
    assert acks(await asyncio.wait_for(committed(crowd, bench.ready("a", 0)), 30)) == 1


@pytest.mark.parametrize("wrong", ["space", "name"])
@pytest.mark.parametrize("streams", [1, 3])
async def test_nothing_is_left_of_what_is_refused(bench: Bench, wrong: str, streams: int) -> None:
    """Its messages are counted no more, so no error may hold them until somebody looks for cycles."""
    crowd = bench.gathered
    name, space = ("a", "nowhere") if wrong == "space" else ("no name", "p")
    refused = bench.ready(name, 0, space=space)
    (clip,) = refused.clips
    gc.collect()
    gc.disable()
    try:
        with bench.held_back() as waiting:
            first = asyncio.create_task(committed(crowd, bench.ready("first", 0)))
            await until(lambda: waiting() == 1)
            others = [bench.ready(f"s{number}", 0) for number in range(streams - 1)]
            tasks = [asyncio.create_task(committed(crowd, one)) for one in (*others, refused)]
            await asyncio.sleep(0)
        await asyncio.wait_for(first, 30)
        error = (await asyncio.gather(*tasks, return_exceptions=True))[-1]
        assert isinstance(error, MemdbError)
        error.__traceback__ = None  # as who ends the call does
        del refused, tasks, others, error
        await until(lambda: sys.getrefcount(clip) == 2)  # ours, and the call's
    finally:
        gc.enable()


async def test_a_user_who_is_busy_is_told_to_each(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first = asyncio.create_task(committed(crowd, bench.ready("first", 0)))
        await until(lambda: waiting() == 1)
        monkeypatch.setattr("memdb.engine.writer.QUEUE_BYTES_MAX", 0)
        busy = [asyncio.create_task(committed(crowd, bench.ready(name, 0))) for name in "ab"]
        for task in busy:
            with pytest.raises(ResourceExhausted) as caught:
                await asyncio.wait_for(task, 30)
            assert caught.value.reason == "OVERLOADED"
    assert acks(await asyncio.wait_for(first, 30)) == 1


async def test_who_leaves_takes_back_what_no_thread_has(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first = asyncio.create_task(committed(crowd, bench.ready("first", 0, 1, 2, 3)))
        await until(lambda: waiting() == 1)
        left = asyncio.create_task(committed(crowd, bench.ready("left", 0)))
        stays = asyncio.create_task(committed(crowd, bench.ready("stays", 0)))
        begun = bench.ready("begun", 0)
        crowd.put(begun)
        await asyncio.sleep(0)
        left.cancel()
        begun.outcome.cancel()
        await asyncio.sleep(0)
    assert acks(await asyncio.wait_for(first, 30)) == 4
    assert acks(await asyncio.wait_for(stays, 30)) == 1
    await until(lambda: len(bench.user.streams()) == 3)
    # What was handed over is stored although its stream has left.
    assert {stream.name for stream in bench.user.streams()} == {"first", "stays", "begun"}


async def test_one_that_is_handed_over_takes_along_what_came_meanwhile(bench: Bench) -> None:
    before = bench.user.revision()
    crowd = bench.gathered
    first = bench.ready("first", 0)
    crowd.put(first)
    tasks = [asyncio.create_task(committed(crowd, bench.ready(f"s{n}", 0))) for n in range(20)]
    told = await asyncio.wait_for(asyncio.gather(first.outcome, *tasks), 30)
    assert [acks(one) for one in told] == [1] * 21
    assert bench.user.revision() <= before + 3


async def test_one_that_is_taken_is_stored_though_its_stream_left(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first = asyncio.create_task(committed(crowd, bench.ready("first", 0)))
        await until(lambda: waiting() == 1)
        first.cancel()
        second = asyncio.create_task(committed(crowd, bench.ready("second", 0)))
        await until(lambda: waiting() == 2)
    assert acks(await asyncio.wait_for(second, 30)) == 1
    assert {stream.name for stream in bench.user.streams()} == {"first", "second"}


async def test_those_that_wait_as_the_threads_end_are_cancelled(bench: Bench) -> None:
    await asyncio.to_thread(bench.resources.pools.shutdown)
    with pytest.raises((RuntimeError, asyncio.CancelledError)):
        await asyncio.wait_for(committed(bench.gathered, bench.ready("a", 0)), 30)


async def test_a_user_is_opened_first(bench: Bench) -> None:
    """Here one whom the first of them creates."""
    crowd = bench.resources.gatherings.of("new")
    new = bench.database.user("new")

    def ready(stream: str, seq: int) -> Ready:
        made = bench.ready(stream, seq)
        made.stream = partial(new.stream, stream, space="p")
        return made

    told = await asyncio.wait_for(
        asyncio.gather(*(committed(crowd, ready(name, 0)) for name in "ab")), 30
    )
    assert [acks(one) for one in told] == [1, 1]
    crowd.put(ready("a", 1))
    await until(lambda: new.stream("a").ledger().next_seq == 2)


async def test_what_is_ready_grows_until_a_thread_has_it(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first, second = bench.ready("a", 0, 1), bench.ready("a", 2)
        crowd.put(first)
        await until(lambda: waiting() == 1)
        assert not crowd.add(first, bench.ready("a", 9).clips, 100)
        crowd.put(second)
        assert waiting() == 1
        assert crowd.add(second, bench.ready("a", 3).clips, 100)
        await until(lambda: waiting() == 2)  # now as much is ready
        assert not crowd.add(second, bench.ready("a", 9).clips, 100)
    told = await asyncio.wait_for(asyncio.gather(first.outcome, second.outcome), 30)
    assert [acks(one) for one in told] == [2, 2]
    assert second.size == 200
    assert crowd._waiting_clips == 0
    assert bench.user.stream("a").ledger().next_seq == 4


async def test_what_is_behind_the_first_of_a_commit_is_not_in_it(bench: Bench) -> None:
    """Or a number that skips too many would be let in by those behind it."""
    crowd = bench.gathered
    first, second = bench.ready("a", 1 << 40), bench.ready("a", (1 << 40) + 1)
    second.behind = first.fate
    crowd.put(first)
    crowd.put(second)  # before the loop goes on, and mostly before the thread begins
    told, refusal = await asyncio.wait_for(first.outcome, 30)
    assert (told, refusal and refusal.reason) == (b"", "TOO_FAR_AHEAD")
    with suppress(MemdbError):
        _, refusal = await asyncio.wait_for(second.outcome, 30)
        assert refusal is not None
    assert bench.user.streams() == []


async def test_a_number_that_skips_too_many_lets_none_behind_it_in(bench: Bench) -> None:
    """Nor in the next commit, that is made ready while the one with it has its place."""
    crowd = bench.gathered
    first = bench.ready("a", 0, 1 << 40)
    second = bench.ready("a", (1 << 40) + 1, (1 << 40) + 2, 1)
    second.behind = first.fate
    with bench.held_back() as waiting:
        crowd.put(first)
        await until(lambda: waiting() == 1)
        crowd.put(second)
        await until(lambda: waiting() == 2)
    for ready in (first, second):
        _, refusal = await asyncio.wait_for(ready.outcome, 30)
        assert refusal is not None
        assert refusal.reason == "TOO_FAR_AHEAD"
    assert bench.user.stream("a").ledger().next_seq == 2


class NoHash(int):
    """An epoch of which there is no memory to find it once more."""

    def __hash__(self) -> int:
        raise MemoryError


async def test_nothing_passes_a_shared_commit_that_ended_in_what_is_no_refusal(
    bench: Bench,
) -> None:
    """Before it had its place: no memory, say."""
    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0)))]
        await until(lambda: waiting() == 1)
        first, bad, second = bench.ready("a", 0), bench.ready("b", 0), bench.ready("a", 1)
        object.__setattr__(bad.clips[0], "epoch", NoHash(0))
        second.behind = first.fate
        tasks += [asyncio.create_task(committed(crowd, one)) for one in (first, bad)]
        await until(lambda: first.is_taken)
        crowd.put(second)
    for ready in (first, bad, second):
        with pytest.raises(MemoryError):
            await asyncio.wait_for(ready.outcome, 30)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert {stream.name for stream in bench.user.streams()} == {"first"}


async def test_nothing_passes_a_commit_whose_thread_found_no_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took what was ready, and said of none what became of it."""

    def no_memory(*_: object) -> Told:
        raise MemoryError

    crowd = bench.gathered
    first, second = bench.ready("a", 0), bench.ready("a", 1)
    second.behind = first.fate
    with monkeypatch.context() as patch:
        patch.setattr(gathered, "_alone", no_memory)
        crowd.put(first)
        with pytest.raises(MemoryError):
            await asyncio.wait_for(first.outcome, 30)
    crowd.put(second)
    with pytest.raises(MemoryError):
        await asyncio.wait_for(second.outcome, 30)
    assert bench.user.streams() == []


class Unsayable(InvalidArgument):
    """There is no memory to say it once more."""

    def again(self) -> Unsayable:
        raise MemoryError


async def test_who_shares_a_commit_is_told_though_there_is_no_memory_to_tell_another(
    bench: Bench,
) -> None:
    def no_memory() -> None:
        raise MemoryError

    crowd = bench.gathered
    unsayable, unwoken, last = (bench.ready(name, 0) for name in "abc")
    unwoken.woken = no_memory
    with pytest.raises(MemoryError):
        crowd._tell([unsayable, unwoken, last], None, [Unsayable("it"), (b"1", None), (b"2", None)])
    with pytest.raises(MemoryError):
        await asyncio.wait_for(unsayable.outcome, 30)
    assert [one.outcome.result()[0] for one in (unwoken, last)] == [b"1", b"2"]


@pytest.mark.parametrize("is_first", [True, False])
async def test_of_two_connections_that_feed_a_stream_the_higher_number_is_on_its_way(
    bench: Bench, is_first: bool
) -> None:
    """That of the other had a number refused (`TOO_FAR_AHEAD`) that follows what its own connection had sent."""
    far = 1 << 32
    ahead, late = bench.ready("a", 2 * far), bench.ready("a", 1)
    for ready, seq in ((ahead, far), (late, 0)):
        ready.behind = Fate()
        ready.behind.passage.reached = {("a", 0): seq}
    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0, 1)))]
        await until(lambda: waiting() == 1)
        both = (ahead, late) if is_first else (late, ahead)
        tasks += [asyncio.create_task(committed(crowd, one)) for one in both]
        await until(lambda: waiting() == 2)
    told = await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert [(acks(one), one[1]) for one in told] == [(2, None), (1, None), (1, None)]


async def test_what_is_behind_something_refused_is_refused_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be stored before what came before it, which is tried again."""
    crowd = bench.gathered
    with bench.held_back() as waiting:
        other = asyncio.create_task(committed(crowd, bench.ready("other", 0)))
        await until(lambda: waiting() == 1)
        monkeypatch.setattr("memdb.engine.writer.QUEUE_BYTES_MAX", 0)
        first = bench.ready("a", 0)
        crowd.put(first)
        with pytest.raises(ResourceExhausted):
            await asyncio.wait_for(first.outcome, 30)
        monkeypatch.undo()
        second, third = bench.ready("a", 1), bench.ready("a", 2)
        second.behind, third.behind = first.fate, second.fate
        crowd.put(second)
        with pytest.raises(ResourceExhausted):
            await asyncio.wait_for(second.outcome, 30)
        crowd.put(third)
        beside = asyncio.create_task(committed(crowd, bench.ready("b", 0)))
        await asyncio.sleep(0)
    assert acks(await asyncio.wait_for(other, 30)) == 1
    assert acks(await asyncio.wait_for(beside, 30)) == 1
    with pytest.raises(ResourceExhausted):
        await asyncio.wait_for(third.outcome, 30)
    assert {stream.name for stream in bench.user.streams()} == {"other", "b"}


async def test_what_is_smaller_does_not_pass_where_what_is_before_it_has_no_room(
    tmp_path: Path,
) -> None:
    """Though both have their place in the queue: the ledger would say to go on behind the hole."""
    large = tuple(Keyframe(n, b"\xff" * 200_000) for n in range(5))
    with EmbeddedDatabase(tmp_path / "db", config=EngineConfig(map_bytes_max=1 << 20)) as database:
        database.create_space("p", dim=DIM)
        bench = Bench(database)
        first, second = bench.ready("a", 0), bench.ready("a", 1)
        first.clips = [replace(first.clips[0], keyframes=large)]
        second.behind = first.fate
        with bench.held_back() as waiting:
            for queued, ready in enumerate((first, second), 1):
                bench.gathered.put(ready)
                await until(lambda queued=queued: waiting() == queued)  # type: ignore[misc]
        for ready in (first, second):
            with pytest.raises(ResourceExhausted, match="QUOTA"):
                await asyncio.wait_for(ready.outcome, 30)
        assert bench.user.stream("a").ledger().next_seq == 0
        await asyncio.to_thread(bench.resources.pools.shutdown)


async def test_nothing_is_left_of_users_without_streams(bench: Bench) -> None:
    crowd = bench.gathered
    assert bench.gathered is crowd
    await committed(crowd, bench.ready("a", 0))
    left = weakref.ref(crowd)
    gc.collect()
    gc.disable()
    try:
        del crowd
        await until(lambda: left() is None)
    finally:
        gc.enable()

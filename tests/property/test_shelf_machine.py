"""What lies ready, while everything happens to users that may happen to them: what the shelf answers is what Python
would answer at that moment, and nothing is there of users that are closed, erased or damaged.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memdb import Clip, DataLoss, Keyframe, MemdbError, Retention
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.types.arrays import Array
from tests.e2e.ready import plain
from tests.property.conftest import (
    MACHINE_TIMEOUT_S,
    PROFILE,
    lived,
    machine_settings,
    memory_folder,
)

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

from tests.unit.server.ready import Python, lay_ready, made_shelf, parts_of

pytestmark = [pytest.mark.property, pytest.mark.timeout(MACHINE_TIMEOUT_S)]

DIM = 6
SECOND_NS = 10**9
USERS = ("alice", "bob", "carol")
STREAMS = ("door", "yard")

users = st.sampled_from(USERS)
streams = st.sampled_from(STREAMS)
seeds = st.integers(0, 5)
"""Of vectors: few, so that scores are equal."""
flags = st.booleans()


@cache
def vector(seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)


def moment(seconds: int) -> int:
    return 1_700_000_000 * SECOND_NS + seconds * SECOND_NS


class ShelfMachine(RuleBasedStateMachine):
    """Some users of a database of which few may be open."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = memory_folder()
        self.clock = ManualClock(moment(0))
        self.next_seq: dict[tuple[str, str], int] = {}
        self.damaged: set[str] = set()
        self.steps = 0

    @initialize(open_users_max=st.sampled_from((1, 2, len(USERS))))
    def begin(self, open_users_max: int) -> None:
        config = EngineConfig(
            open_users_max=open_users_max, map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20
        )
        self.db = EmbeddedDatabase(self.folder / "data", config=config, clock=self.clock)
        self.db.create_space("cam", dim=DIM)
        self.shelf = made_shelf(self.db)
        self.python = Python(self.db)
        for user in USERS:
            for seed in range(4):
                self.write(user, STREAMS[seed % 2], seed, sealed=True, missing=0)

    def teardown(self) -> None:
        self.python.close()
        self.db.close()
        assert (self.shelf.native.users, self.shelf.native.bytes) == (0, 0)
        shutil.rmtree(self.folder)
        lived["ShelfMachine steps"] += self.steps
        lived["ShelfMachine answers"] += self.shelf.native.answered

    @rule(
        user=users,
        stream=streams,
        seed=seeds,
        sealed=flags,
        missing=st.sampled_from((0, 0, 0, 0, 0, 1)),
    )
    def write(self, user: str, stream: str, seed: int, sealed: bool, missing: int) -> None:
        seq = self.next_seq.get((user, stream), 0) + missing
        clip = Clip(
            seq=seq,
            start_ns=moment(seq),
            end_ns=moment(seq + (1 if sealed else 0)),
            global_memory=vector(seed),
            keyframes=(Keyframe(moment(seq), b"jpeg"),),
            labels={"zone": str(seed)} if seed % 2 else {},
            sealed=sealed,
        )
        door = self.db.user(user).stream(stream, space="cam")
        try:
            door.write(clip)
        except DataLoss:  # an open clip that is damaged has no further revision
            if user not in self.damaged:
                raise
            self.next_seq[user, stream] = door.ledger().next_seq
        else:
            self.next_seq[user, stream] = seq + sealed

    @rule(user=users)
    def remember(self, user: str) -> None:
        self.db.user(user).remember("it rains")

    @rule(user=users, count=st.integers(1, 3))
    def erase_clips(self, user: str, count: int) -> None:
        with suppress(MemdbError):
            mine = self.db.user(user)
            mine.erase_clips([clip.id for clip in mine.clips(limit=count)])

    @rule(user=users, stream=streams, some=flags)
    def erase_stream(self, user: str, stream: str, some: bool) -> None:
        with suppress(MemdbError):
            self.db.user(user).stream(stream).erase(end_ns=moment(2) if some else None)
            if not some:
                del self.next_seq[user, stream]

    @rule(user=users)
    @precondition(lambda self: self.steps % 4 == 0)
    def erase_user(self, user: str) -> None:
        with suppress(MemdbError):
            self.db.user(user).erase()
        for stream in STREAMS:
            self.next_seq.pop((user, stream), None)

    @rule(
        user=users,
        stream=streams,
        policy=st.sampled_from((Retention(max_clips=2), Retention(keyframes_age_s=1), None)),
    )
    def give_up(self, user: str, stream: str, policy: Retention | None) -> None:
        with suppress(MemdbError):
            self.db.user(user).stream(stream).set_retention(policy)
        self.clock.advance(5 * SECOND_NS)
        self.db.sweep()

    @rule(user=users)
    def compact(self, user: str) -> None:
        with suppress(MemdbError):
            self.db.user(user).compact()

    @rule(
        user=users, table=st.sampled_from(("keyframes", "clips", "vectors")), mark=st.integers(0, 9)
    )
    def damage(self, user: str, table: str, mark: int) -> None:
        """A scrub has found it."""
        self.damaged.add(user)
        with suppress(MemdbError), self.db._users.use(user) as memory:
            for partition in memory.view.partitions.values():
                columns, row = partition.columns, mark % partition.rows
                no, birth = (int(columns[name][row]) for name in ("clip_no", "birth"))
                self.db._users.damage_found(user, [f"{table}/{no:016x}{birth:016x}{0:08x}"])

    @rule(
        user=users,
        seed=seeds,
        limit=st.sampled_from((1, 4, 64)),
        streams=st.sampled_from(((), ("door",), ("yard", "door"))),
        start=st.none() | st.integers(0, 8),
        end=st.none() | st.integers(0, 8),
    )
    def ask(self, **options: Any) -> None:
        self.check(**options)

    @invariant()
    def answers(self) -> None:
        """Whatever was just done; then one more lies ready."""
        self.steps += 1
        self.check_all()
        user, keyframes = USERS[self.steps % len(USERS)], self.steps % 4 > 0
        with suppress(MemdbError):
            self.db.user(user).revision()  # which opens it
        lay_ready(self.db, self.shelf, user, parts_of(keyframes=keyframes))
        self.check_all()

    def check_all(self) -> None:
        for user in USERS:
            self.check(user, seed=1, limit=64)

    def check(
        self,
        user: str,
        seed: int,
        limit: int,
        streams: tuple[str, ...] = (),
        start: int | None = None,
        end: int | None = None,
    ) -> None:
        times: dict[str, int] = {}
        if start is not None:
            times["start_ns"] = moment(start)
        if end is not None:
            times["end_ns"] = moment(end)
        for whole in (True, False):
            parts = {"without_keyframes": not whole}
            data = plain(user, vector(seed), limit=limit, streams=streams, **times, **parts)
            found = self.shelf.native.answer(data)
            # Only then: to ask Python opens the user, and may close another.
            if found is not None:
                assert self.python.answer(data) == found


TestShelfMachine = ShelfMachine.TestCase
TestShelfMachine.settings = machine_settings(3 if PROFILE == "full" else 8)

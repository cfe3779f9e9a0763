"""Whatever is done between backups, a chain of increments restores to the bytes that were there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memdb import Clip, Keyframe, Utterance
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.store.archive import Archive
from memdb.store.archivekeys import KeyFiles
from memdb.store.delta import raw_scan
from memdb.store.rotation import rotate_master_key
from memdb.store.schema import USER_TABLES
from tests.property.conftest import PROFILE, memory_folder

pytestmark = pytest.mark.property

DIM = 4
CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
EXAMPLES = 20 if PROFILE == "fast" else 400
"""Each restores every one of its archives, in a process of its own."""

small = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("clip"), small, st.booleans(), st.integers(0, 2)),
    st.tuples(st.just("fact"), small),
    st.tuples(st.just("keyed"), st.integers(0, 1)),
    st.tuples(st.just("revise"), small),
    st.tuples(st.just("forget"), small),
    st.tuples(st.just("put"), st.integers(0, 1), small),
    st.tuples(st.just("remove"), st.integers(0, 1)),
    st.tuples(st.just("snapshot"), st.integers(0, 1)),
    st.tuples(st.just("release"), st.integers(0, 1)),
    st.tuples(st.just("configure")),
    st.tuples(st.just("begin anew")),
    st.tuples(st.just("rotate")),
    st.tuples(st.just("backup"), st.booleans()),
)

Tables = dict[str, list[tuple[bytes, bytes]]]


def _clip(seq: int, sealed: bool, carries: int, features: bool) -> Clip:
    made = np.random.default_rng([seq, sealed, carries])
    has = carries > 0
    return Clip(
        seq=seq,
        start_ns=seq * 10**9,
        end_ns=(seq + 1) * 10**9,
        global_memory=made.standard_normal(DIM).astype(np.float32),
        short_memory=made.standard_normal((3, DIM)).astype(np.float16) if has else None,
        transcript=(Utterance(0, 1, f"says {seq}"),) * carries,
        transcript_features=made.standard_normal((carries, DIM)).astype(np.float32)
        if has and features
        else None,
        keyframes=tuple(Keyframe(n, b"jpeg") for n in range(carries)),
        sealed=sealed,
    )


class Doer:
    """Does steps to one user, as far as its state allows them."""

    def __init__(self, db: EmbeddedDatabase) -> None:
        self.db = db
        self.user = db.user("alice")
        self.sealed: set[int] = set()
        self.facts: list[str] = []
        self.names: set[str] = set()
        self.configured = False

    def do(self, step: tuple[object, ...]) -> None:
        vector = np.ones(DIM, np.float32) if self.configured else None
        match step:
            case ("clip", int(seq), bool(sealed), int(carries)) if seq not in self.sealed:
                stream = self.user.stream("door", space="s")
                stream.write(_clip(seq, sealed, carries, self.configured))
                if sealed:
                    self.sealed.add(seq)
            case ("fact", int(number)):
                self.facts.append(self.user.remember(f"fact {number}", feature=vector).id)
            case ("keyed", int(number)):
                fact = self.user.remember("keyed", key=f"k{number}", feature=vector)
                if fact.id not in self.facts:
                    self.facts.append(fact.id)
            case ("revise", int(number)) if number < len(self.facts):
                self.user.revise(self.facts[number], text="revised", feature=vector)
            case ("forget", int(number)) if number < len(self.facts):
                self.user.forget(self.facts.pop(number))
            case ("put", int(key), int(value)):
                self.user.put(f"key{key}", value)
            case ("remove", int(key)) if self.db.users() and f"key{key}" in self.user.keys("key"):
                self.user.remove(f"key{key}")
            case ("snapshot", int(number)) if self.db.users():
                self.user.snapshot(f"s{number}", ttl_s=600)
                self.names.add(f"s{number}")
            case ("release", int(number)) if f"s{number}" in self.names:
                self.user.release(f"s{number}")
                self.names.remove(f"s{number}")
            case ("configure",):
                self.user.configure(text_space="s")
                self.configured = True
            case ("begin anew",) if self.db.users():
                self.user.erase()
                self.__init__(self.db)  # type: ignore[misc]


@dataclass
class Moment:
    """An archive, and what it has to restore to."""

    archive: Path
    tables: Tables | None
    data_key: str | None
    """Of the user; None when there is none."""


class Opened:
    """A database that is opened again where its master key is replaced."""

    def __init__(self, folder: Path, *, encrypted: bool) -> None:
        self.folder = folder
        self._clock = ManualClock()
        self._number: int | None = 0 if encrypted else None
        self.db = self._open()

    @property
    def key_file(self) -> str:
        """With the master key of now; empty where there is none."""
        return "" if self._number is None else str(self._key())

    def config(self) -> EngineConfig:
        return replace(CONFIG, master_key_file=self.key_file)

    def rotate(self) -> None:
        self.db.close()
        if self._number is not None:
            old = self._key()
            self._number += 1
            rotate_master_key(self.folder / "data", old.read_bytes(), self._key().read_bytes())
        self.db = self._open()

    def moment(self, number: int) -> Moment:
        folder = self.db._directory.user_path("alice").name
        living = self.db._directory.living_key(folder)
        return Moment(self.folder / f"a{number}", _tables(self.db), living)

    def _open(self) -> EmbeddedDatabase:
        return EmbeddedDatabase(self.folder / "data", config=self.config(), clock=self._clock)

    def _key(self) -> Path:
        assert self._number is not None
        path = self.folder / f"{self._number}.key"
        path.touch(mode=0o600)
        path.write_bytes(bytes([self._number]) * 32)
        return path


def _tables(db: EmbeddedDatabase) -> Tables | None:
    if not db.users():
        return None
    with db._users.environment("alice") as environment, environment.read() as txn:
        return {t.value: [(k, bytes(v)) for k, v in raw_scan(txn, t)] for t in USER_TABLES}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@settings(max_examples=EXAMPLES)
@given(script=st.lists(steps, min_size=4, max_size=25))
@example(script=[("put", 0, 1), ("backup", True), ("begin anew",), ("rotate",), ("backup", True)])
@example(script=[("put", 0, 1), ("backup", True), ("rotate",), ("begin anew",), ("put", 1, 1)])
def test_every_archive_of_a_chain_restores_to_its_moment(
    encrypted: bool, script: list[tuple[object, ...]]
) -> None:
    folder = memory_folder()
    try:
        _check(script, folder, encrypted)
    finally:
        shutil.rmtree(folder)


def _check(script: list[tuple[object, ...]], folder: Path, encrypted: bool) -> None:
    moments: list[Moment] = []
    opened = Opened(folder, encrypted=encrypted)
    opened.db.create_space("s", dim=DIM)
    doer = Doer(opened.db)
    for step in [*script, ("backup", True)]:
        if step[0] == "backup":
            parent = moments[-1].archive if moments and step[1] else None
            moments.append(opened.moment(len(moments)))
            opened.db.backup(moments[-1].archive, parent=parent)
        elif step[0] == "rotate":
            opened.rotate()
            doer.db, doer.user = opened.db, opened.db.user("alice")
        else:
            doer.do(step)
    opened.db.close()
    newest = moments[-1]
    for index, moment in enumerate(moments):
        report = restore(moment.archive, folder / f"copy{index}", keys=KeyFiles(opened.key_file))
        # Who was erased since is in no archive any more, whatever was done to the master key.
        erased = moment.data_key not in (None, newest.data_key)
        assert len(report.erased) == erased
        with EmbeddedDatabase(folder / f"copy{index}", config=opened.config()) as copy:
            assert _tables(copy) == (None if erased else moment.tables)
            assert copy.verify().ok
    assert len(Archive(newest.archive).chain()) <= len(moments)

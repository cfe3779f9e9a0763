"""The embedded engine against the oracle, through sequences of everything that its API can do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memdb import Change, FailedPrecondition, NotFound
from memdb.clock import ManualClock
from memdb.config import EngineConfig, IndexConfig
from memdb.engine.database import EmbeddedDatabase
from tests.property.conftest import MACHINE_TIMEOUT_S, lived, machine_settings, memory_folder
from tests.property.judged import expected, shown
from tests.property.model import DAY_NS, HOUR_NS, Content, UserModel, named_vector
from tests.property.standing_rules import StandingRules
from tests.property.strategies import EPOCH_NS, SPACES, STREAMS, USERS, marks, users
from tests.property.writing_rules import YEAR_NS, WritingRules

pytestmark = [pytest.mark.property, pytest.mark.timeout(MACHINE_TIMEOUT_S)]

CONFIG = EngineConfig(open_users_max=1, map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
"""A map that must grow and, in every other sequence, an LRU that must evict."""

CHECK_EVERY = 10
"""Steps."""


class EngineMachine(StandingRules, WritingRules, RuleBasedStateMachine):
    """Two users of one database and their models."""

    encrypted = False

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0
        self._came_back: tuple[object, ...] = ()
        """What the machine knew when it last opened the database anew."""
        self._verified: tuple[object, ...] = ()
        """The same, when it was last verified since."""
        self.open_users_max = CONFIG.open_users_max
        self.folder = memory_folder()
        self.clock = self._clock()
        self.db: Any = None
        self.models: dict[str, UserModel] = {}

    def _clock(self) -> Any:
        return ManualClock(EPOCH_NS)

    def _open(self) -> Any:
        # With checkpoints of the smallest users too: what is opened again is opened by them.
        return EmbeddedDatabase(
            self.folder / "data",
            config=self._config(),
            index=IndexConfig(checkpoint_rows=1),
            clock=self.clock,
            embed_texts=False,
        )

    def _comes_up(self) -> None:
        self.db, self._verified = self._open(), ()

    def _close(self) -> None:
        self.db.close()

    def _config(self) -> EngineConfig:
        config = replace(CONFIG, open_users_max=self.open_users_max)
        if not self.encrypted:
            return config
        key = self.folder / "master.key"
        key.touch(mode=0o600)
        key.write_bytes(b"k" * 32)
        return replace(config, master_key_file=str(key))

    def teardown(self) -> None:
        try:
            if self.db is not None:
                self._ends()
        finally:
            if self.db is not None:
                self._leave()
            shutil.rmtree(self.folder)

    def _leave(self) -> None:
        self._close()

    def _ends(self) -> None:
        """The last look, and the count of what was lived."""
        self._check_revisions()
        lived[f"{type(self).__name__} sequences"] += 1
        lived[f"{type(self).__name__} steps"] += self._steps

    @initialize(
        chosen=st.randoms(use_true_random=False),
        clips=st.integers(0, 24),
        open_users_max=st.sampled_from((1, len(USERS))),
    )
    def population(self, chosen: Random, clips: int, open_users_max: int) -> None:
        """Something to read from the first step on."""
        self.open_users_max = open_users_max
        self._comes_up()
        for space in SPACES.values():
            self.db.create_space(space.name, dim=space.dim, metric=space.metric)
        for _ in range(clips // 4):
            stream = chosen.choice(tuple(STREAMS))
            batch = []
            for _ in range(4):
                start_ns = EPOCH_NS + chosen.randrange(120) * HOUR_NS // 2
                content = Content(
                    start_ns=start_ns,
                    end_ns=start_ns + chosen.choice((0, 1, HOUR_NS // 2, 30 * HOUR_NS)),
                    sealed=chosen.random() < 0.7,
                    vector=chosen.randrange(-9, 10),
                    half=chosen.random() < 0.3,
                    short_rows=chosen.choice((0, 4)),
                    text=chosen.choice((None, "red mug", "the door opens", "Alice says")),
                    keyframes=0,
                    label=None,
                )
                batch.append((chosen.choice((0, 0, 7)), chosen.randrange(12), content))
            self._write("alice", stream, STREAMS[stream], batch)

    # -- moments

    @rule(user=users, name=st.sampled_from(("s1", "s2")))
    @precondition(lambda self: bool(self.models))
    def snapshot(self, user: str, name: str) -> None:
        user, model = self._known(user)
        taken = self.db.user(user).snapshot(name, ttl_s=30 * 86400)
        model.committed([(model.revision + 1, "snapshot", name)], self.clock.now_ns())
        assert taken.revision == model.revision
        model.snapshots[name] = taken.revision
        model.leases[name] = taken.expires_ns
        assert taken.expires_ns == self.clock.now_ns() + 30 * DAY_NS

    @rule(user=users)
    @precondition(lambda self: bool(self.models))
    def leases(self, user: str) -> None:
        user, model = self._known(user)
        live = model.leased(self.clock.now_ns())
        handle = self.db.user(user)
        assert {taken.name: taken.revision for taken in handle.snapshots()} == live
        for name in set(model.snapshots) - set(live):
            with pytest.raises(FailedPrecondition) as refused:
                handle.facts(as_of=name)
            assert refused.value.reason == "SNAPSHOT_EXPIRED"

    @rule(user=users, name=st.sampled_from(("s1", "s2")))
    @precondition(lambda self: bool(self.models))
    def release(self, user: str, name: str) -> None:
        user, model = self._known(user)
        if name in model.snapshots:
            self.db.user(user).release(name)
            del model.snapshots[name], model.leases[name]
            model.committed([(model.revision + 1, "release", name)], self.clock.now_ns())
        else:
            with pytest.raises(NotFound):
                self.db.user(user).release(name)

    @rule(seconds=st.integers(-5, 20))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds * 10**9)

    @rule(years=st.integers(-10, 10))
    def clock_jumps(self, years: int) -> None:
        """Someone sets the machine's clock."""
        if abs(self.clock.now_ns() + years * YEAR_NS - EPOCH_NS) <= 20 * YEAR_NS:
            self.clock.advance(years * YEAR_NS)

    def _moment(self, model: UserModel, mark: int) -> tuple[Any, int]:
        """An ``as_of`` and the revision that it names."""
        revision = mark % (model.revision + 1)
        kind = mark % 5
        if kind == 0:
            return None, model.revision
        live = model.leased(self.clock.now_ns())
        if kind == 1 and live:
            name = sorted(live)[mark % len(live)]
            return name, live[name]
        if kind == 2 and revision > 0:
            time_ns = model.times[revision]
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
            return moment, model.revision_at(time_ns)
        return revision, revision

    # -- the change feed, verification, coming back

    @rule(user=users, since=marks)
    @precondition(lambda self: bool(self.models))
    def watch(self, user: str, since: int) -> None:
        user, model = self._known(user)
        first = since % (model.revision + 1)
        got = list(self.db.user(user).watch(from_revision=first, follow=False))
        wanted = [change for change in model.changes if change[0] > first]
        assert [(change.revision, change.kind) for change in got] == [
            (revision, kind) for revision, kind, _ in wanted
        ]
        for change, (revision, kind, subject) in zip(got, wanted, strict=True):
            assert change.time_ns == model.times[revision]
            self._check_change(model, change, kind, subject)
        if first == 0:
            replayed = {
                change.clip.id: shown(change.clip) for change in got if change.clip is not None
            }
            current = (
                {clip.id: shown(clip) for clip in self.db.user(user).clips()} if replayed else {}
            )
            assert replayed == current

    def _check_change(self, model: UserModel, change: Change, kind: str, subject: Any) -> None:
        if kind == "clip":
            assert change.clip is not None
            assert shown(change.clip) == expected(subject, model.name)
        elif kind == "stream":
            assert change.stream is not None
            assert change.stream.name == subject
            assert change.stream.space == model.streams[subject][0].name
        elif kind == "fact":
            if subject in model.forgotten:
                assert change.fact is None
            else:
                assert change.fact is not None
                assert change.fact.id == subject
        elif kind == "snapshot":
            assert change.snapshot is not None
            assert (change.snapshot.name, change.snapshot.revision) == (subject, change.revision)
        else:
            assert change.key == subject

    @rule()
    @precondition(lambda self: self._knows() != self._came_back)
    def reopen(self) -> None:
        before = self._answers()
        self._close()
        self._comes_up()
        assert self._answers() == before
        self._came_back = self._knows()

    def _knows(self) -> tuple[object, ...]:
        """Changes with every commit and with the time: while it does not, what is on the disk is what was there
        when the database was last opened, and to open it again would show nothing."""
        revisions = [(name, id(model), model.revision) for name, model in self.models.items()]
        return (self.clock.now_ns(), *sorted(revisions))

    def _answers(self) -> list[object]:
        """Some of everything, exactly."""
        answers: list[object] = [self.db.users(), self.db.spaces()]
        for user, model in self.models.items():
            handle = self.db.user(user)
            answers += [handle.revision(), handle.streams(), handle.facts(), handle.snapshots()]
            answers.append(self.alerts_of(user))
            recalled = handle.recall("red mug door", limit=20).hits
            answers.append([(hit.kind, hit.score, hit.arms, hit.text) for hit in recalled])
            for space in {s.name for s in model.streams_at(model.revision).values()}:
                for revision in {model.revision, model.revision // 2}:
                    if space not in {s.name for s in model.streams_at(revision).values()}:
                        continue
                    grounding = handle.ground(
                        named_vector(1, SPACES[space].dim),
                        limit=50,
                        space=space,
                        as_of=revision,
                        with_coverage=True,
                    )
                    answers.append(
                        [(shown(hit.clip), hit.score, hit.relevance) for hit in grounding.hits]
                    )
                    answers.append((grounding.gaps, grounding.revision))
                    answers.append((grounding.coverage, grounding.abstained))
                    memory = handle.long_term(space=space, as_of=revision)
                    answers.append((memory.spans, memory.tokens.tobytes()))
        return answers

    @rule()
    @precondition(lambda self: self._knows() != self._verified)
    def verify(self) -> None:
        self._verified = self._knows()
        found = self.db.verify()
        assert found.ok, found.discrepancies
        assert found.users == len(self.models)
        assert found.clips == sum(
            len({v.order for v in model.versions}) for model in self.models.values()
        )

    @rule(user=users)
    def erase(self, user: str) -> None:
        # Rarely: an erased user starts anew.
        if user not in self.models or self.models[user].revision % 5:
            return
        report = self.db.user(user).erase()
        model = self.models.pop(user)
        assert report.clips == len({v.order for v in model.versions})
        assert report.facts == len(model.facts)
        assert report.values == len(model.values)
        with pytest.raises(NotFound):
            self.db.user(user).revision()

    @invariant()
    def revisions(self) -> None:
        """Each user is where its model is: nothing of one user moves the other."""
        assert self.db.users() == sorted(self.models)
        self._steps += 1
        # Asking a user opens it, and closes another: of every step, that would be most of what a sequence costs.
        if self._steps % CHECK_EVERY == 0:
            self._check_revisions()

    def _check_revisions(self) -> None:
        for user, model in self.models.items():
            assert self.db.user(user).revision() == model.revision


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = machine_settings(18)


class EncryptedMachine(EngineMachine):
    """The same, at rest encrypted."""

    encrypted = True


TestEncryptedMachine = EncryptedMachine.TestCase
TestEncryptedMachine.settings = machine_settings(1)


def test_the_oracle_imports_nothing_of_what_it_judges() -> None:
    source = (Path(__file__).parent / "model.py").read_text("utf-8")
    for judged in ("memdb.engine", "memdb.store", "memdb.index"):
        assert f"import {judged}" not in source
        assert f"from {judged}" not in source

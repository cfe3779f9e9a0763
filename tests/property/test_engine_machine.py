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

from memdb import (
    Ack,
    Change,
    Clip,
    Fact,
    FailedPrecondition,
    MemdbError,
    NotFound,
)
from memdb.clock import ManualClock
from memdb.config import EngineConfig, IndexConfig
from memdb.engine.database import EmbeddedDatabase
from tests.property.conftest import MACHINE_TIMEOUT_S, lived, machine_settings, memory_folder
from tests.property.judged import expected, shown
from tests.property.model import (
    DAY_NS,
    HOUR_NS,
    Content,
    FactVersion,
    Refused,
    Stored,
    UserModel,
    Version,
    named_vector,
)
from tests.property.reading_rules import ReadingRules
from tests.property.standing_rules import StandingRules
from tests.property.strategies import (
    EPOCH_NS,
    FAR_SEQ,
    SPACES,
    STREAMS,
    USERS,
    batches,
    contents,
    marks,
    streams,
    texts,
    users,
    values,
)

pytestmark = [pytest.mark.property, pytest.mark.timeout(MACHINE_TIMEOUT_S)]

CONFIG = EngineConfig(open_users_max=1, map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
"""A map that must grow and, in every other sequence, an LRU that must evict."""

YEAR_NS = 31_557_600 * 10**9
LONG_AGO_NS = EPOCH_NS - 30 * YEAR_NS
"""Whatever the clock is set to, facts hold since then."""
CHECK_EVERY = 10
"""Steps."""


class EngineMachine(StandingRules, ReadingRules, RuleBasedStateMachine):
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

    def _model(self, user: str) -> UserModel:
        return self.models.setdefault(user, UserModel(user, SPACES))

    # -- writing

    @rule(user=users, stream=streams, batch=batches, foreign=st.sampled_from((0, 0, 0, 0, 1)))
    def write(
        self,
        user: str,
        stream: str,
        batch: list[tuple[tuple[int, int], Content]],
        foreign: int,
    ) -> None:
        space = "text" if foreign else STREAMS[stream]
        clips = [(epoch, seq, content) for (epoch, seq), content in batch]
        if user not in self.models and clips[0][1] == FAR_SEQ:
            # A refused first write leaves no user behind.
            epoch, seq, content = clips[0]
            with pytest.raises(FailedPrecondition) as refused:
                self.db.user(user).stream(stream, space=space).write(
                    content.clip(epoch, seq, SPACES[space])
                )
            assert refused.value.reason == "TOO_FAR_AHEAD"
            assert user not in self.db.users()
            return
        if foreign and (user not in self.models or stream not in self.models[user].streams):
            return  # it would simply create the stream there
        self._write(user, stream, space, clips)

    @rule(user=users, mark=marks)
    @precondition(lambda self: self._written())
    def resend(self, user: str, mark: int) -> None:
        """Send again what was sent: the newest version, and late copies of all earlier ones."""
        user, model = self._known(user)
        several = [version for version in model.versions if version.death < float("inf")]
        version = (
            self._version(user, mark) if not several or mark % 2 else several[mark % len(several)]
        )
        if version is None:
            return
        for again in model.history(version.stream, version.epoch, version.seq):
            outcomes = self._write(
                user, again.stream, again.space.name, [(again.epoch, again.seq, again.content)]
            )
            assert isinstance(outcomes[0], Ack)
            assert outcomes[0].duplicate

    @rule(user=users, mark=marks, content=contents)
    @precondition(lambda self: self._written())
    def other_content(self, user: str, mark: int, content: Content) -> None:
        """Another content under a used number: SEQ_REUSED if sealed, a revision if open."""
        version = self._version(user, mark)
        if version is not None:
            self._write(
                user, version.stream, version.space.name, [(version.epoch, version.seq, content)]
            )

    def _write(
        self, user: str, stream: str, space: str, clips: list[tuple[int, int, Content]]
    ) -> list[Ack | MemdbError]:
        shape = SPACES[space]
        model = self._model(user)
        wanted = model.write(stream, space, clips, self.clock.now_ns())
        sent = [content.clip(epoch, seq, shape) for epoch, seq, content in clips]
        got = self._send(user, stream, space, sent, wanted)
        assert len(got) == len(wanted)
        for outcome, want in zip(got, wanted, strict=True):
            if isinstance(want, Refused):
                assert isinstance(outcome, MemdbError), outcome
                assert outcome.reason == want.reason
                continue
            assert isinstance(outcome, Ack), outcome
            assert (outcome.revision, outcome.duplicate) == (want.revision, want.duplicate)
            if not want.version.clip_id:
                for version in model.history(stream, want.version.epoch, want.version.seq):
                    version.clip_id = outcome.clip_id
            assert outcome.clip_id == want.version.clip_id
        ids = {(v.order, v.clip_id) for v in model.versions}
        assert len({order for order, _ in ids}) == len({name for _, name in ids}) == len(ids)
        return got

    def _send(
        self,
        user: str,
        stream: str,
        space: str,
        sent: list[Clip],
        wanted: list[Stored | Refused],
    ) -> list[Ack | MemdbError]:
        """The outcome of each clip."""
        handle = self.db.user(user).stream(stream, space=space)
        if len(sent) == 1 and isinstance(wanted[0], Stored):
            return [handle.write(sent[0])]
        return list(handle.write_batch(sent))

    # -- facts and values

    @rule(user=users, text=texts, key=st.sampled_from((None, None, "mug", "door")), mark=marks)
    def remember(self, user: str, text: str, key: str | None, mark: int) -> None:
        model = self._model(user)
        version = self._version(user, mark) if mark % 2 else None
        evidence = () if version is None else (version.clip_id,)
        held = None
        if key is not None:
            held = next((n for n, known in model.facts.items() if known[-1].key == key), None)
        fact = self.db.user(user).remember(
            text, about=["Alice"], key=key, evidence=evidence, valid_from=LONG_AGO_NS
        )
        assert held is None or fact.id == held
        assert fact.id not in model.forgotten
        assert (held is None) == (fact.id not in model.facts)
        self._fact_written(model, fact, FactVersion(0, text, ("Alice",), key, evidence))

    @rule(user=users, mark=marks, text=st.none() | texts)
    @precondition(lambda self: self._remembered())
    def revise(self, user: str, mark: int, text: str | None) -> None:
        user, model = self._known(user)
        if not model.facts:
            return
        fact_id = sorted(model.facts)[mark % len(model.facts)]
        old = model.facts[fact_id][-1]
        fact = self.db.user(user).revise(fact_id, text=text, about=["Bob"])
        assert fact.id == fact_id
        new = FactVersion(0, old.text if text is None else text, ("Bob",), old.key, old.evidence)
        self._fact_written(model, fact, new)

    def _fact_written(self, model: UserModel, fact: Fact, version: FactVersion) -> None:
        model.committed([(model.revision + 1, "fact", fact.id)], self.clock.now_ns())
        version.birth = model.revision
        model.facts.setdefault(fact.id, []).append(version)
        assert fact.revision == model.revision
        assert self._shown(fact) == self._expected(version, None)

    @rule(user=users, mark=marks)
    @precondition(lambda self: self._remembered())
    def forget(self, user: str, mark: int) -> None:
        user, model = self._known(user)
        if not model.facts:
            return
        fact_id = sorted(model.facts)[mark % len(model.facts)]
        handle = self.db.user(user)
        handle.forget(fact_id)
        del model.facts[fact_id]
        model.forgotten.add(fact_id)
        model.committed([(model.revision + 1, "forget", fact_id)], self.clock.now_ns())
        for call in (handle.forget, handle.history):
            with pytest.raises(NotFound):
                call(fact_id)
        with pytest.raises(NotFound):
            handle.revise(fact_id, text="again")

    @rule(user=users, key=st.sampled_from(("a", "ab", "ä")), value=values)
    def put(self, user: str, key: str, value: object) -> None:
        model = self._model(user)
        revision = self.db.user(user).put(key, value)
        model.committed([(model.revision + 1, "value", key)], self.clock.now_ns())
        assert revision == model.revision
        model.values.setdefault(key, []).append((revision, value))

    @rule(user=users, key=st.sampled_from(("a", "ab", "ä")))
    @precondition(lambda self: any(model.values for model in self.models.values()))
    def remove(self, user: str, key: str) -> None:
        user, model = self._known(user)
        handle = self.db.user(user)
        if key not in model.values:
            with pytest.raises(NotFound):
                handle.remove(key)
            return
        revision = handle.remove(key)
        model.committed([(model.revision + 1, "remove-value", key)], self.clock.now_ns())
        assert revision == model.revision
        del model.values[key]

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

    # -- helpers

    def _known(self, user: str) -> tuple[str, UserModel]:
        """The user and its model, or another that exists."""
        name = user if user in self.models else next(iter(self.models))
        return name, self.models[name]

    def _written(self) -> bool:
        return any(model.versions for model in self.models.values())

    def _remembered(self) -> bool:
        return any(model.facts for model in self.models.values())

    def _version(self, user: str, mark: int) -> Version | None:
        model = self.models.get(user)
        if model is None or not model.versions:
            return None
        return model.versions[mark % len(model.versions)]


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

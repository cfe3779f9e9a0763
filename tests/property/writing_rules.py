"""Clips, facts and values in the state machine: written, written again and removed, against the oracle."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from memdb import Ack, Clip, Fact, FailedPrecondition, MemdbError, NotFound
from tests.property.model import Content, FactVersion, Refused, Stored, UserModel, Version
from tests.property.reading_rules import ReadingRules
from tests.property.strategies import (
    EPOCH_NS,
    FAR_SEQ,
    SPACES,
    STREAMS,
    batches,
    contents,
    marks,
    streams,
    texts,
    users,
    values,
)

YEAR_NS = 31_557_600 * 10**9
LONG_AGO_NS = EPOCH_NS - 30 * YEAR_NS
"""Whatever the clock is set to, facts hold since then."""


class WritingRules(ReadingRules):
    """Mixed into the engine's machine."""

    clock: Any

    def _model(self, user: str) -> UserModel:
        return self.models.setdefault(user, UserModel(user, SPACES))

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

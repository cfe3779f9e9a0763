"""Reading in the state machine: questions, clips, gaps, ledgers, recall, facts and values, long-term memory, as of any
moment, against the oracle.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from memdb import Fact, FailedPrecondition, Grounding, MemdbError, Not, NotFound, StoredClip
from memdb.types.ground_options import GroundOptions
from memdb.types.grounding import POLICIES
from tests.property.judged import expected, selected, shown
from tests.property.model import CLOSE, FactVersion, UserModel, Version, named_vector
from tests.property.strategies import (
    LABEL_FILTERS,
    LENGTHS,
    SPACES,
    STREAMS,
    TIMES,
    VECTORS,
    label_filters,
    lengths,
    marks,
    packed,
    streams,
    texts,
    times,
    users,
)

CHOSEN = tuple(list(some) for n in (1, 2, 3) for some in itertools.permutations(STREAMS, n))
"""Streams to ask."""

questions = packed(
    question=VECTORS,
    chosen=(*[None] * len(CHOSEN), *CHOSEN),
    start=(*[None] * len(TIMES), *TIMES),
    length=LENGTHS[1:],
    endless=(False, True),
    policy=POLICIES,
    min_score=(None, None, None, -0.2, 0.1, 0.6),
    fallback=("none", "recent"),
    limit=range(1, 10),
    mark=range(1001),
    space=("cos", "cos", "dot", None),
    with_short=(False, True),
    labels=LABEL_FILTERS,
)
"""Options of one grounding."""


class ReadingRules:
    """Mixed into the engine's machine."""

    db: Any
    models: dict[str, UserModel]

    def _known(self, user: str) -> tuple[str, UserModel]:
        raise NotImplementedError

    def _moment(self, model: UserModel, mark: int) -> tuple[Any, int]:
        raise NotImplementedError

    def _shown(self, fact: Fact) -> tuple[object, ...]:
        return (
            fact.text,
            fact.about,
            fact.key,
            fact.evidence,
            fact.revision,
            fact.superseded_revision,
        )

    def _expected(self, fact: FactVersion, superseded: int | None) -> tuple[object, ...]:
        return (fact.text, fact.about, fact.key, fact.evidence, fact.birth, superseded)

    @rule(user=users, asked=st.lists(questions, min_size=2, max_size=8))
    @precondition(lambda self: bool(self.models))
    def ground(self, user: str, asked: list[dict[str, Any]]) -> None:
        for ask in asked:
            self._ground(user, **ask)

    def _ground(
        self,
        user: str,
        question: int,
        chosen: list[str] | None,
        start: int | None,
        length: int,
        endless: bool,
        policy: str,
        min_score: float | None,
        fallback: str,
        limit: int,
        mark: int,
        space: str | None,
        with_short: bool,
        labels: dict[str, list[str] | Not] | None,
    ) -> None:
        """One question, and the oracle's opinion of the answer."""
        user, model = self._known(user)
        as_of, revision = self._moment(model, mark)
        end = None if endless or start is None else start + length
        there = model.streams_at(revision)
        handle = self.db.user(user)

        options: GroundOptions = {
            "limit": limit,
            "streams": chosen,
            "start_ns": start,
            "end_ns": end,
            "as_of": as_of,
            "min_score": min_score,
            "policy": policy,
            "with_short_memory": with_short,
            "fallback": fallback,
            "space": space,
            "labels": labels,
        }

        def ask(dim: int) -> Any:
            alone = handle.ground(named_vector(question, dim), **options)
            together = handle.ground_many(
                np.stack([named_vector(question + n, dim) for n in (1, 0, 2)]), **options
            )
            assert [(hit.clip.id, hit.clip.revision, hit.score) for hit in together[1].hits] == [
                (hit.clip.id, hit.clip.revision, hit.score) for hit in alone.hits
            ]
            assert (together[1].revision, together[1].fallback, together[1].gaps) == (
                alone.revision,
                alone.fallback,
                alone.gaps,
            )
            return alone

        if chosen is not None and not set(chosen) <= set(there):
            with pytest.raises(NotFound) as refused:
                ask(8)
            assert refused.value.reason == "STREAM_NOT_FOUND"
            return
        searched = {s.name for name, s in there.items() if chosen is None or name in chosen}
        if space is not None:
            if chosen and space not in searched:
                with pytest.raises(FailedPrecondition) as elsewhere:
                    ask(SPACES[space].dim)
                assert elsewhere.value.reason == "SPACE_MISMATCH"
                return
            searched = {space}
        if len(searched) > 1:
            with pytest.raises(MemdbError) as ambiguous:
                ask(8)
            assert ambiguous.value.reason == "SPACE_REQUIRED"
            return
        if not searched:
            answer = ask(8)
            assert (answer.revision, answer.hits, answer.gaps) == (revision, (), ())
            return
        name = next(iter(searched))
        if policy != "top" and SPACES[name].metric != "cosine":
            with pytest.raises(MemdbError) as refused_policy:
                ask(SPACES[name].dim)
            assert refused_policy.value.reason == "BAD_POLICY"
            return
        answer = ask(SPACES[name].dim)
        assert answer.revision == revision
        within = [
            stream
            for stream, kept_in in there.items()
            if kept_in.name == name and (chosen is None or stream in chosen)
        ]
        assert list(answer.gaps) == model.gaps(revision, within, start, end)
        admitted = model.alive(revision, chosen, start, end, name, labels)
        scored = model.scored(named_vector(question, SPACES[name].dim), admitted)
        self._check_hits(model, answer, scored, policy, limit, min_score, fallback)
        for hit in answer.hits:
            self._check_short(model, hit.clip, given=with_short)

    def _check_hits(
        self,
        model: UserModel,
        answer: Grounding,
        scored: list[tuple[float, Version]],
        policy: str,
        limit: int,
        min_score: float | None,
        fallback: str,
    ) -> None:
        by_id = {version.clip_id: (score, version) for score, version in scored}
        for hit in answer.hits:
            score, version = by_id[hit.clip.id]
            assert abs(hit.score - score) < CLOSE
            assert shown(hit.clip) == expected(version, model.name)
        ids = [hit.clip.id for hit in answer.hits]
        assert len(set(ids)) == len(ids)
        sure, maybe = selected(scored, policy, limit, min_score)
        if not ids:
            assert answer.fallback == "none"
            assert not sure
            assert not (fallback == "recent" and scored)
            return
        if answer.fallback == "recent":
            # Where ties decide, nothing may be an answer too.
            assert fallback == "recent"
            assert not sure
            assert len(ids) == 1
            newest = max(version.content.end_ns for _, version in scored)
            assert by_id[ids[0]][1].content.end_ns == newest
            latest = [v for _, v in scored if v.content.end_ns == newest]
            assert ids[0] == max(latest, key=lambda v: (v.birth, v.order)).clip_id
            return
        assert answer.fallback == "none"
        assert set(sure) <= set(ids) <= set(sure) | set(maybe)
        if policy == "top":
            got = [by_id[clip_id][0] for clip_id in ids]
            assert all(a >= b - CLOSE for a, b in itertools.pairwise(got))
        else:
            starts = [by_id[clip_id][1].content.start_ns for clip_id in ids]
            assert starts == sorted(starts)

    def _check_short(self, model: UserModel, clip: StoredClip, *, given: bool) -> None:
        version = next(
            v for v in model.versions if (v.clip_id, v.birth) == (clip.id, clip.revision)
        )
        short = version.content.short_memory(version.space) if given else None
        if short is None:
            assert clip.short_memory is None
        else:
            assert isinstance(clip.short_memory, np.ndarray)
            assert clip.short_memory.dtype == np.float16
            assert clip.short_memory.tobytes() == short.tobytes()

    @rule(
        user=users,
        stream=st.none() | streams,
        start=st.none() | times,
        length=lengths,
        page=st.integers(1, 4),
        mark=marks,
        labels=label_filters,
        newest_first=st.booleans(),
    )
    @precondition(lambda self: bool(self.models))
    def clips(
        self,
        user: str,
        stream: str | None,
        start: int | None,
        length: int,
        page: int,
        mark: int,
        labels: dict[str, list[str] | Not] | None,
        newest_first: bool,
    ) -> None:
        user, model = self._known(user)
        as_of, revision = self._moment(model, mark)
        if stream is not None and stream not in model.streams_at(revision):
            return
        end = None if start is None else start + length
        named = None if stream is None else [stream]
        wanted = model.alive(revision, named, start, end, labels=labels)
        wanted.sort(key=lambda version: (version.content.start_ns, version.order))
        if newest_first:
            wanted.reverse()
        handle = self.db.user(user)
        got: list[StoredClip] = []
        while True:
            after = (got[-1].cursor if page % 2 else got[-1].id) if got else None
            more = handle.clips(
                stream=stream,
                start_ns=start,
                end_ns=end,
                as_of=as_of,
                limit=page,
                after=after,
                labels=labels,
                newest_first=newest_first,
            )
            got += more
            if len(more) < page:
                break
        assert [shown(clip) for clip in got] == [expected(v, user) for v in wanted]
        for version in wanted:
            clip = handle.clip(version.clip_id, as_of=as_of, with_short_memory=True)
            assert shown(clip) == expected(version, user)
            self._check_short(model, clip, given=True)
        with_short = [v.clip_id for v in wanted if v.content.short_rows]
        for version_id, short in zip(
            with_short, handle.short_memory(with_short, as_of=as_of), strict=True
        ):
            version = next(v for v in wanted if v.clip_id == version_id)
            stored = version.content.short_memory(version.space)
            assert stored is not None
            assert short.tobytes() == stored.tobytes()

    @rule(user=users, mark=marks, start=st.none() | times, length=lengths)
    @precondition(lambda self: bool(self.models))
    def gaps(self, user: str, mark: int, start: int | None, length: int) -> None:
        user, model = self._known(user)
        as_of, revision = self._moment(model, mark)
        end = None if start is None else start + length
        for stream in model.streams_at(revision):
            handle = self.db.user(user).stream(stream)
            got = handle.gaps(start_ns=start, end_ns=end, as_of=as_of)
            assert got == model.gaps(revision, [stream], start, end)

    @rule(user=users)
    @precondition(lambda self: bool(self.models))
    def ledgers(self, user: str) -> None:
        user, model = self._known(user)
        for stream in STREAMS:
            for epoch in (0, 7):
                ledger = self.db.user(user).stream(stream).ledger(epoch=epoch)
                known = [
                    v
                    for v in model.versions
                    if (v.stream, v.epoch) == (stream, epoch) and v.death == float("inf")
                ]
                sealed = {v.seq: v for v in known if v.content.sealed}
                newest = max(sealed, default=-1)
                assert ledger.next_seq == newest + 1
                assert ledger.clips == len(known)
                assert ledger.last_end_ns == (sealed[newest].content.end_ns if sealed else None)
                gaps = [g for g in model.gaps(model.revision, [stream]) if g.epoch == epoch]
                assert list(ledger.gaps) == gaps

    @rule(
        user=users,
        question=texts,
        mark=marks,
        limit=st.integers(1, 30),
        kinds=st.sampled_from((None, None, ("fact",), ("utterance",))),
        labels=label_filters,
    )
    @precondition(lambda self: bool(self.models))
    def recall(
        self,
        user: str,
        question: str,
        mark: int,
        limit: int,
        kinds: tuple[str, ...] | None,
        labels: dict[str, list[str] | Not] | None,
    ) -> None:
        user, model = self._known(user)
        as_of, revision = self._moment(model, mark)
        if kinds == ("fact",):
            labels = None
        answer = self.db.user(user).recall(
            question, as_of=as_of, limit=limit, kinds=kinds, labels=labels
        )
        assert (answer.revision, answer.arms) == (revision, ("lexical",))
        scores, full = model.lexical(question, revision, kinds, labels)
        best = sorted(scores.values(), reverse=True)[:limit]
        assert len(answer) == len(best)
        facts = model.facts_at(revision)
        for hit, score in zip(answer.hits, best, strict=True):
            assert abs(hit.arms["lexical"] - score) < CLOSE
            assert abs(hit.score - score / full) < CLOSE
            if hit.kind == "fact":
                assert hit.fact is not None
                assert abs(scores["fact", hit.fact.id] - score) < CLOSE
                fact, superseded = facts[hit.fact.id]
                assert self._shown(hit.fact) == self._expected(fact, superseded)
            else:
                assert hit.clip is not None
                assert abs(scores["utterance", hit.clip.id] - score) < CLOSE
                (version,) = (v for v in model.alive(revision) if v.clip_id == hit.clip.id)
                assert shown(hit.clip) == expected(version, user)
                assert hit.text == version.content.text

    @rule(user=users, mark=marks)
    @precondition(lambda self: bool(self.models))
    def facts_and_values(self, user: str, mark: int) -> None:
        user, model = self._known(user)
        as_of, revision = self._moment(model, mark)
        handle = self.db.user(user)
        got = {fact.id: self._shown(fact) for fact in handle.facts(as_of=as_of)}
        wanted = {
            fact_id: self._expected(fact, superseded)
            for fact_id, (fact, superseded) in model.facts_at(revision).items()
        }
        assert got == wanted
        for fact_id, versions in model.facts.items():
            later = [version.birth for version in versions[1:]]
            assert [self._shown(fact) for fact in handle.history(fact_id)] == [
                self._expected(version, superseded)
                for version, superseded in zip(versions, [*later, None], strict=True)
            ]
        for key in ("a", "ab", "ä", "b"):
            assert handle.get(key, as_of=as_of) == model.value(key, revision)
        assert handle.keys(as_of=as_of) == model.keys(revision)

    @rule(user=users, space=st.sampled_from(("cos", "dot")), mark=marks, chosen=st.none() | streams)
    @precondition(lambda self: bool(self.models))
    def long_term(self, user: str, space: str, mark: int, chosen: str | None) -> None:
        user, model = self._known(user)
        if space not in {s.name for s in model.streams_at(model.revision).values()}:
            return
        as_of, revision = self._moment(model, mark)
        there = model.streams_at(revision)
        if space not in {s.name for s in there.values()}:
            return
        if chosen is not None and (chosen not in there or there[chosen].name != space):
            return
        of = None if chosen is None else [chosen]
        buckets = model.buckets(revision, space, of)
        for max_tokens in (10_000, 1 + mark % 7):
            memory = self.db.user(user).long_term(
                stream=chosen, as_of=as_of, max_tokens=max_tokens, space=space
            )
            assert memory.revision == revision
            assert memory.tokens.shape == (len(memory.spans), SPACES[space].dim)
            assert len(memory.spans) <= max_tokens
            starts = [span.start_ns for span in memory.spans]
            assert starts == sorted(starts)
            keys = [(span.stream, span.level, span.start_ns) for span in memory.spans]
            assert len(set(keys)) == len(keys)
            for key, span, token in zip(keys, memory.spans, memory.tokens, strict=True):
                clips, vector = buckets[key]
                assert span.clips == clips
                assert vector is None or np.allclose(token, vector, atol=CLOSE)
            if max_tokens == 10_000:
                assert set(keys) == {key for key in buckets if key[1] == "hour"}
            elif any(key[1] == "day" for key in buckets):
                self._check_budget(keys, buckets, max_tokens)

    def _check_budget(
        self, keys: list[tuple[str, str, int]], buckets: dict[Any, Any], max_tokens: int
    ) -> None:
        """No day is told twice; when all days fit, every day is told."""
        day_of = {key: key[2] // (24 * 3600 * 10**9) for key in buckets}
        for day in {day_of[key] for key in keys}:
            assert len({key[1] for key in keys if day_of[key] == day}) == 1
        days = [key for key in buckets if key[1] == "day"]
        if len(days) <= max_tokens:
            assert {day_of[key] for key in keys} == set(day_of.values())

"""The embedded handle on one user: `memdb.types.database.User`, and what the server needs beside
it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar, Unpack

from memdb.clock import Clock
from memdb.codecs.tensors import decode_verified
from memdb.engine import recall, watch
from memdb.engine.at_once import check_brief
from memdb.engine.checks import no_such_fact
from memdb.engine.erasure import clips_to_erase, compact_user, erase_parts
from memdb.engine.fact_page import Page
from memdb.engine.ground_page import ground_page
from memdb.engine.ground_stream import answers
from memdb.engine.grounding import ground
from memdb.engine.hydrate import Parts
from memdb.engine.label_counts import label_counts
from memdb.engine.listing import (
    count_clips,
    get_clip,
    get_clips,
    get_short_memory,
    list_clips,
)
from memdb.engine.long_term import long_term, nothing_remembered
from memdb.engine.memory import UserMemory
from memdb.engine.question import checked_question
from memdb.engine.reading import WouldWait
from memdb.engine.snapshots import leased_snapshots
from memdb.engine.standing import EmbeddedStanding
from memdb.engine.stream import EmbeddedStream
from memdb.engine.together import ground_together
from memdb.engine.users import Users
from memdb.engine.validity import valid_moment
from memdb.engine.values import value_json, value_keys
from memdb.engine.view import View
from memdb.errors import InvalidArgument, MemdbError, NotFound
from memdb.index.partition import Filter
from memdb.store import facts as facts_store
from memdb.store.catalog import Catalog
from memdb.store.idents import IdKind, parse_id
from memdb.store.schema import Table
from memdb.text_encoder import find_text_encoder
from memdb.types import limits
from memdb.types.arguments import (
    REVISION_MAX,
    checked_about,
    checked_abouts,
    checked_as_of,
    checked_clip_ids,
    checked_cursor,
    checked_evidence,
    checked_fact_name,
    checked_key,
    checked_prefix,
    checked_reference,
    checked_revision,
    checked_stream_names,
    checked_streams,
    checked_times,
    checked_ttl_s,
)
from memdb.types.arrays import Array, RowsLike, VectorLike, as_vector
from memdb.types.calendar import HourOfDay, Weekday, checked_calendar
from memdb.types.change import Change, CompactionReport, ErasureReport
from memdb.types.checks import check_flag, check_int, check_range, check_text
from memdb.types.clip import StoredClip
from memdb.types.database import User
from memdb.types.documented import documented_by
from memdb.types.fact import About, Fact, LongTermMemory, Recall, Statement
from memdb.types.ground_options import (
    GroundOptions,
    all_options,
    checked_features,
    checked_rerank,
    checked_tokens,
)
from memdb.types.grounding import AsOf, Grounding
from memdb.types.ids import check_id
from memdb.types.json_value import value_to_json
from memdb.types.label_count import LabelCount, checked_label, checked_label_key
from memdb.types.label_filter import WantedLabels, checked_labels
from memdb.types.operation import (
    ConfigureUser,
    ForgetFact,
    Operation,
    PutFact,
    PutFacts,
    PutSnapshot,
    PutValue,
    ReleaseSnapshot,
    RemoveValue,
    ReviseFact,
)
from memdb.types.recall_filter import checked_recall_filter
from memdb.types.snapshot import Snapshot
from memdb.types.space import Space
from memdb.types.statements import checked_statements
from memdb.types.stream import StreamInfo
from memdb.types.tensor import EncodedTensor
from memdb.types.times import Time, optional_ns
from memdb.types.validity import NOW, ValidAt, ValidTo, checked_valid_at, checked_valid_to
from memdb.types.word_question import wants_text_feature

_WATCH_PAGE: Final = 256
"""Changes that are read at once."""
_WATCH_PAGE_BYTES: Final = 16 * 1024 * 1024
_WATCH_WAIT_S: Final = 0.5
"""For a commit, before a watch looks whether the database is still open."""
_LONG_TERM_TRIES: Final = 10
"""Views that are tried for one that the pyramid is not past."""


T = TypeVar("T")


@documented_by(User)
class EmbeddedUser:
    """A handle; cheap, thread-safe, valid while the database is open."""

    def __init__(
        self,
        user_id: str,
        users: Users,
        catalog: Catalog,
        clock: Clock,
        erase: Callable[[str], ErasureReport],
        *,
        embed_texts: bool,
    ) -> None:
        self._id = check_id(user_id, "user")
        self._users = users
        self._catalog = catalog
        self._clock = clock
        self._erase = erase
        self._embed_texts = embed_texts

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id}>"

    @property
    def id(self) -> str:
        return self._id

    # -- state

    def revision(self) -> int:
        with self._users.use(self._id) as memory:
            return memory.view.revision

    def moment(self, as_of: AsOf | None) -> int:
        """The revision that a moment names now; a snapshot's name may come to name another."""
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:
            view = memory.view
            revision = memory.resolve(view, as_of)
            return view.revision if revision is None else revision

    def configure(self, *, text_space: str) -> None:
        space = self._catalog.space(check_id(text_space, "text_space"))
        self.commit(ConfigureUser(space), int, create=True)

    def text_space(self) -> Space | None:
        with self._users.use(self._id) as memory:
            return memory.view.state.text_space

    def stream(
        self, name: str, *, space: str | None = None, codec: str | None = None
    ) -> EmbeddedStream:
        return EmbeddedStream(self, name, space, codec)

    @property
    def standing(self) -> EmbeddedStanding:
        return EmbeddedStanding(self, self._clock)

    def streams(self) -> list[StreamInfo]:
        with self._users.use(self._id) as memory:
            state = memory.view.state
        return [state.stream_info(name) for name in sorted(state.streams)]

    # -- clips

    def clips(
        self,
        *,
        stream: str | None = None,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        limit: int = 1000,
        after: str | None = None,
        min_revision: int | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
        labels: WantedLabels | None = None,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
        newest_first: bool = False,
        page_bytes: int | None = None,
    ) -> list[StoredClip]:
        calendar, wanted = checked_calendar(hours, weekdays, zone), checked_labels(labels)
        backwards = check_flag(newest_first, "newest_first")
        limit = check_int(limit, "limit", 1, limits.LIMIT_MAX)
        start, end = checked_times(start_ns, end_ns)
        names, named = checked_stream_names(stream, streams)
        after = None if after is None else checked_reference(after, "after")
        parts = Parts(
            global_memory=check_flag(with_global_memory, "with_global_memory"),
            keyframes=check_flag(with_keyframes, "with_keyframes"),
        )
        as_of, min_revision = checked_as_of(as_of), checked_revision(min_revision)
        with self._users.use(self._id) as memory:

            def listed(view: View) -> list[StoredClip]:
                revision = memory.resolve(view, as_of, min_revision)
                stream_nos = view.stream_nos(names, revision, named)
                with memory.environment.read() as txn:
                    which = Filter(stream_nos, start, end, labels=wanted)
                    return list_clips(
                        txn,
                        view,
                        which,
                        revision,
                        after,
                        limit,
                        page_bytes,
                        calendar,
                        parts,
                        newest_first=backwards,
                    )

            return memory.read(listed)

    def clip(
        self,
        clip_id: str,
        *,
        as_of: AsOf | None = None,
        with_short_memory: bool = False,
        raw_short_memory: bool = False,
    ) -> StoredClip:
        checked_reference(clip_id, "clip_id")
        short_memory = check_flag(with_short_memory, "with_short_memory")
        parts = Parts(short_memory=short_memory, raw=raw_short_memory)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:

            def found(view: View) -> StoredClip:
                revision = memory.resolve(view, as_of)
                with memory.environment.read() as txn:
                    return get_clip(txn, view, clip_id, revision, parts)

            return memory.read(found)

    def get_clips(
        self,
        clip_ids: Sequence[str],
        *,
        as_of: AsOf | None = None,
        with_short_memory: bool = False,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
    ) -> list[StoredClip]:
        parts = Parts(
            global_memory=check_flag(with_global_memory, "with_global_memory"),
            keyframes=check_flag(with_keyframes, "with_keyframes"),
            short_memory=check_flag(with_short_memory, "with_short_memory"),
        )
        return self.clips_by_id(checked_clip_ids(clip_ids), 0, as_of=as_of, parts=parts)

    def clips_by_id(
        self,
        clip_ids: Sequence[str],
        first: int,
        *,
        as_of: AsOf | None,
        parts: Parts,
        page_bytes: int | None = None,
    ) -> list[StoredClip]:
        """Those of the ids, which were checked, from place ``first`` on, until they have ``page_bytes``; raises as
        `get_clips`.
        """
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:

            def found(view: View) -> list[StoredClip]:
                revision = memory.resolve(view, as_of)
                with memory.environment.read() as txn:
                    return get_clips(txn, view, clip_ids, first, revision, parts, page_bytes)

            return memory.read(found)

    def count_clips(
        self,
        *,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        min_revision: int | None = None,
        labels: WantedLabels | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
    ) -> int:
        calendar, wanted = checked_calendar(hours, weekdays, zone), checked_labels(labels)
        start, end = checked_times(start_ns, end_ns)
        names = checked_streams(streams)
        as_of, min_revision = checked_as_of(as_of), checked_revision(min_revision)
        with self._users.use(self._id) as memory:

            def counted(view: View) -> int:
                revision = memory.resolve(view, as_of, min_revision)
                which = Filter(view.stream_nos(names, revision), start, end, labels=wanted)
                return count_clips(view, which, revision, calendar)

            return memory.read(counted)

    def labels(
        self,
        *,
        key: str | None = None,
        stream: str | None = None,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        limit: int = 1000,
        after: tuple[str, str] | None = None,
    ) -> list[LabelCount]:
        key, behind = checked_label_key(key), checked_label(after)
        limit = check_int(limit, "limit", 1, limits.LIMIT_MAX)
        start, end = checked_times(start_ns, end_ns)
        names, named = checked_stream_names(stream, streams)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:

            def counted(view: View) -> list[LabelCount]:
                revision = memory.resolve(view, as_of)
                which = Filter(view.stream_nos(names, revision, named), start, end)
                return label_counts(view, which, revision, key, behind, limit)

            return memory.read(counted)

    def encoded_short_memory(
        self, clip_ids: Sequence[str], *, as_of: AsOf | None = None, first: int = 0
    ) -> list[EncodedTensor]:
        """The short-term memory of each clip as it is stored; raises as `short_memory`.

        first: the place of the first id among those that were asked for, by which errors name one.
        """
        wanted = checked_clip_ids(clip_ids)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:

            def found(view: View) -> list[EncodedTensor]:
                revision = memory.resolve(view, as_of)
                with memory.environment.read() as txn:
                    return get_short_memory(txn, view, wanted, revision, first)

            return memory.read(found)

    def short_memory(self, clip_ids: Sequence[str], *, as_of: AsOf | None = None) -> list[Array]:
        return [
            decode_verified(tensor) for tensor in self.encoded_short_memory(clip_ids, as_of=as_of)
        ]

    # -- grounding and long-term memory

    def ground(
        self,
        question_feature: VectorLike | None = None,
        *,
        limit: int = 4,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        min_score: float | None = None,
        policy: str = "top",
        question_tokens: RowsLike | None = None,
        rerank: int = 0,
        with_short_memory: bool = False,
        fallback: str = "none",
        space: str | None = None,
        min_revision: int | None = None,
        weighting: str = "idf",
        text: str | None = None,
        text_feature: VectorLike | None = None,
        weights: Mapping[str, float] | None = None,
        explain: bool = False,
        min_relevance: float | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
        labels: WantedLabels | None = None,
        with_coverage: bool = False,
        cursor: str | None = None,
        exact: bool = False,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
        raw_short_memory: bool = False,
        answer_bytes_max: int | None = None,
        rerank_work_max: int | None = None,
        at_once: bool = False,
    ) -> Grounding:
        question = checked_question(
            question_feature,
            limit=limit,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            min_score=min_score,
            policy=policy,
            question_tokens=question_tokens,
            weighting=weighting,
            rerank=rerank,
            with_short_memory=with_short_memory,
            raw_short_memory=raw_short_memory,
            answer_bytes_max=answer_bytes_max,
            rerank_work_max=rerank_work_max,
            fallback=fallback,
            space=space,
            text=text,
            text_feature=self._text_feature(text, text_feature, question_feature, weights),
            weights=weights,
            explain=explain,
            min_relevance=min_relevance,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
            labels=labels,
            with_coverage=with_coverage,
            exact=exact,
            with_global_memory=with_global_memory,
            with_keyframes=with_keyframes,
        )
        if question.space is not None:  # to replace costs as much as a twentieth of a question
            question = replace(question, named_space=self.find_space(question.space))
        as_of, min_revision = checked_as_of(as_of), checked_revision(min_revision)
        cursor = checked_cursor(cursor)
        if as_of is not None or cursor is not None:
            # Also as of the newest revision: asked again once there are more, it is the same; and pages are of
            # one order.
            question = replace(question, exact=True)
        if at_once:
            if as_of is not None or cursor is not None or min_revision is not None:
                raise WouldWait

            def grounded_at_once(memory: UserMemory) -> Grounding:
                answer = memory.read(lambda view: ground(None, view, question, None))
                check_brief(answer)
                return answer

            return self._users.call_at_once(self._id, grounded_at_once)

        def asked(memory: UserMemory) -> Grounding:
            def grounded(view: View) -> Grounding:
                revision: int | None = None
                if as_of is not None or min_revision is not None:
                    revision = memory.resolve(view, as_of, min_revision)
                if cursor is not None:
                    shown = view.revision if revision is None else revision  # 0 is a moment as well
                    named = None if as_of is None else shown
                    resolve = partial(memory.resolve, view)
                    return ground_page(memory.environment, view, question, cursor, named, resolve)
                return ground(memory.environment, view, question, revision)

            return memory.read(grounded)

        # A moment may be the name of a snapshot.
        whole = question.needs_whole or as_of is not None or cursor is not None
        return self._users.call(self._id, asked, whole=whole)

    def ground_many(
        self,
        question_features: RowsLike,
        *,
        question_tokens: Sequence[RowsLike] | None = None,
        rerank: int = 0,
        raw_short_memory: bool = False,
        answer_bytes_max: int | None = None,
        rerank_work_max: int | None = None,
        **options: Unpack[GroundOptions],
    ) -> list[Grounding]:
        chosen = all_options(options)
        as_of = checked_as_of(chosen.pop("as_of"))
        min_revision = checked_revision(chosen.pop("min_revision"))
        features = checked_features(question_features)
        tokens = checked_tokens(question_tokens, len(features))
        first = checked_question(
            features[0],
            question_tokens=None,
            rerank=0,
            raw_short_memory=raw_short_memory,
            answer_bytes_max=answer_bytes_max,
            rerank_work_max=None if rerank_work_max is None else rerank_work_max // len(features),
            **chosen,
        )
        first = replace(
            first,
            rerank=checked_rerank(rerank, has_tokens=tokens is not None),
            exact=first.exact or as_of is not None,
            named_space=self.find_space(first.space),
        )
        questions = [
            replace(first, feature=feature, tokens=tokens[place] if tokens else None)
            for place, feature in enumerate(features)
        ]
        whole = first.needs_whole or as_of is not None
        with self._users.use(self._id, whole=whole) as memory:

            def grounded(view: View) -> list[Grounding]:
                revision = memory.resolve(view, as_of, min_revision)
                return list(ground_together(memory.environment, view, questions, revision))

            return memory.read(grounded)

    def ground_stream(
        self, question_features: Iterable[VectorLike], **options: Unpack[GroundOptions]
    ) -> Iterator[Grounding]:
        chosen = all_options(options)
        yield from answers(question_features, lambda some: self.ground_many(some, **chosen))

    def long_term(
        self,
        *,
        stream: str | None = None,
        as_of: AsOf | None = None,
        max_tokens: int = 512,
        space: str | None = None,
        answer_bytes_max: int | None = None,
    ) -> LongTermMemory:
        max_tokens = check_int(max_tokens, "max_tokens", 1, limits.TOKENS_MAX)
        streams = None if stream is None else (check_id(stream, "stream"),)
        space = None if space is None else check_id(space, "space")
        named = self.find_space(space)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:
            tried: list[int] = []

            def remembered(view: View) -> LongTermMemory:
                may_sum = view.revision in tried or len(tried) >= _LONG_TERM_TRIES
                tried.append(view.revision)
                revision = memory.resolve(view, as_of)
                stream_nos = view.stream_nos(streams, revision, "stream")
                space_no = view.searched_space(stream_nos, space, revision, named)
                if space_no is None and named is not None:
                    return nothing_remembered(
                        named, view.revision if revision is None else revision
                    )
                if space_no is None:
                    raise NotFound(
                        "the user has no stream", reason="STREAM_NOT_FOUND", field="stream"
                    )
                return long_term(
                    view,
                    stream_nos,
                    space_no,
                    revision,
                    max_tokens,
                    answer_bytes_max,
                    may_sum=may_sum,
                )

            return memory.read(remembered)

    # -- facts

    def remember(
        self,
        text: str,
        *,
        about: Iterable[str] = (),
        valid_from: Time | None = None,
        valid_to: Time | None = None,
        evidence: Iterable[str] = (),
        key: str | None = None,
        feature: VectorLike | None = None,
    ) -> Fact:
        text = check_text(text, "text")
        operation = PutFact(
            text,
            checked_about(about),
            None if key is None else checked_key(key),
            optional_ns(valid_from, "valid_from"),
            optional_ns(valid_to, "valid_to"),
            checked_evidence(evidence),
            self._feature(text, feature),
            self._clock.now_ns(),
        )
        if operation.valid_from_ns is not None and operation.valid_to_ns is not None:
            check_range(operation.valid_from_ns, operation.valid_to_ns, "valid_to")
        if not self.is_known() and (operation.evidence or operation.feature is not None):
            # Nothing that a new user does not have yet can be cited; refuse before the user is
            # made.
            raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=self._id)
        return self.commit(operation, Fact, create=True)

    def remember_many(self, statements: Iterable[Statement | str]) -> list[Fact]:
        facts = checked_statements(statements, self._clock.now_ns())
        facts = self._with_features(facts)
        if not self.is_known() and any(
            one.evidence or one.feature is not None for one in facts
        ):  # as in `remember`
            raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=self._id)
        stored: list[Fact] = self.commit(PutFacts(tuple(facts)), list, create=True)
        return stored

    def revise(
        self,
        fact_id: str,
        *,
        text: str | None = None,
        about: Iterable[str] | None = None,
        valid_from: Time | None = None,
        valid_to: ValidTo | None = None,
        evidence: Iterable[str] | None = None,
        feature: VectorLike | None = None,
    ) -> Fact:
        text = None if text is None else check_text(text, "text")
        operation = ReviseFact(
            checked_reference(fact_id, "fact_id"),
            text,
            None if about is None else checked_about(about),
            optional_ns(valid_from, "valid_from"),
            checked_valid_to(valid_to),
            None if evidence is None else checked_evidence(evidence),
            self._feature(text, feature),
            self._clock.now_ns(),
        )
        return self.commit(operation, Fact)

    def forget(self, fact_id: str) -> None:
        self.commit(ForgetFact(checked_reference(fact_id, "fact_id")), int)

    def fact(
        self, fact_id: str | None = None, *, key: str | None = None, as_of: AsOf | None = None
    ) -> Fact:
        fact_id, key = checked_fact_name(fact_id, key)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:
            view = memory.view
            view.quarantine.check(Table.FACTS, *(() if key is None else (Table.FACT_KEYS,)))
            revision = memory.resolve(view, as_of)
            with memory.environment.read() as txn:
                return recall.get_fact(
                    txn, view, fact_id, key, view.revision if revision is None else revision
                )

    def history(
        self,
        fact_id: str,
        *,
        limit: int | None = None,
        after: int | None = None,
        answer_bytes_max: int | None = None,
        page_bytes: int | None = None,
    ) -> list[Fact]:
        checked_reference(fact_id, "fact_id")
        page = Page(
            checked_revision(after, "after"),
            None if limit is None else check_int(limit, "limit", 1, limits.LIMIT_MAX),
            page_bytes,
        )
        with self._users.use(self._id) as memory:
            memory.view.quarantine.check(Table.FACTS)
            no = parse_id(memory.view.state.id_key, IdKind.FACT, fact_id)
            with memory.environment.read() as txn:
                view = memory.view
                known = no is not None and facts_store.at(txn, no, view.revision) is not None
                if no is None or not known:
                    raise no_such_fact(fact_id)
                return recall.history(txn, view, no, answer_bytes_max, page)

    def facts(
        self,
        *,
        about: About | None = None,
        as_of: AsOf | None = None,
        limit: int = 1000,
        after: str | None = None,
        valid_at: ValidAt | None = None,
        answer_bytes_max: int | None = None,
        page_bytes: int | None = None,
    ) -> list[Fact]:
        limit = check_int(limit, "limit", 1, limits.LIMIT_MAX)
        after = None if after is None else checked_reference(after, "after")
        things = checked_abouts(about)
        as_of = checked_as_of(as_of)
        moment = checked_valid_at(valid_at)
        with self._users.use(self._id) as memory:
            view = memory.view
            view.quarantine.check(Table.FACTS)
            revision = memory.resolve(view, as_of)
            valid_at_ns = None
            if moment is not None:
                valid_at_ns = self._valid_moment(memory, view, moment, as_of, revision)
            after_no = None
            if after is not None:
                after_no = parse_id(view.state.id_key, IdKind.FACT, after)
                if after_no is None:
                    raise no_such_fact(after, "after")
            with memory.environment.read() as txn:
                return recall.current_facts(
                    txn,
                    view,
                    things,
                    view.revision if revision is None else revision,
                    answer_bytes_max,
                    Page(after_no, limit, page_bytes),
                    valid_at_ns,
                )

    def recall(
        self,
        question: str,
        *,
        limit: int = 5,
        as_of: AsOf | None = None,
        feature: VectorLike | None = None,
        min_revision: int | None = None,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        labels: WantedLabels | None = None,
        kinds: Iterable[str] | None = None,
        valid_at: ValidAt | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
        about: About | None = None,
        answer_bytes_max: int | None = None,
    ) -> Recall:
        check_text(question, "question")
        limit = check_int(limit, "limit", 1, limits.LIMIT_MAX)
        which = checked_recall_filter(
            streams, start_ns, end_ns, labels, kinds, valid_at, hours, weekdays, zone, about
        )
        as_of, min_revision = checked_as_of(as_of), checked_revision(min_revision)
        feature = self._feature(question, feature)
        with self._users.use(self._id) as memory:

            def recalled(view: View) -> Recall:
                revision = memory.resolve(view, as_of, min_revision)
                valid_at_ns = None
                if which.facts:
                    valid_at_ns = self._valid_moment(memory, view, which.valid_at, as_of, revision)
                return recall.recall(
                    memory.environment,
                    view,
                    question,
                    feature,
                    limit,
                    revision,
                    which,
                    valid_at_ns,
                    answer_bytes_max,
                )

            return memory.read(recalled)

    def valid_now_ns(self) -> int:
        """What ``valid_at="now"`` means now."""
        with self._users.use(self._id) as memory:
            found = self._valid_moment(memory, memory.view, NOW, None, None)
        assert found is not None, "it is a time"
        return found

    def _valid_moment(
        self,
        memory: UserMemory,
        view: View,
        valid_at: int | str | None,
        as_of: AsOf | None,
        revision: int | None,
    ) -> int | None:
        now_ns = self._clock.now_ns()
        return valid_moment(memory.environment, view, valid_at, as_of, revision, now_ns)

    # -- values and snapshots

    def put(self, key: str, value: Any) -> int:
        return self.commit(PutValue(checked_key(key), value_to_json(value)), int, create=True)

    def get(self, key: str, default: Any = None, *, as_of: AsOf | None = None) -> Any:
        text = self.get_json(key, as_of=as_of)
        return default if text is None else json.loads(text)

    def get_json(self, key: str, *, as_of: AsOf | None = None) -> str | None:
        """The value as JSON text, None when there is none."""
        checked_key(key)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:
            view = memory.view
            view.quarantine.check(Table.VALUES)
            revision = memory.resolve(view, as_of)
            with memory.environment.read() as txn:
                return value_json(txn, key, view.revision if revision is None else revision)

    def remove(self, key: str) -> int:
        return self.commit(RemoveValue(checked_key(key)), int)

    def keys(
        self,
        prefix: str = "",
        *,
        limit: int = 1000,
        after: str | None = None,
        as_of: AsOf | None = None,
    ) -> list[str]:
        prefix = checked_prefix(prefix)
        limit = check_int(limit, "limit", 1, limits.LIMIT_MAX)
        after = None if after is None else checked_key(after, "after")
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:
            view = memory.view
            view.quarantine.check(Table.VALUES)
            revision = memory.resolve(view, as_of)
            with memory.environment.read() as txn:
                now = view.revision if revision is None else revision
                return value_keys(txn, prefix, after, limit, now)

    def snapshot(self, name: str, *, ttl_s: float = 600) -> Snapshot:
        name = check_id(name, "snapshot")
        ttl_s = checked_ttl_s(ttl_s)
        now_ns = self._clock.now_ns()
        return self.commit(PutSnapshot(name, now_ns, now_ns + int(ttl_s * 1e9)), Snapshot)

    def snapshots(self) -> list[Snapshot]:
        now_ns = self._clock.now_ns()
        with self._users.use(self._id) as memory, memory.environment.read() as txn:
            memory.view.quarantine.check(Table.SNAPSHOTS)
            return leased_snapshots(txn, self._id, now_ns)

    def release(self, name: str) -> None:
        self.commit(ReleaseSnapshot(check_id(name, "snapshot")), int)

    # -- changes

    def changes(
        self, from_revision: int = 0, *, limit: int = _WATCH_PAGE, page_bytes: int | None = None
    ) -> list[Change]:
        """Changes of whole commits after ``from_revision``: at least one commit, then until
        ``limit`` or ``page_bytes`` is reached.
        """
        check_int(from_revision, "from_revision", 0, REVISION_MAX)
        with self._users.use(self._id) as memory:
            return memory.read(
                lambda view: watch.changes(
                    memory.environment, view, from_revision, limit, page_bytes
                )
            )

    def wait_for_revision(self, revision: int, timeout_s: float) -> bool:
        """Wait until a commit after ``revision`` is published."""
        with self._users.use(self._id, lasting=True) as memory:
            return memory.wait_for_revision(revision, timeout_s)

    def subscribe(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Call ``callback(revision)`` from the committing thread after each commit; the returned
        function ends it.

        The user is kept open meanwhile.
        """
        use = self._users.use(self._id, lasting=True)
        memory = use.__enter__()
        unsubscribe = memory.subscribe(callback)

        def end() -> None:
            unsubscribe()
            use.__exit__(None, None, None)

        return end

    def watch(self, *, from_revision: int = 0, follow: bool = True) -> Iterator[Change]:
        revision = check_int(from_revision, "from_revision", 0, REVISION_MAX)
        check_flag(follow, "follow")
        while True:
            page = self.changes(revision, page_bytes=_WATCH_PAGE_BYTES)
            yield from page
            if page:
                revision = page[-1].revision
            elif not follow:
                return
            else:
                # In steps, so that a closed database ends the wait.
                self.wait_for_revision(revision, _WATCH_WAIT_S)

    def erase(self) -> ErasureReport:
        return self._erase(self._id)

    def compact(self) -> CompactionReport:
        return compact_user(self._id, self._users)

    def erase_clips(
        self,
        clip_ids: Sequence[str] | None = None,
        *,
        stream: str | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
    ) -> ErasureReport:
        wanted = None if clip_ids is None else checked_clip_ids(clip_ids)
        if not wanted and start_ns is None and end_ns is None:
            raise InvalidArgument(
                "name clips or a time range; a whole stream is erased by stream.erase()",
                reason="EMPTY",
                field="clip_ids",
                value=None,
            )
        start, end = checked_times(start_ns, end_ns)
        name = None if stream is None else check_id(stream, "stream")
        with self._users.use(self._id) as memory:
            clip_nos = clips_to_erase(memory, wanted, name, start, end)
        if not clip_nos:
            return ErasureReport(self._id, 0, 0, 0, 0)
        return erase_parts(self._id, self._users, clip_nos=clip_nos)

    def erase_stream(self, stream: str) -> ErasureReport:
        """`Stream.erase` of the whole stream."""
        return erase_parts(self._id, self._users, streams=(stream,))

    # -- inside the engine

    @property
    def seq_ahead_max(self) -> int:
        """`EngineConfig.seq_ahead_max`."""
        return self._users.seq_ahead_max

    def is_known(self) -> bool:
        """Whether there is such a user yet."""
        return self._catalog.has_user(self._id)

    def memory(self, *, create: bool = False) -> AbstractContextManager[UserMemory]:
        """The open memory for the length of a block."""
        return self._users.use(self._id, create=create)

    def commit(self, operation: Operation, gives: type[T], *, create: bool = False) -> T:
        """Commit one operation; its outcome, which is of the kind it ``gives``, or raises its error."""
        with self._users.use(self._id, create=create) as memory:
            match operation:
                case PutFact() | PutFacts() | ReviseFact() | ForgetFact():
                    memory.view.quarantine.check(Table.FACTS, Table.FACT_KEYS)
                case RemoveValue():
                    # One whose key is damaged would stay.
                    memory.view.quarantine.check(Table.VALUES)
            (outcome,) = memory.write([operation])
        if isinstance(outcome, MemdbError):
            raise outcome
        assert isinstance(outcome, gives), "an operation has one kind of outcome"
        return outcome

    def catalog_space(self, name: str) -> Space:
        """The database's space of that name; raises `NotFound`."""
        return self._catalog.space(check_id(name, "space"))

    def find_space(self, name: str | None) -> Space | None:
        """The database's space of that name, None without a name, and where there is none."""
        return None if name is None else self._catalog.find_space(name)

    def _text_feature(
        self,
        text: str | None,
        feature: VectorLike | None,
        question_feature: VectorLike | None,
        weights: Mapping[str, float] | None,
    ) -> VectorLike | None:
        """The given feature of a question's words, or `_feature` where an arm would look at it."""
        if feature is not None or not wants_text_feature(text, question_feature, weights):
            return feature
        return self._feature(check_text(text, "text"), None)

    def _with_features(self, facts: list[PutFact]) -> list[PutFact]:
        """`_feature` of those that have none, all in one go."""
        bare = [place for place, one in enumerate(facts) if one.feature is None]
        if not bare or not self._embed_texts or not self.is_known():
            return facts
        encoder = find_text_encoder(self.text_space())
        if encoder is None:
            return facts
        rows = encoder.encode([facts[place].text for place in bare])
        made = list(facts)
        for place, row in zip(bare, rows, strict=True):
            made[place] = replace(facts[place], feature=row)
        return made

    def _feature(self, text: str | None, feature: VectorLike | None) -> Array | None:
        """The given feature, or the text's from the installed encoder of the user's text space."""
        if feature is not None:
            return as_vector(feature, "feature")
        if text is None or not self._embed_texts or not self.is_known():
            return None
        encoder = find_text_encoder(self.text_space())
        return None if encoder is None else encoder.encode([text])[0]

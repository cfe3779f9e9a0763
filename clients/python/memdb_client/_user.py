# Generated from _async_user.py by clients/python/tools/unasync.py: do not edit.
# ruff: noqa: C416, RUF100, UP028 - written as asyncio needs it
"""A handle on one user behind an address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final, Unpack

from memdb.errors import InvalidArgument, NotFound, ResourceExhausted, Unavailable
from memdb.text_encoder import TextEncoder, find_text_encoder
from memdb.types.arguments import (
    REVISION_MAX,
    checked_clip_ids,
    checked_key,
    checked_reference,
)
from memdb.types.arrays import Array, RowsLike, VectorLike
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.change import Change, CompactionReport, ErasureReport
from memdb.types.checks import check_flag, check_int, check_text
from memdb.types.clip import StoredClip
from memdb.types.fact import About, Fact, LongTermMemory, Recall, Statement
from memdb.types.ground_options import GroundOptions
from memdb.types.grounding import AsOf, Grounding
from memdb.types.ids import check_id
from memdb.types.json_value import value_from_json, value_to_json
from memdb.types.label_count import LabelCount
from memdb.types.label_filter import WantedLabels
from memdb.types.limits import TOKENS_MAX
from memdb.types.operation import PutFact
from memdb.types.snapshot import Snapshot
from memdb.types.space import Space
from memdb.types.statements import checked_statements
from memdb.types.stream import StreamInfo
from memdb.types.times import Time
from memdb.types.validity import ValidAt, ValidTo
from memdb.types.word_question import wants_text_feature
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.arrays import array_from_tensor
from memdb.wire.clip_counts import count_clips_request
from memdb.wire.clips import list_clips_request, stored_clip_from_proto
from memdb.wire.facts import (
    fact_from_proto,
    fact_request,
    history_request,
    list_facts_request,
    long_term_from_proto,
    recall_from_proto,
    recall_request,
    remember_request,
    revise_request,
)
from memdb.wire.grounding import grounding_from_proto, is_light
from memdb.wire.groundings import (
    ground_many_request,
    groundings_from_proto,
    halves,
    stream_start,
)
from memdb.wire.label_counts import label_counts_from_proto, list_labels_request
from memdb.wire.moments import as_of_to_proto
from memdb.wire.question import ground_bytes
from memdb.wire.retention import erase_clips_from_proto, erase_clips_request
from memdb.wire.snapshots import snapshot_from_proto
from memdb.wire.spaces import space_from_proto
from memdb.wire.statements import remember_many_request
from memdb.wire.streams import stream_from_proto
from memdb.wire.users import (
    change_from_proto,
    compaction_from_proto,
    erasure_from_proto,
    snapshot_request,
)
from memdb.wire.values import list_keys_request
from memdb_client import _compat as compat
from memdb_client._answers import one_each
from memdb_client._options import Repeat, whole_timeout_s
from memdb_client._outage import Outage
from memdb_client._questions import Questions
from memdb_client._rpc import Rpc
from memdb_client._standing import Standing
from memdb_client._stream import Stream

CHANGE_INDEX_MAX: Final = 2**32 - 1
"""Above the place of any change in its commit."""


class User:
    """One user; as `memdb.types.database.User`."""

    def __init__(self, rpc: Rpc, user_id: str) -> None:
        self._rpc = rpc
        self._id = check_id(user_id, "user")
        self._text_space: Space | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id}>"

    @property
    def id(self) -> str:
        """The user's id."""
        return self._id

    def revision(self) -> int:
        """The user's newest commit number."""
        return (
            self._rpc.call(self._rpc.users.GetUser, user_pb.GetUserRequest(user=self._id))
        ).revision

    def configure(self, *, text_space: str) -> None:
        """Name the space in which the user's facts, utterances and questions are embedded."""
        self._text_space = None
        self._rpc.call(
            self._rpc.users.ConfigureUser,
            user_pb.ConfigureUserRequest(
                user=self._id, text_space=check_id(text_space, "text_space")
            ),
            repeat=Repeat.UNSENT,
        )

    def text_space(self) -> Space | None:
        """The user's text space, None when not configured."""
        answer = self._rpc.call(self._rpc.users.GetUser, user_pb.GetUserRequest(user=self._id))
        return space_from_proto(answer.text_space) if answer.HasField("text_space") else None

    def stream(self, name: str, *, space: str | None = None, codec: str | None = None) -> Stream:
        """A handle on a stream; ``space`` is needed when it does not exist yet.

        codec: how this handle codes short-term memory, see `memdb.types.database.User.stream`.
        """
        return Stream(self._rpc, self._id, name, space, codec)

    @property
    def standing(self) -> Standing:
        """The user's standing questions."""
        return Standing(self._rpc, self._id)

    def streams(self) -> list[StreamInfo]:
        """Every stream of the user, by name."""
        answer = self._rpc.call(
            self._rpc.users.ListStreams, user_pb.ListStreamsRequest(user=self._id)
        )
        return [stream_from_proto(stream) for stream in answer.streams]

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
    ) -> Grounding:
        """The clips that answer a question: `memdb.types.database.User.ground` tells every
        option.
        """
        if wants_text_feature(text, question_feature, weights):
            text_feature = self._feature(text, "text", text_feature)
        request = ground_bytes(
            self._id,
            question_feature,
            limit=limit,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            as_of=as_of,
            min_score=min_score,
            policy=policy,
            question_tokens=question_tokens,
            rerank=rerank,
            with_short_memory=with_short_memory,
            fallback=fallback,
            space=space,
            min_revision=min_revision,
            weighting=weighting,
            text=text,
            text_feature=text_feature,
            weights=weights,
            explain=explain,
            min_relevance=min_relevance,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
            labels=labels,
            with_coverage=with_coverage,
            cursor=cursor,
            exact=exact,
            with_global_memory=with_global_memory,
            with_keyframes=with_keyframes,
        )
        answer = self._rpc.call(self._rpc.ground, request)
        return grounding_from_proto(
            answer,
            tells=explain or question_tokens is not None,
            light=not (with_global_memory or with_keyframes or with_short_memory),
        )

    def ground_many(
        self,
        question_features: RowsLike,
        *,
        question_tokens: Sequence[RowsLike] | None = None,
        rerank: int = 0,
        **options: Unpack[GroundOptions],
    ) -> list[Grounding]:
        """The answers to several questions, in their order, all of one revision:
        `memdb.types.database.User.ground_many`.
        """
        request = ground_many_request(
            self._id,
            question_features,
            question_tokens=question_tokens,
            rerank=rerank,
            **options,
        )
        return self._ground_many(request)

    def _ground_many(self, request: grounding_pb.GroundManyRequest) -> list[Grounding]:
        """The answers, in parts of one revision where they, or the questions, are more than a message."""
        try:
            answer = self._rpc.call(self._rpc.groundings.GroundMany, request)
        except ResourceExhausted as error:
            parts = halves(request) if error.reason == "MESSAGE_TOO_LARGE" else None
            if parts is None:
                raise
        else:
            found = groundings_from_proto(
                answer, tells=bool(request.question_tokens), light=is_light(request.options)
            )
            return list(one_each(found, request.question_features.rows))
        first, second = parts
        earlier = self._ground_many(first)
        second.options.as_of.revision = earlier[0].revision
        return earlier + self._ground_many(second)

    def ground_stream(
        self, question_features: compat.Values[VectorLike], **options: Unpack[GroundOptions]
    ) -> compat.Answers[Grounding]:
        """The answer to each question of an iterable that need not end, in the order of the questions:
        `memdb.types.database.User.ground_stream`.
        """
        questions = Questions(stream_start(self._id, **options), question_features)
        try:
            with closing(
                self._rpc.converse(lambda on: on.groundings.GroundStream, questions.requests())
            ) as answers:
                for answer in answers:
                    for grounding in questions.answered(answer):
                        yield grounding
        finally:
            questions.close()
        questions.ended()

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
    ) -> list[StoredClip]:
        """Clips overlapping the range, by start time; ``after`` is the `StoredClip.cursor` of the last
        clip of the page before.  hours, weekdays, zone, labels: as in
        `ground`.

        Its id serves as well, as long as the clip is not erased: then `NotFound` (``CLIP_NOT_FOUND``).
        """
        request = list_clips_request(
            self._id,
            stream=stream,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            as_of=as_of,
            limit=limit,
            after=after,
            min_revision=min_revision,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
            labels=labels,
            with_global_memory=with_global_memory,
            with_keyframes=with_keyframes,
            newest_first=newest_first,
        )
        answers = self._rpc.collect(self._rpc.clips.ListClips, request)
        light = not (with_global_memory or with_keyframes)
        return [stored_clip_from_proto(clip, light) for answer in answers for clip in answer.clips]

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
        """How many clips there are; no clip is read for it."""
        request = count_clips_request(
            self._id,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            as_of=as_of,
            min_revision=min_revision,
            labels=labels,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
        )
        return (self._rpc.call(self._rpc.clips.CountClips, request)).clips

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
        """The labels that clips have, and how many clips have each, sorted."""
        request = list_labels_request(
            self._id,
            key=key,
            stream=stream,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            as_of=as_of,
            limit=limit,
            after=after,
        )
        return label_counts_from_proto(self._rpc.call(self._rpc.clips.ListLabels, request))

    def clip(
        self, clip_id: str, *, as_of: AsOf | None = None, with_short_memory: bool = False
    ) -> StoredClip:
        """One clip; raises `NotFound` (``CLIP_NOT_FOUND``)."""
        answer = self._rpc.call(
            self._rpc.clips.GetClip,
            clip_pb.GetClipRequest(
                user=self._id,
                clip_id=checked_reference(clip_id, "clip_id"),
                as_of=as_of_to_proto(as_of),
                with_short_memory=check_flag(with_short_memory, "with_short_memory"),
            ),
        )
        return stored_clip_from_proto(answer.clip)

    def get_clips(
        self,
        clip_ids: Sequence[str],
        *,
        as_of: AsOf | None = None,
        with_short_memory: bool = False,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
    ) -> list[StoredClip]:
        """Several clips, all as of one moment, in the order asked.

        Raises `NotFound` (``CLIP_NOT_FOUND``) naming the id that nothing has.
        """
        wanted = checked_clip_ids(clip_ids)
        request = clip_pb.GetClipsRequest(
            user=self._id,
            clip_ids=wanted,
            as_of=as_of_to_proto(as_of),
            with_short_memory=check_flag(with_short_memory, "with_short_memory"),
            without_global_memory=not check_flag(with_global_memory, "with_global_memory"),
            without_keyframes=not check_flag(with_keyframes, "with_keyframes"),
        )
        answers = self._rpc.collect(self._rpc.clips.GetClips, request)
        light = not (with_global_memory or with_keyframes or with_short_memory)
        clips = [stored_clip_from_proto(clip, light) for answer in answers for clip in answer.clips]
        return list(one_each(clips, len(wanted)))

    def short_memory(self, clip_ids: Sequence[str], *, as_of: AsOf | None = None) -> list[Array]:
        """The (tokens, dim) float16 short-term memory of each clip, in the order asked.

        Raises `NotFound` (``CLIP_NOT_FOUND``; ``NO_SHORT_MEMORY`` when a clip was written without
        one).
        """
        wanted = checked_clip_ids(clip_ids)
        answers = self._rpc.collect(
            self._rpc.clips.GetShortMemory,
            clip_pb.GetShortMemoryRequest(
                user=self._id,
                clip_ids=wanted,
                as_of=as_of_to_proto(as_of),
            ),
        )
        return [array_from_tensor(answer.short_memory) for answer in one_each(answers, len(wanted))]

    def snapshot(self, name: str, *, ttl_s: float = 600) -> Snapshot:
        """Name and lease the newest revision.  A live snapshot of that name is moved."""
        answer = self._rpc.call(
            self._rpc.users.CreateSnapshot,
            snapshot_request(self._id, name, ttl_s=ttl_s),
            repeat=Repeat.UNSENT,
        )
        return snapshot_from_proto(answer.snapshot, self._id)

    def snapshots(self) -> list[Snapshot]:
        """Live snapshots, by name."""
        answer = self._rpc.call(
            self._rpc.users.ListSnapshots, user_pb.ListSnapshotsRequest(user=self._id)
        )
        return [snapshot_from_proto(snapshot, self._id) for snapshot in answer.snapshots]

    def release(self, name: str) -> None:
        """End a snapshot's lease."""
        self._rpc.call(
            self._rpc.users.ReleaseSnapshot,
            user_pb.ReleaseSnapshotRequest(user=self._id, name=check_id(name, "snapshot")),
            repeat=Repeat.UNSENT,
        )

    def long_term(
        self,
        *,
        stream: str | None = None,
        as_of: AsOf | None = None,
        max_tokens: int = 512,
        space: str | None = None,
    ) -> LongTermMemory:
        """Hour and day vectors of the sealed clips, oldest first, at most ``max_tokens``."""
        answer = self._rpc.call(
            self._rpc.memories.GetLongTermMemory,
            memory_pb.GetLongTermMemoryRequest(
                user=self._id,
                stream=None if stream is None else check_id(stream, "stream"),
                as_of=as_of_to_proto(as_of),
                max_tokens=check_int(max_tokens, "max_tokens", 1, TOKENS_MAX),
                space=None if space is None else check_id(space, "space"),
            ),
        )
        return long_term_from_proto(answer)

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
        """Store a fact; with ``key``, replace the current fact of that key.

        feature: (dim,) of the text in the user's text space; made by the installed text encoder
        when None.
        """
        request = remember_request(
            self._id,
            text,
            about=about,
            valid_from=valid_from,
            valid_to=valid_to,
            evidence=evidence,
            key=key,
            feature=self._feature(text, "text", feature),
        )
        answer = self._rpc.call(self._rpc.memories.Remember, request, repeat=Repeat.UNSENT)
        return fact_from_proto(answer.fact)

    def remember_many(self, statements: Iterable[Statement | str]) -> list[Fact]:
        """Store several facts in one commit, or none of them."""
        facts = self._with_features(checked_statements(statements, 0))
        request = remember_many_request(self._id, facts)
        answer = self._rpc.call(self._rpc.memories.RememberMany, request, repeat=Repeat.UNSENT)
        return [fact_from_proto(fact) for fact in answer.facts]

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
        """Write a new version of a fact; what is None stays, and ``valid_to="open"`` takes away its end."""
        request = revise_request(
            self._id,
            fact_id,
            text=text,
            about=about,
            valid_from=valid_from,
            valid_to=valid_to,
            evidence=evidence,
            feature=self._feature(text, "text", feature),
        )
        answer = self._rpc.call(self._rpc.memories.Revise, request, repeat=Repeat.UNSENT)
        return fact_from_proto(answer.fact)

    def forget(self, fact_id: str) -> None:
        """Remove every version of a fact, from the past too; its bytes go with `compact` at the latest."""
        self._rpc.call(
            self._rpc.memories.Forget,
            memory_pb.ForgetRequest(user=self._id, fact_id=checked_reference(fact_id, "fact_id")),
            repeat=Repeat.UNSENT,
        )

    def fact(
        self, fact_id: str | None = None, *, key: str | None = None, as_of: AsOf | None = None
    ) -> Fact:
        """One fact, by its id or by its key; raises `NotFound` (``FACT_NOT_FOUND``)."""
        request = fact_request(self._id, fact_id, key=key, as_of=as_of)
        return fact_from_proto((self._rpc.call(self._rpc.memories.GetFact, request)).fact)

    def history(
        self, fact_id: str, *, limit: int | None = None, after: int | None = None
    ) -> list[Fact]:
        """The versions of a fact, oldest first: all, or at most ``limit`` of those after the one of
        revision ``after``, the last of the page before.
        """
        request = history_request(self._id, fact_id, limit=limit, after=after)
        found: list[Fact] = []
        while True:
            answer = self._rpc.call(self._rpc.memories.GetHistory, request)
            found += [fact_from_proto(fact) for fact in answer.facts]
            if not answer.more:
                return found
            request.after = found[-1].revision
            request.limit = 0 if limit is None else limit - len(found)

    def facts(
        self,
        *,
        about: About | None = None,
        as_of: AsOf | None = None,
        limit: int = 1000,
        after: str | None = None,
        valid_at: ValidAt | None = None,
    ) -> list[Fact]:
        """Current facts in the order they were first written; ``after`` is the id of the last fact of the
        page before, which may have been forgotten since.
        """
        request = list_facts_request(
            self._id, about=about, as_of=as_of, limit=limit, after=after, valid_at=valid_at
        )
        found: list[Fact] = []
        while True:
            answer = self._rpc.call(self._rpc.memories.ListFacts, request)
            found += [fact_from_proto(fact) for fact in answer.facts]
            if not answer.more:
                return found
            request.after = found[-1].id
            request.limit = limit - len(found)
            if answer.HasField("revision"):
                request.as_of.revision = answer.revision
            if answer.HasField("valid_at_ns"):
                request.valid_at_ns = answer.valid_at_ns

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
    ) -> Recall:
        """Facts and utterances that answer a question, fused over the lexical and (with a
        feature) semantic arms.
        """
        request = recall_request(
            self._id,
            question,
            limit=limit,
            as_of=as_of,
            feature=self._feature(question, "question", feature),
            min_revision=min_revision,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            labels=labels,
            kinds=kinds,
            valid_at=valid_at,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
            about=about,
        )
        return recall_from_proto(self._rpc.call(self._rpc.memories.Recall, request))

    def put(self, key: str, value: Any) -> int:
        """Store a JSON value under ``key``; returns the revision."""
        answer = self._rpc.call(
            self._rpc.memories.PutValue,
            memory_pb.PutValueRequest(
                user=self._id, key=checked_key(key), json=value_to_json(value)
            ),
            repeat=Repeat.UNSENT,
        )
        return answer.revision

    def get(self, key: str, default: Any = None, *, as_of: AsOf | None = None) -> Any:
        """The value under ``key``, ``default`` when there is none."""
        answer = self._rpc.call(
            self._rpc.memories.GetValue,
            memory_pb.GetValueRequest(
                user=self._id,
                key=checked_key(key),
                as_of=as_of_to_proto(as_of),
            ),
        )
        return value_from_json(answer.json) if answer.HasField("json") else default

    def remove(self, key: str) -> int:
        """Remove the value under ``key`` with every version of it, from the past too; returns the revision.

        Its bytes go with `compact` at the latest.
        """
        answer = self._rpc.call(
            self._rpc.memories.RemoveValue,
            memory_pb.RemoveValueRequest(user=self._id, key=checked_key(key)),
            repeat=Repeat.UNSENT,
        )
        return answer.revision

    def keys(
        self,
        prefix: str = "",
        *,
        limit: int = 1000,
        after: str | None = None,
        as_of: AsOf | None = None,
    ) -> list[str]:
        """Keys that have a value, sorted."""
        request = list_keys_request(self._id, prefix, limit=limit, after=after, as_of=as_of)
        return list((self._rpc.call(self._rpc.memories.ListKeys, request)).keys)

    def watch(self, *, from_revision: int = 0, follow: bool = True) -> compat.Answers[Change]:
        """Changes after ``from_revision``, oldest first; with ``follow`` waits for new ones.

        When the server goes away it goes on where it stopped, without a repetition, and raises
        `Unavailable` when nobody answered for the client's ``timeout_s``.  Ends (and lets its
        call go) when the iterator is closed.
        """
        # The last change that was given; a call that goes on begins with its whole commit again.
        seen = (check_int(from_revision, "from_revision", 0, REVISION_MAX), CHANGE_INDEX_MAX)
        request = user_pb.WatchUserRequest(
            user=self._id, from_revision=seen[0], follow=check_flag(follow, "follow")
        )
        outage = Outage(self._rpc.timeout_s)
        while True:
            outage.calls()
            try:
                with closing(self._rpc.stream(lambda on: on.users.WatchUser, request)) as answers:
                    for answer in answers:
                        for message in answer.changes:
                            if (message.revision, message.index) > seen:
                                seen = (message.revision, message.index)
                                yield change_from_proto(message, self._id)
                        outage.is_over()
                return
            except Unavailable as error:
                pause_s = outage.pause_s(error)
                if pause_s is None or not self._rpc.may_repeat(error, "", Repeat.ALWAYS):
                    raise
                request.from_revision = max(seen[0] - 1, 0)
                compat.sleep(pause_s)

    def erase(self, *, timeout_s: float | None = None) -> ErasureReport:
        """Remove the user and every byte of its memory.

        timeout_s: see `memdb_client.connect`.
        """
        self._text_space = None
        answer = self._rpc.call(
            self._rpc.users.EraseUser,
            user_pb.EraseUserRequest(user=self._id),
            repeat=Repeat.UNSENT,
            timeout_s=whole_timeout_s(timeout_s, self._rpc.timeout_s),
        )
        return erasure_from_proto(self._id, answer)

    def compact(self, *, timeout_s: float | None = None) -> CompactionReport:
        """Make the user's data file anew, without the pages that were freed.

        timeout_s: see `memdb_client.connect`.
        """
        answer = self._rpc.call(
            self._rpc.users.CompactUser,
            user_pb.CompactUserRequest(user=self._id),
            repeat=Repeat.UNSENT,
            timeout_s=whole_timeout_s(timeout_s, self._rpc.timeout_s),
        )
        return compaction_from_proto(self._id, answer)

    def erase_clips(
        self,
        clip_ids: Sequence[str] | None = None,
        *,
        stream: str | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        timeout_s: float | None = None,
    ) -> ErasureReport:
        """Remove the named clips, or those that touch a time range.

        timeout_s: see `memdb_client.connect`.
        """
        named = () if clip_ids is None else checked_clip_ids(clip_ids)
        if not named and start_ns is None and end_ns is None:
            raise InvalidArgument(
                "name clips or a time range; a whole stream is erased by stream.erase()",
                reason="EMPTY",
                field="clip_ids",
                value=None,
            )
        answer = self._rpc.call(
            self._rpc.users.EraseClips,
            erase_clips_request(
                self._id, stream=stream, start_ns=start_ns, end_ns=end_ns, clip_ids=named
            ),
            repeat=Repeat.UNSENT,
            timeout_s=whole_timeout_s(timeout_s, self._rpc.timeout_s),
        )
        return erase_clips_from_proto(self._id, answer)

    def _with_features(self, facts: list[PutFact]) -> list[PutFact]:
        """Facts with the features of their texts, as `_feature`, all in one go."""
        bare = [place for place, one in enumerate(facts) if one.feature is None]
        encoder = self._encoder() if bare else None
        if encoder is None:
            return facts
        texts = [facts[place].text for place in bare]
        rows: Array = compat.run_blocking(encoder.encode, texts)
        made = list(facts)
        for place, row in zip(bare, rows, strict=True):
            made[place] = replace(facts[place], feature=row)
        return made

    def _feature(
        self, text: str | None, field: str, feature: VectorLike | None
    ) -> VectorLike | None:
        """``feature``, or that of ``text`` when an encoder of the text space is installed."""
        if feature is not None or text is None:
            return feature
        check_text(text, field)
        encoder = self._encoder()
        if encoder is None:
            return None
        rows: Array = compat.run_blocking(encoder.encode, [text])
        row: Array = rows[0]
        return row

    def _encoder(self) -> TextEncoder | None:
        """The installed encoder of the user's text space."""
        if self._text_space is None:
            try:
                self._text_space = self.text_space()
            except NotFound:
                # A user that its first fact will create has no settings yet.
                return None
        return find_text_encoder(self._text_space)

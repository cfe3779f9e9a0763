# Generated from _async_user_facts.py by clients/python/tools/unasync.py: do not edit.
# ruff: noqa: C416, RUF100, UP028 - written as asyncio needs it
"""`memdb.types.database.user_facts.UserFacts` behind an address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memdb.types.arguments import checked_reference
from memdb.types.arrays import VectorLike
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.fact import About, Fact, Recall, Statement
from memdb.types.grounding import AsOf
from memdb.types.label_filter import WantedLabels
from memdb.types.statements import checked_statements
from memdb.types.times import Time
from memdb.types.validity import ValidAt, ValidTo
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.wire.facts import (
    fact_from_proto,
    fact_request,
    history_request,
    list_facts_request,
    recall_from_proto,
    recall_request,
    remember_request,
    revise_request,
)
from memdb.wire.statements import remember_many_request
from memdb_client._options import Repeat
from memdb_client._user_text import UserText


class UserFacts(UserText):
    """The user's facts: written, read, and found with what was said."""

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

"""MemoryService: facts, values and long-term memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memdb.engine.hydrate import fact_bytes
from memdb.engine.user import EmbeddedUser
from memdb.server.methods import commits
from memdb.server.resources import Resources
from memdb.types.fact import Fact
from memdb.types.json_value import value_from_json
from memdb.types.limits import LIMIT_MAX
from memdb.types.validity import NOW
from memdb.v1 import memory_service_pb2 as pb
from memdb.wire.facts import (
    FACTS_LIMIT_DEFAULT,
    LONG_TERM_TOKENS_DEFAULT,
    fact_to_proto,
    facts_about,
    long_term_to_proto,
    recall_arguments,
    recall_to_proto,
    remember_arguments,
    revise_arguments,
)
from memdb.wire.moments import as_of_from_proto
from memdb.wire.statements import statements_from_proto
from memdb.wire.validity import valid_at_from_proto

PAGE_BYTES: Final = 1024 * 1024
"""Of facts, their texts counted in characters: in any language below the 4 MiB that a client takes by default."""


class MemoryService:
    """Long-term memory of the users of a database."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database
        # Handed on to whatever collects an answer, so that one too large is never whole.
        self._message_bytes_max = resources.message_bytes_max

    @commits
    def remember(self, request: pb.RememberRequest) -> pb.RememberResponse:
        """Store a fact."""
        fact = self._user(request.user).remember(request.text, **remember_arguments(request))
        return pb.RememberResponse(fact=fact_to_proto(fact))

    @commits
    def remember_many(self, request: pb.RememberManyRequest) -> pb.RememberManyResponse:
        """Store several facts, or none."""
        statements = statements_from_proto(request.statements)
        facts = self._user(request.user).remember_many(statements)
        return pb.RememberManyResponse(facts=[fact_to_proto(fact) for fact in facts])

    @commits
    def revise(self, request: pb.ReviseRequest) -> pb.ReviseResponse:
        """Write a new version of a fact."""
        fact = self._user(request.user).revise(request.fact_id, **revise_arguments(request))
        return pb.ReviseResponse(fact=fact_to_proto(fact))

    @commits
    def forget(self, request: pb.ForgetRequest) -> pb.ForgetResponse:
        """Remove every version of a fact."""
        user = self._user(request.user)
        user.forget(request.fact_id)
        return pb.ForgetResponse(revision=user.revision())

    def get_fact(self, request: pb.GetFactRequest) -> pb.GetFactResponse:
        """One fact."""
        fact = self._user(request.user).fact(
            request.fact_id if request.HasField("fact_id") else None,
            key=request.key if request.HasField("key") else None,
            as_of=as_of_from_proto(request.as_of, request.HasField("as_of")),
        )
        return pb.GetFactResponse(fact=fact_to_proto(fact))

    def get_history(self, request: pb.GetHistoryRequest) -> pb.GetHistoryResponse:
        """Every version of a fact."""
        facts = self._user(request.user).history(
            request.fact_id,
            limit=request.limit or None,
            after=request.after if request.HasField("after") else None,
            answer_bytes_max=self._message_bytes_max,
            page_bytes=PAGE_BYTES if request.paged else None,
        )
        return pb.GetHistoryResponse(
            facts=[fact_to_proto(fact) for fact in facts],
            more=request.paged and len(facts) != request.limit and _is_cut(facts),
        )

    def list_facts(self, request: pb.ListFactsRequest) -> pb.ListFactsResponse:
        """Current facts."""
        user = self._user(request.user)
        as_of = as_of_from_proto(request.as_of, request.HasField("as_of"))
        valid_at = valid_at_from_proto(request)
        if request.paged:
            # What a client asks for next is to be of the same moment.
            as_of = user.moment(as_of)
            if valid_at == NOW:
                valid_at = user.valid_now_ns()
        limit = request.limit or FACTS_LIMIT_DEFAULT
        facts = user.facts(
            about=facts_about(request),
            as_of=as_of,
            limit=limit,
            after=request.after if request.HasField("after") else None,
            valid_at=valid_at,
            answer_bytes_max=self._message_bytes_max,
            page_bytes=PAGE_BYTES if request.paged else None,
        )
        return pb.ListFactsResponse(
            facts=[fact_to_proto(fact) for fact in facts],
            more=request.paged and len(facts) != limit and _is_cut(facts),
            revision=as_of if isinstance(as_of, int) else None,
            valid_at_ns=valid_at if request.paged and isinstance(valid_at, int) else None,
        )

    def recall(self, request: pb.RecallRequest) -> pb.RecallResponse:
        """Facts and utterances that answer a question."""
        user = self._user(request.user)
        found = user.recall(
            request.question,
            **recall_arguments(request),
            answer_bytes_max=self._message_bytes_max,
        )
        return recall_to_proto(found)

    @commits
    def put_value(self, request: pb.PutValueRequest) -> pb.PutValueResponse:
        """Store a value."""
        revision = self._user(request.user).put(request.key, value_from_json(request.json))
        return pb.PutValueResponse(revision=revision)

    def get_value(self, request: pb.GetValueRequest) -> pb.GetValueResponse:
        """The value under a key."""
        as_of = as_of_from_proto(request.as_of, request.HasField("as_of"))
        return pb.GetValueResponse(json=self._user(request.user).get_json(request.key, as_of=as_of))

    @commits
    def remove_value(self, request: pb.RemoveValueRequest) -> pb.RemoveValueResponse:
        """Remove every version of a value."""
        return pb.RemoveValueResponse(revision=self._user(request.user).remove(request.key))

    def list_keys(self, request: pb.ListKeysRequest) -> pb.ListKeysResponse:
        """Keys that have a value."""
        keys = self._user(request.user).keys(
            request.prefix,
            limit=request.limit or LIMIT_MAX,
            after=request.after if request.HasField("after") else None,
            as_of=as_of_from_proto(request.as_of, request.HasField("as_of")),
        )
        return pb.ListKeysResponse(keys=keys)

    def get_long_term_memory(
        self, request: pb.GetLongTermMemoryRequest
    ) -> pb.GetLongTermMemoryResponse:
        """Hour and day vectors of the sealed clips."""
        memory = self._user(request.user).long_term(
            stream=request.stream if request.HasField("stream") else None,
            as_of=as_of_from_proto(request.as_of, request.HasField("as_of")),
            max_tokens=request.max_tokens or LONG_TERM_TOKENS_DEFAULT,
            space=request.space if request.HasField("space") else None,
            answer_bytes_max=self._message_bytes_max,
        )
        return long_term_to_proto(memory)

    def _user(self, user_id: str) -> EmbeddedUser:
        return self._database.user(user_id)


def _is_cut(facts: Sequence[Fact]) -> bool:
    """Whether its bytes ended a page, so that there may be more."""
    return sum(map(fact_bytes, facts)) >= PAGE_BYTES

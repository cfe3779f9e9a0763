"""`memdb.types.database.user_facts.UserFacts` of an embedded user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memdb.engine import recall
from memdb.engine.checks import no_such_fact
from memdb.engine.fact_page import Page
from memdb.engine.memory import UserMemory
from memdb.engine.user_text import EmbeddedUserText
from memdb.engine.validity import valid_moment
from memdb.engine.view import View
from memdb.errors import NotFound
from memdb.store import facts as facts_store
from memdb.store.idents import IdKind, parse_id
from memdb.store.schema import Table
from memdb.types import limits
from memdb.types.arguments import (
    checked_about,
    checked_abouts,
    checked_as_of,
    checked_evidence,
    checked_fact_name,
    checked_key,
    checked_reference,
    checked_revision,
)
from memdb.types.arrays import VectorLike
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.checks import check_int, check_range, check_text
from memdb.types.database.user_facts import UserFacts
from memdb.types.documented import documented_by
from memdb.types.fact import About, Fact, Recall, Statement
from memdb.types.grounding import AsOf
from memdb.types.label_filter import WantedLabels
from memdb.types.operation import ForgetFact, PutFact, PutFacts, ReviseFact
from memdb.types.recall_filter import checked_recall_filter
from memdb.types.statements import checked_statements
from memdb.types.times import Time, optional_ns
from memdb.types.validity import NOW, ValidAt, ValidTo, checked_valid_at, checked_valid_to


@documented_by(UserFacts)
class EmbeddedUserFacts(EmbeddedUserText):
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
            raise NotFound(
                "no such user yet, who would have a clip to cite or a text space for a feature",
                reason="USER_NOT_FOUND",
                field="user",
                value=self._id,
            )
        return self.commit(operation, Fact, create=True)

    def remember_many(self, statements: Iterable[Statement | str]) -> list[Fact]:
        facts = checked_statements(statements, self._clock.now_ns())
        facts = self._with_features(facts)
        if not self.is_known() and any(
            one.evidence or one.feature is not None for one in facts
        ):  # as in `remember`
            raise NotFound(
                "no such user yet, who would have a clip to cite or a text space for a feature",
                reason="USER_NOT_FOUND",
                field="user",
                value=self._id,
            )
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

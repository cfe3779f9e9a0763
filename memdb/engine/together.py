"""Questions that are asked together: of one view, and what they have in common is done once.

`ground` stays the one way to answer.  It is given a view whose parts remember: which rows a filter admits,
the search of all questions in one pass (`memdb.index.batch`), and each clip that was loaded.  So every answer
is that of the question alone, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Self, TypeVar

import numpy as np

from memdb import deadline
from memdb.engine.grounding import ground
from memdb.engine.hydrate import AnswerSize, Parts
from memdb.engine.question import Question
from memdb.engine.reading import Reading
from memdb.engine.view import View
from memdb.errors import InvalidArgument
from memdb.index.batch import search_many
from memdb.index.directions import prepared_rows
from memdb.index.partition import Filter, PartitionView
from memdb.store.environment import Environment
from memdb.types.arrays import Array
from memdb.types.clip import StoredClip
from memdb.types.grounding import Grounding

_T = TypeVar("_T")

_PLURALS: Final = {"question_feature": "question_features", "question_tokens": "question_tokens"}
"""What `ground` calls an argument, and what many questions do."""


def ground_together(
    environment: Environment, view: View, questions: Sequence[Question], as_of: int | None
) -> Iterator[Grounding]:
    """The answer to each question on ``view``, or as of an earlier revision; the questions differ in their
    features alone.

    Raises as `ground`, the field of a feature that is at fault with its place (``question_features[3]``),
    and `ResourceExhausted` (``MESSAGE_TOO_LARGE``) when all clips together have too many bytes.
    """
    shared = SharedView.of(view, questions)
    for place, question in enumerate(questions):
        deadline.check()
        try:
            yield ground(environment, shared, question, as_of)
        except InvalidArgument as error:
            plural = _PLURALS.get(error.field or "")
            if plural is None:
                raise
            # `ground` knows of one question.
            other = InvalidArgument(
                error.message, reason=error.reason, field=f"{plural}[{place}]", value=error.value
            )
            raise other from None


@dataclass(frozen=True, slots=True, eq=False)
class SharedPartition(PartitionView):
    """A partition that answers all questions at the first."""

    features: tuple[Array, ...] = ()
    kept: dict[Any, Any] = field(default_factory=dict)
    """Masks by what they were asked for, answers by limit and mask, places of questions by their queries."""
    units: dict[int, Array] = field(default_factory=dict)
    """The query of each feature, by the feature's id: both live as long as this."""

    @classmethod
    def of(cls, partition: PartitionView, features: tuple[Array, ...]) -> Self:
        return cls(
            **{part.name: getattr(partition, part.name) for part in fields(PartitionView)},
            features=features,
        )

    def allowed(
        self, which: Filter, as_of: int | None, *, every_version: bool = False
    ) -> Array | None:
        key = (which, as_of, every_version)
        if key not in self.kept:
            self.kept[key] = PartitionView.allowed(self, which, as_of, every_version=every_version)
        mask: Array | None = self.kept[key]
        return mask

    def narrowed(self, by: Any, make: Callable[[], Array]) -> Array:
        key = ("narrowed", by)
        if key not in self.kept:
            self.kept[key] = make()
        mask: Array = self.kept[key]
        return mask

    def unit(self, vector: Array) -> Array:
        if not self.units:
            queries = prepared_rows(np.stack(self.features), cosine=self.cosine)
            self.units.update(zip(map(id, self.features), queries, strict=True))
        query = self.units.get(id(vector))
        return PartitionView.unit(self, vector) if query is None else query

    def search(self, query: Array, limit: int, allowed: Array | None) -> tuple[Array, Array]:
        if self.tiers.is_quick(self.rows, allowed, 1):
            return PartitionView.search(self, query, limit, allowed)
        if "places" not in self.kept:
            queries = [self.unit(feature) for feature in self.features]
            self.kept["queries"] = np.stack(queries)
            self.kept["places"] = {id(one): place for place, one in enumerate(queries)}
        place = self.kept["places"].get(id(query))
        # Of a mask that is one question's own, the others want no answer.
        shared = allowed is None or any(allowed is mask for mask in self.kept.values())
        if place is None or not shared:
            return PartitionView.search(self, query, limit, allowed)
        # The mask is kept with its answers, so no other can have its id.
        key = (limit, id(allowed))
        if key not in self.kept:
            found = search_many(self.matrix, self.rows, self.kept["queries"], limit, allowed)
            self.kept[key] = (allowed, found)
        answer: tuple[Array, Array] = self.kept[key][1][place]
        return answer


@dataclass(frozen=True, slots=True, eq=False)
class SharedView(View):
    """A view that reads nothing twice."""

    are_together: ClassVar[bool] = True
    size: AnswerSize = field(default_factory=lambda: AnswerSize(None))
    kept_clips: dict[Any, StoredClip] = field(default_factory=dict)
    made: dict[Any, Any] = field(default_factory=dict)
    """What is too much to be kept for longer."""

    @classmethod
    def of(cls, view: View, questions: Sequence[Question]) -> Self:
        parts: dict[str, Any] = {part.name: getattr(view, part.name) for part in fields(View)}
        features = tuple(question.feature for question in questions if question.feature is not None)
        assert features, "questions together are asked by features"
        parts["partitions"] = {
            no: SharedPartition.of(partition, features)
            for no, partition in view.partitions.items()
            if len(features[0]) == partition.dim
        } or view.partitions  # of another space: `ground` says so
        return cls(**parts, size=AnswerSize(questions[0].answer_bytes_max))

    def once(self, key: Any, make: Callable[[], _T], parts: Callable[[_T], int]) -> _T:
        if key not in self.made:
            self.made[key] = View.once(self, key, make, parts)
        found: _T = self.made[key]
        return found

    def load_clip(self, reading: Reading, clip_no: int, birth: int, parts: Parts) -> StoredClip:
        key = (clip_no, birth)
        clip = self.kept_clips.get(key)
        if clip is None:
            clip = View.load_clip(self, reading, clip_no, birth, parts)
            self.kept_clips[key] = self.size.add(clip)
        return clip

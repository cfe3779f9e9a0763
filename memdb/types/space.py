"""A feature space: vectors of two spaces never mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from memdb.errors import InvalidArgument
from memdb.types.checks import check_choice, check_text, is_integer
from memdb.types.ids import check_id
from memdb.types.limits import DIM_MAX

METRICS: Final = ("cosine", "dot")
"""``cosine``: both sides are normalised before the inner product; ``dot``: the plain inner product.
"""

MODEL_CHARS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Space:
    """Name, dim, metric, and the model (with its hash) that makes the vectors of this space."""

    name: str
    dim: int
    """Elements of its vectors, 1 to 8,192."""
    metric: str = "cosine"
    """``cosine``: both sides are normalised before the inner product; ``dot``: the plain inner product."""
    model: str = ""
    """What makes its vectors, with its hash: for people, and to tell two models apart."""

    def __post_init__(self) -> None:
        """Raises `InvalidArgument` for a bad name, dim, metric or model."""
        put = object.__setattr__
        put(self, "name", check_id(self.name, "space.name"))
        if not is_integer(self.dim) or not 1 <= self.dim <= DIM_MAX:
            raise InvalidArgument(
                f"dim must be an integer from 1 to {DIM_MAX}",
                reason="BAD_SHAPE",
                field="space.dim",
                value=self.dim,
            )
        put(self, "dim", int(self.dim))
        put(self, "metric", check_choice(self.metric, METRICS, "space.metric", "BAD_METRIC"))
        model = check_text(self.model, "space.model", MODEL_CHARS_MAX, may_be_empty=True)
        put(self, "model", model)

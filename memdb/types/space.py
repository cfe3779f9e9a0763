"""A feature space: vectors of two spaces never mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from memdb.errors import InvalidArgument
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
    metric: str = "cosine"
    model: str = ""

    def __post_init__(self) -> None:
        """Raises `InvalidArgument` for a bad name, dim, metric or model."""
        check_id(self.name, "space.name")
        if (
            isinstance(self.dim, bool)
            or not isinstance(self.dim, int)
            or not 1 <= self.dim <= DIM_MAX
        ):
            raise InvalidArgument(
                f"dim must be 1 to {DIM_MAX}", reason="BAD_SHAPE", field="space.dim", value=self.dim
            )
        if self.metric not in METRICS:
            raise InvalidArgument(
                f"metric must be one of {', '.join(METRICS)}",
                reason="BAD_METRIC",
                field="space.metric",
                value=self.metric,
            )
        if not isinstance(self.model, str) or len(self.model) > MODEL_CHARS_MAX:
            raise InvalidArgument(
                f"model is text of at most {MODEL_CHARS_MAX} characters",
                reason="TOO_LARGE",
                field="space.model",
                value=self.model,
            )

"""Finding the encoder of a text space, when one is installed.

A space's ``model`` reads ``provider:model@hash``.  A distribution that can embed text registers a
class under the entry point group ``memdb.text_encoders`` with the provider as its name; it is
imported only when a space asks for it, so a client without the extra stays light and recall stays
lexical.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from memdb.types.arrays import Array
    from memdb.types.space import Space

GROUP = "memdb.text_encoders"


class TextEncoder(Protocol):
    """Embeds text into one space."""

    @property
    def model(self) -> str:
        """The ``model`` of the spaces this encoder serves, with the hash of its weights."""
        ...

    def encode(self, texts: Sequence[str]) -> Array:
        """(n, dim) float32 rows of unit length, one per text."""
        ...


@lru_cache(maxsize=8)
def _provider(name: str) -> TextEncoder | None:
    # It loads a library of mail, among others, for which a server would start later.
    from importlib.metadata import entry_points  # noqa: PLC0415

    for entry in entry_points(group=GROUP, name=name):
        try:
            encoder: TextEncoder = entry.load()()
        except ImportError:
            # The extra that the provider needs is not installed: recall stays lexical, and its
            # answer says so.
            return None
        return encoder
    return None


def find_text_encoder(space: Space | None) -> TextEncoder | None:
    """The installed encoder that makes vectors of ``space``, or None (not installed, or other
    weights).
    """
    if space is None or ":" not in space.model:
        return None
    encoder = _provider(space.model.partition(":")[0])
    return encoder if encoder is not None and encoder.model == space.model else None

"""A page of hits that fits a message: where ``limit`` of them are more, fewer are given, and the cursor goes on behind
those.

What clips take is known once they are read, so a page is asked for again with as many hits as were found to fit.
"""

from __future__ import annotations

from collections.abc import Callable

from memdb.engine.hydrate import AnswerTooLarge
from memdb.types.grounding import Grounding
from memdb.wire.packed_groundings import KeptBytes, pack_grounding


def fitting_page(
    ask: Callable[[int], Grounding], limit: int, message_bytes_max: int, kept: KeptBytes
) -> bytes:
    """The page of at most ``limit`` hits that ``ask`` gives, or of so many as fit, as the bytes of a `GroundResponse`.

    Raises as ``ask``, `AnswerTooLarge` where one hit alone is more than a message.
    """
    while True:
        try:
            page = ask(limit)
        except AnswerTooLarge as error:
            if limit == 1:
                raise
            limit = max(1, min(error.clips, limit - 1))
            continue
        packed = pack_grounding(page, kept)
        # Of text and of what is told beside the clips only the message itself says how much it is.
        size = len(packed)
        if size <= message_bytes_max or limit == 1:
            return packed
        limit = max(1, min(len(page.hits), limit) * message_bytes_max // (size + 1) - 1)

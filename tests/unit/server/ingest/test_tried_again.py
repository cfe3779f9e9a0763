"""What was refused with others is tried again, and nothing else is."""

from __future__ import annotations

from typing import cast

import pytest

from memdb.server.gathered import Gathered
from memdb.server.ingest import Ingest
from memdb.server.lot import Lot
from memdb.server.ready_clips import Fate, Ready
from tests.unit.server.ingest.bench import Bench


class Again:
    """Commits what is handed to it, be it the second time."""

    def put(self, ready: Ready) -> None:
        assert ready.behind is None
        ready.outcome.set_result((b"written", None))


@pytest.mark.parametrize("was_refused", [True, False])
async def test_what_was_refused_with_what_has_been_written_since_is_tried_again(
    bench: Bench, was_refused: bool
) -> None:
    """Whatever befell the two together; what is its own is told."""
    before = Fate()
    before.passage.error = MemoryError() if was_refused else None
    ready = Ready(lambda: bench.database.user("u").stream("s"), Lot(), None, behind=before)
    ready.outcome.set_exception(MemoryError())
    stream = Ingest(bench.resources)
    stream._handed.append(ready)
    if was_refused:
        assert await stream._told(cast(Gathered, Again()), lambda: None) == (b"written", None)
    else:
        with pytest.raises(MemoryError):
            await stream._told(cast(Gathered, Again()), lambda: None)

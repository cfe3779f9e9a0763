"""What the calls of a server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.server.budget import Budget
from memdb.server.drain import Drain
from memdb.server.executors import Pools
from memdb.server.gathered import Gatherings
from memdb.server.loop_turns import LoopTurns
from memdb.server.open_calls import OpenCalls
from memdb.server.openings import Openings


@dataclass(frozen=True, slots=True)
class Resources:
    """A database, and the bounds within which calls use it."""

    database: EmbeddedDatabase
    pools: Pools
    openings: Openings
    gatherings: Gatherings
    budget: Budget
    open_calls: OpenCalls
    drain: Drain
    loop_turns: LoopTurns
    message_bytes_max: int

    @classmethod
    def make(cls, database: EmbeddedDatabase, config: ServerConfig) -> Self:
        """As much of everything as the configuration says."""
        pools = Pools(config)
        openings = Openings(database, pools.open)
        return cls(
            database,
            pools,
            openings,
            Gatherings(pools.write, openings),
            Budget(config.bytes_in_flight_max),
            OpenCalls(config.calls_max),
            Drain(),
            LoopTurns(),
            config.message_bytes_max,
        )

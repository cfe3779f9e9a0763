"""Standing questions of every kind, and cameras whose clips come in every order."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from memdb import Alert, Clip, StandingQuestion
from memdb.clock import ManualClock
from memdb.engine.user import EmbeddedUser
from tests.unit.engine.conftest import DIM, SECOND_NS, clip

BEGIN_NS = ManualClock().now_ns()
"""The first moment of a test."""
AXES = np.eye(DIM, dtype=np.float32)
SEEDS = int(os.environ.get("MEMDB_STANDING_SEEDS", "3"))


def told(user: EmbeddedUser, cursor: str | None = None) -> list[Alert]:
    """All that there is to tell after a cursor."""
    return list(user.standing.watch(cursor=cursor, follow=False))


def at(seq: int, start_s: float, axis: int, clock: ManualClock, **fields: Any) -> Clip:
    """A clip of one second that begins so long after `BEGIN_NS`."""
    start_ns = BEGIN_NS + round(start_s * SECOND_NS)
    return clip(
        seq,
        start_ns=start_ns,
        end_ns=start_ns + SECOND_NS,
        global_memory=AXES[axis],
        **fields,
    )


def ask_everything(user: EmbeddedUser) -> list[StandingQuestion]:
    """Questions of every kind, of one camera and of both."""
    asked: list[StandingQuestion] = []
    for streams in (None, ["door"]):
        for sealed_only in (True, False):
            ask: dict[str, Any] = {"streams": streams, "sealed_only": sealed_only, "min_score": 0.5}
            create = user.standing.create
            asked.append(create(AXES[0], **ask))
            asked.append(create(AXES[0], window_s=4, **ask))
            asked.append(create(AXES[0], kind="sequence", then_feature=AXES[1], window_s=4, **ask))
            asked.append(create(AXES[2], kind="absent", window_s=5, **ask))
    some: dict[str, Any] = {"labels": {"n": ["0", "2"]}, "sealed_only": False, "min_score": 0.5}
    asked.append(create(AXES[0], window_s=4, **some))
    asked.append(create(AXES[0], kind="sequence", then_feature=AXES[1], window_s=4, **some))
    asked.append(create(AXES[2], kind="absent", window_s=5, **some))
    return asked


def some_life(
    user: EmbeddedUser,
    clock: ManualClock,
    seed: int,
    clips: int = 40,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Clips of two cameras that come late, out of order, together, and growing.

    look: called as time passes.
    """
    rng = random.Random(seed)
    numbers = {"door": 0, "yard": 0}
    for _ in range(clips):
        clock.advance(rng.randrange(SECOND_NS))
        look()
        clock.advance(rng.randrange(SECOND_NS))
        stream = rng.choice(["door", "yard"])
        now_s = (clock.now_ns() - BEGIN_NS) / SECOND_NS
        batch: list[Clip] = []
        for _ in range(rng.choice([1, 1, 1, 3])):
            start_s = now_s - rng.choice([1, 1, 1, 3, 8])
            axis = rng.choice([0, 1, 2, 3])
            seq = numbers[stream]
            numbers[stream] += 1
            if rng.random() < 0.3:
                user.stream(stream).write(at(seq, start_s, rng.choice([0, 1]), clock, sealed=False))
                user.stream(stream).write(
                    at(seq, start_s, axis, clock, sealed=False, labels={"n": "2"})
                )
            batch.append(at(seq, start_s, axis, clock, labels={"n": str(seq % 3)}))
        user.stream(stream).write_many(batch)

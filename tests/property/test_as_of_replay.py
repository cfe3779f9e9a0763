"""An answer as of a revision is, byte for byte, that of a database into which the log was replayed so far.

Both have one key for ids: it is drawn when a user is made, and is the only thing in an answer that is not in the
log.  No operation here forgets, erases or gives up, since these change the past as well.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdb import Clip, SoundEvent, Utterance
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.engine.user import EmbeddedUser
from memdb.types.grounding import AsOf
from memdb.types.operation import Operation
from tests.property.as_of_answers import (
    SECOND_NS,
    SPACES,
    STREAMS,
    T0_NS,
    WORDS,
    answers,
    past,
    vector,
    words,
)
from tests.property.conftest import machine_settings, memory_folder

pytestmark = pytest.mark.property

ZONES = (None, "Asia/Kolkata", "America/New_York")

MANY = 120
KINDS = ("fact", "fact", "revise", "value", "text", "standing", "snapshot")

Commit = tuple[int, list[Operation], int]
"""When, what, and the revision after it."""


@contextmanager
def opened(folder: Path, clock: ManualClock) -> Iterator[EmbeddedUser]:
    with (
        patch("memdb.engine.opening.secrets.token_bytes", return_value=bytes(range(32))),
        EmbeddedDatabase(folder, clock=clock, embed_texts=False) as db,
    ):
        for name, (dim, metric) in SPACES.items():
            db.create_space(name, dim=dim, metric=metric)
        yield db.user("alice")


def clip(rng: np.random.Generator, seq: int, dim: int, *, sealed: bool, texts: bool) -> Clip:
    start_ns = T0_NS + (seq * 1200 + int(rng.integers(0, 600))) * SECOND_NS
    spoken = tuple(
        Utterance(start_ns + part, start_ns + part + 1, words(rng))
        for part in range(int(rng.integers(0, 3)))
    )
    rows = int(rng.choice([0, 2, 4]))
    return Clip(
        seq=seq,
        epoch=int(rng.choice([0, 0, 0, 3])),
        start_ns=start_ns,
        end_ns=start_ns + int(rng.choice([0, 1, 3600])) * SECOND_NS,
        global_memory=vector(rng, dim),
        short_memory=rng.standard_normal((rows, dim)).astype(np.float16) if rows else None,
        frames_per_token_row=1.0 if rows else None,
        transcript=spoken,
        transcript_features=(
            np.stack([vector(rng, 3) for _ in spoken]) if spoken and texts else None
        ),
        events=(SoundEvent(start_ns, start_ns + 1, words(rng), 0.5),) if rng.random() < 0.4 else (),
        labels={"zone": str(rng.choice(WORDS))} if rng.random() < 0.3 else {},
        sealed=sealed,
    )


def standing(user: EmbeddedUser, rng: np.random.Generator) -> None:
    """Ask for what comes; not for what stays away, which the clock tells beside the log."""
    space = str(rng.choice(["cos", "dot"]))
    dim = SPACES[space][0]
    kinds: tuple[dict[str, Any], ...] = (
        {},
        {"window_s": 3600.0},
        {"kind": "sequence", "then_feature": vector(rng, dim), "window_s": 7200.0},
    )
    bar: dict[str, Any] = {"min_score": 0.5} if rng.random() < 0.5 else {"min_relevance": 0.3}
    sealed_only = bool(rng.random() < 0.5)
    chosen = kinds[int(rng.integers(0, len(kinds)))]
    user.standing.create(vector(rng, dim), space=space, sealed_only=sealed_only, **bar, **chosen)


def live(rng: np.random.Generator, steps: int, user: EmbeddedUser, clock: ManualClock) -> None:
    """A life of one user."""
    facts: list[str] = []
    seqs = dict.fromkeys(STREAMS, 0)
    growing: dict[str, tuple[int, int]] = {}
    if rng.random() < 0.7:
        user.configure(text_space="text")
    for name, space in STREAMS.items():
        if rng.random() < 0.4:
            zone = ZONES[int(rng.integers(0, len(ZONES)))]
            user.stream(name, space=space).create(zone=zone)
    for step in range(steps):
        clock.advance(int(rng.integers(0, 5)) * SECOND_NS)
        kind = rng.choice([*["clips"] * 4, *["grow"] * 2, *KINDS])
        name = str(rng.choice(list(STREAMS)))
        space = STREAMS[name]
        stream = user.stream(name, space=space)
        dim = SPACES[space][0]
        texts = user.is_known() and user.text_space() is not None and bool(rng.random() < 0.5)
        if kind == "clips":
            many = MANY if rng.random() < 0.02 else int(rng.integers(1, 5))
            first = seqs[name] + int(rng.choice([0, 0, 2]))  # or a gap
            stream.write_many(
                [clip(rng, first + n, dim, sealed=True, texts=texts) for n in range(many)]
            )
            seqs[name] = first + many
        elif kind == "grow":
            epoch, seq = growing.get(name, (0, seqs[name]))
            sealed = bool(rng.random() < 0.4)
            made = clip(rng, seq, dim, sealed=sealed, texts=texts)
            object.__setattr__(made, "epoch", epoch)
            stream.write(made)
            seqs[name] = max(seqs[name], seq + 1)
            if sealed:
                growing.pop(name, None)
            else:
                growing[name] = (epoch, seq)
        elif kind == "fact":
            feature = vector(rng, 3) if texts else None
            # Some end before the last commit, some after it, some are yet to begin then.
            begin, end = clock.now_ns() + rng.integers(-20, 20, 2) * SECOND_NS
            valid = {"valid_from": min(begin, end), "valid_to": max(begin, end)}
            valid = valid if rng.random() < 0.5 else {}
            fact = user.remember(
                words(rng), about=[str(rng.choice(WORDS))], feature=feature, **valid
            )
            facts.append(fact.id)
        elif kind == "revise" and facts:
            user.revise(str(rng.choice(facts)), text=words(rng))
        elif kind == "value":
            user.put(str(rng.choice(["diet", "name"])), words(rng))
        elif kind == "text" and rng.random() < 0.2:
            user.configure(text_space="text")
        elif kind == "standing":
            standing(user, rng)
        elif kind == "snapshot" and user.is_known():
            user.snapshot(f"step-{step}", ttl_s=3600)


def replay(user: EmbeddedUser, clock: ManualClock, log: list[Commit]) -> None:
    for now_ns, operations, _ in log:
        clock.jump(now_ns - clock.now_ns())
        with user.memory(create=True) as memory:
            for outcome in memory.write(list(operations)):
                assert not isinstance(outcome, Exception)


class Asked(NamedTuple):
    """As of a revision."""

    revision: int
    name: AsOf
    answers: dict[str, bytes]


def ask(user: EmbeddedUser, seed: int, share: float) -> Asked:
    """As of the ``share`` of all commits, or of all snapshots; by any of its names."""
    taken = [one.revision for one in user.snapshots()]
    if taken and seed % 3 == 0:
        revision = taken[int(share * (len(taken) - 1))]
    else:
        revision = 1 + int(share * (user.revision() - 1))
    names = named(user, revision)
    name = names[seed % len(names)]
    found = answers(user, name, np.random.default_rng(seed + 1)) | past(user, revision)
    return Asked(revision, name, found)


def named(user: EmbeddedUser, revision: int) -> list[AsOf]:
    """All names of a revision."""
    (committed,) = {one.time_ns for one in user.watch(follow=False) if one.revision == revision}
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=committed // 1000)
    taken = [one for one in user.snapshots() if one.revision == revision]
    return [revision, when, *(one.name for one in taken), *taken]


def compare(life: Callable[[EmbeddedUser, ManualClock], None], seed: int, share: float) -> None:
    """Answers after a life, as of the ``share`` of its commits, with those of so many replayed."""
    clock = ManualClock(T0_NS)
    log: list[Commit] = []
    write = UserMemory.write

    def logged(memory: UserMemory, operations: list[Operation], *rest: Any) -> Any:
        before = memory.view.revision
        outcomes = write(memory, operations, *rest)
        # Some operations make no commit, and are not in the log: replayed, they would move the clock of a user who
        # is then asked what holds now.
        if memory.view.revision > before:
            log.append((clock.now_ns(), list(operations), memory.view.revision))
        return outcomes

    folder = memory_folder()
    try:
        with opened(folder / "grown", clock) as grown:
            with patch.object(UserMemory, "write", logged):
                life(grown, clock)
            if not log:
                return
            # Commits in one moment are stamped one after the other: all their times have come.
            clock.advance(SECOND_NS)
            asked = ask(grown, seed, share)
        if seed % 4 == 0:
            with opened(folder / "grown", clock) as grown:
                asked = ask(grown, seed, share)
        again = ManualClock(T0_NS)
        with opened(folder / "replayed", again) as replayed:
            replay(replayed, again, [commit for commit in log if commit[2] <= asked.revision])
            assert replayed.revision() == asked.revision
            before = past(replayed, asked.revision)
            for as_of in (asked.revision, None):
                there = answers(replayed, as_of, np.random.default_rng(seed + 1)) | before
                different = [
                    (asked.name, as_of, name, told, there[name])
                    for name, told in asked.answers.items()
                    if told != there[name]
                ]
                assert not different, different
    finally:
        shutil.rmtree(folder)


@machine_settings(6)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 25), share=st.floats(0, 1))
def test_as_of_is_a_replay_of_the_log(seed: int, steps: int, share: float) -> None:
    compare(partial(live, np.random.default_rng(seed), steps), seed, share)


def test_what_makes_no_commit_is_not_in_the_log() -> None:
    def life(user: EmbeddedUser, clock: ManualClock) -> None:
        user.remember("a red mug", valid_to=clock.now_ns() + 3 * SECOND_NS)
        user.configure(text_space="text")
        clock.advance(4 * SECOND_NS)
        user.configure(text_space="text")

    compare(life, seed=0, share=1.0)

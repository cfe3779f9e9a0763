"""An answer as of a revision is, byte for byte, that of a database into which the log was replayed so far.

Both have one key for ids: it is drawn when a user is made, and is the only thing in an answer that is not in the
log.  No operation here forgets, erases or gives up, since these change the past as well.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memdb import Clip, FailedPrecondition, SoundEvent, Utterance
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.engine.user import EmbeddedUser
from memdb.types.operation import Operation
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.wire.clips import stored_clip_to_proto
from memdb.wire.facts import fact_to_proto, long_term_to_proto, recall_to_proto
from memdb.wire.grounding import grounding_to_proto
from memdb.wire.groundings import groundings_to_proto
from memdb.wire.streams import gap_to_proto
from tests.property.conftest import machine_settings, memory_folder

pytestmark = pytest.mark.property

SECOND_NS = 1_000_000_000
T0_NS = 1_700_000_000 * SECOND_NS + 123_457_000  # no whole second: those survive as floats
WORDS = ("red", "mug", "door", "opens", "two", "Alice", "says")
SPACES = {"cos": (6, "cosine"), "dot": (4, "dot"), "text": (3, "cosine")}
STREAMS = {"porch": "cos", "yard": "cos", "mic": "dot"}

Commit = tuple[int, list[Operation], int]
"""When, what, and the revision after it."""


@contextmanager
def opened(clock: ManualClock) -> Iterator[EmbeddedUser]:
    folder = memory_folder()
    try:
        with (
            patch("memdb.engine.memory.secrets.token_bytes", return_value=bytes(range(32))),
            EmbeddedDatabase(folder / "data", clock=clock, embed_texts=False) as db,
        ):
            for name, (dim, metric) in SPACES.items():
                db.create_space(name, dim=dim, metric=metric)
            yield db.user("alice")
    finally:
        shutil.rmtree(Path(folder))


def vector(rng: np.random.Generator, dim: int) -> Any:
    """Few directions: equal scores are met."""
    made = rng.integers(-2, 3, dim).astype(np.float32)
    made[0] += 3
    return made


def words(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, int(rng.integers(1, 5))))


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
        labels={"zone": words(rng)} if rng.random() < 0.3 else {},
        sealed=sealed,
    )


def live(user: EmbeddedUser, clock: ManualClock, rng: np.random.Generator, steps: int) -> None:
    """A life of one user."""
    facts: list[str] = []
    seqs = dict.fromkeys(STREAMS, 0)
    growing: dict[str, tuple[int, int]] = {}
    if rng.random() < 0.7:
        user.configure(text_space="text")
    for _ in range(steps):
        clock.advance(int(rng.integers(0, 5)) * SECOND_NS)
        kind = rng.choice(["clips", "clips", "clips", "grow", "fact", "revise", "value", "text"])
        name = str(rng.choice(list(STREAMS)))
        space = STREAMS[name]
        stream = user.stream(name, space=space)
        dim = SPACES[space][0]
        texts = user.is_known() and user.text_space() is not None and bool(rng.random() < 0.5)
        if kind == "clips":
            many = int(rng.integers(1, 5))
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
            fact = user.remember(words(rng), about=[words(rng)], feature=feature, **valid)
            facts.append(fact.id)
        elif kind == "revise" and facts:
            user.revise(str(rng.choice(facts)), text=words(rng))
        elif kind == "value":
            user.put(str(rng.choice(["diet", "name"])), words(rng))
        elif kind == "text" and rng.random() < 0.2:
            user.configure(text_space="text")


def replay(user: EmbeddedUser, clock: ManualClock, log: list[Commit]) -> None:
    for now_ns, operations, _ in log:
        clock.jump(now_ns - clock.now_ns())
        with user.memory(create=True) as memory:
            for outcome in memory.write(list(operations)):
                assert not isinstance(outcome, Exception)


class Asked:
    """Questions to one user as of one revision, and their answers as bytes; an error by its reason and field."""

    def __init__(self, user: EmbeddedUser, as_of: int | None) -> None:
        self.user = user
        self.as_of = as_of
        self.found: dict[str, bytes] = {}

    def ask(
        self, name: str, question: Callable[[], Any], otherwise: Callable[[], Any] | None = None
    ) -> None:
        """otherwise: what is asked of a user without a text space; as of a revision of one who had none yet a
        feature is passed over, for whoever asks in words has one made by itself.
        """
        try:
            told = question()
        except FailedPrecondition as error:
            if error.reason != "NO_TEXT_SPACE" or otherwise is None:
                raise
            self.ask(name, otherwise)
            return
        except Exception as error:  # every error is an answer too
            told = repr((type(error), getattr(error, "reason", ""), str(error))).encode()
        self.found[name] = (
            told if isinstance(told, bytes) else told.SerializeToString(deterministic=True)
        )

    def grounded(self, feature: Any = None, **options: Any) -> Any:
        answer = self.user.ground(feature, as_of=self.as_of, **options)
        return grounding_to_proto(answer)

    def recalled(self, question: str, **options: Any) -> Any:
        return recall_to_proto(self.user.recall(question, as_of=self.as_of, **options))

    def remembered(self, space: str, most: int) -> Any:
        memory = self.user.long_term(space=space, as_of=self.as_of, max_tokens=most)
        return long_term_to_proto(memory)

    def missing(self, name: str) -> Any:
        gaps = self.user.stream(name).gaps(as_of=self.as_of)
        return clip_pb.ListGapsResponse(gaps=[gap_to_proto(gap) for gap in gaps])

    def listed(self) -> Any:
        ids = [one.id for one in self.user.clips(as_of=self.as_of)]
        clips = [self.user.clip(one, as_of=self.as_of, with_short_memory=True) for one in ids]
        return clip_pb.ListClipsResponse(clips=[stored_clip_to_proto(one) for one in clips])

    def facts(self) -> bytes:
        facts = self.user.facts(as_of=self.as_of)
        return b"".join(fact_to_proto(one).SerializeToString() for one in facts)

    def value(self, key: str) -> bytes:
        return repr(self.user.get(key, as_of=self.as_of)).encode()


def ask_for_clips(asked: Asked, rng: np.random.Generator) -> None:
    """By every option of `ground`, and every way to ask it."""
    features = {"cos": vector(rng, 6), "dot": vector(rng, 4)}
    tokens = rng.standard_normal((3, 6)).astype(np.float32)
    cos: dict[str, Any] = {"space": "cos", "with_coverage": True, "limit": 50}
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "whole": {"with_short_memory": True},
        "streams": {"streams": ["porch"]},
        "time": four_hours(rng),
        "hours": {"hours": [("22:00", "04:00")], "weekdays": [1, 2]},
        "labels": {"labels": {"zone": [words(rng) for _ in range(8)]}},
        "least": {"min_score": 0.8},
        "relevance": {"min_relevance": 0.001},
        "abstains": {"min_score": 5.0, "fallback": "recent"},
        "re-ranked": {"question_tokens": tokens, "rerank": 5},
        "words": {"text": "red door", "text_feature": vector(rng, 3), "explain": True},
        **{name: {"policy": name} for name in ("ixc-live", "ixc-offline", "ixc-train")},
    }
    for name, options in kinds.items():
        bare = {key: value for key, value in options.items() if key != "text_feature"}
        first, second = (
            partial(asked.grounded, features["cos"], **cos | one) for one in (options, bare)
        )
        asked.ask(f"ground {name}", first, second)
    others: dict[str, dict[str, Any]] = {
        "dot": {"feature": features["dot"], "space": "dot"},
        "words alone": {"text": "mug Alice", "explain": True, **cos},
        "tokens": {"policy": "tokens", "question_tokens": tokens, **cos},
        "page": {"feature": features["cos"], **cos, "limit": 3, "cursor": ""},
    }
    for name, options in others.items():
        asked.ask(f"ground {name}", partial(asked.grounded, **options))
    many = np.stack([features["cos"], vector(rng, 6)])
    asked.ask(
        "ground many",
        lambda: groundings_to_proto(asked.user.ground_many(many, as_of=asked.as_of, **cos)),
    )


def ask_in_words(asked: Asked, rng: np.random.Generator) -> None:
    """By every option of `recall`."""
    asked.ask("recall", partial(asked.recalled, "red mug", limit=20))
    spoken = vector(rng, 3)
    asked.ask(
        "recall feature",
        partial(asked.recalled, "two", feature=spoken),
        partial(asked.recalled, "two"),
    )
    sieves: dict[str, dict[str, Any]] = {
        "streams": {"streams": ["porch", "mic"]},
        "time": four_hours(rng),
        "labels": {"labels": {"zone": [words(rng) for _ in range(8)]}},
        "utterances": {"kinds": ["utterance"]},
        "facts": {"kinds": ["fact"], "valid_at": T0_NS + 5 * SECOND_NS},
        "any": {"valid_at": "any"},
    }
    for name, sieve in sieves.items():
        asked.ask(f"recall {name}", partial(asked.recalled, "red mug door", limit=20, **sieve))


def ask_for_lists(asked: Asked) -> None:
    """Everything there is."""
    for space in ("cos", "dot"):
        for most in (2, 100):
            asked.ask(f"long term {space} {most}", partial(asked.remembered, space, most))
    asked.ask("clips", asked.listed)
    for name in STREAMS:
        asked.ask(f"gaps {name}", partial(asked.missing, name))
    asked.ask("facts", asked.facts)
    for key in ("diet", "name"):
        asked.ask(f"value {key}", partial(asked.value, key))


def four_hours(rng: np.random.Generator) -> dict[str, Any]:
    """The options that narrow a question to some four hours."""
    begin = T0_NS + int(rng.integers(0, 20)) * 1200 * SECOND_NS
    return {"start_ns": begin, "end_ns": begin + 4 * 3600 * SECOND_NS}


def answers(user: EmbeddedUser, as_of: int | None, rng: np.random.Generator) -> dict[str, bytes]:
    """What every kind of question is answered, as bytes."""
    asked = Asked(user, as_of)
    ask_for_clips(asked, rng)
    ask_in_words(asked, rng)
    ask_for_lists(asked)
    return asked.found


@machine_settings(6)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 25), share=st.floats(0, 1))
@example(seed=290968839, steps=23, share=0.375)  # an operation without a commit, later
def test_as_of_is_a_replay_of_the_log(seed: int, steps: int, share: float) -> None:
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

    with opened(clock) as grown:
        with patch.object(UserMemory, "write", logged):
            live(grown, clock, np.random.default_rng(seed), steps)
        if not log:
            return
        revision = 1 + int(share * (grown.revision() - 1))
        here = answers(grown, revision, np.random.default_rng(seed + 1))
    again = ManualClock(T0_NS)
    with opened(again) as replayed:
        replay(replayed, again, [commit for commit in log if commit[2] <= revision])
        assert replayed.revision() == revision
        for as_of in (revision, None):
            there = answers(replayed, as_of, np.random.default_rng(seed + 1))
            different = [name for name in here if here[name] != there[name]]
            assert not different, [(name, here[name], there[name]) for name in different[:1]]

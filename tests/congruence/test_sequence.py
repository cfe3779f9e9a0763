"""The same seeded sequence of operations over every transport, each answer compared field by field.

Ids and commit times differ from database to database; ids are replaced by the order in which they first appear, times
of commits by nothing.  Scores agree to 1e-6.  The seed is in the test's id.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Keyframe, MemdbError, Not, Retention, SoundEvent, Utterance
from memdb.types.database import Database
from memdb.types.grounding import POLICIES, TOKENS_POLICY, WEIGHTINGS
from tests.congruence.conftest import ENCRYPTED, TRANSPORTS, opened
from tests.congruence.media import SECOND_NS, T0_NS

pytestmark = pytest.mark.congruence

OPERATIONS = 200
DIM = 8
USERS = ("alice", "bob")
STREAMS = ("door", "porch", "mic")
WORDS = ("mug", "door", "blue", "green", "dog", "Alice", "left", "key")
CLOCKS = frozenset(
    {
        "written_ns",
        "created_ns",
        "expires_ns",
        "time_ns",
        "valid_from_ns",
        "valid_at_ns",
        "armed_ns",
        "bytes_removed",
    }
)
"""Fields that hold the time of a commit (a fact's validity begins with it) or depend on the file system."""
SCORE_TOLERANCE = 1e-6


class Run:
    """One database, driven by a generator of the seed; every answer is recorded in a comparable form."""

    def __init__(self, db: Database, seed: int) -> None:
        self._db = db
        self._random = np.random.default_rng(seed)
        self._ids: dict[str, str] = {}
        self._next_seq = dict.fromkeys(((u, s) for u in USERS for s in STREAMS), 0)
        self._clips: dict[str, list[str]] = {user: [] for user in USERS}
        self._facts: dict[str, list[str]] = {user: [] for user in USERS}

    def answers(self) -> Iterator[tuple[str, Any]]:
        """What was asked and what came back, one operation after another."""
        for name, dim in (("clip", DIM), ("text", DIM)):
            yield f"create {name}", self._plain(self._db.create_space(name, dim=dim))
        actions = [
            *[self._write] * 4, self._write_many, self._ingest, self._resend, self._open_clip,
            self._ground_many, self._ground_stream,
            *[self._ground] * 4, self._clips_of, self._read, self._remember, self._remember, self._revise,
            self._forget, self._recall, self._recall, self._value, self._snapshot, self._ledger, self._long_term,
            self._facts_of, self._erase_rarely, self._configure,
            self._pages, self._pages, self._words, self._words, self._counts, self._erase_some, self._give_up,
            self._stand, self._alerts, self._backtest,
        ]  # fmt: skip
        for step in range(OPERATIONS):
            action = actions[int(self._random.integers(len(actions)))]
            user = self._pick(USERS)
            try:
                answer = self._plain(action(user))
            except MemdbError as error:
                answer = (
                    type(error).__name__,
                    error.reason,
                    error.field,
                    self._text(error.value or ""),
                )
            yield f"{step} {action.__name__} {user}", answer
        for user in USERS:
            yield (
                f"changes {user}",
                self._caught(lambda u=user: list(self._db.user(u).watch(follow=False))),
            )
            yield f"streams {user}", self._caught(lambda u=user: self._db.user(u).streams())
        yield "verify", self._db.verify().ok

    # -- operations

    def _write(self, user: str) -> Any:
        ack = self._stream(user, name := self._stream_name()).write(self._clip(user, name))
        self._clips[user].append(ack.clip_id)
        return ack

    def _write_many(self, user: str) -> Any:
        name = self._stream_name()
        acks = self._stream(user, name).write_many([self._clip(user, name) for _ in range(5)])
        self._clips[user].extend(ack.clip_id for ack in acks)
        return [ack.duplicate for ack in acks]

    def _ingest(self, user: str) -> Any:
        name = self._stream_name()
        acks = []
        with self._stream(user, name).ingest() as writer:
            begin = writer.next_seq
            for _ in range(6):
                writer.send(self._clip(user, name))
                # Which clips share a commit depends on timing; one at a time, revisions agree.
                acks += writer.flush()
            counts = (begin, writer.next_seq, writer.acks)
        self._clips[user].extend(ack.clip_id for ack in acks)
        return counts, acks

    def _resend(self, user: str) -> Any:
        """A number again: with the same content when the draw says so."""
        name = self._stream_name()
        seq = max(self._next_seq[user, name] - 1, 0)
        state = self._random.bit_generator.state
        first = self._make(seq)
        self._stream(user, name).write(first)
        if self._random.random() < 0.5:
            self._random.bit_generator.state = state
        return self._stream(user, name).write(self._make(seq)).duplicate

    def _open_clip(self, user: str) -> Any:
        name = self._stream_name()
        seq = self._next_seq[user, name]
        return self._stream(user, name).write(self._make(seq, sealed=False))

    def _ground(self, user: str) -> Any:
        options: dict[str, Any] = {
            "limit": int(self._random.integers(1, 9)),
            "policy": self._pick(POLICIES),
            "fallback": self._pick(("none", "recent")),
            "with_short_memory": self._random.random() < 0.3,
            "with_global_memory": self._random.random() < 0.7,
            "with_keyframes": self._random.random() < 0.7,
            "space": "clip",
        }
        if self._random.random() < 0.4:
            options["streams"] = [self._stream_name()]
        if self._random.random() < 0.4:
            options["start_ns"] = T0_NS + int(self._random.integers(100)) * SECOND_NS
            options["end_ns"] = options["start_ns"] + 60 * SECOND_NS
        if self._random.random() < 0.3:
            options["min_score"] = float(self._random.random())
        if self._random.random() < 0.3:
            options |= {"question_tokens": self._vectors(2), "rerank": 4}
        if self._random.random() < 0.3:
            # In so few dimensions nothing is very relevant.
            options["min_relevance"] = float(self._random.random()) ** 9
        if self._random.random() < 0.3:
            minute = int(self._random.integers(60))
            options |= {"hours": [("22:13", f"22:{minute:02}")], "zone": "Asia/Kathmandu"}
            options["hours"] = options["hours"] if minute != 13 else [("04:00", "05:00")]
        options["with_coverage"] = self._random.random() < 0.3
        if self._random.random() < 0.5:
            options["weighting"] = self._pick(WEIGHTINGS)
        if self._random.random() < 0.3:
            options |= {"policy": TOKENS_POLICY, "question_tokens": self._vectors(3)}
            options["rerank"] = int(self._random.integers(3))
            options.pop("min_relevance", None)
            return self._db.user(user).ground(**options)
        return self._db.user(user).ground(self._vectors(1)[0], **options)

    def _ground_many(self, user: str) -> Any:
        return self._db.user(user).ground_many(self._vectors(5), limit=3, space="clip")

    def _ground_stream(self, user: str) -> Any:
        return list(self._db.user(user).ground_stream(self._vectors(5), limit=3, space="clip"))

    def _clips_of(self, user: str) -> Any:
        start_ns = T0_NS + int(self._random.integers(100)) * SECOND_NS
        return self._db.user(user).clips(start_ns=start_ns, limit=int(self._random.integers(1, 20)))

    def _read(self, user: str) -> Any:
        clip_id = self._known(self._clips[user])
        handle = self._db.user(user)
        return handle.clip(clip_id, with_short_memory=True), handle.short_memory([clip_id])

    def _remember(self, user: str) -> Any:
        key = self._pick((None, "k1", "k2"))
        feature = self._vectors(1)[0] if self._random.random() < 0.3 else None
        fact = self._db.user(user).remember(
            self._sentence(), about=[self._pick(WORDS)], key=key, feature=feature
        )
        self._facts[user].append(fact.id)
        return fact

    def _revise(self, user: str) -> Any:
        return self._db.user(user).revise(self._known(self._facts[user]), text=self._sentence())

    def _forget(self, user: str) -> Any:
        fact_id = self._known(self._facts[user])
        history = self._db.user(user).history(fact_id)
        self._db.user(user).forget(fact_id)
        return history

    def _recall(self, user: str) -> Any:
        feature = self._vectors(1)[0] if self._random.random() < 0.3 else None
        which: dict[str, Any] = self._pick(
            (
                {},
                {"streams": [self._pick(STREAMS)], "kinds": ["utterance"]},
                {"start_ns": T0_NS + 8 * SECOND_NS, "end_ns": T0_NS + 40 * SECOND_NS},
                {"kinds": ["fact"], "valid_at": self._pick(("now", "any", T0_NS))},
            )
        )
        return self._db.user(user).recall(self._sentence(), limit=5, feature=feature, **which)

    def _facts_of(self, user: str) -> Any:
        valid_at = self._pick((None, "now", T0_NS))
        return self._db.user(user).facts(about=self._pick((None, *WORDS)), valid_at=valid_at)

    def _value(self, user: str) -> Any:
        key, handle = self._pick(("a", "b")), self._db.user(user)
        handle.put(key, {"n": int(self._random.integers(100)), "of": [key, None]})
        if self._random.integers(3) == 0:
            handle.remove(self._pick(tuple(handle.keys())))
        return handle.get("a", "unset"), handle.get("b", "unset"), handle.keys()

    def _snapshot(self, user: str) -> Any:
        handle = self._db.user(user)
        taken = handle.snapshot(self._pick(("s1", "s2")), ttl_s=600)
        return (
            taken,
            handle.snapshots(),
            handle.ground(self._vectors(1)[0], as_of=taken, space="clip"),
        )

    def _ledger(self, user: str) -> Any:
        stream = self._db.user(user).stream(self._stream_name())
        return stream.ledger(), stream.gaps()

    def _long_term(self, user: str) -> Any:
        return self._db.user(user).long_term(max_tokens=16)

    def _configure(self, user: str) -> Any:
        self._db.user(user).configure(text_space="text")
        return self._db.user(user).text_space()

    def _erase_rarely(self, user: str) -> Any:
        if self._random.random() < 0.8:
            return None
        report = self._db.user(user).erase()
        for name in STREAMS:
            self._next_seq[user, name] = 0
        return report

    def _pages(self, user: str) -> Any:
        """As of a moment or now, whole and page by page."""
        handle, question = self._db.user(user), self._vectors(1)[0]
        options = {"space": "clip", "as_of": self._moment(), **self._which()}
        whole = handle.ground(question, limit=1000, **options)
        pages: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = handle.ground(question, limit=3, cursor=cursor, **options)
            pages += page.hits
            cursor = page.next_cursor
        assert self._plain(pages) == self._plain(whole.hits)
        return whole

    def _words(self, user: str) -> Any:
        question = self._vectors(1)[0] if self._random.random() < 0.5 else None
        options: dict[str, Any] = {"text": self._sentence(), "explain": self._random.random() < 0.5}
        if self._random.random() < 0.5:
            options["text_feature"] = self._vectors(1)[0]
        if self._random.random() < 0.3:
            options["weights"] = {"transcript": 1.0, "labels": float(self._random.random())}
        if self._random.random() < 0.3:
            options |= {"question_tokens": self._vectors(2), "rerank": 3}
        options |= {"space": "clip", "as_of": self._moment(), **self._which()}
        return self._db.user(user).ground(question, **options)

    def _counts(self, user: str) -> Any:
        handle, which = self._db.user(user), self._which()
        as_of = self._moment()
        return handle.count_clips(as_of=as_of, **which), handle.labels(as_of=as_of)

    def _erase_some(self, user: str) -> Any:
        start_ns = T0_NS + int(self._random.integers(100)) * SECOND_NS
        return self._db.user(user).erase_clips(start_ns=start_ns, end_ns=start_ns + 3 * SECOND_NS)

    def _give_up(self, user: str) -> Any:
        """By how many there are: ages go by the clock, which differs."""
        policy = self._pick((Retention(max_clips=4), Retention(max_bytes=300), None))
        stream = self._db.user(user).stream(self._stream_name())
        stream.set_retention(policy)
        return self._db.sweep(), stream.retention()

    def _stand(self, user: str) -> Any:
        standing = self._db.user(user).standing
        return standing.create(self._vectors(1)[0], min_score=0.25, space="clip")

    def _alerts(self, user: str) -> Any:
        alerts = self._db.user(user).standing.watch(follow=False)
        return [(alert.question_id, alert.clip_id, alert.score) for alert in alerts]

    def _backtest(self, user: str) -> Any:
        asked = {"min_score": 0.25, "space": "clip", "as_of": self._moment(), **self._which()}
        asked.pop("streams", None)
        return self._db.user(user).standing.backtest(self._vectors(1)[0], **asked)

    # -- what operations are made of

    def _moment(self) -> Any:
        """Now more often than not."""
        return self._pick((None, None, None, "s1", "s2", self._random.integers(1, 40).item()))

    def _which(self) -> dict[str, Any]:
        """Some clips."""
        which: dict[str, Any] = {}
        if self._random.random() < 0.3:
            which["streams"] = [self._stream_name()]
        if self._random.random() < 0.3:
            which["start_ns"] = T0_NS + int(self._random.integers(100)) * SECOND_NS
        if self._random.random() < 0.3:
            word = str(self._pick(WORDS))
            which["labels"] = {"zone": self._pick((word, [word, "mug"], Not(word)))}
        return which

    def _pick(self, choices: Any) -> Any:
        return choices[int(self._random.integers(len(choices)))]

    def _known(self, ids: list[str]) -> str:
        return str(self._pick(ids)) if ids else "0" * 32

    def _stream_name(self) -> str:
        return str(self._pick(STREAMS))

    def _stream(self, user: str, name: str) -> Any:
        return self._db.user(user).stream(name, space="clip")

    def _vectors(self, rows: int) -> np.ndarray[Any, Any]:
        return self._random.standard_normal((rows, DIM)).astype(np.float32)

    def _sentence(self) -> str:
        return " ".join(self._pick(WORDS) for _ in range(4))

    def _clip(self, user: str, name: str) -> Clip:
        """The next clip of the stream; now and then a number is skipped."""
        seq = self._next_seq[user, name] + int(self._random.random() < 0.1)
        self._next_seq[user, name] = seq + 1
        return self._make(seq)

    def _make(self, seq: int, *, sealed: bool = True) -> Clip:
        start_ns = T0_NS + seq * 4 * SECOND_NS
        has_tokens = self._random.random() < 0.7
        said = (
            [Utterance(start_ns, start_ns + SECOND_NS, self._sentence(), "alice")]
            if seq % 3 == 0
            else []
        )
        return Clip(
            seq=seq,
            start_ns=start_ns,
            end_ns=start_ns + 4 * SECOND_NS,
            global_memory=self._vectors(1)[0],
            short_memory=self._vectors(4) if has_tokens else None,
            frames_per_token_row=0.25 if has_tokens else None,
            transcript=tuple(said),
            events=(SoundEvent(start_ns, start_ns + 1, "dog", 0.5),) if seq % 4 == 0 else (),
            keyframes=(Keyframe(start_ns, self._random.bytes(50)),) if seq % 2 == 0 else (),
            labels={"zone": str(self._pick(WORDS))},
            sealed=sealed,
        )

    # -- answers in a comparable form

    def _caught(self, call: Any) -> Any:
        try:
            return self._plain(call())
        except MemdbError as error:
            return type(error).__name__, error.reason

    def _text(self, text: str) -> str:
        """The text, an id of 32 digits by the order of its first appearance."""
        if len(text) == 32 and set(text) <= set("0123456789abcdef"):
            return self._ids.setdefault(text, f"id-{len(self._ids)}")
        return text

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, np.ndarray):
            return (str(value.dtype), value.shape, value.tolist())
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return {
                field.name: self._plain(getattr(value, field.name))
                for field in fields
                if field.name not in CLOCKS or isinstance(value, Keyframe)
            }
        if isinstance(value, Mapping):
            return {key: self._plain(item) for key, item in sorted(value.items())}
        if isinstance(value, (list, tuple)):
            return [self._plain(item) for item in value]
        return value


def same(left: Any, right: Any) -> bool:
    """Equal, floats to the tolerance of scores."""
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


@pytest.mark.parametrize("seed", [7, 2024])
def test_one_sequence_gives_one_answer(tmp_path: Path, seed: int) -> None:
    recorded: dict[str, list[tuple[str, Any]]] = {}
    for transport in (*TRANSPORTS, ENCRYPTED):
        with opened(transport, tmp_path / transport) as db:
            recorded[transport] = list(Run(db, seed).answers())

    embedded = recorded["embedded"]
    assert len(embedded) == OPERATIONS + 7
    answered = sum(not isinstance(answer, tuple) for _, answer in embedded)
    assert answered > OPERATIONS * 0.7, (
        "too many operations of the sequence are refused to mean much"
    )
    for transport in ("sync", "async", ENCRYPTED):
        for expected, found in zip(embedded, recorded[transport], strict=True):
            assert same(expected, found), f"{transport}: {expected[0]}\n{expected[1]}\n{found[1]}"

"""Opens damaged copies of a database, one after another, and tells what each of its users answers.

Reads one JSON line per case on standard input: ``{"data": DIRECTORY, "turn": n, "early": bool}``.  Prints one per
case: for each user and question either a digest of the answer or the error; with a turn, of the user whose file is
whole a quarter of the questions, so that each is asked in every fourth case; early, users with a checkpoint, however
small, are asked the first question before their store was looked through.  An error that is not of memdb's tree
is told as such, and a process that dies tells nothing: both are for the test to judge.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from memdb import DataLoss, Grounding, MemdbError, StoredClip
from memdb.config import EngineConfig
from memdb.engine import early_file
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.server.process import collect_seldom
from tests.crash.load import SPACE, clip_of, standing_question

LEAST = early_file.EARLY_BYTES_MIN
CONFIG = EngineConfig(map_bytes_initial=1 << 20)
USERS = ("alice", "bob")
TURNS = 4

Parts = dict[str, str]
"""A part of an answer for each thing it is about."""


def told(value: object) -> str:
    """A digest of anything with a good repr."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def questions(name: str, user: EmbeddedUser) -> Iterator[tuple[str, Callable[[], object]]]:
    """Reads of every kind, by name."""
    question = standing_question(name)

    def short() -> Parts:
        found: Parts = {}
        for clip in user.clips():
            try:
                found[named(clip)] = told(user.short_memory([clip.id])[0].tobytes())
            except DataLoss:
                found[named(clip)] = "error"
        return found

    def damaged() -> Parts:
        gaps = [gap for info in user.streams() for gap in user.stream(info.name).gaps()]
        return {f"{g.stream}/{g.epoch}/{g.first_seq}": "" for g in gaps if g.reason == "damaged"}

    def ledger() -> Parts:
        return {
            info.name: told(
                replace(found, gaps=tuple(gap for gap in found.gaps if gap.reason == "missing"))
            )
            for info in user.streams()
            for found in (user.stream(info.name).ledger(),)
        }

    yield (
        "ground",
        lambda: grounded(user.ground(question, limit=20)),
    )  # first, for that may be early
    yield "revision", user.revision
    yield "ground as of", lambda: grounded(user.ground(question, limit=20, as_of=9))
    yield "clips", lambda: {named(clip): content(clip) for clip in user.clips()}
    yield "short", short
    yield "damaged", damaged
    yield (
        "recall",
        lambda: {
            f"{told(hit.text)} {named(hit.clip) if hit.clip else ''}": ""
            for hit in user.recall("says 3", limit=50).hits
        },
    )
    yield "facts", user.facts
    yield "value", lambda: user.get("diet")
    yield "long term", lambda: user.long_term().tokens.tobytes()
    yield "ledger", ledger
    yield "snapshots", user.snapshots
    yield (
        "watch",
        lambda: [
            (change.revision, change.kind, change.key)
            for change in user.watch(from_revision=0, follow=False)
        ],
    )


def named(clip: StoredClip) -> str:
    """Which clip."""
    return f"{clip.stream}/{clip.epoch}/{clip.seq}"


def content(clip: StoredClip) -> str:
    """Everything a version says."""
    parts = (clip.id, clip.revision, clip.start_ns, clip.end_ns, clip.sealed, dict(clip.labels))
    frames = [(frame.time_ns, frame.jpeg) for frame in clip.keyframes]
    return told((*parts, clip.transcript, frames, clip.global_memory.tobytes()))


def grounded(answer: Grounding) -> Parts:
    """The hits of an answer, by clip."""
    hits = {named(hit.clip): f"{content(hit.clip)} {hit.score:.5f}" for hit in answer.hits}
    return hits | {
        f"damaged {gap.stream}/{gap.epoch}/{gap.first_seq}": ""
        for gap in answer.gaps
        if gap.reason == "damaged"
    }


def ask(ask_it: Callable[[], object]) -> str | Parts:
    """The answer by its parts or as a digest, or the error."""
    try:
        answer = ask_it()
        return answer if isinstance(answer, dict) else told(answer)
    except MemdbError as error:
        return f"error {type(error).__name__} {error.reason}"
    except Exception as error:
        return f"UNTYPED {error!r}"


def look(data: str, turn: int | None = None, *, early: bool = False) -> dict[str, str | Parts]:
    """What a database in this directory answers; turn, early: see above."""
    early_file.EARLY_BYTES_MIN = 0 if early else LEAST  # type: ignore[misc]  # a constant
    try:
        db = EmbeddedDatabase(data, config=CONFIG, embed_texts=False)
    except MemdbError as error:
        return {"open": f"error {type(error).__name__} {error.reason}"}
    except Exception as error:
        return {"open": f"UNTYPED {error!r}"}
    answers: dict[str, str | Parts] = {"open": "yes"}
    with db:
        answers["users"] = ask(db.users)
        for name in USERS:
            for number, (what, ask_it) in enumerate(questions(name, db.user(name))):
                if name == "bob" and turn is not None and (number - turn) % TURNS:
                    continue
                answers[f"{name}: {what}"] = ask(ask_it)
        resent = clip_of("alice", "batched-0", 0)
        answers["alice: resend"] = ask(
            lambda: db.user("alice").stream("batched-0", space=SPACE).write(resent)
        )
        answers["verify"] = ask(lambda: db.verify().ok)
    return answers


def main() -> None:
    collect_seldom()
    for line in sys.stdin:
        print(json.dumps(look(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

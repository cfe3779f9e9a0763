"""Opens damaged copies of a database, one after another, and tells what each of its users answers.

Reads one JSON line per case on standard input: the directory.  Prints one per case: for each
user and question either a digest of the answer or the error.  An error that is not of memdb's tree
is told as such, and a process that dies tells nothing: both are for the test to judge.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator

from memdb import MemdbError
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from tests.crash.load import SPACE, clip_of, digest, standing_question

CONFIG = EngineConfig(map_bytes_initial=1 << 20)
USERS = ("alice", "bob")


def told(value: object) -> str:
    """A digest of anything with a good repr."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def questions(name: str, user: EmbeddedUser) -> Iterator[tuple[str, Callable[[], object]]]:
    """Reads of every kind, by name."""
    question = standing_question(name)

    def clips() -> object:
        return [
            (c.id, c.stream, c.seq, c.transcript, c.keyframes, c.global_memory.tobytes())
            for c in user.clips()
        ]

    def short() -> object:
        ids = [clip.id for clip in user.clips()]
        return [memory.tobytes() for memory in user.short_memory(ids)]

    yield "revision", user.revision
    yield "ground", lambda: digest(user.ground(question, limit=20))
    yield "ground as of", lambda: digest(user.ground(question, limit=20, as_of=9))
    yield "clips", clips
    yield "short", short
    yield "recall", lambda: [hit.text for hit in user.recall("says 3", limit=50).hits]
    yield "facts", user.facts
    yield "value", lambda: user.get("diet")
    yield "long term", lambda: user.long_term().tokens.tobytes()
    yield "ledger", lambda: [user.stream(info.name).ledger() for info in user.streams()]
    yield "snapshots", user.snapshots
    yield (
        "watch",
        lambda: [
            (change.revision, change.kind, change.key)
            for change in user.watch(from_revision=0, follow=False)
        ],
    )


def ask(ask_it: Callable[[], object]) -> str:
    """The answer's digest, or the error."""
    try:
        return told(ask_it())
    except MemdbError as error:
        return f"error {type(error).__name__} {error.reason}"
    except Exception as error:
        return f"UNTYPED {error!r}"


def look(data: str) -> dict[str, str]:
    """What a database in this directory answers."""
    try:
        db = EmbeddedDatabase(data, config=CONFIG, embed_texts=False)
    except MemdbError as error:
        return {"open": f"error {type(error).__name__} {error.reason}"}
    except Exception as error:
        return {"open": f"UNTYPED {error!r}"}
    answers = {"open": "yes"}
    with db:
        answers["users"] = ask(db.users)
        for name in USERS:
            for what, ask_it in questions(name, db.user(name)):
                answers[f"{name}: {what}"] = ask(ask_it)
        resent = clip_of("alice", "batched-0", 0)
        answers["alice: resend"] = ask(
            lambda: db.user("alice").stream("batched-0", space=SPACE).write(resent)
        )
        answers["verify"] = ask(lambda: db.verify().ok)
    return answers


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(look(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

"""Bad input: the same class, reason, field and value on every transport, and nothing changed."""

from __future__ import annotations

import numpy as np
import pytest

from memdb import MemdbError, NotFound, Unavailable, Utterance
from memdb.types.database import Database, User
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector
from tests.congruence.refused.clips import CLIPS
from tests.congruence.refused.facts import FACTS
from tests.congruence.refused.grounding import QUESTIONS
from tests.congruence.refused.moments import MOMENTS
from tests.congruence.refused.recall import RECALLS
from tests.congruence.refused.short_memory import SHORT_MEMORY
from tests.congruence.refused.streams import STREAMS
from tests.congruence.refused.users import USERS
from tests.congruence.refused.values import VALUES

pytestmark = pytest.mark.congruence

TABLES = {
    "users": USERS,
    "streams": STREAMS,
    "clips": CLIPS,
    "short memory": SHORT_MEMORY,
    "grounding": QUESTIONS,
    "moments": MOMENTS,
    "facts": FACTS,
    "recall": RECALLS,
    "values": VALUES,
}


@pytest.mark.parametrize("table", TABLES)
def test_bad_input_is_refused_alike_and_changes_nothing(
    db: Database, user: User, table: str
) -> None:
    """One database for a table: what one call left behind would show in the next."""
    db.create_space("five", dim=5)
    user.stream("door", space="clip").write(clip(0, short_memory=np.ones((2, 4), np.float32)))
    before = (db.users(), db.spaces(), user.revision(), user.streams(), user.snapshots())
    wrong: list[str] = []

    for bad in TABLES[table]:
        expected = (bad.error, bad.reason, bad.field, bad.value)
        try:
            bad.call(db, user)
        except MemdbError as error:
            value = error.value if bad.value is not None else None
            found: object = (type(error), error.reason, error.field, value)
            if error.field is not None and not error.violations:
                wrong.append(f"{bad.name}: no violations")
        except Exception as error:
            found = repr(error)
        else:
            found = "accepted"
        if found != expected:
            wrong.append(f"{bad.name}: {found}\n{' ' * len(bad.name)}  {expected}")

    assert wrong == [], "\n".join(wrong)
    assert (db.users(), db.spaces(), user.revision(), user.streams(), user.snapshots()) == before
    assert user.ground(vector(1), end_ns=T0_NS + SECOND_NS).hits[0].clip.seq == 0
    assert db.verify().ok


def test_a_remote_error_names_its_request(db: Database, user: User, transport: str) -> None:
    with pytest.raises(NotFound) as caught:
        user.revision()
    assert (caught.value.request_id is None) is (transport == "embedded")
    (violation,) = caught.value.violations
    assert (violation.field, violation.value) == ("user", "alice")


def test_a_closed_database_says_so(db: Database, user: User) -> None:
    user.put("diet", 1)
    db.close()

    with pytest.raises(Unavailable) as caught:
        user.put("diet", 2)
    assert caught.value.reason == "CLOSED"


def test_what_is_odd_but_plain_is_taken_alike(db: Database, user: User) -> None:
    """Integers of numpy, generators, and vectors in lists mean what they say."""
    door = user.stream("door", space="clip")
    acks = door.write_many(clip(seq) for seq in range(3))
    assert [ack.revision for ack in acks] == [acks[0].revision] * 3
    assert door.write_many([]) == door.write_many(iter(())) == []
    assert db.user("nobody").stream("a").write_many([]) == []

    found = user.ground(
        [1.0, 0, 0, 0],
        as_of=np.int64(1),  # type: ignore[arg-type]
        streams=(name for name in ["door"]),  # type: ignore[arg-type]
        limit=np.int32(2),  # type: ignore[arg-type]
        min_score=np.float32(-1),  # type: ignore[arg-type]
    )
    assert (found.revision, len(found.hits)) == (1, 2)
    assert user.short_memory([]) == []
    text = np.str_("said")
    spoken = clip(3, transcript=[Utterance(0, 1, text)], labels={text: text})
    door.write(spoken)
    assert user.clips()[-1].labels == {"said": "said"}
    assert user.remember(text, about=[text], key=text).key == "said"
    assert db.create_space("numpy", dim=np.int64(3)).dim == 3  # type: ignore[arg-type]
    assert user.snapshot("soon", ttl_s=np.float32(3)).revision == user.revision()  # type: ignore[arg-type]


def test_what_was_read_can_be_written_again(db: Database, user: User) -> None:
    door = user.stream("door", space="clip")
    door.write(clip(0, labels={"zone": "porch"}, keyframes=[b"jpeg"]))
    (read,) = user.clips()

    assert door.write(read).duplicate
    assert not user.stream("copy", space="clip").write(read).duplicate
    assert user.clips(stream="copy")[0].labels == {"zone": "porch"}


def test_a_clip_holds_what_its_vector_held_when_it_was_made(db: Database, user: User) -> None:
    """The encoder may use its buffer again while the clip waits."""
    buffer = vector(1)
    tokens = np.ones((2, 4), np.float16)
    with user.stream("door", space="clip").ingest() as writer:
        writer.send(clip(0, memory=buffer, short_memory=tokens))
        buffer[:] = np.nan
        tokens[:] = np.inf

    (read,) = user.clips()
    assert np.array_equal(read.global_memory, vector(1))
    assert np.array_equal(user.short_memory([read.id])[0], np.ones((2, 4)))

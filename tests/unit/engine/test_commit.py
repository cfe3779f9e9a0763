"""What a commit leaves when it is cut short at each of its steps, in the same process."""

from __future__ import annotations

import threading

import pytest

from memdb import MemdbError, Unavailable, failpoints
from memdb.engine.database import EmbeddedDatabase
from memdb.failpoints import FailpointError
from tests.unit.engine.conftest import clip, vector


@pytest.mark.parametrize("point", ["commit.before", "commit.after", "index.before", "index.after"])
def test_an_interrupted_commit_is_whole_or_absent_and_the_next_ones_are_right(
    db: EmbeddedDatabase, point: str
) -> None:
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write(clip(0))
    failpoints.arm(f"{point}=error")
    with pytest.raises(FailpointError):
        door.write(clip(1))
    failpoints.arm("")
    # As after a KeyboardInterrupt: the caller does not know, asks again, and goes on with others.
    for _ in range(2):
        try:
            acks = [door.write(clip(seq)) for seq in (2, 1, 3)]
            break
        except Unavailable as refused:
            if refused.reason != "INDEX_BROKEN":
                raise
    assert len({ack.clip_id for ack in acks}) == 3
    assert [found.seq for found in user.clips()] == [0, 1, 2, 3]
    for seq in range(4):
        assert user.ground(vector(seq), limit=1).hits[0].clip.seq == seq
    assert user.revision() in (4, 5)
    assert db.verify().ok


def test_callers_that_share_an_interrupted_commit_all_learn_of_it(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    door.write(clip(0))
    failpoints.arm("commit.before=error@3")
    outcomes: dict[int, BaseException | int] = {}

    def write(seq: int) -> None:
        try:
            outcomes[seq] = door.write(clip(seq)).revision
        except (FailpointError, MemdbError) as error:
            outcomes[seq] = error

    threads = [threading.Thread(target=write, args=(seq,)) for seq in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == 16
    failpoints.arm("")
    stored = {found.seq for found in db.user("alice").clips()}
    acknowledged = {seq for seq, outcome in outcomes.items() if isinstance(outcome, int)}
    assert acknowledged <= stored
    assert db.verify().ok

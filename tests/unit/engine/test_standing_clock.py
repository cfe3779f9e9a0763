"""The clock of absences: held back by what comes late, and taken along by nothing that is stamped ahead."""

from __future__ import annotations

import pytest

from memdb.clock import ManualClock
from memdb.engine.standing_clock import LATE_MAX_NS
from memdb.engine.user import EmbeddedUser
from tests.unit.engine.conftest import SECOND_NS
from tests.unit.engine.standing_lives import AXES, BEGIN_NS, at, told


def test_the_clock_is_held_back_by_what_comes_late(user: EmbeddedUser, clock: ManualClock) -> None:
    """A camera whose clips come 30 s late: what happened may still be on its way."""
    clock.advance(40 * SECOND_NS)
    door = user.stream("door")
    door.write(at(0, 9, 3, clock))  # ends at 10, comes at 40
    question = user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    assert question.armed_ns == clock.now_ns() - 30 * SECOND_NS
    clock.advance(19 * SECOND_NS)
    assert told(user) == []
    door.write(at(1, 28, 0, clock))  # ends at 29, comes at 59
    clock.advance(19 * SECOND_NS)
    assert told(user) == []
    clock.advance(SECOND_NS)
    (alert,) = told(user)
    assert alert.happened_ns == question.armed_ns + (19 + 20) * SECOND_NS


def test_the_clock_is_held_back_by_an_hour_at_most(user: EmbeddedUser, clock: ManualClock) -> None:
    user.stream("door").write(at(0, -86_400, 3, clock))
    question = user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    assert question.armed_ns == clock.now_ns() - LATE_MAX_NS
    clock.advance(20 * SECOND_NS)
    assert len(told(user)) == 1


def test_a_clip_that_is_stamped_ahead_takes_no_clock_along(
    user: EmbeddedUser, clock: ManualClock
) -> None:
    question = user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    user.stream("door").write(at(0, 365 * 86_400, 3, clock))
    assert told(user) == []
    clock.advance(20 * SECOND_NS)
    assert [alert.happened_ns for alert in told(user)] == [question.armed_ns + 20 * SECOND_NS]


def test_after_a_wall_clock_was_ahead_absences_are_told_again(
    user: EmbeddedUser, clock: ManualClock
) -> None:
    user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    clock.jump(365 * 86_400 * SECOND_NS)
    (early,) = told(user)
    clock.jump(-365 * 86_400 * SECOND_NS)
    start_s = (clock.now_ns() - BEGIN_NS) / SECOND_NS
    user.stream("door").write(at(0, start_s, 0, clock))
    assert told(user, early.cursor) == []
    clock.advance(21 * SECOND_NS)
    (alert,) = told(user, early.cursor)
    assert alert.id != early.id
    assert alert.earlier_clip_id == user.clips()[0].id


def test_what_comes_back_too_late_was_absent(user: EmbeddedUser, clock: ManualClock) -> None:
    question = user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    clock.advance(60 * SECOND_NS)
    user.stream("door").write(at(0, 25, 0, clock))
    (first,) = told(user)
    assert (first.happened_ns, first.earlier_clip_id) == (question.armed_ns + 20 * SECOND_NS, None)
    clock.advance(20 * SECOND_NS)
    (_, second) = told(user)
    assert second.happened_ns == question.armed_ns + 46 * SECOND_NS


@pytest.mark.parametrize("is_new", [False, True])
def test_an_absence_after_clips_that_come_late_together_is_told(
    user: EmbeddedUser, clock: ManualClock, *, is_new: bool
) -> None:
    """Of one commit: the first puts nothing off that the second would not leave absent itself."""
    question = user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    clock.advance(60 * SECOND_NS)
    watched = user.standing.watched()
    (first,) = watched.page()
    assert watched.page() == []
    user.stream("door").write_many([at(0, 5, 0, clock), at(1, 10, 0, clock)])
    if is_new:
        watched = user.standing.watched(first.cursor)
    (second,) = watched.page()
    assert first.happened_ns == question.armed_ns + 20 * SECOND_NS
    assert second.happened_ns == question.armed_ns + (11 + 20) * SECOND_NS
    assert second.earlier_clip_id == user.clips()[-1].id


@pytest.mark.parametrize("is_new", [False, True])
def test_an_absence_that_was_told_is_not_told_again_for_a_clip_that_ends_with_its_last(
    user: EmbeddedUser, clock: ManualClock, *, is_new: bool
) -> None:
    """Neither to who listened nor to who goes on from a cursor."""
    user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    clock.advance(60 * SECOND_NS)
    watched = user.standing.watched()
    assert len(watched.page()) == 1
    user.stream("door").write(at(0, 5, 0, clock))
    (told_last,) = watched.page()
    user.stream("yard", space="cam").write(at(0, 5, 0, clock))
    if is_new:
        watched = user.standing.watched(told_last.cursor)
    assert watched.page() == []
    assert watched.is_at_end

"""Clips and labels of several streams in one listing: those of each, and in one order."""

from __future__ import annotations

from typing import Any

import pytest

from memdb import InvalidArgument, NotFound
from memdb.types.database import User
from tests.congruence.media import SECOND_NS, T0_NS, clip

pytestmark = pytest.mark.congruence


@pytest.fixture
def filled(user: User) -> User:
    for seq in range(6):
        for number, name in enumerate(("door", "yard", "roof")):
            start_ns = T0_NS + (3 * seq + number) * SECOND_NS
            times: dict[str, Any] = {"start_ns": start_ns, "end_ns": start_ns + SECOND_NS}
            written = clip(seq, labels={"of": name, "all": "yes"}, **times)
            user.stream(name, space="clip").write(written)
    return user


def test_clips_of_several_streams_come_in_one_order(filled: User) -> None:
    found = filled.clips(streams=["roof", "door"])
    assert [(one.stream, one.seq) for one in found] == [
        (name, seq) for seq in range(6) for name in ("door", "roof")
    ]
    assert filled.count_clips(streams=["roof", "door"]) == len(found)
    assert [one.id for one in filled.clips(streams=["yard"])] == [
        one.id for one in filled.clips(stream="yard")
    ]
    assert len(filled.clips(streams=None)) == len(filled.clips()) == 18
    page = filled.clips(streams=["roof", "door"], limit=5, newest_first=True)
    rest = filled.clips(
        streams=["roof", "door"], limit=50, newest_first=True, after=page[-1].cursor
    )
    assert [one.id for one in page + rest] == [one.id for one in reversed(found)]


def test_labels_of_several_streams(filled: User) -> None:
    def told(streams: list[str] | None) -> list[tuple[str, str, int]]:
        return [(one.key, one.value, one.clips) for one in filled.labels(streams=streams)]

    assert told(["roof", "door"]) == [("all", "yes", 12), ("of", "door", 6), ("of", "roof", 6)]
    assert told(["yard"]) == [("all", "yes", 6), ("of", "yard", 6)]
    assert told(None)[0] == ("all", "yes", 18)


def test_what_names_no_streams_is_refused(filled: User) -> None:
    for call in (filled.clips, filled.labels):
        with pytest.raises(InvalidArgument) as refused:
            call(stream="door", streams=["yard"])
        assert (refused.value.reason, refused.value.field) == ("NOT_USED", "streams")
        with pytest.raises(InvalidArgument) as refused:
            call(streams=[])
        assert (refused.value.reason, refused.value.field) == ("EMPTY", "streams")
        with pytest.raises(NotFound) as missing:
            call(streams=["door", "cellar"])
        assert (missing.value.reason, missing.value.field) == ("STREAM_NOT_FOUND", "streams")
        with pytest.raises(NotFound) as missing:
            call(stream="cellar")
        assert (missing.value.reason, missing.value.field) == ("STREAM_NOT_FOUND", "stream")

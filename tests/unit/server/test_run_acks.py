"""Acknowledgements of runs, packed as a whole, are those of their clips."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memdb.engine.run_acks import Outcomes, Piece, RunAcks, clips_of, first_of
from memdb.errors import InvalidArgument, MemdbError
from memdb.server.plain_clips import ack_fields
from memdb.types.clip import Ack
from memdb.wire.packed_acks import packed_acks
from tests.both_edges import NEEDS_NATIVE

NUMBERS = st.integers(0, 2**56 - 200) | st.sampled_from([0, 1, 127, 128, 2**14, 2**32])
REVISIONS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 127, 128, 2**14 - 1, 2**63])
RUNS = st.builds(RunAcks, st.binary(max_size=64), NUMBERS, st.integers(1, 130), REVISIONS)
ACKS = st.builds(Ack, st.text(min_size=1, max_size=40), REVISIONS, st.booleans())
ERRORS = st.builds(InvalidArgument, st.text(max_size=8), reason=st.just("WRONG"))


@NEEDS_NATIVE
@given(st.lists(RUNS | ACKS, max_size=6))
def test_they_are_the_same_bytes(pieces: list[Ack | RunAcks]) -> None:
    each = [one for one in Outcomes(pieces) if isinstance(one, Ack)]
    packed = [ack_fields(one) if isinstance(one, RunAcks) else one for one in pieces]
    assert packed_acks(packed) == packed_acks(each)


@given(st.lists(st.lists(RUNS | ACKS | ERRORS, max_size=4), max_size=4))
def test_outcomes_are_those_of_each_clip(of_streams: list[list[Piece]]) -> None:
    whole = Outcomes([piece for pieces in of_streams for piece in pieces])
    each = list(whole)
    assert len(each) == len(whole)
    assert all(isinstance(one, Ack | MemdbError) for one in each)
    if each:
        assert (whole[0], whole[-1], whole[1:]) == (each[0], each[-1], each[1:])
    pieces = iter(whole.pieces)
    for its_own in of_streams:
        found = first_of(pieces, sum(map(clips_of, its_own)))
        assert list(found.pieces) == its_own
    assert list(pieces) == []


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(RunAcks(b"secret", 1, 2, 3))

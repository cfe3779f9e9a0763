"""Acknowledgements put together of their bytes are what protobuf makes of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memdb.types.clip import Ack
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.clips import fill_ack
from memdb.wire.packed_acks import packed_acks

ACKS = st.builds(Ack, st.text(min_size=1, max_size=200), st.integers(0, 2**64 - 1), st.booleans())


@given(st.lists(ACKS, max_size=40))
def test_they_are_the_same_bytes(acks: list[Ack]) -> None:
    response = pb.IngestClipsResponse()
    for ack in acks:
        fill_ack(response.acks.acks.add(), ack)
    assert packed_acks(acks) == (response.SerializeToString() if acks else b"")

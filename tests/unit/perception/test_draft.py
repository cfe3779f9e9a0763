"""What the clips of an ingest are labelled."""

from __future__ import annotations

import pytest

from memdb.errors import InvalidArgument
from perception.arguments import labels
from perception.draft import OBJECTS_LABEL, clip_labels


def test_labels_of_the_command_line() -> None:
    assert clip_labels(labels(["zone=front porch", "plate=", "a=b=c"])) == {
        "zone": "front porch",
        "plate": "",
        "a": "b=c",
    }
    assert clip_labels(labels([])) == {}


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["porch"], "BAD_TEXT"),
        (["=porch"], "BAD_TEXT"),
        (["zone=porch", "zone=drive"], "AMBIGUOUS"),
        ([f"{OBJECTS_LABEL}=mug"], "NOT_USED"),
        (["zone=" + "x" * 1025], "TOO_LARGE"),
        ([f"{number}=x" for number in range(64)], "TOO_LARGE"),
        ([f"{number}=x" for number in range(65)], "TOO_LARGE"),
    ],
)
def test_what_no_clip_can_have_is_refused(texts: list[str], reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        clip_labels(labels(texts))
    assert refused.value.reason == reason

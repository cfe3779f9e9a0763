"""Labels as read back: a mapping that copies and does not change."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from memdb.types.labels import Labels

LABELS = Labels({"zone": "porch", "kind": "cat"})


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels.update(zone="drive"),
        lambda labels: labels.setdefault("a", "b"),
        lambda labels: labels.__setitem__("zone", "drive"),
        lambda labels: labels.__ior__({"zone": "drive"}),
        lambda labels: labels.pop("zone"),
        lambda labels: labels.popitem(),
        lambda labels: labels.clear(),
        lambda labels: labels.__delitem__("zone"),
    ],
    ids=["update", "setdefault", "set", "ior", "pop", "popitem", "clear", "delete"],
)
def test_nobody_changes_them(change: Callable[[Any], object]) -> None:
    labels = Labels(LABELS)
    with pytest.raises(TypeError, match="only read"):
        change(labels)
    assert labels == LABELS == {"zone": "porch", "kind": "cat"}


def test_they_copy() -> None:
    rebuilt, arguments = LABELS.__reduce__()  # what another process makes of them
    for copied in (copy.copy(LABELS), copy.deepcopy(LABELS), rebuilt(*arguments)):
        assert copied == LABELS
        assert type(copied) is Labels
    assert json.loads(json.dumps(LABELS)) == LABELS
    assert type(LABELS | {"a": "b"}) is dict

"""Where the options of a verb may stand."""

from __future__ import annotations

import itertools

import pytest

from memdb.cli.main import _parser

WORDS = (["from"], ["to"], ["--user", "alice"], ["--token=secret"])
ORDERS = [
    list(itertools.chain.from_iterable(order))
    for order in itertools.permutations(WORDS)
    if order.index(["from"]) < order.index(["to"])
]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_options_stand_before_between_and_behind_what_has_none(order: list[str]) -> None:
    found = _parser().parse_args(["import", *order])
    assert (found.export, found.data, found.user, found.token) == ("from", "to", "alice", "secret")


def test_what_is_left_out_is_left_out() -> None:
    found = _parser().parse_args(["import", "from", "--server", "here:1", "--user", "alice"])
    assert (found.export, found.data, found.server) == ("from", None, "here:1")


@pytest.mark.parametrize(
    "words",
    [
        ["import", "from", "--user", "alice", "to", "more"],
        ["import", "from", "to", "--user", "alice", "more"],
        ["import", "from", "--user", "alice", "--no-such", "to"],
        ["upgrade", "to", "--no-such"],
        ["import", "--user", "alice"],
    ],
    ids=" ".join,
)
def test_what_nothing_takes_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _parser().parse_args(words)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err

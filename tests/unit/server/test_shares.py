"""Whoever comes next finds room, whatever others have taken."""

from __future__ import annotations

from memdb.server.shares import Shares


def taken(shares: Shares, owner: str, size: int = 1) -> int:
    """What the owner gets who takes all it can."""
    before = shares.total
    while shares.fits(owner, size):
        shares.take(owner, size)
    return shares.total - before


def test_one_alone_leaves_a_quarter() -> None:
    shares = Shares(1000)
    assert taken(shares, "a") == 750
    assert taken(shares, "b") > 150


def test_the_first_lot_is_let_in_while_there_is_room() -> None:
    shares = Shares(1000)
    for owner in "abc":
        taken(shares, owner)
    assert shares.fits("z", 1)
    assert not shares.fits("z", 1000)
    assert not Shares(10).fits("z", 11)
    assert Shares(10).fits("z", 10)


def test_what_is_nobodys_may_be_all_of_it() -> None:
    assert taken(Shares(1000), "") == 1000


def test_all_of_it_comes_back() -> None:
    shares = Shares(1000)
    count = taken(shares, "a", 5) // 5
    for _ in range(count):
        shares.give("a", 5)
    assert shares.total == 0
    assert not shares._held

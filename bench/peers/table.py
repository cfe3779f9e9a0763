"""The result as a table of Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from bench.peers.driver import RECALL
from bench.peers.turn import Turn

_HEAD = (
    "engine",
    "form",
    "survives kill -9, power loss",
    "records with tensor /s",
    "load /s",
    "one user: questions/s",
    "one user, a time range",
    "among all",
    "recall@10",
    "RSS MB",
    "disk MB",
    "restart s",
)


def table(turns: Iterable[Turn], clients: tuple[int, ...]) -> str:
    """A row for each engine that ran, a line for each that did not."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    missing = []
    for turn in turns:
        if turn.state != "ran":
            missing.append(f"* {turn.title}: {turn.state}, {turn.reason.splitlines()[0]}")
        if turn.figures:
            lines.append("| " + " | ".join(_cells(turn, clients)) + " |")
    return "\n".join([*lines, *([""] if missing else []), *missing])


def _cells(turn: Turn, clients: tuple[int, ...]) -> list[str]:
    figures, facts = turn.figures, turn.facts
    kept = facts.get("kept_tensors") or facts.get("kept_singles")
    return [
        turn.title,
        str(facts.get("form", "")),
        "no store" if kept is None else f"{kept}, {'yes' if facts.get('synced') else 'no'}",
        _number(figures.get("tensors_per_s")),
        _number(figures.get("load_per_s")),
        *(_rates(turn, kind, clients) for kind in ("user", "user_time", "big")),
        " / ".join(
            "–" if share is None else f"{share:.2f}"
            for share in (figures.get(f"recall_{kind}") for kind in ("user", "user_time", "big"))
        ),
        _number(figures.get("rss_mb")),
        _number(figures.get("disk_mb")),
        _number(figures.get("restart_user_s", figures.get("restart_big_s"))),
    ]


def _rates(turn: Turn, kind: str, clients: tuple[int, ...]) -> str:
    """At each number of clients; marked where it finds less than 95 %."""
    rates = [turn.figures.get(f"{kind}_c{count}_per_s") for count in clients]
    if None in rates:
        return "–"
    short = turn.figures.get(f"recall_{kind}", 1.0) < RECALL
    return " / ".join(map(_number, rates)) + (" (finds less)" if short else "")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"

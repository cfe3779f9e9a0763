"""The result as tables of Markdown: an engine a row, and the ratios with what is aimed for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bench.peers.driver import RECALL
from bench.peers.ratios import GOALS
from bench.peers.turn import Turn


def table(turns: Iterable[Turn], clients: tuple[int, ...], *, brief: bool = False) -> str:
    """A row for each engine that ran, a line for each that did not.

    brief: without what ingest of vectors alone, questions with a range of time and the disk cost.
    """
    rows: list[dict[str, str]] = []
    missing = []
    for turn in turns:
        if turn.state != "ran":
            missing.append(f"* {turn.title}: {turn.state}, {turn.reason.partition(chr(10))[0]}")
        if turn.figures:
            rows.append(_cells(turn, clients))
    heads = [head for head in (rows[0] if rows else {}) if not (brief and head in _LONG)]
    lines = [_line(heads), "|" + "---|" * len(heads)]
    lines += [_line([row[head] for head in heads]) for row in rows]
    return "\n".join([*lines, *([""] if missing else []), *missing])


def goals(ratios: Mapping[str, float]) -> str:
    """What is aimed for beside what was seen, also where this run has no answer."""
    lines = [_line(["ratio", "goal", "seen", ""]), "|---|---|---|---|"]
    for name, (relation, bound) in GOALS.items():
        seen = ratios.get(name)
        word = "not in this run"
        if seen is not None:
            reached = seen >= bound if relation == ">=" else seen <= bound
            word = "reached" if reached else "**missed**"
        sign = "≥" if relation == ">=" else "≤"
        lines.append(_line([f"`{name}`", f"{sign} {bound:g}", _number(seen), word]))
    return "\n".join(lines)


_LONG = ("vectors in /s", "one user, range of time", "disk MB", "one record, p50 ms")


def _cells(turn: Turn, clients: tuple[int, ...]) -> dict[str, str]:
    figures, facts = turn.figures, turn.facts
    kept = facts.get("kept_tensors") or facts.get("kept_singles")
    shares = [figures.get(f"recall_{kind}") for kind in ("user", "user_time", "big")]
    return {
        "engine": turn.title,
        "kept after `kill -9`": str(kept or ("no store" if facts.get("bound") else "–")),
        "synced before it says so": "yes" if facts.get("synced") else "no",
        "with tensor in /s": _number(figures.get("tensors_per_s")),
        "one record, p50 ms": _number(figures.get("single_p50_ms")),
        "vectors in /s": _number(figures.get("load_per_s")),
        "one user: questions/s": _rates(turn, "user", clients),
        "one user, range of time": _rates(turn, "user_time", clients),
        "among all: questions/s": _rates(turn, "big", clients),
        "recall@10": " / ".join("–" if share is None else f"{share:.2f}" for share in shares),
        "RSS MB": _number(figures.get("rss_mb")),
        "disk MB": _number(figures.get("disk_mb")),
        "restart s": _restarts(turn),
    }


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rates(turn: Turn, kind: str, clients: tuple[int, ...]) -> str:
    """At each number of clients; marked where it finds less than 95 %."""
    rates = [turn.figures.get(f"{kind}_c{count}_per_s") for count in clients]
    if None in rates:
        return "–"
    short = turn.figures.get(f"recall_{kind}", 1.0) < RECALL
    return " / ".join(map(_number, rates)) + (" (finds less)" if short else "")


def _restarts(turn: Turn) -> str:
    """To the first answer; and that of a process that stood by."""
    kind = "user" if "restart_user_s" in turn.figures else "big"
    alone, after = (turn.figures.get(f"{what}_{kind}_s") for what in ("restart", "takeover"))
    return _number(alone) if after is None else f"{_number(alone)}; by a standby {_number(after)}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"

"""``python -m bench.peers.chart RESULT.json OUT.png``: bars for each engine; runs in ``bench/.peers/chart``."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # there is no screen
import matplotlib.pyplot as plt

_OURS = "#0b7285"
_THEIRS = "#adb5bd"
_BOUND = "#e9c46a"
_RECALL = 0.95
_BESIDE_PANEL = ("user_c8_per_s",)
_BESIDE = (
    ("echo_c8_per_s", "gRPC echo of the same bytes", _BOUND),
    ("many_c8_per_s", "memdb over gRPC, 32 questions a call", _OURS),
)
_RESTARTS = "restart_user_s", "restart_big_s"
_STANDBY = "takeover_user_s", "takeover_big_s"
_PANELS = (
    ("Questions/s among one user's ~100 vectors, 8 clients", _BESIDE_PANEL),
    ("Questions/s among all vectors, 8 clients", ("big_c8_per_s",)),
    ("Records with a 67,584-byte tensor /s, batches of 64", ("tensors_per_s",)),
    ("Restart to the first answer, s", _RESTARTS),
)


def draw(turns: list[dict[str, Any]], note: str, out: Path) -> None:
    """Four panels with logarithmic scales; who has no figure of a panel, or finds less than 95 %, is not in it."""
    figure, axes = plt.subplots(2, 2, figsize=(13, 9))
    for axis, (title, names) in zip(axes.flat, _PANELS, strict=True):
        bars = [bar for turn in turns for bar in _bars(turn, names)]
        bars.sort(reverse=title.startswith("Restart"))
        places = range(len(bars))
        axis.barh(places, [bar[0] for bar in bars], color=[bar[2] for bar in bars])
        axis.set_yticks(places, [bar[1] for bar in bars], fontsize=8)
        for place, (value, _, _) in zip(places, bars, strict=True):
            words = f" {value:,.0f}" if value >= 10 else f" {value:.2g}"
            axis.annotate(words, (value, place), va="center", fontsize=8)
        axis.set_xscale("log")
        axis.margins(x=0.12)
        if bars:  # the shortest bar has a length that can be seen
            axis.set_xlim(left=10 ** math.floor(math.log10(min(bar[0] for bar in bars) / 2)))
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.text(0.01, 0.005, note, fontsize=7, color="#555555")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    figure.savefig(out, dpi=110)


def _bars(turn: dict[str, Any], names: tuple[str, ...]) -> list[tuple[float, str, str]]:
    """(value, words, colour) of an engine in a panel, and of what was measured beside it."""
    figures, name = turn.get("figures", {}), turn["name"]
    title = turn.get("facts", {}).get("title", name)
    found = []
    value = next((figures[each] for each in names if each in figures), None)
    kind = names[0].partition("_c")[0]
    if value and figures.get(f"recall_{kind}", 1.0) >= _RECALL:
        found.append((value, title, _colour(name)))
    if names == _RESTARTS:
        found += [
            (figures[each], f"{title}, a standby", _OURS) for each in _STANDBY if each in figures
        ]
    if names == _BESIDE_PANEL and name == "memdb_grpc":
        for beside, words, colour in _BESIDE:
            if beside in figures:
                found.append((figures[beside], words, colour))
    return found


def _colour(name: str) -> str:
    if name.startswith("memdb"):
        return _OURS
    return _BOUND if name == "faiss" else _THEIRS


if __name__ == "__main__":
    result = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    draw(result["turns"], result["note"], Path(sys.argv[2]))

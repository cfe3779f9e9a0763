"""``python -m bench.peers.chart RESULT.json OUT.png``: bars for each engine; runs in ``bench/.peers/chart``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # there is no screen
import matplotlib.pyplot as plt

_OURS = "#0b7285"
_THEIRS = "#adb5bd"
_BOUND = "#e9c46a"
_PANELS = (
    ("Questions/s among one user's ~100 vectors, 8 clients", ("user_c8_per_s",)),
    ("Questions/s among all vectors, 8 clients", ("big_c8_per_s",)),
    ("Records with a 67,584-byte tensor /s, batches of 64", ("tensors_per_s",)),
    ("Restart to the first answer, s", ("restart_user_s", "restart_big_s")),
)


def draw(turns: list[dict[str, Any]], note: str, out: Path) -> None:
    """Four panels with logarithmic scales; who has no figure of a panel is not in it."""
    figure, axes = plt.subplots(2, 2, figsize=(13, 9))
    for axis, (title, names) in zip(axes.flat, _PANELS, strict=True):
        bars = []
        for turn in turns:
            value = next((turn["figures"][n] for n in names if n in turn["figures"]), None)
            short = names[0].startswith(("user_c", "big_c")) and (
                turn["figures"].get(f"recall_{names[0].partition('_')[0]}", 1.0) < 0.95
            )
            if value is not None and not short:
                bars.append(
                    (value, turn["facts"].get("title", turn["name"]), _colour(turn["name"]))
                )
        bars.sort(reverse=title.startswith("Restart"))
        places = range(len(bars))
        axis.barh(places, [bar[0] for bar in bars], color=[bar[2] for bar in bars])
        axis.set_yticks(places, [bar[1] for bar in bars], fontsize=8)
        for place, bar in zip(places, bars, strict=True):
            axis.annotate(
                f" {bar[0]:,.0f}" if bar[0] >= 10 else f" {bar[0]:.2g}",
                (bar[0], place),
                va="center",
                fontsize=8,
            )
        axis.set_xscale("log")
        axis.margins(x=0.12)
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.text(0.01, 0.005, note, fontsize=7, color="#555555")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    figure.savefig(out, dpi=110)


def _colour(name: str) -> str:
    if name.startswith("memdb"):
        return _OURS
    return _BOUND if name == "faiss" else _THEIRS


if __name__ == "__main__":
    result = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    draw(result["turns"], result["note"], Path(sys.argv[2]))

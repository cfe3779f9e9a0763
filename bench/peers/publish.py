"""``python -m bench.peers.publish DIR [--remark TEXT]``: the report of a run into the README, chart and tables.

DIR is what ``python -m bench peers --report DIR`` wrote, within the repository.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.peers.table import goals, table
from bench.peers.turn import ROOT, Turn

BEGIN = "<!-- made by `make peers` -->"
END = "<!-- end of what `make peers` makes -->"


def section(result: dict[str, Any], chart: str | None, remark: str) -> str:
    """What stands between the marks."""
    turns = [Turn(**turn) for turn in result["turns"]]
    clients = tuple(result["config"]["clients"])
    counts = " / ".join(map(str, clients))
    parts = [
        f"{result['note']}. Questions at {counts} clients; recall: one user / range of time / among all."
        + (f" {remark}" if remark else ""),
        *([f"![Rates and restart of memdb and of other engines]({chart})"] if chart else []),
        table(turns, clients, brief=True),
        goals(result["ratios"]),
    ]
    return "\n\n".join(parts)


def replaced(text: str, between: str) -> str:
    """A text with something else between the marks; raises `ValueError` where it has none."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"no place marked {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{between}\n\n{END}{after}"


def main() -> int:
    """Publish; returns the exit status."""
    parser = argparse.ArgumentParser("python -m bench.peers.publish", description=__doc__)
    parser.add_argument("report", type=Path, metavar="DIR")
    parser.add_argument("--remark", default="", help="what else a reader has to know of the run")
    options = parser.parse_args()
    report = options.report.resolve()
    result = json.loads((report / "result.json").read_text("utf-8"))
    chart = report / "chart.png"
    link = str(chart.relative_to(ROOT)) if chart.exists() else None
    readme = ROOT / "README.md"
    between = section(result, link, options.remark)
    readme.write_text(replaced(readme.read_text("utf-8"), between), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

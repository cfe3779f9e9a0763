"""The same records and questions for memdb and for other engines that store vectors, one after the other.

100,000 vectors x 1536 of 1,000 users in four streams each, with times; ten best among one user's, among one user's of a
range of time, and among all.  For others "among all" is a question without a filter to the same collection; for
us it is one to a user who has all of them, in a directory of its own.  Then 5,000 records with 67,584 bytes
each in batches of 64, and SIGKILL right after the last acknowledgement.  Widths of search are raised until 95 % of the
ten best among all are found; who finds less is compared with nothing.

An engine that is not installed (`python -m bench.peers.install`) is reported as absent.  Each has its turn in a
network and a process table of its own; `NAME_yardstick_ms`, a scan of 100 MB by numpy, tells how quick the machine was.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

from bench.peers import isolation
from bench.peers.install import python_of
from bench.peers.ratios import ratios
from bench.peers.registry import OURS, PEERS
from bench.peers.table import goals, table
from bench.peers.turn import ROOT, Turn, take_turn
from bench.peers.work import Size, Work, prepare
from bench.report import Result, Setup, result

VECTORS = 100_000
FULL = Size(
    vectors=VECTORS,
    tensors=5_000,
    seconds=1.2,
    warm_s=15.0,
    rounds=3,
    clients=(1, 8, 32),
    judged=100,
    single=200,
)
QUICK = Size(
    vectors=2_000,
    tensors=128,
    seconds=0.2,
    warm_s=0.2,
    rounds=1,
    clients=(1, 8),
    judged=20,
    single=20,
)


def run(setup: Setup) -> Result:
    """Measure."""
    chosen = tuple(PEERS) if setup.peers is None else setup.peers
    size = QUICK if setup.quick else FULL
    if setup.vectors is not None:
        size = Size(**{**asdict(size), "vectors": setup.vectors})
    setup.folder.chmod(0o711)  # an engine that refuses to run as root reaches its own folder
    work = prepare(setup.folder / "work", setup.seed, size)
    turns = _turns((*OURS, *chosen), work, setup.folder)
    figures = {
        f"{name}_{figure}": value
        for name, turn in turns.items()
        for figure, value in turn.figures.items()
    }
    config: dict[str, object] = {
        **asdict(size),
        "users": size.users,
        "apart": bool(isolation.prefix()),
        "ran": [name for name, turn in turns.items() if turn.state == "ran"],
        "failed": {n: turn.reason for n, turn in turns.items() if turn.state == "failed"},
        "absent": {n: turn.reason for n, turn in turns.items() if turn.state == "absent"},
        "facts": {name: turn.facts for name, turn in turns.items() if turn.facts},
    }
    found = result("peers", setup, config, figures, ratios(turns, size.clients))
    written = table(turns.values(), size.clients)
    print(f"{written}\n\n{goals(found.ratios)}\n")
    if setup.report is not None:
        _report(setup.report, found, list(turns.values()), written)
    return found


def _turns(names: tuple[str, ...], work: Work, folder: Path) -> dict[str, Turn]:
    """Of each, one after the other.

    Ctrl-C ends the one that it meets and leaves out the rest: what an hour has measured is worth a table.
    """
    turns: dict[str, Turn] = {}
    try:
        for name in names:
            turns[name] = take_turn(name, work, folder / name)
    except KeyboardInterrupt:
        for name in names[len(turns) :]:
            turns[name] = Turn(name, "absent", "the run was interrupted before it had ended")
    return turns


def _report(folder: Path, found: Result, turns: list[Turn], written: str) -> None:
    """`result.json`, `table.md` and, where matplotlib's environment is installed, `chart.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    note = f"{found.machine}; {found.config['vectors']:,} vectors x 1536; seed {found.seed}"
    drawn = {**asdict(found), "note": note, "turns": [asdict(turn) for turn in turns]}
    (folder / "result.json").write_text(json.dumps(drawn, indent=1) + "\n", "utf-8")
    (folder / "table.md").write_text(written + "\n", "utf-8")
    python = python_of("chart")
    if python is None:
        print("no chart: python -m bench.peers.install chart")
        return
    subprocess.run(
        [
            *(str(python), "-m", "bench.peers.chart"),
            *(str((folder / "result.json").resolve()), str((folder / "chart.png").resolve())),
        ],
        cwd=ROOT,
        check=True,
    )

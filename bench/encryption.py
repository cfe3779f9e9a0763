"""What encryption at rest costs: the same writes and questions in a plain and an encrypted directory.

``python -m bench.encryption [--clips N] [--directory DIR]``: clips of 16 frames of 4 tokens of 1536
float16 elements, one acknowledged after the other, then questions that bring their 4 best with
their short-term memory.  The two directories take turns, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from memdb import Clip
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase

FRAMES: Final = 16
TOKENS: Final = 4
DIM: Final = 1536
SECOND_NS: Final = 10**9
QUESTIONS: Final = 300
OPENS: Final = 11


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description="What encryption at rest costs.")
    parser.add_argument("--clips", type=int, default=500, help="clips of each directory")
    parser.add_argument("--directory", help="where the files go; default: the temporary directory")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="memdb-bench-", dir=options.directory))
    try:
        json.dump(measured(folder, options.clips, options.seed), sys.stdout, indent=1)
    finally:
        shutil.rmtree(folder)
    print()
    return 0


def measured(folder: Path, clips: int, seed: int) -> dict[str, dict[str, float]]:
    """Milliseconds by "plain" and "encrypted"."""
    key = folder / "master.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(32))
    configs = {
        "plain": EngineConfig(),
        "encrypted": EngineConfig(master_key_file=str(key)),
    }
    made = np.random.default_rng(seed)
    databases = {
        name: EmbeddedDatabase(folder / name, config=config, embed_texts=False)
        for name, config in configs.items()
    }
    writes: dict[str, list[float]] = {name: [] for name in databases}
    grounds: dict[str, list[float]] = {name: [] for name in databases}
    opens: dict[str, list[float]] = {name: [] for name in databases}
    names = list(databases)
    try:
        streams = {}
        for name, db in databases.items():
            db.create_space("bench", dim=DIM)
            streams[name] = db.user("alice").stream("door", space="bench")
        for seq in range(clips):
            clip = Clip(
                seq=seq,
                start_ns=seq * 4 * SECOND_NS,
                end_ns=(seq + 1) * 4 * SECOND_NS,
                global_memory=made.standard_normal(DIM).astype(np.float16),
                short_memory=made.standard_normal((FRAMES * TOKENS, DIM)).astype(np.float16),
            )
            for name in _in_turn(names, seq):
                began_s = time.perf_counter()
                streams[name].write(clip)
                writes[name].append(time.perf_counter() - began_s)
        for number in range(QUESTIONS):
            question = made.standard_normal(DIM).astype(np.float32)
            for name in _in_turn(names, number):
                began_s = time.perf_counter()
                databases[name].user("alice").ground(
                    question, space="bench", with_short_memory=True
                )
                grounds[name].append(time.perf_counter() - began_s)
    finally:
        for db in databases.values():
            db.close()
    for number in range(OPENS):
        for name in _in_turn(names, number):
            with EmbeddedDatabase(folder / name, config=configs[name], embed_texts=False) as db:
                began_s = time.perf_counter()
                db.user("alice").streams()
                opens[name].append(time.perf_counter() - began_s)
    return {
        name: {
            "write_p50_ms": _ms(writes[name], 50),
            "write_p99_ms": _ms(writes[name], 99),
            "ground_p50_ms": _ms(grounds[name], 50),
            "ground_p99_ms": _ms(grounds[name], 99),
            "open_p50_ms": _ms(opens[name], 50),
        }
        for name in databases
    }


def _in_turn(names: list[str], turn: int) -> list[str]:
    """Whoever goes second meets a disk that the first has just kept busy."""
    return names if turn % 2 == 0 else names[::-1]


def _ms(seconds: list[float], percentile: int) -> float:
    return round(float(np.percentile(seconds, percentile)) * 1e3, 3)


if __name__ == "__main__":
    sys.exit(main())

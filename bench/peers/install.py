"""``python -m bench.peers.install [NAME ...]``: an environment for each engine, and one for the chart.

They lie below ``bench/.peers`` or ``$MEMDB_BENCH_PEERS``; what goes into one is pinned in
``bench/peers/requirements/NAME.txt``.  One that is there with the same pins is left as it is; one whose installation
failed is removed, so that it counts as absent.
"""

from __future__ import annotations

import argparse
import lzma
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
ENVIRONMENTS = Path(os.environ.get("MEMDB_BENCH_PEERS", Path(__file__).parents[1] / ".peers"))
_MARK = "installed.txt"


def available() -> list[str]:
    """Names of the environments that can be made."""
    return sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))


def python_of(name: str) -> Path | None:
    """The interpreter of an environment; None where it is not installed."""
    python = ENVIRONMENTS / name / "bin" / "python"
    return python if (ENVIRONMENTS / name / _MARK).exists() and python.exists() else None


def install(name: str) -> None:
    """Make the environment ``name``; raises `subprocess.CalledProcessError` where pip fails."""
    wanted = (REQUIREMENTS / f"{name}.txt").read_text("utf-8")
    folder = ENVIRONMENTS / name
    mark = folder / _MARK
    if mark.exists() and mark.read_text("utf-8") == wanted:
        print(f"{name}: there already")
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
        subprocess.run(
            [
                *(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"),
                *("--disable-pip-version-check", "--no-deps"),
                *("-r", str(REQUIREMENTS / f"{name}.txt")),
            ],
            check=True,
        )
        for step in _AFTER.get(name, ()):
            step(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    mark.write_text(wanted, "utf-8")
    print(f"{name}: installed")


def _link_openssl(folder: Path) -> None:
    """RediSearch wants OpenSSL 1.1, which newer systems have no more: the one in psycopg2's wheel."""
    links = folder / "openssl11"
    links.mkdir()
    libraries = next(folder.glob("lib/python*/site-packages/psycopg2_binary.libs"))
    for stem in ("libssl", "libcrypto"):
        (found,) = libraries.glob(f"{stem}-*.so.1.1")
        (links / f"{stem}.so.1.1").symlink_to(found.resolve())
        (links / found.name).symlink_to(found.resolve())  # they name each other so


def _unpack_milvus(folder: Path) -> None:
    """The server's program and libraries, which its wheel holds compressed."""
    binaries = folder / "server" / "bin"
    binaries.mkdir(parents=True)
    packed = next(folder.glob("lib/python*/site-packages/milvus/data/bin"))
    for path in packed.glob("*.lzma"):
        target = binaries / path.stem
        with lzma.open(path) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
        target.chmod(0o755)


_AFTER = {"redis": (_link_openssl,), "milvus": (_unpack_milvus,)}


def main() -> int:
    """Install what is named, all by default; returns the exit status."""
    parser = argparse.ArgumentParser("python -m bench.peers.install", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *available()], metavar="NAME")
    failed = []
    for name in parser.parse_args().names or available():
        try:
            install(name)
        except (subprocess.CalledProcessError, OSError, StopIteration, ValueError) as error:
            print(f"{name}: not installed: {error}", file=sys.stderr)
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Generates memdb/v1 from proto/memdb/v1, or checks that what is checked in is current.

    python scripts/protos.py            write the stubs
    python scripts/protos.py --check    write nothing; list what differs and exit 1

The stubs are checked in, so that a fresh clone imports without a build step. Each `.proto` has
its messages (`_pb2.py`, `_pb2.pyi`) and, where it declares a service, its services
(`_pb2_grpc.py`, `_pb2_grpc.pyi`). Hand-written files of memdb/v1 (its `__init__.py`) are left
alone. The generator is pinned in pyproject.toml: its version is part of its output, and that
output refuses to import on older grpcio and protobuf.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO_ROOT = ROOT / "proto"
PACKAGE = Path("memdb/v1")
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def main() -> int:
    """Parses the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as name:
        fresh = generate(Path(name))
    present = stubs(ROOT)
    if not check:
        for path in present.keys() - fresh.keys():
            (ROOT / path).unlink()
        (ROOT / PACKAGE).mkdir(exist_ok=True)
        for path, content in fresh.items():
            (ROOT / path).write_bytes(content)
        print(f"protos: {len(fresh)} files in {PACKAGE}")
        return 0
    stale = sorted(p for p in present.keys() | fresh.keys() if present.get(p) != fresh.get(p))
    for path in stale:
        print(f"{path}: not what proto/ generates; run `make proto`", file=sys.stderr)
    return 1 if stale else 0


def generate(out: Path) -> dict[Path, bytes]:
    """Runs protoc into `out` and returns the files by their path under the repository root."""
    sources = sorted(str(p.relative_to(PROTO_ROOT)) for p in (PROTO_ROOT / PACKAGE).glob("*.proto"))
    if not sources:
        sys.exit(f"protos: no .proto file in {PROTO_ROOT / PACKAGE}")
    scripts = Path(sys.executable).parent  # the mypy plug-ins stand beside this interpreter
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"--proto_path={PROTO_ROOT}",
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet:{out}",
            *sources,
        ],
        check=True,
    )
    files = stubs(out)
    # protoc writes a service file for every source; without a service in it nobody needs it.
    without = {Path(s) for s in sources if "\nservice " not in (PROTO_ROOT / s).read_text("utf-8")}
    return {p: c for p, c in files.items() if not (_is_service(p) and _source(p) in without)}


def stubs(root: Path) -> dict[Path, bytes]:
    """The generated files below `root`, by their path relative to it."""
    found = {p for pattern in GENERATED for p in (root / PACKAGE).glob(pattern)}
    return {p.relative_to(root): p.read_bytes() for p in found}


def _is_service(path: Path) -> bool:
    return path.stem.endswith("_pb2_grpc")


def _source(path: Path) -> Path:
    return path.with_name(path.stem.removesuffix("_grpc").removesuffix("_pb2") + ".proto")


if __name__ == "__main__":
    sys.exit(main())

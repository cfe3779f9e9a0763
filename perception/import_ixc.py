"""`memdb-import-ixc`: the memory files of InternLM-XComposer2.5-OmniLive become clips of a stream.

The published system leaves, at every question, ``temp_glb.pth``, the (k, C) global memory with a row per
clip, and ``temp_lol_mem.pth``, a list of (4 * frames, C) short-term memories: of every clip, or of those
that the question selected, without saying which.  So:

- both, with as many memories as rows: clips with both;
- ``temp_glb.pth`` alone: clips with a global memory only;
- ``temp_lol_mem.pth`` alone: the global memory is the mean of the tokens, since the file has no other;
- both, with another number of memories: refused, since nobody can tell which memory is whose.

Times in these files are seconds since the session began, one frame a second; ``--start`` says when that
was, else it is 1970.  The same files give the same clips, so an import may be repeated.

Files are pickles by origin and are read by torch's loader of plain tensors, which runs nothing;
``temp_lol_img.pth`` (pickled pictures) is therefore refused.
"""

from __future__ import annotations

# Nothing of ours at the top: `--help` and a wrong option need neither torch nor gRPC.
import argparse
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import memdb
from memdb.grpclog import silence_grpc
from memdb.interrupts import INTERRUPTED, loading
from memdb.types.authorities import TLS_HELP, authorities

if TYPE_CHECKING:
    from memdb.types.arrays import Array
    from memdb.types.clip import Clip
    from memdb.types.database import Database

TOKENS_PER_FRAME: Final = 4
FRAMES_DEFAULT: Final = 16
"""Of a clip whose short-term memory is not there to tell; the longest that the system makes."""
GLOBAL_NAME: Final = "glb"
SOURCE_LABEL: Final = "source"
"""Says of a clip where it came from."""
MODEL: Final = "internlm/internlm-xcomposer2d5-ol-7b"
_SECOND_NS: Final = 10**9
_BATCH: Final = 32

_EXAMPLE: Final = """\
example:
  memdb-import-ixc temp_glb.pth temp_lol_mem.pth --server localhost:7700 \\
      --user alice --stream door --space ixc
"""


@dataclass(frozen=True, slots=True)
class Memories:
    """What the files hold, as numpy."""

    global_memories: Array | None
    """(k, C)."""
    short_memories: tuple[Array, ...] | None
    """(rows, C) each."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did."""

    clips_written: int
    clips_present: int
    frames: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 1 it failed, 2 wrong usage, a wrong value included, 130
    interrupted.
    """
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _main(arguments: Sequence[str] | None) -> int:
    with loading():
        from memdb.output import OutputLost, keep_standard_files, parsed, result_on_stdout

    options = parsed(_parser(), arguments)
    with loading():
        from memdb.errors import InvalidArgument, MemdbError

    keep_standard_files()
    try:
        with result_on_stdout():
            _tell(options, _run(options))
    except OutputLost as error:
        if not error.is_read_enough:
            print(f"memdb-import-ixc: {error}", file=sys.stderr)
        return 1
    except MemdbError as error:
        advice = ""
        if error.reason == "SEQ_REUSED":
            advice = (
                "; another session, and the same with another --start or --label, needs --epoch N"
            )
        print(f"memdb-import-ixc: {error}{advice}", file=sys.stderr)
        # What a file holds is nobody's usage.
        return 2 if isinstance(error, InvalidArgument) and error.field != "files" else 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("memdb", "memdb_client", "perception"):
            raise
        print(
            f'memdb-import-ixc: {error.name} is not installed: this needs the extra "memdb[perception]"',
            file=sys.stderr,
        )
        return 1
    return 0


def _tell(options: argparse.Namespace, report: ImportReport) -> None:
    print(
        json.dumps(
            {
                "user": options.user,
                "stream": options.stream,
                "clips_written": report.clips_written,
                "clips_present": report.clips_present,
                "frames": report.frames,
            }
        )
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memdb-import-ixc",
        description="Write the memory files of InternLM-XComposer2.5-OmniLive into a stream. "
        "Importing again writes nothing.",
        epilog=_EXAMPLE,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"memdb-import-ixc {memdb.__version__}")
    add(
        "files",
        metavar="FILE",
        nargs="+",
        help="temp_glb.pth, temp_lol_mem.pth, or both: what has `glb` in its name is taken for the global memory, "
        "another for short-term memories",
    )
    add("--server", required=True, metavar="HOST:PORT", help="a running `memdb serve`")
    add("--token", help="token of the user, where the server asks for one")
    add("--tls", metavar="FILE", help=TLS_HELP)
    add("--user", required=True, help="whose memory")
    add("--stream", required=True, help="the stream; made when there is none")
    add("--space", required=True, help="its feature space; made when there is none")
    add("--start", metavar="RFC3339", help="when the session began (default: 1970)")
    add(
        "--label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label of every clip, by which questions can be narrowed (memdb-ask --label): zone=porch (may be "
        "repeated)",
    )
    add(
        "--epoch", type=int, default=0, metavar="N", help="which session of the stream (default: 0)"
    )
    return parser


def _run(options: argparse.Namespace) -> ImportReport:
    silence_grpc()
    with loading():
        import memdb_client
        from memdb.types.checks import check_int
        from memdb.types.ids import check_id
        from memdb.types.limits import EPOCH_MAX
        from memdb.types.times import as_ns, moment
        from perception.arguments import labels, server_address
        from perception.draft import clip_labels
        from perception.reach import reach

    start_ns = 0 if options.start is None else as_ns(moment(options.start, "start"), "start")
    given = clip_labels(labels(options.label), SOURCE_LABEL)
    for name in ("user", "stream", "space"):
        check_id(getattr(options, name), name)
    check_int(options.epoch, "epoch", 0, EPOCH_MAX)
    server_address(options.server)
    tls = authorities(options.tls)
    # What is wrong by itself has been told; it makes no connection yet.
    with memdb_client.connect(options.server, token=options.token, tls=tls) as database:
        memories = load([Path(file) for file in options.files])
        reach(options.server, options.token, tls=tls)
        return write(
            database,
            memories,
            user=options.user,
            stream=options.stream,
            space=options.space,
            start_ns=start_ns,
            epoch=options.epoch,
            labels=given,
        )


def load(files: Sequence[Path]) -> Memories:
    """Read one or both files: the one with ``glb`` in its name holds the global memory.

    Raises `InvalidArgument` (``BAD_FILE``, ``CLIPS_MISMATCH``, ``DIM_MISMATCH``) and `NotFound`
    (``FILE_NOT_FOUND``).
    """
    from memdb.errors import InvalidArgument

    global_memories: Array | None = None
    short_memories: tuple[Array, ...] | None = None
    for file in files:
        tensors = _tensors(file)
        if GLOBAL_NAME in file.name:
            if global_memories is not None or len(tensors) != 1:
                raise _bad(file, "one file with one (clips, dim) matrix is the global memory")
            (global_memories,) = tensors
        elif short_memories is not None:
            raise _bad(file, "one file holds the short-term memories")
        else:
            short_memories = tensors
    found = Memories(global_memories, short_memories)
    dims = {array.shape[1] for array in (short_memories or ())}
    if global_memories is not None:
        dims.add(global_memories.shape[1])
        if short_memories is not None and len(short_memories) != len(global_memories):
            raise InvalidArgument(
                f"{len(short_memories)} short-term memories for {len(global_memories)} clips: the "
                "question had selected some, and the files do not say which; give "
                "one of the files alone",
                reason="CLIPS_MISMATCH",
                field="files",
            )
    if len(dims) != 1:
        raise InvalidArgument(
            f"tensors of different dims: {sorted(dims)}", reason="DIM_MISMATCH", field="files"
        )
    return found


def write(
    database: Database,
    memories: Memories,
    *,
    user: str,
    stream: str,
    space: str,
    start_ns: int = 0,
    epoch: int = 0,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> ImportReport:
    """Write the clips; those that are there already are recognised.

    labels: of every clip, beside the one that says where it came from.

    Raises `FailedPrecondition` (``SPACE_MISMATCH``), `InvalidArgument` (``DIM_MISMATCH``) and
    `AlreadyExists` (``SEQ_REUSED``: another session, or other labels, under the same epoch).
    """
    from memdb.errors import NotFound

    first, *_ = clips = list(_clips(memories, start_ns, epoch, labels))
    try:
        database.space(space)
    except NotFound:
        database.create_space(space, dim=len(first.global_memory), metric="cosine", model=MODEL)
    target = database.user(user).stream(stream, space=space)
    acks = [
        ack
        for begin in range(0, len(clips), _BATCH)
        for ack in target.write_many(clips[begin : begin + _BATCH])
    ]
    present = sum(ack.duplicate for ack in acks)
    frames = (clips[-1].end_ns - clips[0].start_ns) // _SECOND_NS
    return ImportReport(len(acks) - present, present, frames)


def _clips(
    memories: Memories, start_ns: int, epoch: int, labels: Mapping[str, str]
) -> Iterator[Clip]:
    import numpy as np

    from memdb.types.clip import Clip

    shorts, vectors = memories.short_memories, memories.global_memories
    count = len(shorts) if shorts is not None else len(vectors if vectors is not None else ())
    for seq in range(count):
        short = None if shorts is None else shorts[seq]
        vector: Array
        if vectors is not None:
            vector = vectors[seq]
        else:
            assert short is not None, "one of the two is there"
            vector = np.asarray(np.mean(short, axis=0, dtype=np.float32))
        frames = FRAMES_DEFAULT if short is None else -(-len(short) // TOKENS_PER_FRAME)
        end_ns = start_ns + frames * _SECOND_NS
        yield Clip(
            seq=seq,
            epoch=epoch,
            start_ns=start_ns,
            end_ns=end_ns,
            global_memory=vector,
            short_memory=short,
            frames_per_token_row=None if short is None else 1 / TOKENS_PER_FRAME,
            labels={SOURCE_LABEL: "ixc2.5-ol", **labels},
        )
        start_ns = end_ns


def _tensors(file: Path) -> tuple[Array, ...]:
    """The (rows, dim) tensors of a file, in their order."""
    import torch

    from memdb.errors import NotFound

    try:
        is_there, why = file.is_file(), ""
    except OSError as error:
        # Its name is too long, or it may not be looked at.
        is_there, why = False, f": {error.strerror}"
    if not is_there:
        raise NotFound(
            f"no such file{why}", reason="FILE_NOT_FOUND", field="files", value=str(file)
        )
    _check_stored(file)
    try:
        held: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # Whatever it raises, the file is not one that holds plain tensors.
        raise _bad(file, "cannot be read as plain tensors") from error
    tensors = held if isinstance(held, (list, tuple)) else [held]
    if not tensors:
        raise _bad(file, "it is empty")
    arrays: list[Array] = []
    left = file.stat().st_size
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise _bad(file, f"it holds a {type(tensor).__name__}, not a float tensor")
        if tensor.layout != torch.strided:
            raise _bad(file, "it holds a sparse tensor")
        if tensor.device.type != "cpu":
            raise _bad(file, "it holds a tensor without elements")  # of the device "meta"
        while tensor.ndim > 2 and tensor.shape[0] == 1:
            tensor = tensor[0]  # a batch of one
        if tensor.ndim != 2 or 0 in tensor.shape:
            raise _bad(
                file,
                f"it holds a tensor of shape {tuple(tensor.shape)}, where a matrix (rows, dim) or a list of them "
                "is expected",
            )
        # A few bytes may be said to be a matrix of any size, all of whose rows they are.
        left -= tensor.numel() * tensor.element_size()
        if left < 0:
            raise _bad(file, "its tensors say that they are larger than the file")
        plain = tensor.detach()
        if plain.dtype not in (torch.float16, torch.float32):
            plain = plain.float()
        arrays.append(plain.contiguous().numpy())
    return tuple(arrays)


def _check_stored(file: Path) -> None:
    """Refuse a compressed file, which may be a thousand times as large in memory; torch writes none."""
    try:
        if not zipfile.is_zipfile(file):
            return
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except Exception as error:
        # Of a damaged file it raises what it comes upon: NotImplementedError, ValueError, struct.error.
        raise _bad(file, "cannot be read as plain tensors") from error
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise _bad(file, "it is compressed")


def _bad(file: Path, what: str) -> Exception:
    from memdb.errors import InvalidArgument

    return InvalidArgument(what, reason="BAD_FILE", field="files", value=file.name)


if __name__ == "__main__":
    sys.exit(main())

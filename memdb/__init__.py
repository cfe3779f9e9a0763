"""memdb: a persistent memory database for agents that watch and listen.

``memdb.open(path)`` is the embedded database; ``memdb_client.connect(address)`` the same interface
over gRPC.  Importing this package loads neither LMDB, FAISS nor gRPC, and numpy only with the first name
that is asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memdb.engine.database import EmbeddedDatabase
    from memdb.errors import (
        AlreadyExists,
        DataLoss,
        DeadlineExceeded,
        FailedPrecondition,
        Internal,
        InvalidArgument,
        MemdbError,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        Unauthenticated,
        Unavailable,
    )
    from memdb.types.arm import Arm, ArmMatch
    from memdb.types.backup import BackupReport
    from memdb.types.change import (
        Change,
        CompactionReport,
        Discrepancy,
        ErasureReport,
        Verification,
    )
    from memdb.types.clip import Ack, Clip, Keyframe, SoundEvent, StoredClip, Utterance
    from memdb.types.coverage import StreamCoverage
    from memdb.types.database import Database, IngestWriter, Standing, Stream, User
    from memdb.types.fact import Fact, LongTermMemory, MemorySpan, Recall, RecallHit, Statement
    from memdb.types.grounding import Grounding, Hit, Span
    from memdb.types.label_count import LabelCount
    from memdb.types.label_filter import Not
    from memdb.types.retention import Retention, SweepReport
    from memdb.types.snapshot import Snapshot
    from memdb.types.space import Space
    from memdb.types.standing import Alert, Backtest, StandingQuestion, ThresholdCount
    from memdb.types.stream import Gap, Ledger, StreamInfo

__version__ = "0.1.0"

_HOMES = {
    "memdb.errors": (
        "AlreadyExists",
        "DataLoss",
        "DeadlineExceeded",
        "FailedPrecondition",
        "Internal",
        "InvalidArgument",
        "MemdbError",
        "NotFound",
        "PermissionDenied",
        "ResourceExhausted",
        "Unauthenticated",
        "Unavailable",
    ),
    "memdb.types.arm": ("Arm", "ArmMatch"),
    "memdb.types.backup": ("BackupReport",),
    "memdb.types.change": (
        "Change",
        "CompactionReport",
        "Discrepancy",
        "ErasureReport",
        "Verification",
    ),
    "memdb.types.clip": ("Ack", "Clip", "Keyframe", "SoundEvent", "StoredClip", "Utterance"),
    "memdb.types.coverage": ("StreamCoverage",),
    "memdb.types.database": ("Database", "IngestWriter", "Standing", "Stream", "User"),
    "memdb.types.fact": (
        "Fact",
        "LongTermMemory",
        "MemorySpan",
        "Recall",
        "RecallHit",
        "Statement",
    ),
    "memdb.types.grounding": ("Grounding", "Hit", "Span"),
    "memdb.types.label_count": ("LabelCount",),
    "memdb.types.label_filter": ("Not",),
    "memdb.types.retention": ("Retention", "SweepReport"),
    "memdb.types.snapshot": ("Snapshot",),
    "memdb.types.space": ("Space",),
    "memdb.types.standing": ("Alert", "Backtest", "StandingQuestion", "ThresholdCount"),
    "memdb.types.stream": ("Gap", "Ledger", "StreamInfo"),
}
"""Where each public name comes from, looked up when it is first asked for: numpy alone takes a third of a
second, in which a command could neither print its help nor be interrupted quietly."""


def open(  # noqa: A001 - the verb users know
    path: str | os.PathLike[str],
    *,
    master_key_file: str | os.PathLike[str] | None = None,
    durability: str = "durable",
    approximate_rows_min: int | None = None,
    close_checkpoint_s: float | None = None,
) -> EmbeddedDatabase:
    """Open (or create) the database in directory ``path`` in this process.

    master_key_file: 32 bytes, or 64 hexadecimal digits, that only the owner may read; a database
    made with one is encrypted and opens with no other.

    durability: what a commit waits for, ``durable`` or ``relaxed`` (docs/guarantees.md).

    approximate_rows_min: vectors of a user in a space from which on questions about now may be answered
    approximately, which `Grounding.approximate` tells; None: 50,000, 0: all are answered exactly.

    close_checkpoint_s: how long closing the database may write what large users open sooner by; None: 10 seconds,
    0: nothing is written then.

    Raises `InvalidArgument` (``BAD_PATH``, ``BAD_CONFIG``); `FailedPrecondition`: ``DIRECTORY_LOCKED`` when another
    process has it open, ``FORMAT_NEWER`` when a newer memdb wrote it, ``NOT_A_DATABASE`` when other
    files lie there (nothing is touched then), ``NO_DIRECTORY`` when the system refuses it,
    ``MASTER_KEY_REQUIRED``, ``MASTER_KEY_MISMATCH``, ``NOT_ENCRYPTED``, ``MASTER_KEY_EXPOSED``.  Needs
    the extra ``memdb[server]``, and with a master key ``memdb[encryption]``.
    """
    from dataclasses import replace  # noqa: PLC0415 - as all of ours

    from memdb.errors import FailedPrecondition, InvalidArgument  # noqa: PLC0415 - as all of ours

    try:
        # Imported here so that `import memdb` stays light for clients.
        from memdb.engine.database import EmbeddedDatabase  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "memdb":
            raise
        raise FailedPrecondition(
            f'{error.name} is not installed: memdb.open needs the extra "memdb[server]"',
            reason="EXTRA_MISSING",
            field="path",
        ) from error
    from memdb.config import EngineConfig, IndexConfig  # noqa: PLC0415

    named = "" if master_key_file is None else master_key_file
    if isinstance(named, os.PathLike):
        named = os.fspath(named)
    if not isinstance(named, str) or (named == "" and master_key_file is not None):
        # From a variable that is not set, say: a plain directory is not what was meant.  Or the key itself, which
        # is not told.
        raise InvalidArgument(
            "expected the name of a file",
            reason="BAD_MASTER_KEY",
            field="master_key_file",
            value="" if isinstance(named, str) else type(named).__name__,
        )
    index = IndexConfig()
    if approximate_rows_min is not None:
        index = replace(index, approximate_rows_min=approximate_rows_min)
    if close_checkpoint_s is not None:
        index = replace(index, close_checkpoint_s=close_checkpoint_s)
    config = EngineConfig(master_key_file=named, durability=durability)
    return EmbeddedDatabase(path, config=config, index=index)


__all__ = [
    "Ack",
    "Alert",
    "AlreadyExists",
    "Arm",
    "ArmMatch",
    "Backtest",
    "BackupReport",
    "Change",
    "Clip",
    "CompactionReport",
    "DataLoss",
    "Database",
    "DeadlineExceeded",
    "Discrepancy",
    "ErasureReport",
    "Fact",
    "FailedPrecondition",
    "Gap",
    "Grounding",
    "Hit",
    "IngestWriter",
    "Internal",
    "InvalidArgument",
    "Keyframe",
    "LabelCount",
    "Ledger",
    "LongTermMemory",
    "MemdbError",
    "MemorySpan",
    "Not",
    "NotFound",
    "PermissionDenied",
    "Recall",
    "RecallHit",
    "ResourceExhausted",
    "Retention",
    "Snapshot",
    "SoundEvent",
    "Space",
    "Span",
    "Standing",
    "StandingQuestion",
    "Statement",
    "StoredClip",
    "Stream",
    "StreamCoverage",
    "StreamInfo",
    "SweepReport",
    "ThresholdCount",
    "Unauthenticated",
    "Unavailable",
    "User",
    "Utterance",
    "Verification",
    "open",
]

if not TYPE_CHECKING:  # or every name that does not exist would be taken for one that does

    def __getattr__(name: str) -> Any:
        """A public name, or a module of ours, when it is first asked for."""
        from importlib import import_module  # noqa: PLC0415

        for home, names in _HOMES.items():
            if name in names:
                globals()[name] = found = getattr(import_module(home), name)
                return found
        if name in ("errors", "types"):
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})

"""The client of memdb: the interface of ``memdb.open``, over gRPC, for threads and for asyncio.

::

    import time
    import numpy as np
    from memdb_client import Clip, connect

    with connect("localhost:7700") as db:
        db.create_space("clip-l14", dim=768)
        user = db.user("alice")
        camera = user.stream("front-door", space="clip-l14")
        start_ns = time.time_ns()
        vector = np.ones(768, np.float32)
        clip = Clip(seq=0, start_ns=start_ns, end_ns=start_ns + 4_000_000_000, global_memory=vector)
        camera.write(clip)
        for hit in user.ground(vector).hits:
            print(hit.clip.stream, hit.clip.start_ns, hit.score)

``connect_async`` gives the same methods, awaited.  Values and errors are the classes of `memdb`.
Neither LMDB, FAISS nor torch is loaded.
"""

from __future__ import annotations

from memdb import (
    Ack,
    Alert,
    AlreadyExists,
    Arm,
    ArmMatch,
    Backtest,
    BackupReport,
    Change,
    Clip,
    CompactionReport,
    DataLoss,
    DeadlineExceeded,
    Discrepancy,
    ErasureReport,
    Fact,
    FailedPrecondition,
    Gap,
    Grounding,
    Hit,
    Internal,
    InvalidArgument,
    Keyframe,
    LabelCount,
    Ledger,
    LongTermMemory,
    MemdbError,
    MemorySpan,
    Not,
    NotFound,
    PermissionDenied,
    Recall,
    RecallHit,
    ResourceExhausted,
    Retention,
    Snapshot,
    SoundEvent,
    Space,
    Span,
    StandingQuestion,
    Statement,
    StoredClip,
    StreamCoverage,
    StreamInfo,
    SweepReport,
    ThresholdCount,
    Unauthenticated,
    Unavailable,
    Utterance,
    Verification,
)
from memdb import __version__ as __version__
from memdb_client._async_database import AsyncDatabase
from memdb_client._async_ingest import AsyncIngestWriter
from memdb_client._async_standing import AsyncStanding
from memdb_client._async_stream import AsyncStream
from memdb_client._async_user import AsyncUser
from memdb_client._connect import connect, connect_async
from memdb_client._database import Database
from memdb_client._ingest import IngestWriter
from memdb_client._standing import Standing
from memdb_client._stream import Stream
from memdb_client._user import User

__all__ = [
    "Ack",
    "Alert",
    "AlreadyExists",
    "Arm",
    "ArmMatch",
    "AsyncDatabase",
    "AsyncIngestWriter",
    "AsyncStanding",
    "AsyncStream",
    "AsyncUser",
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
    "connect",
    "connect_async",
]

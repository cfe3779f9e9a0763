"""Every table of a user's environment and of the catalog, declared once, with its keys and values.

Integers in keys are big-endian so that LMDB's byte order is their order; event times are stored
with the sign bit flipped for the same reason (``t``).  ``no`` are numbers that the user's own
commits hand out, from 0.  A *version* of a thing is keyed by the commit that wrote it (``birth``);
the next version's birth is its death.  Every value stands in the envelope of
`memdb.store.envelope`, but for short-term memory: its bytes stand alone, and its clip's record says
what they are, how many, and their checksum.

User environment::

    table         key                                         value
    meta          name                                        record UserRecord, CountersRecord,
                  NumberRecord (sweep), ErasureRecord, HistoryRecord, StandingCountRecord
    meta          "standing/", question no u64                record StandingRecord
    meta          "standing-name/", 16 bytes: BLAKE2b of      record NumberRecord: the question of that
                  the name, keyed by the user's id key        name
    spaces        space_no u32                                record SpaceRecord
    streams       stream_no u32                               record StreamRecord
    ledger        stream_no u32, epoch u32, seq u64           record LedgerRecord: the newest
                  version of the clip
    clips         clip_no u64, birth u64                      record ClipRecord
    vectors       space_no u32, clip_no u64, birth u64        row (see `memdb.store.rows`) + global
                  memory
    short_memory  clip_no u64, birth u64                      bytes, as the client coded them
    keyframes     clip_no u64, birth u64, index u32           blob: time_ns i64 + JPEG
    texts         space_no u32, kind u8, no u64,              row + text feature; kind 0: utterance
                  `index` of
                  index u32, birth u64                        clip no, kind 1: fact no
    facts         fact_no u64, birth u64                      record FactRecord
    fact_keys     key                                         record: fact_no
    values        length u16, key, birth u64                  record: JSON text
    snapshots     name                                        record SnapshotRecord
    pyramid       stream_no u32, level u8, start t            nothing; format 1: sums: clips u64 +
                  float64 sum of unit global
                  memories
    log           revision u64                                record LogRecord
    retention     stream_no u32                               record RetentionRecord

Catalog environment::

    meta          name                                        record: format
    spaces        name                                        record SpaceRecord
    users         user id                                     record: directory name
"""

from __future__ import annotations

import struct
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from memdb.errors import DataLoss

FORMAT: Final = 2
"""Format of the data directory; a reader refuses a higher one."""


class Table(StrEnum):
    """The named databases; names are on disk, never reused."""

    META = "meta"
    SPACES = "spaces"
    STREAMS = "streams"
    LEDGER = "ledger"
    CLIPS = "clips"
    VECTORS = "vectors"
    SHORT_MEMORY = "short_memory"
    KEYFRAMES = "keyframes"
    TEXTS = "texts"
    FACTS = "facts"
    FACT_KEYS = "fact_keys"
    VALUES = "values"
    SNAPSHOTS = "snapshots"
    PYRAMID = "pyramid"
    LOG = "log"
    RETENTION = "retention"
    USERS = "users"


USER_TABLES: Final = tuple(table for table in Table if table is not Table.USERS)
CATALOG_TABLES: Final = (Table.META, Table.SPACES, Table.USERS)

CATALOG: Final = "catalog"
"""Directory of the catalog's environment."""
DATA_FILE: Final = "data.mdb"
"""File of an environment, in its directory."""

META_USER: Final = b"user"
META_COUNTERS: Final = b"counters"
META_FORMAT: Final = b"format"
META_SWEEP: Final = b"sweep"
META_ERASURE: Final = b"erasure"
META_HISTORY: Final = b"history"
META_STANDING: Final = b"standing"
META_QUESTIONS: Final = b"standing/"
"""What every `standing_key` begins with."""
META_QUESTION_NAMES: Final = b"standing-name/"
"""What every `standing_name_key` begins with."""

_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
_VERSION: Final = struct.Struct(">QQ")
_LEDGER: Final = struct.Struct(">IIQ")
_VECTOR: Final = struct.Struct(">IQQ")
_KEYFRAME: Final = struct.Struct(">QQI")
_TEXT: Final = struct.Struct(">IBQIQ")
_TEXTS: Final = struct.Struct(">IBQ")
_LENGTH: Final = struct.Struct(">H")

UTTERANCE: Final = 0
FACT: Final = 1


def _split(layout: struct.Struct, key: bytes) -> tuple[Any, ...]:
    """The parts of a key; raises `DataLoss` (``BAD_KEY``) when it has another length."""
    try:
        return layout.unpack(key)
    except struct.error:
        raise bad_key(key) from None


def bad_key(key: bytes) -> DataLoss:
    """What is raised for a key of another length than its table's (``BAD_KEY``)."""
    return DataLoss("a key has another length than its table's", reason="BAD_KEY", value=key.hex())


def number_key(no: int) -> bytes:
    """Key of tables ``spaces`` and ``streams``."""
    return _U32.pack(no)


def revision_key(revision: int) -> bytes:
    """Key of table ``log``."""
    return _U64.pack(revision)


def version_key(no: int, birth: int) -> bytes:
    """Key of tables ``clips``, ``short_memory`` and ``facts``."""
    return _VERSION.pack(no, birth)


def split_version_key(key: bytes) -> tuple[int, int]:
    """(no, birth) of a `version_key`."""
    try:
        no, birth = _VERSION.unpack(key)  # by itself: openings come here for every version
    except struct.error:
        raise bad_key(key) from None
    return no, birth


def ledger_key(stream_no: int, epoch: int, seq: int) -> bytes:
    """Key of table ``ledger``."""
    return _LEDGER.pack(stream_no, epoch, seq)


def split_ledger_key(key: bytes) -> tuple[int, int, int]:
    """(stream_no, epoch, seq) of a `ledger_key`."""
    stream_no, epoch, seq = _split(_LEDGER, key)
    return stream_no, epoch, seq


def vector_key(space_no: int, clip_no: int, birth: int) -> bytes:
    """Key of table ``vectors``."""
    return _VECTOR.pack(space_no, clip_no, birth)


def split_vector_key(key: bytes) -> tuple[int, int, int]:
    """(space_no, clip_no, birth) of a `vector_key`."""
    try:
        space_no, clip_no, birth = _VECTOR.unpack(key)  # as above
    except struct.error:
        raise bad_key(key) from None
    return space_no, clip_no, birth


def keyframe_key(clip_no: int, birth: int, index: int) -> bytes:
    """Key of table ``keyframes``."""
    return _KEYFRAME.pack(clip_no, birth, index)


def split_keyframe_key(key: bytes) -> tuple[int, int, int]:
    """(clip_no, birth, index) of a `keyframe_key`."""
    clip_no, birth, index = _split(_KEYFRAME, key)
    return clip_no, birth, index


def text_key(space_no: int, kind: int, no: int, index: int, birth: int) -> bytes:
    """Key of table ``texts``."""
    return _TEXT.pack(space_no, kind, no, index, birth)


def texts_prefix(space_no: int, kind: int, no: int) -> bytes:
    """What every `text_key` of a thing in a space begins with."""
    return _TEXTS.pack(space_no, kind, no)


def split_text_key(key: bytes) -> tuple[int, int, int, int, int]:
    """(space_no, kind, no, index, birth) of a `text_key`."""
    space_no, kind, no, index, birth = _split(_TEXT, key)
    return space_no, kind, no, index, birth


def value_key(key: str, birth: int) -> bytes:
    """Key of table ``values``; the length keeps one key from being the prefix of another."""
    return value_prefix(key) + _U64.pack(birth)


def value_prefix(key: str) -> bytes:
    """What every `value_key` of a key begins with, and none of another."""
    raw = key.encode()
    return _LENGTH.pack(len(raw)) + raw


def split_value_key(stored: bytes) -> tuple[str, int]:
    """(key, birth) of a `value_key`."""
    raw, (birth,) = stored[_LENGTH.size : -_U64.size], _split(_U64, stored[-_U64.size :])
    try:
        return raw.decode(), int(birth)
    except UnicodeDecodeError as error:
        raise DataLoss(
            "a key is no text", reason="BAD_KEY", field=f"values/{stored.hex()}"
        ) from error


def standing_key(no: int) -> bytes:
    """Key of a standing question in table ``meta``."""
    return META_QUESTIONS + _U64.pack(no)


def standing_name_key(id_key: bytes, name: str) -> bytes:
    """Key of a standing question's name in table ``meta``: keyed, so that no key tells the name."""
    return META_QUESTION_NAMES + blake2b(name.encode(), key=id_key, digest_size=16).digest()


def split_standing_key(key: bytes) -> int:
    """The number of a `standing_key`."""
    (no,) = _split(_U64, key[len(META_QUESTIONS) :])
    return int(no)

"""Every maximum of memdb, in one place.

The server enforces them on input; the engine asserts them again.
"""

from __future__ import annotations

import re
from typing import Final

ID_PATTERN: Final = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
"""Ids of users, streams, spaces and snapshots."""

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Largest gRPC message, either way."""

DIM_MAX: Final = 8192
"""Elements of a vector."""
TOKENS_MAX: Final = 65_536
"""Rows of one clip's short-term memory, or of a question's tokens."""
SHORT_MEMORY_BYTES_MAX: Final = 12 * 1024 * 1024
"""Decoded bytes of one clip's short-term memory; leaves room in a message for the rest of the clip.
"""
CLIP_BYTES_MAX: Final = 15 * 1024 * 1024
"""Everything that one clip carries; with the fields around it, it fits a message."""
TRANSCRIPT_MAX: Final = 1024
"""Utterances of one clip."""
EVENTS_MAX: Final = 1024
"""Sound events of one clip."""
TEXT_CHARS_MAX: Final = 16_384
"""Characters of one utterance, fact or question."""
KEYFRAMES_MAX: Final = 64
"""Keyframes of one clip."""
KEYFRAME_BYTES_MAX: Final = 1024 * 1024
"""One keyframe."""
LABELS_MAX: Final = 64
"""Labels of one clip."""
LABEL_KEY_CHARS_MAX: Final = 64
"""Key of a label."""
LABEL_VALUE_CHARS_MAX: Final = 1024
"""Value of a label; name of a sound, a speaker, a language, a thing that facts are about."""
ABOUT_MAX: Final = 64
"""Things one fact is about."""
STATEMENTS_MAX: Final = 256
"""Facts remembered in one call."""
STATEMENT_ITEMS_MAX: Final = 8192
"""Things that they are about, and clip ids that they cite, all together."""
STATEMENTS_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of UTF-8 of all their texts, and of their features."""
EVIDENCE_MAX: Final = 256
"""Clip ids one fact cites."""
VALUE_BYTES_MAX: Final = 1024 * 1024
"""One value of the user's key-value store, as UTF-8 JSON."""
KEY_BYTES_MAX: Final = 256
"""Bytes of UTF-8 of the key of a value or fact."""
REFERENCE_CHARS_MAX: Final = 256
"""Id of a clip or fact; ours have 32."""
BATCH_OPERATIONS_MAX: Final = 256
"""Operations of one commit."""
BATCH_BYTES_MAX: Final = 32 * 1024 * 1024
"""Payload bytes of one commit; a batch is closed when either maximum is reached."""
LIMIT_MAX: Final = 1000
"""Hits of one answer."""
QUESTIONS_MAX: Final = 256
"""Questions asked in one call; a stream of questions has no end."""
STREAMS_FILTER_MAX: Final = 1000
"""Streams named in one filter."""
SEQ_MAX: Final = 2**63 - 1
"""Number of a clip."""
LATE_SEQ_MAX: Final = 1 << 20
"""How far behind the newest clip of its epoch a missing number may still be filled in: 36 days of
3-second clips."""
GAPS_MAX: Final = 10_000
"""Gaps of one epoch."""
GAPS_TOLD_MAX: Final = 1000
"""Gaps that one answer names, the newest of them; a user may have any number, in many epochs."""
EPOCH_MAX: Final = 2**32 - 1
"""Number of an epoch."""
TIME_NS_MIN: Final = -(2**62)
TIME_NS_MAX: Final = 2**62
"""Event times lie in ±146 years around 1970; the sentinels beyond are ours."""
SNAPSHOTS_MAX: Final = 1000
"""Live snapshots of one user."""
STANDING_MAX: Final = 10_000
"""Standing questions of one user."""
STANDING_LABEL_CHARS_MAX: Final = 16_384
"""Keys and values of the labels that one standing question asks for."""
STREAMS_MAX: Final = 10_000
"""Streams of one user."""
SNAPSHOT_TTL_S_MIN: Final = 0.001
"""A shorter lease would have ended before its name is known."""
SNAPSHOT_TTL_S_MAX: Final = 30 * 24 * 3600
"""30 days."""

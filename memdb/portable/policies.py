"""Retention policies and legal holds in the description of an export, and into streams that may have their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from memdb.errors import InvalidArgument, NotFound
from memdb.types.database import User
from memdb.types.retention import LIMITS, Retention


def stream_policy(user: User, stream: str) -> dict[str, Any] | None:
    """What the stream gives up, as it stands; None where everything is kept by default."""
    try:
        policy = user.stream(stream).retention()
    except NotFound as error:
        if error.reason != "STREAM_NOT_FOUND":
            raise
        return None  # erased since its name was read
    return None if policy.is_empty else asdict(policy)


def described_policy(described: object) -> Retention | None:
    """The policy of a stream's description, None for none; exports of earlier releases have none.

    Raises `TypeError` and `ValueError` for what is no policy.
    """
    if described is None:
        return None
    if not isinstance(described, dict):
        raise TypeError("a policy is an object")
    try:
        return Retention(**described)
    except InvalidArgument as error:
        raise ValueError(error.field) from error


def write_policies(user: User, wanted: Mapping[str, Retention | None]) -> int:
    """Set what the streams do not have yet; of how many that is.

    A stream that has limits keeps its own.  A hold is set, and never ended.
    """
    written = 0
    for name, policy in wanted.items():
        if policy is None:
            continue
        stream = user.stream(name)
        there = stream.retention()
        has_limits = any(getattr(there, limit) is not None for limit in LIMITS)
        merged = replace(there if has_limits else policy, hold=there.hold or policy.hold)
        if merged != there:
            stream.set_retention(merged)
            written += 1
    return written

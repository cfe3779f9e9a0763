"""Erasing a user, or parts of one, or what its freed pages hold.

A user: its directory goes, and with it every byte that memdb wrote for it.

The order makes a crash harmless: once the directory is out of `users/` the user does not exist; its
bytes go next, at the latest at the next open; the catalog forgets the name last, freed pages
included, at the latest when it is opened again.  Bytes go before the catalog writes anything, so
that a full disk can be erased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memdb import failpoints
from memdb.engine import removal
from memdb.engine.holds import held
from memdb.engine.hydrate import clip_no_of
from memdb.engine.memory import UserMemory
from memdb.engine.users import Users
from memdb.errors import DataLoss, MemdbError, NotFound
from memdb.eventlog import event_log
from memdb.store.catalog import Catalog
from memdb.store.compact import check_room
from memdb.store.directory import DataDirectory
from memdb.store.removal import remains
from memdb.store.schema import DATA_FILE, Table
from memdb.store.system import system_errors
from memdb.store.transaction import Transaction
from memdb.types.change import CompactionReport, ErasureReport
from memdb.types.operation import BeginErasure

log = event_log("memdb.engine")


def erase_user(
    user: str, users: Users, catalog: Catalog, directory: DataDirectory
) -> ErasureReport:
    """Remove ``user``; one that is too damaged to be opened is not held to be under legal hold.

    Raises `NotFound` (``USER_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``), and what keeps a
    user from being opened for a while.  Where the catalog cannot be made anew now (the disk is full),
    the name stays in its freed pages until a sweep can.  What fails once the directory has gone is done
    by the next call, sweep or open.
    """
    path = directory.user_path(user)
    with users.erasing(user):
        try:
            counts = _counted(user, users)
        except NotFound:
            if not forget_erased(user, users, catalog, directory):
                raise
            return ErasureReport(user, 0, 0, 0, 0)  # the end of one that was cut short
        with users.exclusively(user, check_no_hold):
            if not directory.has_user(user):
                raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=user)
            size = sum(entry.stat().st_size for entry in path.iterdir())
            failpoints.hit("erase.before_discard")
            discarded = directory.discard(path)
            failpoints.hit("erase.after_discard")
            directory.remove(discarded)
            failpoints.hit("erase.after_remove")
            catalog.remove_users([user])
            try:
                catalog.finish()
            except MemdbError:
                log.exception("the name of an erased user stays in the catalog for now")
            users.forget(user)
    return ErasureReport(user, *counts, size)


def forget_erased(user: str, users: Users, catalog: Catalog, directory: DataDirectory) -> bool:
    """Bring the erasure of a user to its end whose directory has gone and whose bytes or name have
    not: something refused it then.  Whether there was one; raises what refuses it now.
    """
    with users.exclusively(user):
        if directory.has_user(user) or not catalog.has_user(user):
            return False
        directory.empty_trash()
        catalog.remove_users([user])
        users.forget(user)
    catalog.finish()
    return True


def erase_parts(
    user: str, users: Users, *, streams: Sequence[str] = (), clip_nos: Sequence[int] = ()
) -> ErasureReport:
    """Erase whole streams and clips of a user (`memdb.engine.removal`).

    Raises `NotFound` (``STREAM_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``),
    `ResourceExhausted` (``DISK_FULL`` where what is left cannot be written anew beside the old) with
    nothing changed; and what may refuse a later commit or the compaction: what was begun then stays pending,
    and is finished by a sweep, by the next erasure, or when the user is next opened.
    """
    with users.erasing(user):
        with users.use(user) as memory:
            environment = memory.environment
            with system_errors("user"):
                goes = removal.heavy_bytes(memory.view, streams, clip_nos)
                check_room(environment.path, max(0, environment.live_bytes() - goes))
            removal.one(memory.write([BeginErasure(tuple(streams), tuple(clip_nos))]))
            failpoints.hit("erasure.begun")
        return _finished(user, users)


def compact_user(user: str, users: Users) -> CompactionReport:
    """Make the user's environment anew: an erasure that names nothing, noted as any other so that a crash
    only delays it.

    Raises as `erase_parts`.
    """
    with users.erasing(user):
        with users.use(user) as memory:
            file = memory.environment.path / DATA_FILE
            with system_errors("user"):
                check_room(memory.environment.path, memory.environment.live_bytes())
                before = file.stat().st_size
            removal.one(memory.write([BeginErasure((), ())]))
            failpoints.hit("erasure.begun")
        _finished(user, users)
        with system_errors("user"):
            return CompactionReport(user, before, file.stat().st_size)


def resume(user: str, users: Users) -> ErasureReport | None:
    """Finish an erasure of the user that is pending; None when there is none or somebody is at it.

    Raises as `erase_parts`.
    """
    with users.erasing(user, wait=False) as is_mine:
        if not is_mine:
            return None
        with users.use(user) as memory:
            if removal.pending(memory) is None:
                return None
        return _finished(user, users)


def _finished(user: str, users: Users) -> ErasureReport:
    with users.use(user) as memory:
        record = removal.pending(memory)
        if record is None:  # the user was opened anew meanwhile, which finished it
            return ErasureReport(user, 0, 0, 0, 0)
        memory.erasure_pending = True
        report = removal.remove_begun(memory, record)
    shrunk = users.end_erasure(user)
    return replace(report, bytes_removed=max(report.bytes_removed, shrunk))


def clips_to_erase(
    memory: UserMemory,
    clip_ids: Sequence[str] | None,
    stream: str | None,
    start_ns: int | None,
    end_ns: int | None,
) -> list[int]:
    """Numbers of the clips that are named and, where a stream or a time is given, belong to it.

    Raises `NotFound` (``STREAM_NOT_FOUND``; ``CLIP_NOT_FOUND`` naming the id's place).
    """
    view = memory.view
    held_streams = {no for no, policy in view.state.retention.items() if policy.hold}
    found = removal.clips_of(view, stream, start_ns, end_ns)
    if clip_ids is not None:
        named = [
            clip_no_of(view.state, clip_id, f"clip_ids[{place}]")
            for place, clip_id in enumerate(clip_ids)
        ]
        there = set(found)
        is_filtered = stream is not None or start_ns is not None or end_ns is not None
        for place, no in enumerate(named):
            if no not in there and (is_filtered or not _is_there(memory, no)):
                raise NotFound(
                    "no such clip",
                    reason="CLIP_NOT_FOUND",
                    field=f"clip_ids[{place}]",
                    value=clip_ids[place],
                )
        found = named
    for stream_no in held_streams:
        if not set(found).isdisjoint(
            removal.clips_of(view, view.state.stream_names[stream_no], None, None)
        ):
            raise held(view.state.stream_names[stream_no])
    return found


def _is_there(memory: UserMemory, clip_no: int) -> bool:
    """Whether anything is left of a clip that no index and no quarantine names."""
    with memory.environment.read() as txn:
        return remains(txn, clip_no, tuple(memory.view.state.spaces)) is not None


def check_no_hold(memory: UserMemory) -> None:
    """Raise `FailedPrecondition` (``LEGAL_HOLD``) when a stream of the user is under legal hold."""
    state = memory.view.state
    for stream in state.streams.values():
        policy = state.retention.get(stream.no)
        if policy is not None and policy.hold:
            raise held(stream.name)


def _counted(user: str, users: Users) -> tuple[int, int, int]:
    """(clips, facts, values) of the user; zeros when it is too damaged to be read.

    The user is open from here on, where it can be.
    """
    try:
        with users.use(user) as memory, memory.environment.read() as txn:
            return (
                txn.count(Table.LEDGER) - memory.view.state.counters.stones,
                _distinct(txn, Table.FACTS),
                _distinct(txn, Table.VALUES),
            )
    except DataLoss:
        # Nothing else: a user that cannot be opened for a while may be under legal hold.
        return 0, 0, 0


def _distinct(txn: Transaction, table: Table) -> int:
    """Things in a table of versions."""
    return len({key[:-8] for key, _ in txn.scan(table)})

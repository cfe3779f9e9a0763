"""The change feed: log records, with what they refer to."""

from __future__ import annotations

from memdb.engine.hydrate import clip_bytes, load_clip
from memdb.engine.recall import load_fact
from memdb.engine.view import View
from memdb.errors import DataLoss, NotFound
from memdb.store import clips, schema
from memdb.store.environment import Environment, Transaction
from memdb.store.idents import IdKind, make_id
from memdb.store.records import LogEntry, LogRecord, unpack
from memdb.store.schema import Table
from memdb.types.change import Change
from memdb.types.snapshot import Snapshot


def changes(
    environment: Environment,
    view: View,
    from_revision: int,
    limit: int,
    page_bytes: int | None = None,
) -> list[Change]:
    """Changes of whole commits after ``from_revision``, until ``limit``, ``page_bytes`` or the
    view's revision is reached.
    """
    if from_revision > view.revision:
        # Of a user that was erased and made anew, say: going on would lose its changes silently.
        raise NotFound(
            f"revisions are 0 to {view.revision}",
            reason="REVISION_NOT_FOUND",
            field="from_revision",
            value=from_revision,
        )
    found: list[Change] = []
    size = 0
    with environment.read() as txn:
        for revision in range(from_revision + 1, view.revision + 1):
            key = schema.revision_key(revision)
            stored = txn.get(Table.LOG, key)
            if stored is None:
                raise DataLoss("a log record is missing", reason="MISSING", field=f"log/{revision}")
            record = unpack(Table.LOG, key, stored, LogRecord)
            commit = [
                _change(txn, view, revision, index, record.time_ns, entry)
                for index, entry in enumerate(record.entries)
            ]
            found += commit
            size += sum(clip_bytes(change.clip) for change in commit if change.clip is not None)
            if len(found) >= limit or (page_bytes is not None and size >= page_bytes):
                break
    return found


def _change(
    txn: Transaction, view: View, revision: int, index: int, time_ns: int, entry: LogEntry
) -> Change:
    state = view.state
    stream_id = make_id(state.id_key, IdKind.STREAM, entry.no)
    match entry.kind:
        case "clip":
            # None when the clip, or this version of it, was removed since.
            removed = clips.get_record(txn, entry.no, revision) is None and not view.holds(
                entry.no, revision
            )
            clip = None if removed else load_clip(txn, state, entry.no, revision)
            return Change(revision, index, time_ns, "clip", clip=clip)
        case "fact":
            # None when the fact was forgotten since.
            return Change(
                revision,
                index,
                time_ns,
                "fact",
                fact=load_fact(txn, view, entry.no, revision, revision),
            )
        case "stream":
            name = state.stream_names.get(entry.no)
            if name is None:  # removed since
                return Change(revision, index, time_ns, "stream", key=stream_id)
            return Change(revision, index, time_ns, "stream", stream=state.stream_info(name))
        case "remove-stream":
            return Change(revision, index, time_ns, "remove-stream", key=stream_id)
        case "retention":
            # By the name of now; of a stream that was removed since by its id.
            key = state.stream_names.get(entry.no, stream_id)
            return Change(revision, index, time_ns, "retention", key=key)
        case "snapshot":
            snapshot = Snapshot(entry.name, entry.no, entry.created_ns, entry.expires_ns)
            return Change(revision, index, time_ns, "snapshot", snapshot=snapshot)
        case kind:
            return Change(revision, index, time_ns, kind, key=entry.name)

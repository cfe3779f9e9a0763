"""The change feed: log records, with what they refer to."""

from __future__ import annotations

from memdb.engine.hydrate import clip_bytes, load_clip
from memdb.engine.recall import load_fact
from memdb.engine.view import View
from memdb.errors import DataLoss, NotFound
from memdb.eventlog import event_log
from memdb.store import clips, schema
from memdb.store.environment import Environment
from memdb.store.idents import IdKind, make_id
from memdb.store.records import LogEntry, LogRecord, unpack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.change import Change
from memdb.types.clip import StoredClip
from memdb.types.fact import Fact
from memdb.types.snapshot import Snapshot

log = event_log("memdb.engine")


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
            clip = _clip(txn, view, entry.no, revision)
            return Change(revision, index, time_ns, "clip", clip=clip)
        case "fact":
            fact = _fact(txn, view, entry.no, revision)
            return Change(revision, index, time_ns, "fact", fact=fact)
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
            snapshot = Snapshot(
                entry.name, entry.no, entry.created_ns, entry.expires_ns, state.user
            )
            return Change(revision, index, time_ns, "snapshot", snapshot=snapshot)
        case kind:
            return Change(revision, index, time_ns, kind, key=entry.name)


def _clip(txn: Transaction, view: View, clip_no: int, birth: int) -> StoredClip | None:
    """A version of a clip, None when it was removed since.

    None as well when it is damaged, which the gaps of its stream tell from now on: what comes after
    it must not be kept from whoever watches.
    """
    try:
        if clips.get_record(txn, clip_no, birth) is None and not any(
            # Its twin; the index would have to be searched for each of what may be millions.
            txn.holds(Table.VECTORS, schema.vector_key(space_no, clip_no, birth))
            for space_no in view.state.spaces
        ):
            return None
        return load_clip(txn, view.state, clip_no, birth)
    except DataLoss as error:
        view.note_damaged_version(clip_no, birth, error)
        return None


def _fact(txn: Transaction, view: View, fact_no: int, birth: int) -> Fact | None:
    """A version of a fact, None when it was forgotten since or is damaged."""
    try:
        return load_fact(txn, view, fact_no, birth, birth)
    except DataLoss as error:
        fields = {"user": view.state.user, "fact": fact_no, "where": error.field}
        log.exception("a fact is damaged", extra={"fields": fields})
        return None

"""A commit of what streams have ready, acknowledged ahead: the work of the threads of `memdb.server.gathered`.

What is wrong with one stream, whatever it is, is told to that one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memdb.engine.lateness import NOTHING, Newest
from memdb.engine.run_acks import Outcomes, RunAcks
from memdb.engine.stream import EmbeddedStream
from memdb.engine.stream_batches import its_own, write_batches
from memdb.errors import MemdbError
from memdb.eventlog import event_log
from memdb.server.edge import SendsAhead
from memdb.server.plain_clips import ack_fields
from memdb.server.ready_clips import Ready, Told
from memdb.types.clip import Ack
from memdb.wire.packed_acks import packed_acks

log = event_log("memdb.server")


def _nothing() -> None:
    """Nobody waits for it."""


def committed_alone(ready: Ready, queued: Callable[[], None] = _nothing) -> Told | Exception:
    """`committed_together` of one."""
    try:
        stream, newest = _begun(ready)
        passages = (ready.fate.passage,)
        told = _told(ready, stream.write_batch(ready.lot.items, queued, newest, passages))
    except Exception as error:  # of its stream alone, whatever it is: no memory, say
        return _befallen(ready, error)
    _tell_ahead([ready], [told])
    return told


def committed_together(taken: list[Ready], queued: Callable[[], None]) -> list[Told | Exception]:
    """For each what its stream is told, or what refuses all of it.

    queued: called when later commits can only come behind this one.
    """
    found: list[Told | Exception] = []
    batches = []
    places = []
    on_its_way: dict[tuple[str, int], int] = {}
    for index, ready in enumerate(taken):
        try:
            stream, newest = _begun(ready)
            for (
                key,
                seq,
            ) in newest.items():  # of two connections that feed a stream each has its own
                on_its_way[key] = max(seq, on_its_way.get(key, -1))
            batches.append((stream, ready.lot.items))
            places.append(index)
            found.append((b"", None))
        except Exception as error:  # of its stream alone, whatever it is: no memory, say
            found.append(_befallen(ready, error))
    passages = [taken[index].fate.passage for index in places]
    written = write_batches(batches, queued, on_its_way, passages)
    for index, outcomes in zip(places, written, strict=True):
        ready = taken[index]
        if isinstance(outcomes, Exception):
            ready.fate.error = found[index] = outcomes
            continue
        try:
            found[index] = _told(ready, outcomes)
        except Exception as error:  # of its stream alone, whatever it is: no memory, say
            found[index] = _befallen(ready, error)
    _tell_ahead(taken, found)
    return found


def _begun(ready: Ready) -> tuple[EmbeddedStream, Newest]:
    """Its stream, and what is on its way of it; raises what is wrong with the one, and what refused the other."""
    stream, before = ready.stream(), ready.behind
    if before is None:
        return stream, NOTHING
    if before.error is not None:
        raise before.error
    ready.fate.passage.behind = (before.passage,)
    key = stream.name, ready.lot.items[0].epoch
    return stream, {key: before.passage.reached.get(key, -1)}


def _befallen(ready: Ready, error: Exception) -> Exception:
    """What befell all of what a stream had ready, told to what is behind it too."""
    ready.fate.error = its_own(error)
    return ready.fate.error


def _told(ready: Ready, outcomes: Outcomes) -> Told:
    """The answer for the clips before the first refused one, and its error."""
    acks: list[Ack | bytes] = []
    refusal: MemdbError | None = None
    for piece in outcomes.pieces:
        if isinstance(piece, MemdbError):
            refusal = ready.fate.error = piece
            break
        acks.append(ack_fields(piece) if isinstance(piece, RunAcks) else piece)
    return packed_acks(acks), refusal


def _tell_ahead(taken: list[Ready], found: Sequence[Told | Exception]) -> None:
    """Send what they are told, as far as it may be now."""
    messages: list[tuple[SendsAhead, bytes]] = []
    for ready, told in zip(taken, found, strict=True):
        tell = ready.tell  # once: the loop may give it meanwhile
        if tell is not None and not isinstance(told, Exception) and told[0]:
            messages.append((tell, told[0]))
    try:
        if len(messages) == 1:
            tell, data = messages[0]
            tell(data)
        elif messages:
            messages[0][0].together(messages)
    except Exception:  # no memory, say: the loop sends what is not sent, and nobody's commit failed
        log.warning("acknowledgements were not sent ahead", exc_info=True)

"""A gRPC server as bytes and events: the native edge of memdb."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from typing_extensions import Buffer

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

__version__: str
grpc_version: str
interface: int

class Call:
    """A call, until one of `answer` and `finish` has ended it; one that is let go of before is ended ``INTERNAL``.

    Raises `RuntimeError` where it has ended, and `ValueError` for trailers that HTTP/2 does not carry.
    """

    @property
    def method(self) -> int:
        """Its place among the methods that the server was told."""
    @property
    def deadline_ns(self) -> int:
        """Since 1970; the greatest 64-bit number where there is none."""
    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the caller sent ahead, as Latin-1; bytes of keys that end with "-bin"."""
    @property
    def finished(self) -> bool:
        """Whether it was ended."""
    def read(self, clips: bool = False) -> bytes | PlainClips | Literal[False] | None:
        """Ask for the next message of a stream: False, and an event tells it. One at a time.

        clips: it is an ``IngestClipsRequest``, given as `PlainClips` where it is plain, and one more is read ahead.
        What lies ready is given at once, None where there is none any more.
        """
    def lend(self) -> int:
        """Lend what was asked for to a thread, to which it comes where it is `PlainClips` with one clip and small;
        anything else comes to who asked. The number of the lending, 0 where nothing is to come.
        """
    def await_clip(self, lending: int) -> PlainClips | None:
        """What comes to the thread of a lending; None where nothing will."""
    def take_back(self) -> bool:
        """End the lending; False where a message came to its thread that is not over."""
    def over(self, given_back: bool) -> bytes | PlainClips | Literal[False] | None:
        """The message that came to a thread is over: what is here now of what was asked for, as `read` says it.
        given_back: who asked has that message now, and may ask for the next.
        """
    def write(self, message: bytes, /) -> None:
        """Send a message of a stream: an event tells when gRPC has taken it. One at a time."""
    def answer(self, message: bytes, trailers: Iterable[tuple[str, str | bytes]], /) -> None:
        """Send the one answer, and the end."""
    def finish(
        self, code: int, details: str, trailers: Iterable[tuple[str, str | bytes]], /
    ) -> None:
        """Send the end."""

def write_together(messages: list[tuple[Call, bytes]]) -> list[bool]:
    """`Call.write` for each of several calls, letting go of the interpreter's lock once: whether it was sent, and not
    where a call has ended or has one on its way.
    """

class PlainClips(Buffer):
    """The bytes of a message whose clips are plain: every field known, and all as a clip may be."""

    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __len__(self) -> int: ...
    def clips(self) -> list[tuple[Any, ...]]:
        """Of each clip seq, epoch, start_ns, end_ns, sealed, frames_per_token_row, the bytes of global_memory and
        whether it is float16; None or, of short_memory, rows, dim, where the payload begins and ends, and its
        checksum; None or transcript, (rows, dim, elements) of transcript_features, events, keyframes and labels by key.
        """
    def runs(self, epoch: int) -> list[PlainRun] | None:
        """The clips as runs of numbers that follow each other, of vectors that are alike; None where one is of another
        epoch, or has more than vectors, or is open.
        """

class PlainRun:
    """Clips of a message that are nothing but vectors; what is not said here is `memdb.types.plain_run.PlainRun`'s."""

    epoch: int
    first_seq: int
    dim: int
    is_half: bool
    may_be_zero: bool
    payload_bytes: int
    message: PlainClips
    def __len__(self) -> int: ...
    def clips(self) -> list[tuple[Any, ...]]:
        """As `PlainClips.clips`."""
    def stage(
        self,
        clips: dict[bytes, bytes | memoryview],
        vectors: dict[bytes, bytes | memoryview],
        short_memory: dict[bytes, bytes | memoryview],
        ledger: dict[bytes, bytes | memoryview],
        stream_no: int,
        space_no: int,
        first_no: int,
        birth: int,
    ) -> tuple[bytes, bytes, bytes]: ...

def make_ids(key: bytes, first: int, count: int) -> list[str]:
    """`memdb.store.idents.make_ids`; first: with its kind before it. Raises `ValueError` for a key that is longer than
    BLAKE2b takes.
    """

def ack_fields(key: bytes, first: int, count: int, revision: int) -> bytes:
    """Acknowledgements of new clips with such ids, each as a field of a ``memdb.v1.IngestAcks``."""

def stretches(packed: bytes) -> list[tuple[int, int, int, int, int, int]]:
    """`memdb.store.rows.stretches`."""

def stage_plain(
    clips: dict[bytes, bytes | memoryview],
    vectors: dict[bytes, bytes | memoryview],
    short_memory: dict[bytes, bytes | memoryview],
    ledger: dict[bytes, bytes | memoryview],
    operations: list[Any],
    ledger_keys: list[bytes],
    stream_nos: list[int],
    dim: int,
    is_half: bool,
    space_no: int,
    first_no: int,
    birth: int,
) -> tuple[bytes, bytes, bytes] | None:
    """See `memdb.store.plain_clips.Stage`."""

def read_clips(message: bytes, /) -> PlainClips | None:
    """The clips of an ``IngestClipsRequest``; None where it is not plain, or many values would be made of it."""

def look_at(payload: bytes, plain: bool, /) -> tuple[int, bool]:
    """The xxh3_64 of a payload of at least 241 bytes, and whether its float16 elements are finite; plain: without the
    processor's own instructions for it.
    """

def unit_rows(vectors: Array | Sequence[Array], /) -> Array | None:
    """`memdb.index.directions.unit_rows`, to the last bit; None of what is not finite, or not an array of float16 or
    float32 in one piece and aligned, or a list of such.  Up to 1 MiB without letting go of the interpreter's lock, as
    `split_rows`.
    """

def split_rows(rows: Array, head: Array, tail: Array) -> tuple[float, float]:
    """`memdb.index.planes.split`: the planes to the last bit, and lengths that no row exceeds."""

def widen(halves: Array, plain: bool, /) -> Array:
    """float16, as uint16, as float32; plain: without the processor's own instructions for it."""

def are_finite(halves: Array | Buffer, /) -> bool:
    """Whether no element of float16, in one piece, is NaN or infinite; up to 1 MiB without letting go of the
    interpreter's lock.
    """

class Shelf:
    """Answers plain questions to users that lie ready; any threads."""

    def __init__(self, inner_products: int, exp: Any, bytes_max: int) -> None:
        """inner_products: the address of ``faiss::fvec_inner_products_ny``; exp: `numpy.exp`."""
    def put(
        self,
        user: str,
        global_memory: bool,
        keyframes: bool,
        dim: int,
        whole: Array,
        start_ns: Array,
        end_ns: Array,
        alive: Array,
        stream: Array,
        streams: list[tuple[str, Array | None, float, float]],
        clips: list[bytes],
        tail: bytes,
        codes: Array | None = None,
        measures: Array | None = None,
    ) -> bool:
        """Take a user in, with hits of these parts; see `memdb.engine.prepared.Prepared`.  Nobody may change ``whole``,
        nor its codes and measures (`sketch_rows`).

        streams: name, mean, spread and things of each; clips: each row's as a ``memdb.v1.StoredClip``;
        tail: a ``memdb.v1.GroundResponse`` without hits. False where it is larger than all the room.
        """
    def put_listed(
        self,
        *,
        user: str,
        global_memory: bool,
        keyframes: bool,
        dim: int,
        width: int,
        rows: int,
        chunks: list[tuple[Array, Array]],
        norms: tuple[float, float],
        alive: Array | None,
        alive_share: float,
        nearby: tuple[Array, Array, Array, float, Array, float],
        lists: tuple[Array, Array, Array],
        later: list[tuple[int, Array]],
        unbounded: list[int],
        breadth: tuple[int, int, bool],
        stream_no: Array,
        streams: list[tuple[int, str, Array, float, float]],
        only: str,
        clips: Clips,
        tail: bytes,
    ) -> Listed:
        """Take a large user in, with hits of these parts; nobody may change the arrays.

        chunks: head and tail of each; norms: the largest of a row, and of what its head leaves out; alive: None for
        all.  nearby: directions, their steps, steps of codes, `Basis.bound_step`, centres and `Nearby.half_step`.
        lists: offsets, numbers and codes; later: first row and codes of those that came since, in their order.
        breadth: as `memdb.index.ivf.Breadth`.  streams: number, name, mean, spread and things, by number;
        only: the name of the one stream that the user has, or nothing.
        """
    def withdraw(self, user: str) -> None:
        """Nothing is answered of the user from then on."""
    def answer(self, request: bytes) -> bytes | None:
        """The ``memdb.v1.GroundResponse`` to a ``memdb.v1.GroundRequest``, None where somebody else is to answer."""
    def answer_many(self, request: bytes) -> bytes | None:
        """The same of a ``memdb.v1.GroundManyRequest``."""
    def take_asked(self) -> list[str]:
        """Users that were answered since the last time."""
    def close(self) -> None:
        """Answer nothing any more."""
    @property
    def answered(self) -> int:
        """Questions so far."""
    @property
    def bytes(self) -> int:
        """Of what is here, beside vectors."""
    @property
    def users(self) -> int:
        """Users, each with the parts of its hits, that are here."""

class ClipRoom:
    """What clips of large users share: of more bytes than that the oldest go."""

    def __init__(self, bytes_max: int) -> None: ...
    def clips(self) -> Clips:
        """A place for those of one user."""
    @property
    def bytes(self) -> int:
        """About what they take."""

class Clips:
    """Clips of one user that hits had lately."""

    def put(self, row: int, clip: bytes, /) -> None:
        """That of a row as a ``memdb.v1.StoredClip``."""

class Listed:
    """A large user as it lies on a shelf."""

    @property
    def is_there(self) -> bool:
        """Whether it still does."""
    def take_asked(self) -> int:
        """Questions that were answered since the last time."""
    def take_samples(self) -> list[tuple[Array, Array]]:
        """Some of these questions: feature and scores of the hits of each."""
    def take_missing(self) -> list[int]:
        """Rows whose clips were wanted and not there, since the last time."""

def code_products(codes: Array, values: Array, plain: bool) -> tuple[Array, float]:
    """(n,) float32 products of (n, m) u8, less 128 each, with (m,) float32, and by how much each may be wrong at most;
    plain: without the processor's own instructions for it.
    """

def head_product(head: Array, vector: Array, plain: bool) -> float:
    """The product of a (width,) u16 head of `memdb.index.planes` with (width,) float32."""

def sketch_rows(rows: Array, codes: Array, measures: Array) -> None:
    """Write codes, (n, width) u8, and what is known beside them, (n, 3) float32, of (n, width) float32 rows:
    the step of a code, how far the row may be from what the code says, and how long both may be.
    """

def sketched_products(
    codes: Array, measures: Array, query: Array, plain: bool
) -> tuple[Array, Array] | None:
    """(n,) float64 products by codes with a (width,) float32 query, and how far those that FAISS finds may be from
    them; None where nothing is known of one of the rows.  plain: as of `code_products`.
    """

class Few:
    """Few rows of a view, and what their cameras give to anything: the best of them to a question."""

    def __init__(
        self,
        inner_products: int,
        exp: Any,
        dim: int,
        block: Array,
        listed: Array,
        stream: Array,
        streams: list[tuple[Array, float, float]],
        codes: Array | None = None,
        measures: Array | None = None,
    ) -> None:
        """block: (rows, width) float32, which nobody may change; listed: (n,) ascending rows that answer;
        stream: (n,) of which of ``streams`` each is: mean, spread, things. The first two as of `Shelf`.
        codes, measures: of the block, by `sketch_rows`, which nobody may change either: by them fewer rows are read.
        """
    def best(
        self, feature: Array, limit: int, /
    ) -> tuple[list[int], list[float], list[float]] | None:
        """Rows, best first, their scores and relevances; None where the (dim,) float32 feature is no direction."""

def unit_vector(vector: Array, /) -> Array | None:
    """`memdb.index.directions.unit_vector`; None of zeros and of what is not finite."""

def dot(left: Array, right: Array, /) -> float:
    """`memdb.engine.relevance.mean_score`."""

def relevances(exp: Any, scores: Array, means: Array, spreads: Array, things: Array, /) -> Array:
    """`memdb.engine.relevance.relevances` of arrays."""

class Commit:
    """Commits to environments of py-lmdb 3.0.0, by the functions of LMDB 0.9 that it has loaded.

    Raises `TypeError` and `ValueError`, and touches nothing, for what is no open environment of that engine.
    """

    def __init__(
        self,
        environment: type,
        api: int,
        begin: int,
        open: int,
        get: int,
        put: int,
        commit: int,
        abort: int,
        path: int,
        error: int,
    ) -> None:
        """environment: py-lmdb's type; api: the address of the table that its environments name; the others: of the
        functions. Raises `ValueError` where objects of the type have another size.
        """
    def path(self, environment: Any, /) -> bytes:
        """The path of an environment."""
    def run(
        self,
        environment: Any,
        known: tuple[bytes, bytes, bytes],
        tables: list[tuple[bytes, dict[bytes, bytes | memoryview], bool]],
        /,
    ) -> tuple[str, int, str] | bool | None:
        """In one transaction, put entries into tables that are open, in their order, and commit; known: a table, a key
        and the value that is there, or nothing is written; of a table also whether each key comes after its last.

        None, False where something else is there, or what was refused: the function, its code and its words, True
        without the memory to say so; and nothing is written, unless it was the commit. The interpreter's lock is let
        go of once.
        """

def ordinary_pages(
    fd: int,
    page_bytes: int,
    end: int,
    values: bool,
    root: int,
    depth: int,
    branch_pages: int,
    leaf_pages: int,
    overflow_pages: int,
    entries: int,
) -> Array | None:
    """The numbers of all pages of a B-tree of an LMDB file, each once; None unless it is ordinary, as
    `memdb.store.ordinary_tree` says. end: the first page that is not of the file, or was never used; values: whether to
    look at the first pages of values, and not only where they are; what follows is the table's record of its tree. The
    interpreter's lock is let go of.
    """

def checksum_of(fd: int, offset: int, length: int) -> int | None:
    """xxh3_64 of bytes of a file; None where it is shorter. Raises `OSError`. The interpreter's lock is let go of."""

class Server:
    """A server for some methods; what happens is told by `take`."""

    def __init__(
        self,
        options: list[tuple[str, int | str]] | list[tuple[str, int]],
        methods: list[tuple[str, bool]],
        calls_max: int,
        memory_max: int,
        shelf: Shelf | None,
        shelved: tuple[str, str],
    ) -> None:
        """methods: "/package.Service/Method", and whether a call has one request; memory_max: bytes that gRPC
        holds of what comes in, beyond which it reads no more; shelf: what answers calls of the methods ``shelved``
        first: of one question, of many.
        """
    @property
    def fd(self) -> int:
        """Readable while there are events."""
    def start(self, key_and_chain: tuple[bytes, bytes] | None) -> bool:
        """Serve connections from now on; False where gRPC does not take the certificate."""
    def adopt(self, connection: int) -> None:
        """Serve a connection, a descriptor that does not block; it is closed here."""
    def take(self) -> list[tuple[Any, ...]]:
        """Everything since the last time, in order: (kind, key, said), and of a call that came the call as well."""
    def shutdown(self, grace_s: float) -> None:
        """Take no new calls, let those that run end within the time, then cancel them; returns when all have ended."""

"""Configuration as frozen values: defaults, then a TOML file, then the environment, then flags.

A key is ``section.name``: ``[server]`` and ``listen = "..."`` in the file, ``MEMDB_SERVER__LISTEN``
in the environment, ``server.listen`` as an override.  A key that nobody declared is an error, in
whichever of them it stands: a misspelt limit must not silently be no limit.

The text under a field is its documentation and, in `to_toml`, its comment.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from memdb.errors import InvalidArgument, NotFound
from memdb.types.limits import MESSAGE_BYTES_MAX, SEQ_MAX

ENVIRONMENT_PREFIX: Final = "MEMDB_"
_KINDS: Final[dict[type, str]] = {
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    str: "text",
}
MAP_BYTES_MIN: Final = 1 << 20
"""Room for a user's tables and a first clip."""
MAP_BYTES_MAX: Final = 1 << 46
"""64 TiB: what the address space of one process can hold of one map."""
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
DURABILITIES: Final = ("durable", "relaxed")
EDGES: Final = ("auto", "native", "python")
DEVICES: Final = ("auto", "cpu", "gpu")
GPU_INDEXES: Final = ("auto", "flat", "ivf", "cagra")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How the engine uses memory and disk."""

    open_users_max: int = 2048
    """Users whose environment and indexes are held open; the least recently used is closed above
    it.  Fewer where the limit on open files does not allow so many."""
    map_bytes_initial: int = 16 << 30
    """Address space reserved for a user's LMDB map, at most ``map_bytes_max``; sparse, grown by doubling."""
    map_bytes_max: int = 1 << 40
    """A user's quota of map; beyond it writes fail with ``QUOTA``."""
    disk_free_bytes_min: int = 256 << 20
    """Free space of the file system under which writes are refused with ``DISK_FULL``."""
    open_history_s: int = 0
    """How long superseded versions of open clips are kept for `as_of`; 0: for ever.  A sweep collects
    older ones that no snapshot needs."""
    seq_ahead_max: int = 1 << 32
    """How many numbers of its epoch a clip may skip at most; beyond it a write fails with
    ``TOO_FAR_AHEAD``.  The default: more than a year at 100 clips a second."""
    clip_cache_bytes_max: int = 32 << 20
    """Memory for clips that answers held lately, of all users together, without their short-term memory; 0:
    none."""
    durability: str = "durable"
    """durable: an acknowledged write survives power loss; relaxed: power loss may take the newest
    acknowledged writes of a user, never its integrity.  Both survive the end of the process."""
    master_key_file: str = ""
    """File with the master key of an encrypted directory: 32 bytes or 64 hexadecimal digits, readable
    by its owner alone.  A directory made with one is encrypted and opens with no other."""

    def __post_init__(self) -> None:
        """Raises `InvalidArgument` naming ``engine.<field>``."""
        for name, minimum, maximum in (
            ("open_users_max", 1, 2**20),
            ("map_bytes_initial", MAP_BYTES_MIN, MAP_BYTES_MAX),
            ("map_bytes_max", MAP_BYTES_MIN, MAP_BYTES_MAX),
            ("disk_free_bytes_min", 0, 2**62),
            ("open_history_s", 0, 2**32),
            ("seq_ahead_max", 0, SEQ_MAX),
            ("clip_cache_bytes_max", 0, 2**40),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise _refused(f"engine.{name}", value, "expected a whole number")
            if not minimum <= value <= maximum:
                raise _refused(f"engine.{name}", value, f"expected {minimum} to {maximum}")
        # What is no text may not be comparable, as an array is not.
        if not isinstance(self.durability, str) or self.durability not in DURABILITIES:
            raise _refused(
                "engine.durability", self.durability, f"one of {', '.join(DURABILITIES)}"
            )


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where and how `memdb serve` listens.  Every queue, message and wait has its maximum here."""

    data: str = ""
    """Directory of the database."""
    listen: str = "127.0.0.1:7700"
    """HOST:PORT (port 0: any free one) or unix:PATH.  An address that is not loopback needs TLS."""
    port_file: str = ""
    """File that receives the bound address once the server answers."""
    standby: bool = False
    """Whether to wait, loaded and ready, while another process has the directory, and to serve once it is gone; else
    that is refused."""
    standby_bytes_max: int = 1 << 30
    """Bytes of large users' rows that it has in memory while it waits, by which they answer at once: those of
    users that were written to last; 0: none."""
    sweep_interval_s: int = 3600
    """How often what the policies of streams say is given up; 0: never."""
    scrub_bytes_per_s: int = 1 << 20
    """How much of what is stored is read and checked each second; 0: nothing."""
    tls_cert: str = ""
    """PEM file with the certificate chain."""
    tls_key: str = ""
    """PEM file with the private key of tls_cert."""
    backup_dir: str = ""
    """Directory below which `Backup` may write archives; empty: the call is refused."""
    grace_s: float = 10.0
    """How long calls may go on after SIGTERM; five seconds later the process ends anyhow."""
    read_threads: int = 8
    """Threads for calls that only read.  One user has at most three quarters of them at once, and less
    where others have some."""
    write_threads: int = 22
    """Threads for calls that commit; they mostly wait, and share commits by waiting together.  One user
    has at most three quarters of them at once."""
    open_threads: int = 4
    """Threads that open users; calls for a user that is being opened wait without one."""
    queue_max: int = 1024
    """Calls that may wait for a thread of one kind; beyond it they fail with ``OVERLOADED``, those
    of the user with most of them first.  Streams wait."""
    bytes_in_flight_max: int = 512 * 1024 * 1024
    """Bytes of requests held at once: half for calls, which beyond it fail with ``OVERLOADED``, half
    for streams, which beyond it are not read.  Answers that wait to be read may have as many bytes
    as one half, beside them.  Of each one user has at most three quarters, and less where others
    have some.  At least twice message_bytes_max."""
    calls_max: int = 2048
    """Calls open at once, streams included; beyond it they fail with ``OVERLOADED``.  One user has at
    most three quarters of them, and less where others have some.  Those about health are apart."""
    connection_streams_max: int = 128
    """Calls open at once on one connection; beyond it the client waits. Ours opens another for every 64
    streams."""
    message_bytes_max: int = MESSAGE_BYTES_MAX
    """Largest message either way."""
    metadata_bytes_max: int = 16 * 1024
    """Largest metadata of a call."""
    handshake_timeout_ms: int = 3000
    """A connection that does not complete its handshake in time is closed."""
    connection_idle_ms: int = 30_000
    """A connection without calls is closed; streams are calls. A client that leaves it sooner, as ours
    does after 12 to 24 s, loses no call that it makes just then."""
    keepalive_time_ms: int = 10_000
    """Silence after which a peer is asked whether it is there."""
    keepalive_timeout_ms: int = 3000
    """How long the answer to that may take."""
    ping_interval_ms_min: int = 10_000
    """A client that pings more often without data is disconnected."""
    edge: str = "auto"
    """What takes calls: native, the gRPC of the system in C++ (`pip install ./edge`), which answers several
    times as many; python, that of grpcio; auto: native where it is installed, and neither reflection nor TLS is
    asked for."""
    reflection: bool = False
    """Whether the server describes its services to anyone who asks."""
    metrics_file: str = ""
    """File that gets the server's metrics every ten seconds, in the text format of Prometheus; empty:
    none."""
    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        """Raises `InvalidArgument` naming ``server.<field>``."""
        for name in (
            "read_threads",
            "write_threads",
            "open_threads",
            "queue_max",
            "bytes_in_flight_max",
            "calls_max",
            "connection_streams_max",
            "message_bytes_max",
            "metadata_bytes_max",
            "handshake_timeout_ms",
            "connection_idle_ms",
            "keepalive_time_ms",
            "keepalive_timeout_ms",
            "ping_interval_ms_min",
        ):
            value = getattr(self, name)
            if not 1 <= value <= 2**31 - 1:
                raise _refused(f"server.{name}", value, "expected 1 to 2147483647")
        if not 0 <= self.standby_bytes_max <= 2**62:
            raise _refused(
                "server.standby_bytes_max", self.standby_bytes_max, f"expected 0 to {2**62}"
            )
        for name in ("sweep_interval_s", "scrub_bytes_per_s"):
            value = getattr(self, name)
            if not 0 <= value <= 2**31 - 1:
                raise _refused(f"server.{name}", value, "expected 0 to 2147483647")
        if self.bytes_in_flight_max < 2 * self.message_bytes_max:
            raise _refused(
                "server.bytes_in_flight_max",
                self.bytes_in_flight_max,
                "expected at least twice server.message_bytes_max",
            )
        if not 0 <= self.grace_s <= 3600:
            raise _refused("server.grace_s", self.grace_s, "expected 0 to 3600 seconds")
        if self.log_level not in LOG_LEVELS:
            raise _refused("server.log_level", self.log_level, f"one of {', '.join(LOG_LEVELS)}")
        if self.edge not in EDGES:
            raise _refused("server.edge", self.edge, f"one of {', '.join(EDGES)}")
        if bool(self.tls_cert) != bool(self.tls_key):
            missing = "tls_key" if self.tls_cert else "tls_cert"
            raise _refused(f"server.{missing}", "", "tls_cert and tls_key go together")


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Where questions are searched for."""

    device: str = "auto"
    """auto: on a GPU where FAISS finds one; cpu; gpu: not to start without one.  Exact answers are
    the same."""
    gpu_bytes_max: int = 0
    """Bytes of vectors on the GPU, as float16: those of the largest users; while vectors come to some,
    these are there twice, for which room is left.  0: four fifths of what is free at the start."""
    gpu_index: str = "auto"
    """How questions that may be answered approximately are, on the GPU.  flat: exactly, by all
    vectors; ivf: by lists of them; cagra: by a graph, which needs faiss-gpu-cuvs; auto: exactly up to
    4 GiB of vectors, then by a graph where there can be one, up to 8 GiB, else by lists."""
    approximate_rows_min: int = 50_000
    """Vectors of a user in a space from which on questions about now may be answered approximately, at a
    measured recall; 0: none is."""
    checkpoint_rows: int = 512
    """So many clips must have come since before the rows of a user's index are written to its
    directory, from which it opens sooner and has the lists of before; 0: none are, and what is there
    is removed."""
    close_checkpoint_s: float = 10.0
    """How long closing the database in order may write such rows: the stop of a large user takes some
    seconds, its next start tenths of one; 0: none are written then."""

    def __post_init__(self) -> None:
        """Raises `InvalidArgument` naming ``index.<field>``."""
        if self.device not in DEVICES:
            raise _refused("index.device", self.device, f"one of {', '.join(DEVICES)}")
        if self.gpu_index not in GPU_INDEXES:
            raise _refused("index.gpu_index", self.gpu_index, f"one of {', '.join(GPU_INDEXES)}")
        for name in ("gpu_bytes_max", "approximate_rows_min", "checkpoint_rows"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise _refused(f"index.{name}", value, "expected a whole number")
            if not 0 <= value <= 2**62:
                raise _refused(f"index.{name}", value, f"expected 0 to {2**62}")
        seconds = self.close_checkpoint_s
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not (is_number and 0 <= seconds <= 3600):
            raise _refused("index.close_checkpoint_s", seconds, "expected 0 to 3600 seconds")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured, by section."""

    server: ServerConfig = field(default_factory=ServerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    index: IndexConfig = field(default_factory=IndexConfig)


SECTIONS: Final[dict[str, type[ServerConfig | EngineConfig | IndexConfig]]] = {
    "server": ServerConfig,
    "engine": EngineConfig,
    "index": IndexConfig,
}


def load_config(
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """The configuration of a TOML file, an environment and overrides by ``section.name``.

    Raises `NotFound` when there is no such file, `InvalidArgument` (``BAD_CONFIG``,
    ``UNKNOWN_KEY``) naming the key.
    """
    values: dict[str, object] = {}
    if file is not None:
        values |= _from_file(Path(file))
    values |= _from_environment(environment or {})
    values |= overrides or {}
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections[section][name] = _typed(key, value)
    return Config(
        server=ServerConfig(**sections["server"]),
        engine=EngineConfig(**sections["engine"]),
        index=IndexConfig(**sections["index"]),
    )


def to_toml(config: Config) -> str:
    """The configuration as a TOML file that says what each key means."""
    lines: list[str] = []
    for section, kind in SECTIONS.items():
        docs = _field_docs(kind)
        lines += [f"# {(kind.__doc__ or '').splitlines()[0]}", f"[{section}]"]
        for item in fields(kind):
            lines += [f"# {line}" for line in textwrap.wrap(docs[item.name], 96)]
            lines.append(
                f"{item.name} = {_toml_value(getattr(getattr(config, section), item.name))}"
            )
        lines.append("")
    return "\n".join(lines)


def _from_file(path: Path) -> dict[str, object]:
    import tomllib  # noqa: PLC0415 - most servers have no file

    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise NotFound(
            "no such configuration file", reason="FILE_NOT_FOUND", field="config", value=str(path)
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise _refused("config", str(path), f"cannot be read as TOML: {error}") from error
    values: dict[str, object] = {}
    for section, table in document.items():
        if section not in SECTIONS or not isinstance(table, dict):
            raise _unknown(section)
        for name, value in table.items():
            values[_checked_key(f"{section}.{name}")] = value
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """Variables ``MEMDB_SECTION__NAME``; others with the prefix alone (failpoints) are not ours."""
    values: dict[str, object] = {}
    for variable, value in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable:
            section, _, name = variable.removeprefix(ENVIRONMENT_PREFIX).partition("__")
            values[_checked_key(f"{section.lower()}.{name.lower()}", shown=variable)] = value
    return values


def _checked_key(key: str, *, shown: str | None = None) -> str:
    section, _, name = key.partition(".")
    if section not in SECTIONS or name not in {item.name for item in fields(SECTIONS[section])}:
        raise _unknown(shown or key)
    return key


def _typed(key: str, value: object) -> object:
    """``value`` in the type of the key's default; text (from the environment) is read as that."""
    section, _, name = _checked_key(key).partition(".")
    wanted = type(getattr(SECTIONS[section](), name))
    if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and wanted is bool and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, str) and wanted in (int, float):
        try:
            return wanted(value)
        except ValueError:
            pass  # refused below, with the key
    raise _refused(key, value, f"expected {_KINDS[wanted]}")


def _field_docs(kind: type) -> dict[str, str]:
    """The string under each field, on one line: the one place where a key is described."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            docs[statement.target.id] = " ".join(str(following.value.value).split())
    return docs


def _toml_value(value: object) -> str:
    # JSON's spelling of text, numbers and booleans is TOML's as well.
    return json.dumps(value, ensure_ascii=False)


def _refused(key: str, value: object, why: str) -> InvalidArgument:
    return InvalidArgument(why, reason="BAD_CONFIG", field=key, value=value)


def _unknown(key: str) -> InvalidArgument:
    from difflib import get_close_matches  # noqa: PLC0415 - nor a wrong key

    known = [
        f"{section}.{item.name}" for section, kind in SECTIONS.items() for item in fields(kind)
    ]
    if key.startswith(ENVIRONMENT_PREFIX):
        known = [ENVIRONMENT_PREFIX + name.upper().replace(".", "__") for name in known]
    # A section, or what stands above all of them though it belongs in one.
    beneath = [name for name in known if name.endswith(f".{key}")]
    meant = beneath or get_close_matches(
        key, known if "." in key else [*known, *SECTIONS], n=1, cutoff=0.75
    )
    asked = f"; is it {meant[0]}?" if meant else ""
    return InvalidArgument(f"no such configuration key{asked}", reason="UNKNOWN_KEY", field=key)

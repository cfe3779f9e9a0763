"""Ours ÷ theirs, of one run; what did not run, or does not find enough, is compared with nothing.

A ratio of rates at one number of clients has it in its name (``_c8``); without, each side has its own best number of
1, 8 and 32.  Ratios of times are the better the smaller they are.  A restart is with what the engine has
for it (ours: a process that stands by), ``alone`` it is a process that is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bench.peers.driver import RECALL
from bench.peers.registry import PEERS
from bench.peers.turn import Turn

Turns = Mapping[str, Turn]
GOALS = {
    "embedded_filtered_vs_qdrantedge": (">=", 1.5),
    "grpc_filtered_vs_echo": (">=", 0.8),
    "grpc_filtered_vs_milvus": (">=", 3.0),
    "grpc_filtered_vs_chroma": (">=", 3.0),
    "many_filtered_vs_redis": (">=", 1.0),
    "big_user_vs_best_server_c1": (">=", 1.0),
    "big_user_vs_best_server_c8": (">=", 1.0),
    "ingest_vs_best_durable": (">=", 2.0),
    "restart_vs_best_server": ("<=", 0.5),
    "restart_alone_vs_best_server": ("<=", 0.5),
}
"""What is aimed for."""


def ratios(turns: Turns, clients: tuple[int, ...]) -> dict[str, float]:
    """Those that this run has both sides of."""
    found: dict[str, float] = {}
    comparisons = (
        ("embedded_filtered_vs_qdrantedge", "memdb_embedded", "user", "qdrant_edge", "user"),
        ("grpc_filtered_vs_echo", "memdb_grpc", "user", "memdb_grpc", "echo"),
        ("grpc_filtered_vs_milvus", "memdb_grpc", "user", "milvus", "user"),
        ("grpc_filtered_vs_chroma", "memdb_grpc", "user", "chroma", "user"),
        ("many_filtered_vs_redis", "memdb_grpc", "many", "redis", "user"),
    )
    for name, ours, kind, theirs, their_kind in comparisons:
        for suffix, counts in (("", clients), *((f"_c{count}", (count,)) for count in clients)):
            above = _rate(turns, ours, kind, counts)
            below = _rate(turns, theirs, their_kind, counts)
            if above and below:
                found[f"{name}{suffix}"] = above / below
    servers = [name for name in PEERS if _form(turns, name) == "server"]
    for count in clients:
        best = max((_rate(turns, name, "big", (count,)) for name in servers), default=0.0)
        ours_big = _rate(turns, "memdb_grpc_big", "big", (count,))
        if best and ours_big:
            found[f"big_user_vs_best_server_c{count}"] = ours_big / best
    found |= _ingest(turns, servers)
    for way, what in (("restart", "takeover"), ("restart_alone", "restart")):
        for suffix, ours, kind in (("", "memdb_grpc_big", "big"), ("_user", "memdb_grpc", "user")):
            times = [_figure(turns, each, f"restart_{kind}_s") for each in servers]
            mine = _figure(turns, ours, f"{what}_{kind}_s")
            if any(times) and mine:
                found[f"{way}{suffix}_vs_best_server"] = mine / min(filter(None, times))
    return found


def _ingest(turns: Turns, servers: list[str]) -> dict[str, float]:
    def kept(name: str) -> bool:
        return _figure(turns, name, "kept_tensors_share") == 1.0

    def synced(name: str) -> bool:
        return kept(name) and bool(turns[name].facts.get("synced"))

    def unsynced(name: str) -> bool:
        return kept(name) and not synced(name)

    found = {}
    comparisons: tuple[tuple[str, str, Callable[[str], bool], Iterable[str]], ...] = (
        ("ingest_vs_best_durable", "memdb_embedded", kept, PEERS),
        ("ingest_relaxed_vs_best_unsynced", "memdb_embedded_relaxed", unsynced, PEERS),
        ("ingest_vs_best_synced", "memdb_embedded", synced, PEERS),
        ("ingest_grpc_vs_best_durable_server", "memdb_grpc", kept, servers),
    )
    for name, ours, counts, theirs in comparisons:
        best = max(
            (_figure(turns, each, "tensors_per_s") for each in theirs if counts(each)), default=0.0
        )
        mine = _figure(turns, ours, "tensors_per_s")
        if best and mine:
            found[name] = mine / best
    return found


def _figure(turns: Turns, name: str, figure: str) -> float:
    """0 where it is not there."""
    return turns[name].figures.get(figure, 0.0) if name in turns else 0.0


def _form(turns: Turns, name: str) -> object:
    return turns[name].facts.get("form") if name in turns else None


def _rate(turns: Turns, name: str, kind: str, counts: Iterable[int]) -> float:
    """The best of some numbers of clients; 0 where it did not run or finds less than 95 %."""
    recall = _figure(turns, name, f"recall_{kind}")
    if kind != "echo" and recall < RECALL:
        return 0.0
    return max((_figure(turns, name, f"{kind}_c{count}_per_s") for count in counts), default=0.0)

"""`python -m bench peers`: runs with nothing installed, says who is absent, and compares like with like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.peers import driver, install, isolation
from bench.peers import turn as turns_of_engines
from bench.peers.install import available
from bench.peers.publish import BEGIN, END, replaced, section
from bench.peers.ratios import ratios
from bench.peers.registry import ALL, OURS, PEERS
from bench.peers.rows import KINDS, STEP_S, Question
from bench.peers.table import goals, table
from bench.peers.turn import Turn, take_turn
from bench.peers.work import Size, Work, prepare, recall
from bench.report import Setup
from bench.workloads import peers

CLIENTS = (1, 8)


def bench(*arguments: str, environments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "peers", "--quick", "--json", "--seed", "3", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MEMDB_BENCH_PEERS": str(environments)},
    )


@pytest.mark.timeout(600)
def test_it_runs_with_nothing_installed_and_names_who_is_absent(tmp_path: Path) -> None:
    nothing, work, report = tmp_path / "none", tmp_path / "work", tmp_path / "report"
    work.mkdir()

    run = bench("--directory", str(work), "--report", str(report), environments=nothing)

    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert set(result) == {"workload", "seed", "machine", "config", "figures", "ratios"}
    config, figures = result["config"], result["figures"]
    assert (config["ran"], config["failed"]) == (list(OURS), {}), run.stderr
    assert set(config["absent"]) == set(PEERS)
    for name in PEERS:
        assert f"* {name}: absent, " in run.stdout
    assert {"grpc_filtered_vs_echo", "grpc_filtered_vs_echo_c8"} <= set(result["ratios"])
    for name in ("memdb_embedded", "memdb_grpc", "memdb_embedded_big", "memdb_grpc_big"):
        assert config["facts"][name]["kept_singles"] == "20 of 20"
    for name in ("memdb_embedded", "memdb_embedded_relaxed", "memdb_grpc"):
        assert config["facts"][name]["kept_tensors"] == "128 of 128"
    exact = [v for name, v in figures.items() if "recall" in name and name.startswith("memdb")]
    assert exact
    assert min(exact) >= 0.95
    assert {path.name for path in report.iterdir()} == {"result.json", "table.md"}
    assert not list(work.iterdir()), "a run leaves nothing behind"


def test_an_interrupt_keeps_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn(name: str, work: Work, folder: Path) -> Turn:
        if name == "redis":
            raise KeyboardInterrupt
        return Turn(name, "ran", figures={"user_c1_per_s": 1.0})

    monkeypatch.setattr(peers, "take_turn", turn)
    monkeypatch.setattr(peers, "QUICK", Size(100, 0, 0.1, 0.1, 1, CLIENTS, 2, 1))
    setup = Setup(tmp_path, 3, quick=True, peers=("chroma", "redis", "lancedb"))

    config = peers.run(setup).config

    assert config["ran"] == [*OURS, "chroma"]
    assert list(config["absent"]) == ["redis", "lancedb"]  # type: ignore[call-overload]  # a mapping


def test_a_peer_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    run = bench("--peers", "redis,oracle", environments=tmp_path)

    assert run.returncode == 2
    assert "oracle" in run.stderr


def test_every_peer_can_be_installed() -> None:
    environments = {entry.environment for entry in PEERS.values()}

    assert environments | {"chart"} == set(available())
    assert all((Path("bench/peers") / f"{entry.module}.py").exists() for entry in ALL.values())


def test_exact_answers_keep_to_the_filter(tmp_path: Path) -> None:
    size = Size(1000, 0, 0.1, 0.1, 1, CLIENTS, 5, 1)
    work = prepare(tmp_path / "work", 3, size)
    rows = work.rows()

    for number in range(size.judged):
        user, user_time, big = (work.exact(kind)[number] for kind in KINDS)
        question = work.question("user", number)
        assert set(rows.users[user].tolist()) == {question.user}
        starts = rows.starts[user_time]
        assert set(rows.users[user_time].tolist()) == {question.user}
        assert starts.min() >= question.begin
        assert starts.max() < question.end
        assert (question.begin % STEP_S, question.end % STEP_S) == (0, 0)
        scores = rows.vectors @ question.vector
        assert np.sort(scores)[-10:].tolist() == sorted(scores[big].tolist())


class FindsOwners:
    """An engine that finds nothing of a range of time."""

    form = "server"
    kinds = ("user", "user_time")

    def start(self) -> None: ...

    def stand_by(self) -> bool:
        return False

    stop = disconnect = lambda *_: None
    connect = lambda _: None  # noqa: E731

    def ask(self, _: object, question: Question) -> list[int]:
        return [1] if question.kind == "user" else []


def test_who_finds_nothing_of_one_kind_after_a_restart_is_asked_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_ANOTHER_S", 0.05)
    size = Size(100, 0, 0.1, 0.1, 1, CLIENTS, 2, 1)
    taken = driver.Driver("memdb_grpc", prepare(tmp_path / "work", 3, size), tmp_path)
    taken._restart(FindsOwners())  # type: ignore[arg-type]  # as much of a peer as is asked for
    assert list(taken.figures) == ["restart_user_s"]


def test_recall_counts_what_was_to_be_found() -> None:
    exact = np.array([[1, 2], [3, -1]])

    assert recall([[2, 9], [3]], exact) == 0.75
    assert recall([[], []], exact) == 0.0


def turn(name: str, **figures: float) -> Turn:
    form = "server" if name in {"redis", "milvus", "memdb_grpc", "memdb_grpc_big"} else "embedded"
    return Turn(name, "ran", figures=figures, facts={"form": form, "synced": name != "lancedb"})


def test_ratios_compare_only_those_who_find_enough_and_keep_everything() -> None:
    turns = {
        each.name: each
        for each in (
            turn("memdb_embedded", tensors_per_s=300.0),
            turn("memdb_embedded_relaxed", tensors_per_s=450.0),
            turn(
                "memdb_grpc_big",
                recall_big=1.0,
                big_c1_per_s=50.0,
                restart_big_s=6.0,
                takeover_big_s=2.0,
            ),
            turn("redis", recall_big=0.96, big_c1_per_s=100.0, restart_big_s=4.0),
            turn("milvus", recall_big=0.90, big_c1_per_s=999.0),
            turn("lancedb", tensors_per_s=600.0, kept_tensors_share=1.0),
            turn("sqlite_vec", tensors_per_s=150.0, kept_tensors_share=1.0),
            turn("qdrant_edge", tensors_per_s=999.0, kept_tensors_share=0.5),
        )
    }

    assert ratios(turns, (1,)) == {
        "big_user_vs_best_server_c1": 0.5,
        "ingest_vs_best_durable": 0.5,
        "ingest_relaxed_vs_best_unsynced": 0.75,
        "ingest_vs_best_synced": 2.0,
        "restart_vs_best_server": 0.5,
        "restart_alone_vs_best_server": 1.5,
    }


def test_a_relaxed_database_is_not_compared_with_who_promises_more() -> None:
    rates = {"memdb_embedded_relaxed": 450.0, "sqlite_vec": 900.0, "lancedb": 600.0}
    turns = {
        name: turn(name, tensors_per_s=rate, kept_tensors_share=1.0) for name, rate in rates.items()
    }
    assert ratios(turns, (1,)) == {"ingest_relaxed_vs_best_unsynced": 0.75}
    del turns["lancedb"]
    assert ratios(turns, (1,)) == {}


def test_the_table_marks_who_finds_less_and_names_who_failed() -> None:
    found = {"recall_user": 0.05, "user_c1_per_s": 12.0, "user_c8_per_s": 3456.0}
    text = table([turn("milvus", **found), Turn("redis", "failed", "NotReady: it ended")], CLIENTS)

    assert "12 / 3,456 (finds less)" in text
    ours = table([turn("memdb_grpc", restart_user_s=0.3, takeover_user_s=0.02)], CLIENTS)
    assert "| 0.3; by a standby 0.02 |" in ours
    assert "* redis: failed, NotReady: it ended" in text


def test_what_is_aimed_for_is_there_also_where_nothing_was_seen() -> None:
    text = goals({"restart_vs_best_server": 0.4, "big_user_vs_best_server_c1": 0.99})

    assert "| `restart_vs_best_server` | ≤ 0.5 | 0.4 | reached |" in text
    assert "| `big_user_vs_best_server_c1` | ≥ 1 | 0.99 | **missed** |" in text
    assert "| `grpc_filtered_vs_milvus` | ≥ 3 | – | not in this run |" in text


def test_a_driver_that_fails_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an environment that has not what the engine needs."""
    monkeypatch.setattr(turns_of_engines, "python_of", lambda name: Path(sys.executable))
    work = prepare(tmp_path / "work", 3, Size(100, 0, 0.1, 0.1, 1, CLIENTS, 1, 1))

    found = take_turn("redis", work, tmp_path / "redis")

    assert found.state == "failed"
    assert "No module named" in found.reason
    assert not (tmp_path / "redis").exists()


def test_who_listens_everywhere_does_not_run_without_a_network_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_of_engines, "python_of", lambda name: Path(sys.executable))
    monkeypatch.setattr(isolation, "prefix", tuple)
    work = prepare(tmp_path / "work", 3, Size(100, 0, 0.1, 0.1, 1, CLIENTS, 1, 1))

    found = take_turn("milvus", work, tmp_path / "milvus")

    assert (found.state, list(found.figures)) == ("absent", [])
    assert "listens on every address" in found.reason


@pytest.mark.skipif(not isolation.prefix(), reason="no namespaces here")
def test_behind_the_prefix_there_is_no_network_but_loopback() -> None:
    look = "from bench.peers import isolation as i; i.raise_loopback(); print(i.apart(), open('/proc/net/dev').read())"

    seen = subprocess.run(
        [*isolation.prefix(), sys.executable, "-c", look],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert seen.startswith("True ")
    assert [line.split(":")[0].strip() for line in seen.splitlines() if ":" in line] == ["lo"]


def test_a_driver_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_of_engines, "TURN_S", 0.5)
    work = prepare(tmp_path / "work", 3, Size(100, 0, 60.0, 0.1, 1, CLIENTS, 1, 1))

    found = take_turn("faiss", work, tmp_path / "faiss")

    assert (found.state, found.reason) == ("failed", "not done within 0.5 s")
    assert not (tmp_path / "faiss").exists()


def test_an_environment_that_fails_to_install_counts_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requirements = tmp_path / "requirements"
    requirements.mkdir()
    (requirements / "nonsense.txt").write_text("./there-is-no-such-folder\n")
    monkeypatch.setattr(install, "REQUIREMENTS", requirements)
    monkeypatch.setattr(install, "ENVIRONMENTS", tmp_path / "environments")

    with pytest.raises(subprocess.CalledProcessError):
        install.install("nonsense")

    assert install.python_of("nonsense") is None
    assert not (tmp_path / "environments" / "nonsense").exists()


def test_publishing_replaces_what_stands_between_the_marks() -> None:
    result = {
        "note": "2 CPUs",
        "config": {"clients": [1, 8]},
        "ratios": {"restart_vs_best_server": 0.4},
        "turns": [{"name": "redis", "state": "ran", "reason": "", "figures": {"rss_mb": 12.0}}],
    }

    text = replaced(f"before {BEGIN} old {END} after", section(result, "chart.png", "Busy."))

    assert text.startswith(f"before {BEGIN}\n")
    assert text.endswith(f"{END} after")
    assert " old " not in text
    for part in ("2 CPUs", "Busy.", "(chart.png)", "| redis |", "| ≤ 0.5 | 0.4 | reached |"):
        assert part in text
    with pytest.raises(ValueError, match="no place marked"):
        replaced("nothing", "")
    assert BEGIN in Path("README.md").read_text("utf-8")

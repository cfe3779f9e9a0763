"""Every workload runs at its smallest size and prints the promised names."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import memdb.index.gpu
import memdb.index.gpu_flat
import memdb.index.gpu_placed
from bench import gpu
from bench.__main__ import WORKLOADS
from bench.gpu_case import Case
from bench.report import Setup
from memdb.index.gpu import Gpu
from tests.forked.command import run_command
from tests.unit.index.gpu_twin import Failing, Twin, flat_twin

FIGURES = {
    "ingest": {"write_lmdb_clips_per_s", "write_embedded_clips_per_s", "write_grpc_clips_per_s"},
    "ground": {"ground_p50_ms", "ground_p99_ms", "faiss_p50_ms", "echo_p50_ms", "agreement_share"},
    "snapshot": {"snapshot_ms_10", "snapshot_p99_ms_10", "as_of_early_cpu_ms_1000"},
    "restart": {"restart_s"},
    "memory": {"rss_mb", "vectors_mb", "overhead_mb"},
    "churn": {"fresh_clips_per_s", "churn_clips_per_s", "file_vs_live_highest"},
    "users": {"paced_ack_p99_ms", "sustained_clips_s", "cold_user_p99_ms"},
    "streams": {
        "short_memory_p50_ms",
        "embedded_1536_1_clips_per_s",
        "grpc_384_256_clips_per_s",
        "grpc_384_256_server_ms",
        "grpc_384_256_client_ms",
        "grpc_open_stream_ms",
    },
    "tiers": {
        "tiers_p50_ms_views_3000",
        "faiss_p50_ms_scenes_3000",
        "indexed_looked_at_views_3000",
    },
    "many": {
        "lone_p50_ms",
        "echo_8_qps",
        "unary_8_qps",
        "ground_many_8_qps",
        "ground_stream_8_qps",
    },
    "hybrid": {"embedded_p50_ms", "embedded_text_p50_ms", "grpc_text_added_ms", "first_words_ms"},
    "relevance": {"packaged_score_auroc", "packaged_relevance_auroc", "packaged_false_over_90"},
    "quality": {"top_r1", "hybrid_mrr", "idf_minus_top_r1_low", "last_old_r1"},
    "codecs": {"compression_vs_f16", "cosine_mean", "top1_agreement", "decode_mb_s"},
    "late": {"plain_top_r1", "plain_idf_r1", "beside_idf_iou", "global_tokens_r1_of_16"},
    "standing": {"evaluate_ms_single_one", "evaluate_cpu_ms_page_users", "heard_p50_ms_streams"},
}
ENCODED = ("codecs", "relevance", "quality")
"""Those that need the bundled weights."""
RATIOS = {
    "ingest": {"write_vs_lmdb_embedded", "write_vs_lmdb_grpc", "ack_p99_vs_commit"},
    "streams": {
        *("write_vs_lmdb_embedded_384_256", "write_vs_lmdb_embedded_waiting_384_256"),
        *("write_vs_lmdb_grpc_384_256", "ack_p99_vs_commit", "short_memory_vs_raw"),
    },
    "ground": {"ground_p50_vs_limit"},
    "many": {"unary_vs_echo_8", "ground_many_vs_echo_8", "ground_stream_vs_echo_8"},
    "late": {"codes_vs_decoded_delta_384"},
    "churn": {"churn_write_vs_fresh", "file_vs_live"},
    "tiers": {"tiers_vs_faiss_views_3000", "tiers_vs_heads_scenes_3000"},
    "standing": {"write_watched_vs_alone_one"},
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "workload",
    [
        pytest.param(workload, marks=pytest.mark.weights if workload in ENCODED else ())
        for workload in WORKLOADS
        if workload != "peers"  # tests/bench/test_peers.py
    ],
)
def test_a_quick_run_ends_with_one_json_object(workload: str, tmp_path: Path) -> None:
    run = run_command(
        *("bench.__main__", workload, "--quick", "--json", "--seed", "3"),
        *("--directory", tmp_path),
        timeout_s=600,
    )

    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert set(result) == {"workload", "seed", "machine", "config", "figures", "ratios"}
    assert (result["workload"], result["seed"]) == (workload, 3)
    assert FIGURES[workload] <= set(result["figures"])
    assert RATIOS.get(workload, set()) <= set(result["ratios"])
    numbers = [*result["figures"].values(), *result["ratios"].values()]
    assert all(map(math.isfinite, numbers))
    if workload == "quality":  # differences go both ways
        numbers = [value for name, value in result["figures"].items() if "_minus_" not in name]
    if workload == "tiers":  # so few rows have no lists yet
        numbers = [v for name, v in result["figures"].items() if "looked_at" not in name]
    # Of a handful of questions none may be right; no false answer at all is a figure too.
    of_few = workload in ("late", "relevance", "quality")
    assert min(numbers) >= 0 if of_few else min(numbers) > 0
    assert not list(tmp_path.iterdir()), "a run leaves nothing behind"


def test_an_unknown_workload_is_refused() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench", "nonsense"], capture_output=True, text=True, check=False
    )

    assert run.returncode == 2
    assert "invalid choice" in run.stderr


def test_the_measurement_of_a_gpu_runs_without_one() -> None:
    run = _ground_by("cpu")

    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])["figures"]
    assert figures["cpu_recall"] == 1.0
    assert figures["cpu_64_questions_per_s"] > 0


def test_the_measurement_of_a_gpu_takes_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    few_are_placed(monkeypatch)
    told: list[set[str]] = []
    case = Case(told=lambda case: told.append({*case.figures, *case.left}))

    gpu.measure(case, 5000, 64, 1, Twin(), "cpu")

    assert not case.left
    figures = case.figures
    ways = ("gpu", "torch", "gpu_ivf", "gpu_cagra", "cpu_heads", "cpu", "cpu_lists")
    for way in ways:
        assert figures[f"{way}_recall"] >= 0.95
        for figure in ("p50_ms", "p99_ms", "64_p50_ms", "64_p99_ms"):
            assert figures[f"{way}_{figure}"] > 0
    for way in ("gpu", "cpu_heads", "cpu"):
        assert figures[f"{way}_recall"] == 1
    for way in ("gpu", "gpu_ivf", "gpu_cagra"):
        assert figures[f"{way}_bytes"] >= 2 * 4992 * 1536
        assert figures[f"{way}_failed"] == figures[f"{way}_left_share"] == 0
        assert figures[f"{way}_call_1_ms"] > 0
        assert "used_bytes" in "".join(figures)
    assert set(gpu.ratios_of(figures)) == {
        f"{way}_{ratio}"
        for way in ("gpu", "gpu_ivf", "gpu_cagra")
        for ratio in (
            *("vs_cpu", "vs_cpu_heads", "vs_cpu_lists", "vs_torch"),
            *("64_vs_torch", "call_64_vs_torch"),
        )
    }
    assert [len(names) for names in told] == sorted({len(names) for names in told})
    assert len(told) == len(ways)


def test_the_measurement_of_a_gpu_needs_no_server() -> None:
    """Where it is run there may be numpy and FAISS, and no network to bring more."""
    told = "import sys, bench.__main__, bench.gpu; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert not {"grpc", "lmdb", "google", "xxhash", "zstandard", "psutil"} & set(run.stdout.split())


def test_what_a_gpu_does_not_answer_is_not_told_as_its_own() -> None:
    # So few rows stay on the CPU.
    case = Case()
    gpu.measure(case, 1000, 64, 1, Twin(has_graphs=False))

    figures = case.figures
    assert figures["cpu_recall"] == 1
    assert figures["gpu_recall"] == 0
    assert "so few rows" in case.left["gpu"]
    assert "cuVS" in case.left["gpu_cagra"]
    assert "torch sees no GPU" in case.left["torch"]
    assert not any(name.startswith(("gpu_p50", "gpu_cagra_p50", "torch_p50")) for name in figures)


@pytest.mark.parametrize(("call", "after"), [("add", 0), ("search", 1)])
def test_a_gpu_that_fails_in_its_measurement_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str, after: int
) -> None:
    few_are_placed(monkeypatch)
    error = RuntimeError("CUDA error 700: an illegal memory access")
    monkeypatch.setattr(gpu, "find_gpu", lambda device: Gpu(Twin(), 0))
    monkeypatch.setattr(
        gpu, "FaissOnGpu", lambda: Twin(lambda width: Failing(flat_twin(width), call, after, error))
    )
    monkeypatch.setattr(gpu, "PLACE_ROWS_MIN", 100)
    result = gpu.run(Setup(tmp_path, 1, True, rows=1000, report=tmp_path, device="gpu"))

    left = result.config["left"]
    assert isinstance(left, dict)
    assert "failed" in left["gpu"] or "700" in left["gpu"]
    assert result.figures["cpu_recall"] == 1
    assert not any(name.startswith("gpu_64") for name in result.figures)
    assert [path.name for path in tmp_path.iterdir()] == ["ground-1000.json"]


def test_a_measurement_that_has_no_time_keeps_what_it_has(tmp_path: Path) -> None:
    setup = Setup(tmp_path, 1, True, rows=3000, report=tmp_path / "told", device="cpu")
    result = gpu.run(setup)
    written = json.loads((tmp_path / "told" / "ground-3000.json").read_text("utf-8"))
    assert written == json.loads(result.as_json())
    assert result.figures["cpu_heads_recall"] == 1

    none = gpu.run(replace(setup, seconds=0))
    assert none.config["left"] == dict.fromkeys(("cpu_heads", "cpu", "cpu_lists"), "no time")
    assert not any(none.figures.values())


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_without_a_gpu_its_measurement_says_so() -> None:
    run = _ground_by("gpu")

    assert run.returncode == 2
    assert "GPU" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr


def few_are_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memdb.index.gpu, "PLACE_ROWS_MIN", 100)
    monkeypatch.setattr(memdb.index.gpu_flat, "PLACE_ROWS_MIN", 100)
    monkeypatch.setattr(memdb.index.gpu_placed, "PLACE_ROWS", 64)


def _ground_by(device: str) -> subprocess.CompletedProcess[str]:
    return run_command("bench.__main__", "ground", "--json", "--quick", "--device", device)

"""FAISS and its GPUs: which there are, why there is none, and what becomes of one in a forked process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import faiss
import pytest

from memdb.errors import FailedPrecondition
from memdb.index import gpu_faiss
from memdb.index.gpu import Gpu
from memdb.index.gpu_faiss import FaissOnGpu, find_gpu
from tests.unit.index.gpu.placing import DIM
from tests.unit.index.gpu_twin import GPUS


def test_a_forked_process_leaves_the_gpu_alone() -> None:
    """There is no CUDA in it: FAISS would end it as it gave memory back."""
    index = gpu_faiss._of_this_process(faiss.IndexFlatIP(DIM))
    pid = os.fork()
    if not pid:
        os._exit(1 if index.thisown else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert index.thisown


class _Library:
    """FAISS, as far as it is asked for GPUs."""

    def __init__(self, count: int | RuntimeError) -> None:
        self._count = count
        self.asked = 0

    StandardGpuResources = object

    def get_num_gpus(self) -> int:
        self.asked += 1
        if isinstance(self._count, RuntimeError):
            raise self._count
        return self._count


@pytest.mark.parametrize(
    ("count", "why"),
    [
        (None, "built without GPUs.*memdb\\[gpu\\]"),
        (0, "sees no GPU"),
        (RuntimeError("Error in getNumDevices:\ndriver too old"), "GPU: driver too old"),
    ],
    ids=["built without", "none", "driver"],
)
@pytest.mark.parametrize("may_be_there", [True, False])
def test_who_asks_for_a_gpu_is_told_why_there_is_none(
    monkeypatch: pytest.MonkeyPatch, count: int | RuntimeError | None, why: str, may_be_there: bool
) -> None:
    library = object() if count is None else _Library(count)
    monkeypatch.setattr(gpu_faiss, "faiss", library)
    monkeypatch.setattr(gpu_faiss, "_may_be_there", lambda: may_be_there)
    with pytest.raises(FailedPrecondition, match=why) as caught:
        find_gpu("gpu")
    assert (caught.value.reason, caught.value.field) == ("NO_GPU", "index.device")
    assert find_gpu("auto") is None
    if isinstance(library, _Library):
        # Where there is nothing that it could be, the library need not be loaded for it.
        assert library.asked == (2 if may_be_there else 1)


def test_without_a_gpu_there_is_none() -> None:
    assert find_gpu("cpu") is None
    if GPUS:
        pytest.skip("there is one here")
    assert find_gpu("auto") is None
    with pytest.raises(FailedPrecondition) as caught:
        find_gpu("gpu")
    assert (caught.value.reason, caught.value.value) == ("NO_GPU", "gpu")


def test_a_graph_that_faiss_does_not_have_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_faiss, "faiss", _Library(1))
    with pytest.raises(FailedPrecondition, match="cuVS") as caught:
        find_gpu("gpu", 0, "cagra")
    assert (caught.value.reason, caught.value.field) == ("NO_GPU", "index.gpu_index")
    assert isinstance(find_gpu("gpu", 0, "auto"), Gpu)


@pytest.mark.skipif(
    not hasattr(faiss, "StandardGpuResources"), reason="FAISS was built without GPUs"
)
def test_faiss_knows_what_it_is_asked_for() -> None:
    """Where FAISS is built for GPUs, be there one or not: without one it fails at that, and at nothing before."""
    indexes = FaissOnGpu()
    makers: list[Callable[[], Any]] = [
        lambda: indexes.flat(DIM),
        lambda: indexes.lists(DIM, 16),
        indexes.free_bytes,
    ]
    if indexes.has_graphs:
        makers.append(lambda: indexes.graph(DIM))
        assert indexes.reaching(64).itopk_size == 64
    assert indexes.probing(7).nprobe == 7
    for make in makers:
        if GPUS:
            assert make() is not None
        else:
            with pytest.raises(RuntimeError, match=r"Invalid GPU device|error \d+"):
                make()

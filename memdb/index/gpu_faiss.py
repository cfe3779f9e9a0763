"""FAISS's indexes on the first GPU, for `memdb.index.gpu`.

Needs a build of FAISS with GPU support (extra ``gpu``); `find_gpu` finds none otherwise.  Graphs need one with NVIDIA's
cuVS (``faiss-gpu-cuvs``).  FAISS raises what it runs short of, and what it does not know; where the device itself
fails, its ``CUDA_VERIFY`` ends the process, which nobody can catch.
"""

from __future__ import annotations

import ctypes
import os
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from memdb.errors import FailedPrecondition
from memdb.eventlog import event_log
from memdb.index import faiss_later as faiss
from memdb.index.gpu import Gpu
from memdb.index.gpu_graph import GRAPH_DEGREE, GraphOnGpu

_DEVICE: Final = 0
_DEVICES: Final = ("nvidia", "dxg", "kfd")
"""How names in ``/dev`` begin: NVIDIA's, the same in Windows' Linux, AMD's."""
_CUDA_RUNTIME: Final = "libcudart"
_OWN_BYTES: Final = 64 << 20
"""Of memory for a while, for each index that shares none: FAISS would take 1.5 GiB.  A search of 64 questions takes
some of it; what is more, as rows that come, is taken when it is needed."""
_CONTEXT_BYTES: Final = 32 << 20
"""What CUBLAS takes for each of those."""
_STARTS: Final = 8
"""From so many draws a walk of a graph begins; with cuVS's one it misses two of five hits among many rows."""

log = event_log("memdb.index")


def find_gpu(device: str, bytes_max: int = 0, kind: str = "auto") -> Gpu | None:
    """The first GPU, None where there is none or ``device`` is ``cpu``.

    bytes_max, kind: see `Gpu`.  Raises `FailedPrecondition` (``NO_GPU``) where ``device`` is ``gpu`` and there is none,
    which says why, and where there is one for which FAISS has no ``cagra``.
    """
    if device == "cpu" or (device == "auto" and not _may_be_there()):
        return None
    why = _why_none()
    if why is not None:
        if device == "gpu":
            raise FailedPrecondition(why, reason="NO_GPU", field="index.device", value=device)
        return None
    indexes = FaissOnGpu()
    if kind == GraphOnGpu.kind and not indexes.has_graphs:
        why = "FAISS was built without cuVS here: it has no graphs"
        raise FailedPrecondition(why, reason="NO_GPU", field="index.gpu_index", value=kind)
    return Gpu(indexes, bytes_max, kind)


class FaissOnGpu:
    """See `memdb.index.gpu_indexes.GpuIndexes`."""

    # Not before something is placed: they take memory of the GPU, and most who open a database ask little.
    @cached_property
    def _shared(self) -> Any:
        return _of_this_process(faiss.StandardGpuResources())

    @property
    def own_bytes(self) -> int:
        """See `GpuIndexes.own_bytes`."""
        return _OWN_BYTES + _CONTEXT_BYTES

    @property
    def has_graphs(self) -> bool:
        """Whether FAISS is built with cuVS."""
        return hasattr(faiss, "GpuIndexCagra")

    def flat(self, width: int) -> Any:
        """See `GpuIndexes.flat`."""
        config = faiss.GpuIndexFlatConfig()
        config.device = _DEVICE
        config.useFloat16 = True
        # Its own kernels, of which it is known what they round.
        config.use_cuvs = False
        return _of_this_process(faiss.GpuIndexFlatIP(self._shared, width, config))

    def lists(self, width: int, count: int) -> Any:
        """See `GpuIndexes.lists`."""
        config = faiss.GpuIndexIVFScalarQuantizerConfig()
        config.device = _DEVICE
        config.use_cuvs = False  # which has no float16
        index = faiss.GpuIndexIVFScalarQuantizer(
            _own_resources(),
            width,
            count,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,
            config,
        )
        return _of_this_process(index)

    def graph(self, width: int) -> Any:
        """See `GpuIndexes.graph`."""
        config = faiss.GpuIndexCagraConfig()
        config.device = _DEVICE
        config.graph_degree = GRAPH_DEGREE
        config.intermediate_graph_degree = 2 * GRAPH_DEGREE
        index = faiss.GpuIndexCagra(_own_resources(), width, faiss.METRIC_INNER_PRODUCT, config)
        return _of_this_process(index)

    def probing(self, lists: int) -> Any:
        """See `GpuIndexes.probing`."""
        return faiss.SearchParametersIVF(nprobe=lists)

    def reaching(self, size: int) -> Any:
        """See `GpuIndexes.reaching`."""
        return faiss.SearchParametersCagra(itopk_size=size, num_random_samplings=_STARTS)

    def free_bytes(self) -> int:
        """See `GpuIndexes.free_bytes`; what CUDA says, since FAISS tells nobody outside of it."""
        runtime = _cuda_runtime()
        if runtime is None:
            raise RuntimeError(
                "CUDA's runtime is not there to say how much memory is free: gpu_bytes_max is needed"
            )
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        failed = runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        if failed:
            raise RuntimeError(f"CUDA does not say how much memory is free: error {failed}")
        return free.value


def _own_resources() -> Any:
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(_OWN_BYTES)
    # Of the machine's memory, 256 MiB of which nobody else could have any more, for copies of what is larger still.
    resources.setPinnedMemory(0)
    return resources


_made: WeakSet[Any] = WeakSet()
"""What there is of FAISS's on the GPU."""


def _of_this_process(made: Any) -> Any:
    """The same.  A process that is forked leaves it alone: there is no CUDA in it, and FAISS ends a process in which
    memory of the GPU cannot be given back, be it at its exit.
    """
    _made.add(made)
    return made


def _forsake() -> None:
    for made in list(_made):
        made.thisown = False


os.register_at_fork(after_in_child=_forsake)


def _cuda_runtime() -> ctypes.CDLL | None:
    """The one that FAISS was loaded with; of a thread that was never told another, its device is the first."""
    faiss.load()
    for line in Path("/proc/self/maps").read_text().splitlines():
        file = Path(line.partition("/")[1] + line.partition("/")[2])
        if file.name.startswith(_CUDA_RUNTIME):
            return ctypes.CDLL(str(file))
    return None


def _why_none() -> str | None:
    """Why FAISS has no GPU; None where it has one."""
    if not hasattr(faiss, "StandardGpuResources"):
        return 'FAISS was built without GPUs here: it needs the extra "memdb[gpu]"'
    try:
        count = faiss.get_num_gpus()
    except RuntimeError as error:  # a driver that is too old, say
        reason = str(error).strip().rpartition("\n")[2]
        log.warning("FAISS cannot use a GPU", extra={"fields": {"error": reason}})
        return f"FAISS cannot use a GPU: {reason}"
    if count < 1:
        return (
            "FAISS sees no GPU: there is none, its driver is not loaded, "
            "this process may not use it, or CUDA_VISIBLE_DEVICES hides it"
        )
    return None


def _may_be_there() -> bool:
    """Whether the system knows of a device by which FAISS could reach one, so that it is worth to load it and ask."""
    try:
        devices = [device.name for device in Path("/dev").iterdir()]
    except OSError:
        return True  # FAISS will know
    return any(name.startswith(_DEVICES) for name in devices)

"""Builds the extension against the gRPC of the system (Debian: libgrpc++-dev), which pkg-config names, with xxHash's
functions inline (libxxhash-dev: a header, nothing is loaded for it)."""

import os
import shlex
import subprocess
import tomllib
from pathlib import Path

import numpy as np
from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import setup


def _flags(*what: str) -> list[str]:
    told = subprocess.run(["pkg-config", *what], check=True, capture_output=True, text=True).stdout
    return shlex.split(told)


_version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]

ParallelCompile(default=2).install()

setup(
    ext_modules=[
        Pybind11Extension(
            "memdb_edge",
            sorted(str(path) for path in Path("src").glob("*.cc")),
            depends=sorted(str(path) for path in Path("src").glob("*.h")),
            include_dirs=[np.get_include()],
            define_macros=[("MEMDB_EDGE_VERSION", f'"{_version}"')],
            # Nothing contracted: sums are those of numpy to the last bit.
            extra_compile_args=[
                "-O2",
                "-ffp-contract=off",
                "-Wall",
                "-Wextra",
                *_flags("--cflags", "grpc++", "libxxhash"),
                # Last, so that they win over those of before: CXXFLAGS would not.
                *shlex.split(os.environ.get("MEMDB_EDGE_FLAGS", "")),
            ],
            extra_link_args=_flags("--libs", "grpc++"),
            cxx_std=17,
        )
    ]
)

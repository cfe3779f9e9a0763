#!/usr/bin/env bash
# Makes the virtual environment that every make target runs in: setup.sh VENV_DIRECTORY
#
# Three steps, so that nothing can pull another torch, CUDA or triton than the one meant:
#   1. requirements/lock.txt, hash-checked, without dependency resolution;
#   2. torch, by its exact version only: the same version is a CPU or a CUDA wheel depending on where pip looks, so its
#      hash cannot be locked. Its pure-Python needs came with step 1. TORCH_ARGS is handed to pip, for instance to name
#      a CPU-only index;
#   3. this project, editable.
#
# And the native edge of the server (edge/), where the system has a compiler and the headers of gRPC's C++ library
# and of xxHash (Debian: libgrpc++-dev, libxxhash-dev). Without it the server takes calls by Python's gRPC.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:?usage: setup.sh VENV_DIRECTORY}
python=${PYTHON:-$(command -v python3.11 || echo python3)}
torch_args=${TORCH_ARGS:-}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf 'setup: %s\n' "$*"; }

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    say "$python is not Python 3.11, which requirements/lock.txt is made for; set PYTHON=..." >&2
    exit 1
}
if [[ ! -x $venv/bin/pip ]]; then
    say "virtual environment in $venv"
    "$python" -m venv "$venv"
fi
# -qq: pip's warnings about the machine's own pip configuration are not ours to show; errors still are.
# --no-compile: Python compiles what is imported when it is imported; compiling everything is a third of the set-up time.
say "$(grep -c '==' requirements/lock.txt) locked packages"
"$venv/bin/pip" install -qq --no-compile --no-deps --require-hashes --only-binary :all: -r requirements/lock.txt
say "$(cat requirements/torch.txt)"
# shellcheck disable=SC2086  # TORCH_ARGS is a list of options
"$venv/bin/pip" install -qq --no-compile --no-deps $torch_args -r requirements/torch.txt
say "memdb itself, editable"
"$venv/bin/pip" install -qq --no-compile --no-deps --no-build-isolation -e .
if command -v c++ >/dev/null && pkg-config --exists grpc++ libxxhash 2>/dev/null; then
    say "the native edge"
    "$venv/bin/pip" install -qq --no-compile --no-deps --no-build-isolation --force-reinstall ./edge ||
        say "it could not be built: the server takes calls by Python's gRPC"
else
    say "no native edge, which needs c++, pkg-config, libgrpc++-dev and libxxhash-dev: the server takes calls by Python's gRPC"
fi
say "done"

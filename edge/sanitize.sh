#!/usr/bin/env bash
# Builds the native edge with GCC's sanitizers, drives it (edge/drive.py), and fails at what they find.  Ten minutes.
#
#   edge/sanitize.sh [SECONDS [address|thread]]    python from PATH, with memdb installed; PYTHON=... for another
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(command -v "${PYTHON:-python}")
seconds=${1:-30}
wanted=${2:-address thread}
[[ $wanted =~ ^(address|thread|address thread)$ ]] || { echo "$0: address or thread, not $wanted" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

drive() { # NAME FLAGS RUNTIME; options of the runtimes come by the environment
    local name=$1 flags=$2 runtime=$3 failed=0
    [[ " $wanted " == *" $name "* ]] || return 0
    cp -r edge "$work/$name-source"
    rm -rf "$work/$name-source/build" # of other flags, which would be taken for what is to be built
    MEMDB_EDGE_FLAGS="$flags -g -O1 -fno-omit-frame-pointer" LDFLAGS=$flags "$python" -m pip install -q --no-build-isolation \
        --no-deps --target "$work/$name" "$work/$name-source"
    echo "$name: $seconds s" >&2
    # Reports go to the standard error, among the errors that handlers raise on purpose.
    PYTHONPATH="$work/$name:$PWD${PYTHONPATH:+:$PYTHONPATH}" LD_PRELOAD="$(g++ -print-file-name="$runtime") $(g++ -print-file-name=libstdc++.so)" \
        "$python" edge/drive.py "$seconds" 2>"$work/$name.log" || failed=$?
    if grep -n -A 40 -E 'ERROR: AddressSanitizer|WARNING: ThreadSanitizer|runtime error:' "$work/$name.log" || ((failed)); then
        tail -n 20 "$work/$name.log" >&2
        exit 1
    fi
}

# Python's own memory is not given back at the end, and its allocator would hide what is used after that.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc
drive address -fsanitize=address,undefined libasan.so
# What Python and gRPC do among themselves is not seen in full; how gRPC binds a reactor stands in a header, and is
# compiled here. What it puts in order else is told by src/order.h.
printf 'race:%s\n' InternalBindStream PreBindBacklog >"$work/suppressions"
export TSAN_OPTIONS="ignore_noninstrumented_modules=1 suppressions=$work/suppressions" PYTHONMALLOC=
drive thread -fsanitize=thread libtsan.so

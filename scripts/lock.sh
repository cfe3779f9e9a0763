#!/usr/bin/env bash
# Writes requirements/lock.txt from pyproject.toml: the closure of every extra for CPython 3.11 on x86_64 Linux, exact
# and with hashes. Versions already locked are kept unless they no longer fit; `lock.sh --upgrade` takes the newest.
#
# uv is the resolver; it lives in a throw-away environment, since nothing else needs it. torch is left out, for the
# reason that setup.sh gives, and no index address is written, so the file says nothing about where it was made.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-$(command -v python3.11 || echo python3)}" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq 'uv>=0.9'

lock=requirements/lock.txt
if [[ -f $lock ]]; then cp "$lock" "$work/lock.txt"; fi
"$work/venv/bin/uv" pip compile pyproject.toml --quiet --extra dev \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 --only-binary :all: \
    --generate-hashes --no-emit-package torch --no-header --no-emit-index-url --no-emit-find-links \
    --output-file "$work/lock.txt" "$@"
{
    echo '# Made by `make lock` from pyproject.toml; do not edit. Installed by scripts/setup.sh with --no-deps --require-hashes.'
    cat "$work/lock.txt"
} >"$work/out.txt"
if grep -nE '^[[:space:]]*--(index-url|extra-index-url|find-links)|://' "$work/out.txt"; then
    echo 'lock: an index address would be written; nothing changed' >&2
    exit 1
fi
mv "$work/out.txt" "$lock"
echo "lock: $(grep -c '==' "$lock") packages in $lock"

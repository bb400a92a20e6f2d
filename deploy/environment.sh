#!/bin/sh
# Brings .venv to what a lock names, then installs the project itself into it, editable.
# Usage, from the project's root: deploy/environment.sh requirements.lock
#
# The environment is made without pip and filled by the interpreter's own pip, because Debian ships `venv --without-pip` with Python
# but keeps ensurepip in a package of its own. Every file is checked against the lock; nothing is ever compiled.
set -eu

fail() {
    printf 'nextbest: %s\n' "$*" >&2
    exit 1
}

is_suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null
}

find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
        if is_suitable "$python"; then
            command -v "$python"
            return
        fi
    done
    if [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON is not CPython 3.11 to 3.14. Name one that is, for example: make PYTHON=/usr/bin/python3.13"
    fi
    fail "no CPython 3.11 to 3.14 found on PATH. Install one, for example: apt-get install python3 python3-pip;" \
        "or name one: make PYTHON=/path/to/python3.13"
}

# Prints the command that installs into .venv: the interpreter's own pip when it can (22.3 and later), else one put into .venv.
find_pip() {
    if "$1" -m pip --python .venv/bin/python --version >/dev/null 2>&1; then
        echo "$1 -m pip --python .venv/bin/python"
    elif .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null 2>&1; then
        echo ".venv/bin/python -m pip"
    else
        fail "$1 has neither pip (22.3 or later) nor ensurepip. Install one, for example: apt-get install python3-pip"
    fi
}

lock=$1
python=$(find_python)
if ! is_suitable .venv/bin/python; then
    "$python" -m venv --clear --without-pip .venv || fail "$python cannot make a virtual environment in $PWD/.venv"
fi
pip=$(find_pip "$python")
echo "nextbest: installing $lock into .venv ($(.venv/bin/python --version))"
# shellcheck disable=SC2086 # the command is several words
$pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement "$lock"
# shellcheck disable=SC2086
$pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .

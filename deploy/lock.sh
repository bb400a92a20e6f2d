#!/usr/bin/env bash
# Renews requirements.lock (what the service runs on) and requirements-dev.lock (the same, and what tests and checks need).
# For maintainers; needs uv. Arguments go to uv, for example: deploy/lock.sh --upgrade-package orjson
#
# One version per package for every Python and platform (--fork-strategy fewest), so that no figure of a decision can depend on the
# interpreter. Neither the address of an index nor anything of this machine's configuration may reach a lock.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    local lock=$1
    shift
    env -u UV_FIND_LINKS -u UV_EXTRA_INDEX_URL -u UV_INDEX -u UV_INDEX_URL -u UV_DEFAULT_INDEX \
        uv pip compile pyproject.toml --quiet --no-config --no-emit-index-url --no-emit-find-links --no-annotate \
        --custom-compile-command deploy/lock.sh --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes --output-file "$lock" "$@"
}

compile requirements.lock --group build "$@"
compile requirements-dev.lock --group build --group dev --constraint requirements.lock "$@"

#!/usr/bin/env bash
# Renews the hashed lock of every peer from its requirements.in. For maintainers; needs uv.
set -euo pipefail
cd "$(dirname "$0")"

for requirements in */requirements.in; do
    env -u UV_FIND_LINKS -u UV_EXTRA_INDEX_URL -u UV_INDEX -u UV_INDEX_URL -u UV_DEFAULT_INDEX \
        uv pip compile "$requirements" --quiet --no-config --no-emit-index-url --no-emit-find-links --no-annotate \
        --custom-compile-command loadtest/peers/lock.sh --universal --python-version 3.11 --fork-strategy fewest \
        --only-binary :all: --generate-hashes --output-file "${requirements%.in}.lock" "$@"
done

#!/usr/bin/env bash
# Writes docs/config.md from the program's own tables: scripts/make_docs.sh [PROGRAM]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${1:-build/fedllm_mpi}
"$program" --help-markdown >docs/config.md

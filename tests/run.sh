#!/usr/bin/env bash
# Installs what is missing, builds and runs all tests.  Arguments go to ctest: tests/run.sh -L unit
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/install_deps.sh
cmake --preset release
cmake --build --preset release -j "$(nproc)"
cd build
exec ctest --output-on-failure -j 2 "$@"

#!/usr/bin/env bash
# test_install.sh PROGRAM MPIEXEC CMAKE BUILD_DIR: an installation is complete in itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cmake=$3 build=$4
prefix=$work/prefix
"$cmake" --install "$build" --prefix "$prefix" >"$work/stdout" 2>"$work/stderr" || fail "cmake --install"
cd "$prefix/share/fedllm"
program=$prefix/bin/fedllm_mpi
expect_exit 0 '^everything is in order' 0 configs/sft.cfg --check
expect_exit 0 '^everything is in order' 2 configs/sft.cfg --check
"$prefix/bin/fedllm_data" inspect configs/sft.cfg >"$work/stdout" 2>"$work/stderr" || fail "fedllm_data"
said "^split     iid: 6 clients"
[[ ! -e output ]] || fail "--check wrote something"

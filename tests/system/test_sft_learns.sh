#!/usr/bin/env bash
# test_sft_learns.sh PROGRAM MPIEXEC [ARGUMENT...]: configs/sft.cfg raises the exact match on held-out
# records.  The arguments are the program's, for a shorter run.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

gain=${FL_TEST_GAIN:-40} # percentage points

train "$work/run" 4 "${@:3}"

# exact_match, in tenths of a percent, after each evaluation
mapfile -t scores < <(sed -nE 's/^\{"event":"eval".*"exact_match":([0-9.e-]+).*/\1/p' \
    "$work/run/metrics.jsonl" | while read -r score; do printf '%.0f\n' "${score}e3"; done)
[[ ${#scores[@]} -ge 2 ]] || fail "fewer than two evaluations"
before=${scores[0]} after=${scores[-1]}
echo "held-out exact match: $((before / 10)) % before, $((after / 10)) % after"
((after - before >= 10 * gain)) || fail "a gain of less than $gain points"

#!/usr/bin/env bash
# scripts/gpu_check.sh without a device: the kernel table and the workloads in small sizes on the
# emulated one, what stands in the report, and what the programs say to bad arguments.  Skipped where
# there is no Python, or no emulation.  With torch, transformers and peft the losses of the workloads
# are the peer's.
#
#     test_gpu_check.sh PROGRAM MPIEXEC BUILD_FOLDER
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v python3 >/dev/null || exit 77
build=$3

"$build/bench_kernels" --tiny --seconds 0 --kernels copy --backend cuda_emu >/dev/null 2>"$work/error" || {
    grep -q 'this build has' "$work/error" && exit 77
    fail "bench_kernels: $(cat "$work/error")"
}

scripts/gpu_check.sh --tiny --backend cuda_emu --built --build "$build" --out "$work/out" >"$work/log" 2>&1 ||
    fail "gpu_check: $(tail -n 5 "$work/log")"
grep -q '^all fine$' "$work/log" || fail "gpu_check does not end well"

python3 - "$work/out/gpu_check.json" <<'TEXT' || fail "the report"
import json, math, sys

report = json.load(open(sys.argv[1]))
names = {row["kernel"] for row in report["kernels"]}
assert {"square", "copy", "lora_gate_up", "attention_bwd_2k", "fedavg"} <= names, names
for row in report["kernels"]:
    assert row["ms"] > 0 and row["floor_ms"] > 0, row
workloads = {row["workload"]: row for row in report["workloads"]}
assert list(workloads) == ["g1", "g2", "g5-short", "g5-long", "g4-int8", "g4-nf4"], list(workloads)
for row in workloads.values():
    assert not row["failed"] and row["ours_tokens_per_s"] > 0 and row["F"] > 0, row
    assert row["R"] is None or row["same"], row
# a preference has learnt nothing before its first step
turns = {row["workload"]: row for row in report["turns"] if row["side"] == "ours"}
assert abs(turns["g5-long"]["losses"][0] - math.log(2)) < 1e-6
assert len(turns["g1"]["losses"]) == 10
TEXT
grep -q '^| g4-nf4 |' "$work/out/gpu_check.md" || fail "no table of workloads in gpu_check.md"

# refused EXPECTED COMMAND...
refused() {
    local expected=$1 code=0
    shift
    "$@" >"$work/log" 2>&1 || code=$?
    [[ $code -eq 2 ]] || fail "exit code $code: $*"
    grep -qF -- "$expected" "$work/log" || fail "not \"$expected\" but: $(cat "$work/log")"
}
refused 'there is no workload g9' "$build/bench_train" configs/embedded/model --workloads g9
refused 'unknown key' "$build/bench_kernels" --shapes 3
refused 'no_such_model' "$build/bench_train" "$work/no_such_model" --backend cpu
refused 'sequences of' "$build/bench_train" configs/embedded/model --backend cpu --workloads g2
refused 'part NAME' scripts/gpu_check.sh --part nothing

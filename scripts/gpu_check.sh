#!/usr/bin/env bash
# Everything that can only be checked where a device is: the kernel and golden tests on the cuda
# backend, a federated run against the cpu backend, and the kernel tests under compute-sanitizer where
# that is installed.  Takes a few minutes.
#
#     scripts/gpu_check.sh [BUILD_FOLDER]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build/cuda}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || {
    echo "gpu_check: no device here" >&2
    exit 77
}
cmake -S . -B "$build" -G Ninja -DFL_CUDA=ON -DFL_WERROR=ON >/dev/null
cmake --build "$build" -j "$(nproc)"

echo "== tests"
ctest --test-dir "$build" --output-on-failure -R '^kernels\.|^golden\..*\.cuda$'

echo "== a federated run"
# run NAME ARGUMENT...: leaves the losses of its rounds in $work/NAME.losses
run() {
    local name=$1
    shift
    "$build/fedllm_mpi" configs/sft.cfg --output_dir "$work/$name" --log_level error --num_rounds 3 \
        --eval_data "" "$@" >/dev/null
    sed -n 's/.*"event":"round","round":[0-9]*,"loss":\([0-9.e+-]*\),.*/\1/p' "$work/$name/metrics.jsonl" \
        >"$work/$name.losses"
    echo "$name: $(tr '\n' ' ' <"$work/$name.losses")"
}
# close_to NAME NAME TOLERANCE: all losses, relative
close_to() {
    paste -d ' ' "$work/$1.losses" "$work/$2.losses" | awk -v most="$3" '
        { d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || !(d <= most * $2)) bad = 1 }
        END { exit bad || NR != 3 }' || {
        echo "gpu_check: losses of $1 and $2 differ by more than $3" >&2
        exit 1
    }
}
run cpu --backend cpu
run fp32 --backend cuda --compute_dtype float32
run again --backend cuda --compute_dtype float32
run bf16 --backend cuda --compute_dtype bfloat16
close_to fp32 cpu 1e-3 # three rounds of training take the roundings apart
close_to bf16 cpu 2e-2
cmp "$work/fp32/adapter/adapter_model.safetensors" "$work/again/adapter/adapter_model.safetensors"

if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
        for test in rows replay rmsnorm elementwise cross_entropy attention optimiser gemm compute; do
            echo "== $tool, $test"
            compute-sanitizer --tool $tool --error-exitcode 1 --launch-timeout 120 \
                "$build/tests/kernels/test_$test" >"$work/log" 2>&1 || {
                tail -n 40 "$work/log"
                exit 1
            }
        done
    done
else
    echo "compute-sanitizer is not installed: left out"
fi
echo "all fine"

#!/usr/bin/env bash
# Everything that only a machine with an NVIDIA device can say, in under nine minutes: builds, runs
# the tests on the device, its kernels under compute-sanitizer, times the kernels and the training
# workloads, against PyTorch + Transformers + PEFT where they are, and writes one report.
#
#     scripts/gpu_check.sh [options]
#
#     --part NAME      tests, sanitizer, kernels or workloads; may come again.  Default: all
#     --quick          fewer cases, one turn per side, for a first look
#     --deps FOLDER    the libraries are there as packages (scripts/deps_bundle.sh make FOLDER)
#     --build FOLDER   where to build; default build/gpu
#     --built          nothing is built: FOLDER holds a build
#     --out FOLDER     gets gpu_check.json, gpu_check.md and what they are made of, part by part;
#                      default build/gpu_check.  A part that is run again replaces what it left
#     --backend NAME   default cuda; another one needs no device and runs kernels and workloads only
#     --tiny           sizes for tests of this script
#     --compile        the peer with torch.compile: takes minutes longer
#
# PYTHON: the peer's interpreter, default python3; where it has no torch, the peer is left out.
# Exit code: 0 all is well, 1 something failed (the report says what), 2 bad usage, 77 no device.
set -euo pipefail

here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
cd "$here/.."
build=build/gpu out=build/gpu_check deps='' backend=cuda built=0 quick=0 tiny=0
parts=() peer_options=()
usage() {
    sed -n '6,22s/^# \{0,1\}//p' "$here/gpu_check.sh" >&2
    exit 2
}
while [[ $# -gt 0 ]]; do
    case $1 in
    --quick) quick=1 ;;
    --tiny) tiny=1 ;;
    --built) built=1 ;;
    --compile) peer_options+=(--compile) ;;
    --part | --deps | --build | --out | --backend)
        [[ $# -ge 2 ]] || usage
        case $1 in
        --part)
            [[ $2 =~ ^(tests|sanitizer|kernels|workloads)$ ]] || usage
            parts+=("$2")
            ;;
        --deps) deps=$(realpath "$2") ;;
        --build) build=$2 ;;
        --out) out=$2 ;;
        --backend) backend=$2 ;;
        esac
        shift
        ;;
    *) usage ;;
    esac
    shift
done
if [[ ${#parts[@]} -eq 0 ]]; then
    if [[ $backend == cuda ]]; then parts=(tests sanitizer kernels workloads); else parts=(kernels workloads); fi
fi
python=${PYTHON:-python3}
mkdir -p "$out"
out=$(realpath "$out")
work=$(mktemp -d)
models=$work/models # where make_model puts them
trap 'rm -rf "$work" "$models"' EXIT
failed=()
command -v nvcc >/dev/null || PATH=$PATH:/usr/local/cuda/bin # where the toolkit puts itself
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # machines like these are containers

fail() {
    echo "gpu_check: $*" >&2
    failed+=("$*")
}

# ---- machine and build --------------------------------------------------------------------------

describe_machine() {
    local device=none
    if [[ $backend == cuda ]]; then
        device=$(nvidia-smi -i 0 --query-gpu=name,driver_version,memory.total --format=csv,noheader) || {
            echo "gpu_check: no device here" >&2
            exit 77
        }
    fi
    echo "$device"
    printf '{"device": "%s", "backend": "%s", "commit": "%s", "date": "%s", "cores": %d, "nvcc": "%s"}\n' \
        "$device" "$backend" "$(git describe --always --dirty 2>/dev/null || echo unknown)" \
        "$(date -u +%Y-%m-%dT%H:%MZ)" "$(nproc)" \
        "$(nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\).*/\1/p')" >"$out/machine.json"
}

make_build() {
    local settings=(-DFL_CUDA=ON -DFL_CUDA_EMU=OFF "-DCMAKE_CUDA_ARCHITECTURES=${CUDAARCHS:-native}") targets=()
    if [[ -n $deps ]]; then
        "$here/deps_bundle.sh" unpack "$deps" "$build.deps"
        # shellcheck source=/dev/null
        source "$build.deps/environment.sh"
        settings=(-C "$build.deps/deps.cmake" "${settings[@]}")
    fi
    [[ " ${parts[*]} " == *" tests "* ]] ||
        targets=(--target bench_kernels bench_train make_checkpoint)
    if [[ " ${parts[*]} " == *" sanitizer "* && ${#targets[@]} -gt 0 ]]; then
        targets+=("${sanitized[@]/#/test_}")
    fi
    cmake "${settings[@]}" -S . -B "$build" -G Ninja >"$out/build.log"
    cmake --build "$build" -j "$(nproc)" "${targets[@]}" >>"$out/build.log" || {
        tail -n 40 "$out/build.log" >&2
        echo "gpu_check: the build failed" >&2
        exit 1
    }
}

# ---- tests --------------------------------------------------------------------------------------

# train NAME ARGUMENT...: leaves the losses of its rounds in $work/NAME.losses
train() {
    local name=$1
    shift
    "$build/fedllm_mpi" configs/sft.cfg --output_dir "$work/$name" --log_level error --num_rounds 3 \
        --eval_data "" "$@" >/dev/null || return
    sed -n 's/.*"event":"round","round":[0-9]*,"loss":\([0-9.e+-]*\),.*/\1/p' "$work/$name/metrics.jsonl" \
        >"$work/$name.losses"
    echo "$name: $(tr '\n' ' ' <"$work/$name.losses")"
}

# record_test NAME COMMAND...
record_test() {
    local name=$1 result=passed start=$SECONDS
    shift
    "$@" || {
        result=failed
        fail "$name"
    }
    printf '{"test": "%s", "result": "%s", "seconds": %d}\n' "$name" $result $((SECONDS - start)) \
        >>"$out/tests.jsonl"
}

# close_to NAME NAME TOLERANCE: all losses, relative
close_to() {
    paste -d ' ' "$work/$1.losses" "$work/$2.losses" | awk -v most="$3" '
        { d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || !(d <= most * $2)) bad = 1 }
        END { exit bad || NR != 3 }'
}

# same_sums DEVICES: the adapter has the same bytes whatever adds, NCCL where ranks have devices of their
# own.
same_sums() {
    local way
    for way in nccl mpi; do
        mpirun -n $(($1 + 1)) "$build/fedllm_mpi" configs/sft.cfg --output_dir "$work/$way" \
            --num_rounds 3 --sample_clients 6 --eval_data "" --backend cuda --device_sums $way |
            grep '^sums of updates' || return 1
    done
    cmp "$work/nccl/adapter/adapter_model.safetensors" "$work/mpi/adapter/adapter_model.safetensors"
}

part_tests() {
    : >"$out/tests.jsonl"
    ctest --test-dir "$build" -j 4 --output-on-failure -R '^kernels\.|^golden\..*\.cuda$' |
        tee "$out/tests.log" | grep -v '  Start ' || fail "ctest"
    sed -n 's/^ *[0-9]*\/[0-9]* Test *#[0-9]*: \([^ ]*\) \.* *\**\([A-Za-z]*\).* \([0-9.]*\) sec.*/{"test": "\1", "result": "\L\2\E", "seconds": \3}/p' \
        "$out/tests.log" >>"$out/tests.jsonl"
    ! grep '"skipped"' "$out/tests.jsonl" || fail "tests that find no device"
    record_test run.cpu train cpu --backend cpu
    record_test run.fp32 train fp32 --backend cuda --compute_dtype float32
    record_test run.again train again --backend cuda --compute_dtype float32
    record_test run.bf16 train bf16 --backend cuda --compute_dtype bfloat16
    # three rounds of training take the roundings apart
    record_test run.fp32_as_cpu close_to fp32 cpu 1e-3
    record_test run.bf16_as_cpu close_to bf16 cpu 2e-2
    record_test run.same_bytes cmp "$work"/{fp32,again}/adapter/adapter_model.safetensors
    devices=$(nvidia-smi --list-gpus | wc -l)
    if ((devices > 1)); then record_test run.device_sums same_sums "$devices"; fi
}

# ---- compute-sanitizer --------------------------------------------------------------------------

sanitized=(rows replay rmsnorm act_rows elementwise act_elements cross_entropy optimiser compute gemm linears changes
    attention attention_bf16)

# Tools one after the other on all tests, those first that find most; when the time is over the rest
# is reported as left out.
part_sanitizer() {
    local tool test result start deadline=$((SECONDS + (quick ? 40 : 90)))
    : >"$out/sanitizer.jsonl"
    command -v compute-sanitizer >/dev/null || {
        echo "compute-sanitizer is not installed: left out"
        return
    }
    for tool in memcheck racecheck synccheck initcheck; do
        for test in "${sanitized[@]}"; do
            start=$SECONDS result=passed
            if [[ $SECONDS -ge $deadline ]]; then
                result=left_out
            elif ! timeout -k 5 $((deadline - SECONDS + 5)) compute-sanitizer --tool $tool \
                --error-exitcode 1 --launch-timeout 120 "$build/tests/kernels/test_$test" >"$work/log" 2>&1; then
                result=failed
                if [[ $SECONDS -ge $deadline ]]; then result=left_out; fi
            fi
            [[ $result != failed ]] || {
                tail -n 40 "$work/log"
                fail "$tool, $test"
            }
            printf '{"tool": "%s", "test": "%s", "result": "%s", "seconds": %d}\n' \
                $tool "$test" $result $((SECONDS - start)) >>"$out/sanitizer.jsonl"
        done
    done
}

# ---- figures ------------------------------------------------------------------------------------

has_peer() {
    [[ $backend == cuda || $tiny -eq 1 ]] && "$python" -c "import $1" 2>/dev/null
}

part_kernels() {
    local seconds=0.25 options=()
    [[ $quick -eq 0 ]] || seconds=0.05
    [[ $tiny -eq 0 ]] || seconds=0 options=(--tiny)
    "$build/bench_kernels" --backend "$backend" --seconds "$seconds" --threads "$(nproc)" \
        ${options[@]+"${options[@]}"} >"$out/kernels.jsonl" || fail "bench_kernels"
    : >"$out/kernels_peer.jsonl"
    has_peer torch || return 0
    "$python" scripts/bench_kernels_peer.py "$out/kernels.jsonl" --device "$device" \
        --seconds "$seconds" ${peer_options[@]+"${peer_options[@]}"} >"$out/kernels_peer.jsonl" ||
        fail "bench_kernels_peer.py"
}

# make_model LAYERS: a checkpoint of Llama-2-7B's shape with that many layers in $models/LAYERS
make_model() {
    local shape=(num_hidden_layers="$1" hidden_size=4096 intermediate_size=11008 num_attention_heads=32
        num_key_value_heads=32 vocab_size=32000 max_position_embeddings=4096 pool=4194301
        shards="$1" jobs="$(nproc)")
    [[ $tiny -eq 0 ]] || shape=(num_hidden_layers=2 hidden_size=64 intermediate_size=176
        num_attention_heads=4 num_key_value_heads=4 vocab_size=256 max_position_embeddings=64)
    [[ -d $models/$1 ]] || "$build/make_checkpoint" "$models/$1" configs/embedded/model "${shape[@]}"
}

# turn LAYERS NAMES TURN: ours, then the peer, on the workloads of one model.  The first turn
# compares losses, the others warm up only.
turn() {
    local losses=10 options name folders=()
    [[ $3 -eq 1 ]] || losses=3
    options=(--losses "$losses" --seconds "$seconds" --least_steps "$least")
    "$build/bench_train" "$models/$1" --backend "$backend" "${options[@]}" --workloads "$2" \
        --threads "$(nproc)" --export "$work/export" ${ours_options[@]+"${ours_options[@]}"} >>"$out/workloads.jsonl" ||
        fail "bench_train, turn $3"
    for name in ${2//,/ }; do
        [[ ! -f $work/export/$name/workload.json ]] || folders+=("$work/export/$name")
    done
    [[ $with_peer -eq 1 && ${#folders[@]} -gt 0 ]] || return 0
    "$python" scripts/bench_train_peer.py --device "$device" "${options[@]}" ${peer_options[@]+"${peer_options[@]}"} \
        "${folders[@]}" >>"$out/workloads.jsonl" 2>"$work/peer.log" || {
        tail -n 5 "$work/peer.log" >&2
        fail "bench_train_peer.py, turn $3"
    }
}

# The folder for 17 GB of weights: memory where there is that much.
model_folder() {
    local free
    free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
    if [[ ${free:-0} -gt 20000000 ]]; then mktemp -d -p /dev/shm; else echo "$work/models"; fi
}

part_workloads() {
    local seconds=5 least=5 turns=2 with_peer=0 ours_options=() depths=() all layers names turn start=$SECONDS
    if [[ $quick -eq 1 ]]; then seconds=3 turns=1; fi
    if [[ $tiny -eq 1 ]]; then seconds=0 least=2 turns=1 ours_options=(--tiny); fi
    [[ $tiny -eq 1 ]] || models=$(model_folder)
    mkdir -p "$models"
    has_peer peft && with_peer=1
    : >"$out/workloads.jsonl"
    "$build/bench_kernels" --backend "$backend" ${ours_options[@]+"${ours_options[@]}"} \
        --kernels square,copy >"$out/rates.jsonl" || fail "bench_kernels"
    all=$("$build/bench_train" --list)
    mapfile -t depths < <(awk '{ print $2 }' <<<"$all" | sort -rnu)
    for ((turn = 1; turn <= turns; turn++)); do
        if [[ $turn -gt 1 && $((SECONDS - start)) -gt 150 ]]; then
            echo "turn $turn is left out: the first took $((SECONDS - start)) s"
            break
        fi
        for layers in "${depths[@]}"; do
            names=$(awk -v l="$layers" '$2 == l { print $1 }' <<<"$all" | paste -sd ,)
            make_model "$layers"
            turn "$layers" "$names" $turn
        done
    done
    rm -rf "$models"
}

# -------------------------------------------------------------------------------------------------

if [[ $backend == cuda ]]; then device=cuda; else device=cpu; fi
describe_machine
# timed NAME COMMAND...
timed() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name"
    "$@"
    echo $((SECONDS - start)) >"$out/$name.seconds"
}
[[ $built -eq 1 ]] || timed build make_build
for part in "${parts[@]}"; do
    timed "$part" "part_$part"
done
"$python" scripts/gpu_report.py "$out"
if [[ ${#failed[@]} -gt 0 ]]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "all fine"

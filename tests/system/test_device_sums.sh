#!/usr/bin/env bash
# Updates added from device to device, with a double of NCCL between emulated devices: the same
# bytes as through MPI and on one rank, and what happens when NCCL fails.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
double=$(realpath "$3")

small=(--dataset_sample 40 --num_clients 4 --sample_clients 3 --num_rounds 2 --save_model_freq 2
    --batch_size 1 --gradient_accumulation_steps 1 --max_steps 1 --seq_length 64 --eval_data=
    --peft_lora_r 2 --peft_lora_alpha 4 --backend cuda_emu)
line='sums of updates: '
adapter=adapter/adapter_model.safetensors

# with_double FAILURE OUT ARGUMENT...: a run on 4 ranks; sets $code.
with_double() {
    local out=$2
    rm -f "$work/log"
    export NCCL_DOUBLE_FAIL=$1 NCCL_DOUBLE_LOG=$work/log LD_LIBRARY_PATH=$double
    shift 2
    run 4 "$config" --output_dir "$out" "${small[@]}" --device_sums nccl "$@"
    unset NCCL_DOUBLE_FAIL NCCL_DOUBLE_LOG LD_LIBRARY_PATH
    ! said "NCCL's double" || fail "NCCL is not called as it should be"
}

# expect_log SUMS WORD: three communicators ended so.
expect_log() {
    [[ $(grep -c " of 3: $1 sums, $2\$" "$work/log") -eq 3 ]] ||
        fail "not three communicators with $1 sums and $2: $(cat "$work/log")"
}

# one sum a round; two with SCAFFOLD; part of the adapter with FFA
train "$work/mpi" 4 "${small[@]}"
said "${line}through MPI: the devices are emulated" || fail "no line about the way"
sums=(2 2 1)
for other in "" "--num_rounds 1 --fed_alg scaffold" "--num_rounds 1 --lora_aggregation ffa"; do
    read -ra extra <<<"$other"
    train "$work/one$other" 0 "${small[@]}" "${extra[@]}"
    ! said "$line" || fail "one rank has nothing to add"
    with_double none "$work/nccl$other" "${extra[@]}"
    [[ $code -eq 0 ]] || fail "exit code $code: $other"
    said "${line}NCCL on 3 devices" || fail "no line about the way"
    expect_log "${sums[0]}" destroyed
    sums=("${sums[@]:1}")
    same "$work/one$other/$adapter" "$work/nccl$other/$adapter"
    diff <(numbers "$work/one$other") <(numbers "$work/nccl$other") >&2 || fail "other numbers"
done
same "$work/one/$adapter" "$work/mpi/$adapter"

# it does not start: through MPI, and says why
with_double id "$work/id" --num_rounds 1
[[ $code -eq 0 ]] || fail "exit code $code"
said "${line}through MPI: rank 1: NCCL, naming the job: failure on demand" || fail "no reason"
with_double start:1 "$work/start"
[[ $code -eq 0 ]] || fail "exit code $code"
said "${line}through MPI: rank [123]: NCCL, starting: (failure on demand|another rank failed)" ||
    fail "no reason"
same "$work/one/$adapter" "$work/start/$adapter"
mkdir "$work/broken"
echo "no library" >"$work/broken/libnccl.so.2"
LD_LIBRARY_PATH=$work/broken train "$work/none" 4 "${small[@]}" --num_rounds 1 --device_sums nccl
said "${line}through MPI: rank 1: .*libnccl.so.2" || fail "no word of the library"

# it fails in the second round: all ranks end with one line, whether the others notice or wait
for failure in hang:2:0 sum:2:1; do
    with_double $failure "$work/failed"
    [[ $code -eq 1 ]] || fail "exit code $code: $failure"
    said '^rank 0: error: rank [123]: NCCL, a sum between devices: (failure on|another rank)' ||
        fail "no error: $failure"
    [[ $(grep -cE 'rank [0-9]+: error: ' "$work/stderr") -eq 1 ]] || fail "not one line: $failure"
    [[ $failure == sum* ]] || rm -r "$work/failed"
done
# the run goes on from the round before; a bad end is no failure of what was done
with_double end:1 "$work/failed"
[[ $code -eq 0 ]] || fail "exit code $code after a failure"
expect_log 1 aborted
same "$work/one/$adapter" "$work/failed/$adapter"

#!/usr/bin/env bash
# Federated preference training on the emulated device: the numbers of the cpu backend, the same bytes
# on any number of ranks, and a reference that is computed once.  Skipped in builds without the emulation.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" # MPI's own

config=configs/dpo.cfg
small=(--dataset_sample 9 --num_clients 3 --sample_clients 2 --num_rounds 2 --batch_size 2
    --max_steps 1 --peft_lora_r 4 --log_level warn)

run 0 "$config" --output_dir "$work/none" --check --backend cuda_emu
! said 'this build has' || exit 77
[[ $code -eq 0 ]] || fail "--check: exit code $code"

# margins DIR: what answers gained over the reference, of every round and client
margins() {
    grep -o '"reward_margin":[^,}]*' "$1/metrics.jsonl" | cut -d : -f 2
}

train "$work/cpu" 0 "${small[@]}" --backend cpu
train "$work/one" 0 "${small[@]}" --backend cuda_emu
close_to "$work/one" "$work/cpu"
[[ $(margins "$work/one" | tail -n 1) != 0.0 ]] || fail "nothing was learnt in the first round"

for ranks in 2 3; do
    train "$work/$ranks" "$ranks" "${small[@]}" --backend cuda_emu
    same "$work/one/adapter/adapter_model.safetensors" "$work/$ranks/adapter/adapter_model.safetensors"
    diff <(losses "$work/one") <(losses "$work/$ranks") >&2 || fail "other losses on $ranks ranks"
    diff <(margins "$work/one") <(margins "$work/$ranks") >&2 || fail "other margins on $ranks ranks"
    diff -r "$work/one/clients" "$work/$ranks/clients" >&2 || fail "another reference on $ranks ranks"
done

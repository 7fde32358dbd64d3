#!/usr/bin/env bash
# The adapter has the same bytes on any number of ranks and threads, and with recomputation.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

small=(--dataset_sample 200 --num_clients 5 --sample_clients 3 --num_rounds 3 --save_model_freq 2
    --batch_size 2 --gradient_accumulation_steps 2 --max_steps 2 --lora_dropout 0.1
    --eval_samples 1 --eval_freq 1 --max_new_tokens 3 --log_level warn)

# same_result DIR DIR: what two numbers of ranks must have in common.
same_result() {
    local file
    for file in adapter checkpoint-2 checkpoint-3; do
        same "$1/$file/adapter_model.safetensors" "$2/$file/adapter_model.safetensors"
    done
    diff <(numbers "$1") <(numbers "$2") >&2 || fail "other numbers in metrics.jsonl"
}

train "$work/one" 0 "${small[@]}"
[[ $(grep -c '"event":"round"' "$work/one/metrics.jsonl") -eq 3 ]] || fail "not 3 rounds"
[[ $(grep -c '"event":"eval"' "$work/one/metrics.jsonl") -eq 4 ]] || fail "not 4 evaluations"
[[ $(wc -l <"$work/one/metrics.jsonl") -eq 7 ]] || fail "not 7 lines"
[[ $(grep -o '"outcome":"answered"' "$work/one/metrics.jsonl" | wc -l) -eq 9 ]] ||
    fail "not 3 clients in each of 3 rounds"

for ranks in 1 2 3 4; do
    train "$work/$ranks" "$ranks" "${small[@]}"
    same_result "$work/one" "$work/$ranks"
done

train "$work/threads" 2 "${small[@]}" --threads 2
same_result "$work/one" "$work/threads"

# activations kept or computed again
train "$work/recompute" 3 "${small[@]}" --gradient_checkpointing true
same_result "$work/one" "$work/recompute"

# more ranks than clients
train "$work/lonely" 4 "${small[@]}" --sample_clients 1
train "$work/alone" 0 "${small[@]}" --sample_clients 1
same_result "$work/alone" "$work/lonely"

train "$work/seed" 2 "${small[@]}" --seed 1
! cmp -s "$work/one/adapter/adapter_model.safetensors" "$work/seed/adapter/adapter_model.safetensors" ||
    fail "another seed, the same adapter"

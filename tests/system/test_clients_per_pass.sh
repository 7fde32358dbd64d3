#!/usr/bin/env bash
# Clients of a rank that train at once have the bytes and numbers of clients that train one by one:
# for any clients_per_pass, on any number of ranks, after a kill and when the key changes in between.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sft=(--dataset_sample 200 --num_clients 5 --sample_clients 4 --num_rounds 2 --save_model_freq 1
    --batch_size 2 --gradient_accumulation_steps 2 --max_steps 2 --lora_dropout 0.1 --peft_lora_r 4
    --seq_length 64 --eval_data "" --log_level warn)
dpo=(--dataset_sample 40 --num_clients 5 --sample_clients 4 --num_rounds 2 --save_model_freq 1
    --batch_size 2 --max_steps 2 --peft_lora_r 4 --log_level warn)

# same_result DIR DIR: adapters of all rounds, what clients keep, and all numbers but for times.
same_result() {
    local file
    for file in adapter checkpoint-1 checkpoint-2; do
        same "$1/$file/adapter_model.safetensors" "$2/$file/adapter_model.safetensors"
    done
    if [[ -d $1/clients ]]; then
        diff -r "$1/clients" "$2/clients" >&2 || fail "clients keep something else"
    fi
    diff <(numbers "$1") <(numbers "$2") >&2 || fail "other numbers in metrics.jsonl"
}

# everywhere NAME ARGUMENT...: the same result at any number of clients and ranks.
everywhere() {
    local name=$1 ranks clients
    shift
    train "$work/$name" 0 "$@"
    for ranks in 1 2 3; do
        for clients in 1 2 3; do
            [[ $ranks$clients != 11 ]] || continue
            train "$work/other" $((ranks == 1 ? 0 : ranks)) "$@" --clients_per_pass $clients
            same_result "$work/$name" "$work/other"
            rm -r "$work/other"
        done
    done
}

everywhere fedavg "${sft[@]}"
everywhere scaffold "${sft[@]}" --fed_alg scaffold --gradient_checkpointing true
everywhere flora "${sft[@]}" --lora_aggregation flora --client_lora_r 4,2,1
everywhere fedsa "${sft[@]}" --lora_aggregation fedsa --load_in_8bit true
config=configs/dpo.cfg
everywhere dpo "${dpo[@]}"
config=configs/sft.cfg

# more than there are
train "$work/more" 0 "${sft[@]}" --clients_per_pass 1000
same_result "$work/fedavg" "$work/more"

# ---- killed, and continued with another number

train_killed 1 "${sft[@]}" --num_rounds 8 --fed_alg scaffold --clients_per_pass 2 --log_level info
cp -R "$work/killed" "$work/changed"
mv "$work/changed/state.prev.h5" "$work/changed/state.h5" # the last round is done again
expect_exit 0 "^round 8/8" 0 "$config" --output_dir "$work/changed" "${sft[@]}" --num_rounds 8 \
    --fed_alg scaffold --clients_per_pass 3 --log_level info
same "$work/killed/adapter/adapter_model.safetensors" "$work/changed/adapter/adapter_model.safetensors"

# ---- memory is planned for all of them

# planned CLIENTS: MB of a training rank's slots
planned() {
    run 0 "$config" --output_dir "$work/none" "${sft[@]}" --log_level info --check --clients_per_pass "$1"
    sed -nE 's/.*adapter, gradients, moments +([0-9.]+) MB.*/\1/p' "$work/stdout" "$work/stderr"
}
awk -v one="$(planned 1)" -v three="$(planned 3)" \
    'BEGIN { exit !(one > 0 && three > 2.9 * one && three < 3.1 * one) }' ||
    fail "the plan is not that of three clients"
run 0 "$config" --output_dir "$work/none" "${sft[@]}" --log_level info --check --clients_per_pass 1
needed=$(sed -nE 's/.*memory +([0-9.]+) MB on this node.*/\1/p' "$work/stdout" "$work/stderr")
limit=$(awk -v mb="$needed" 'BEGIN { print (mb + 5) / 1000 }')
expect_error 'it fits with clients_per_pass = [12]' 0 "$config" --output_dir "$work/none" "${sft[@]}" \
    --clients_per_pass 4 --memory_limit "$limit"

expect_error 'clients_per_pass' 0 "$config" --output_dir "$work/none" "${sft[@]}" --clients_per_pass 0

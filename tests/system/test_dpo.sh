#!/usr/bin/env bash
# test_dpo.sh PROGRAM MPIEXEC [KILLS]: preference training.  configs/dpo.cfg learns; every algorithm
# trains with it in both variants; the bytes are the same on 1 to 4 ranks and after kills; what the
# reference model says is computed once.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

config=configs/dpo.cfg

adapter() {
    echo "$work/$1/adapter/adapter_model.safetensors"
}

# numbers DIR KEY: of every round, in thousandths
numbers() {
    local line
    while read -r line; do
        [[ $line =~ \"$2\":(-?[0-9.]+(e-?[0-9]+)?) ]] || fail "no $2 in $1/metrics.jsonl"
        printf '%.0f\n' "${BASH_REMATCH[1]}e3"
    done <"$work/$1/metrics.jsonl"
}

# ---- the example learns: rewards of chosen and rejected drift apart, in the right order

train "$work/learns" 3
mapfile -t margins < <(numbers learns reward_margin)
mapfile -t accuracies < <(numbers learns reward_accuracy)
echo "margin in thousandths: ${margins[*]}; accuracy: ${accuracies[*]}"
[[ ${#margins[@]} -eq 8 && ${#accuracies[@]} -eq 8 ]] || fail "not 8 rounds"
((margins[7] > margins[0] + 500)) || fail "the margin does not grow"
((accuracies[7] > 900)) || fail "the accuracy stays at ${accuracies[7]} thousandths"
said '^round 8/8  loss 0\.[0-9]+  margin [0-9.]+  accuracy [0-9.]+' || fail "no margin on the terminal"

# ---- the reference: every example once, whoever trains it

# rates DIR: "computed hit_rate" of every round
rates() {
    sed -nE 's/.*"reference":\{"needed":[0-9]+,"computed":([0-9]+),"hit_rate":([0-9.]+)\}.*/\1 \2/p' \
        "$work/$1/metrics.jsonl"
}

small=(--dataset_sample 24 --num_clients 3 --sample_clients 3 --num_rounds 3 --batch_size 4
    --max_steps 2 --peft_lora_r 4)
train "$work/one" 0 "${small[@]}"
[[ $(rates one | tr '\n' ' ') == "24 0.0 0 1.0 0 1.0 " ]] ||
    fail "the reference is computed again: $(rates one)"

# ---- the same bytes on any number of ranks, of the reference too

for ranks in 1 2 3 4; do
    train "$work/$ranks" "$ranks" "${small[@]}" --log_level warn
    same "$(adapter one)" "$(adapter "$ranks")"
    diff -r "$work/one/clients" "$work/$ranks/clients" >&2 || fail "another reference"
done
cp -R "$work/3" "$work/moved"

# ---- nor does it matter how they are computed: recomputation, threads, a base in 4 bits

recompute=(none false true)
for bits in false true; do
    for threads in 1 2; do
        train "$work/bits-$bits-$threads" 2 "${small[@]}" --num_rounds 2 --load_in_4bit "$bits" \
            --threads "$threads" --gradient_checkpointing "${recompute[threads]}"
    done
    same "$(adapter "bits-$bits-1")" "$(adapter "bits-$bits-2")"
done
! cmp -s "$(adapter bits-false-2)" "$(adapter bits-true-2)" || fail "load_in_4bit is ignored"

# ---- every algorithm, both variants, two rounds

list_algorithms
tiny=(--dataset_sample 48 --num_clients 4 --sample_clients 2 --num_rounds 2 --batch_size 2
    --max_steps 2 --peft_lora_r 4 --log_level warn)
train "$work/initial" 0 "${tiny[@]}" --learning_rate 0
for name in "${names[@]}"; do
    for variant in paper openfedllm; do
        [[ $name != fedadgrad ]] || continue # an alias, with a warning
        train "$work/$name-$variant" 0 "${tiny[@]}" --fed_alg "$name" --fed_variant "$variant"
        ! cmp -s "$(adapter initial)" "$(adapter "$name-$variant")" ||
            fail "$name, $variant: the weights did not change"
    done
done
for loss in cdpo ipo; do
    train "$work/$loss" 0 "${tiny[@]}" --dpo_loss "$loss"
    ! cmp -s "$(adapter fedavg-paper)" "$(adapter "$loss")" || fail "$loss is dpo"
done
train "$work/compat" 0 "${tiny[@]}" --dpo_compat true
! cmp -s "$(adapter fedavg-paper)" "$(adapter compat)" || fail "dpo_compat changes nothing"
grep -qE 'learning_rate_min = 1e-0?5' "$work/compat/config.cfg" || fail "not DPO's minimum rate"

# ---- killed at random moments

settings=("${small[@]}" --num_rounds 10)
train_killed "${3:-3}" "${settings[@]}"
diff -r "$work/whole/clients" "$work/killed/clients" >&2 || fail "another reference after a kill"
[[ $(rates killed | sed 1d | sort -u) == "0 1.0" ]] ||
    fail "a continued run computes the reference again: $(rates killed | tr '\n' ' ')"

# ---- a damaged or foreign reference is told about and made again

cp -R "$work/moved" "$work/damaged"
mv "$work/damaged/state.prev.h5" "$work/damaged/state.h5" # the last round is done again
printf 'X' | dd of="$work/damaged/clients/0/reference.0" bs=1 seek=560 conv=notrunc status=none
cp "$work/damaged/clients/1/reference.0" "$work/damaged/clients/2/reference.0"
expect_exit 0 'warning: .*clients/0/reference\.0: damaged.*; it is made again' 3 "$config" \
    --output_dir "$work/damaged" "${small[@]}"
said 'warning: .*clients/2/reference\.0: belongs to another' || fail "a foreign reference was taken"
same_run "$work/moved" "$work/damaged"
diff -r "$work/moved/clients" "$work/damaged/clients" >&2 || fail "another reference"
expect_exit 0 '^round 1/' 0 configs/sft.cfg --output_dir "$work/damaged" --fresh --num_rounds 1 \
    --max_steps 1 --batch_size 1 --eval_data ""
[[ ! -e $work/damaged/clients ]] || fail "--fresh left the reference"

# ---- what cannot be

expect_error 'objective = dpo wants records with a chosen and a rejected answer' 0 "$config" \
    --output_dir "$work/none" --dataset_name configs/embedded/data/train.jsonl
expect_error 'dpo_max_prompt_length = 512 leaves no answer of dpo_max_length = 512' 0 "$config" \
    --output_dir "$work/none" --dpo_max_prompt_length 512
expect_error 'dpo_loss' 0 "$config" --output_dir "$work/none" --dpo_loss hinge

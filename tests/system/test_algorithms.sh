#!/usr/bin/env bash
# Every name of fed_alg that --help lists: two rounds, in both variants, change the weights.
# Client states survive kills, and many clients do not need more memory than few.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

list_algorithms

tiny=(--dataset_sample 120 --num_clients 4 --sample_clients 2 --num_rounds 2 --batch_size 2
    --max_steps 2 --eval_data "")

adapter() {
    echo "$work/$1/adapter/adapter_model.safetensors"
}

differ() {
    ! cmp -s "$(adapter "$1")" "$(adapter "$2")" || fail "$1 and $2: the same adapter"
}

# ---- every name

# a learning rate of 0 leaves the adapter as it was drawn
train "$work/initial" 0 "${tiny[@]}" --learning_rate 0
for name in "${names[@]}"; do
    for variant in paper openfedllm; do
        run 0 configs/sft.cfg --output_dir "$work/$name-$variant" "${tiny[@]}" --fed_alg "$name" \
            --fed_variant "$variant"
        [[ $code -eq 0 ]] || fail "$name, $variant: exit code $code"
        differ initial "$name-$variant"
        if [[ $name == fedadgrad ]]; then
            said 'warning: .*"fedadgrad" is taken as fedadagrad' || fail "$name: no warning"
            same "$(adapter "fedadagrad-$variant")" "$(adapter "$name-$variant")"
        else
            ! said '^rank [0-9]+: (error|warning): ' || fail "$name, $variant: complaints"
        fi
        # none is FedAvg under another name; FedNova is, as long as all clients do the same steps
        [[ $name == fedavg || $name == fednova ]] || differ "fedavg-$variant" "$name-$variant"
    done
done
echo "${#names[@]} names"
[[ -d $work/scaffold-paper/clients && -d $work/feddyn-paper/clients ]] || fail "no client states"
[[ ! -d $work/fedavg-paper/clients ]] || fail "client states of an algorithm without"

# ---- the examples

for name in "${names[@]}"; do
    [[ $name == fedadgrad ]] || expect_exit 0 '^everything is in order' 0 \
        "configs/algorithms/${name/local1/local0}.cfg" --check --output_dir "$work/check"
done

# ---- killed at random moments

settings=(--fed_alg scaffold --dataset_sample 200 --num_clients 5 --sample_clients 3 --num_rounds 12
    --batch_size 2 --max_steps 2 --eval_data "")
train_killed "${3:-3}" "${settings[@]}"
diff -r "$work/whole/clients" "$work/killed/clients" >&2 || fail "other client states after a kill"

# ---- from the previous state, and with a state that is missing or damaged

rm "$work/killed/state.h5"
expect_exit 0 "continuing from .*state\.prev\.h5" 3 configs/sft.cfg --output_dir "$work/killed" \
    "${settings[@]}"
same_run "$work/whole" "$work/killed"
diff -r "$work/whole/clients" "$work/killed/clients" >&2 || fail "other client states"

rm "$work/killed/state.h5"
for file in "$work"/killed/clients/*/c.*; do
    printf 'X' | dd of="$file" bs=1 seek=700 conv=notrunc status=none
done
expect_error 'clients/[0-9]+/c\.[0-9]+: damaged' 0 configs/sft.cfg --output_dir "$work/killed" \
    "${settings[@]}"
rm -r "$work/killed/clients"
expect_error 'clients/[0-9]+/c\.[0-9]+ is missing' 3 configs/sft.cfg --output_dir "$work/killed" \
    "${settings[@]}"

expect_exit 0 '^round 1/' 0 configs/sft.cfg --output_dir "$work/killed" "${settings[@]}" --fresh
same "$(adapter whole)" "$(adapter killed)"
expect_exit 0 '^round 1/' 0 configs/sft.cfg --output_dir "$work/killed" "${tiny[@]}" --fresh
[[ ! -e $work/killed/clients ]] || fail "--fresh left client states"

# ---- many clients: the memory of a rank is that of few

# peak DIR: bytes resident, the largest of any rank and round.
peak() {
    sed -E 's/.*"peak_memory":([0-9]+).*/\1/' "$1/metrics.jsonl" | sort -n | tail -1
}

settings=(--fed_alg scaffold --dataset_sample 7000 --sample_clients 20 --num_rounds 3
    --save_model_freq 3 --batch_size 1 --max_steps 1 --eval_data "")
for clients in 20 1000; do
    train "$work/$clients" 3 "${settings[@]}" --num_clients "$clients"
    [[ $(find "$work/$clients/clients" -name 'c.*' | wc -l) -eq 60 ]] || fail "not 60 client states"
done
few=$(peak "$work/20") many=$(peak "$work/1000")
echo "peak memory: $((few / 1024)) KiB with 20 clients, $((many / 1024)) KiB with 1000"
[[ $many -lt $((few + few / 20)) ]] || fail "memory grows with the number of clients"

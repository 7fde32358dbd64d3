#!/usr/bin/env bash
# Splits other than iid: the same bytes on any number of ranks and after a kill, clients of unequal
# size weigh by their records, and what the data lacks is told in one line.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

small=(--dataset_sample 300 --sample_clients 3 --num_rounds 3 --save_model_freq 2 --batch_size 2
    --max_steps 2 --eval_data "" --log_level warn)
skewed=("${small[@]}" --num_clients 7 --split_strategy dirichlet --dirichlet_alpha 0.2)

same_adapter() {
    same "$1/adapter/adapter_model.safetensors" "$2/adapter/adapter_model.safetensors"
}

# ---- ranks, and continuing

train "$work/one" 0 "${skewed[@]}"
for ranks in 2 3 4; do
    train "$work/$ranks" "$ranks" "${skewed[@]}"
    same_adapter "$work/one" "$work/$ranks"
done
start_job 2 configs/sft.cfg --output_dir "$work/killed" "${skewed[@]}"
for ((i = 0; i < 300; i++)); do
    [[ ! -s $work/killed/state.h5 ]] || break
    pause 100
done
kill_job
train "$work/killed" 3 "${skewed[@]}"
same_adapter "$work/one" "$work/killed"

# ---- sizes: samples of the clients in metrics.jsonl are unequal

sizes=$(grep -o '"samples":[0-9]*' "$work/one/metrics.jsonl" | sort -u | wc -l)
[[ $sizes -ge 3 ]] || fail "the clients of a skewed split have $sizes sizes"

for strategy in domain quantity; do
    train "$work/$strategy" 2 "${small[@]}" --num_clients 6 --split_strategy $strategy
done
! cmp -s "$work/domain/adapter/adapter_model.safetensors" \
    "$work/quantity/adapter/adapter_model.safetensors" || fail "another split, the same adapter"

# ---- natural: clients of a field; the number is taken from the data

data=$work/sites.jsonl
head -n 60 configs/embedded/data/train.jsonl |
    awk '{ sub(/}$/, ", \"site\": \"hospital " NR % 4 "\"}"); print }' >"$data"
natural=(--dataset_name "$data" --split_strategy natural --client_field site)
train "$work/natural" 2 "${small[@]}" "${natural[@]}" --num_clients 0
train "$work/again" 0 "${small[@]}" "${natural[@]}" --num_clients 4
same_adapter "$work/natural" "$work/again"
expect_error 'num_clients = 6, but the data names 4 clients' 0 configs/sft.cfg --check "${natural[@]}"
expect_error 'sample_clients = 5 is more than num_clients = 4' 0 configs/sft.cfg --check \
    "${natural[@]}" --num_clients 0 --sample_clients 5
expect_error 'num_clients = 0' 0 configs/sft.cfg --check --num_clients 0

# the same sites as a folder of files, and as one object {client: [records]}
mkdir "$work/folder"
for site in 0 1 2 3; do
    grep "hospital $site" "$data" | sed 's/, "site".*/}/' >"$work/folder/hospital $site.jsonl"
done
# clients come in the order of the file; there site 1 is the first
for site in 1 2 3 0; do
    echo "\"hospital $site\": [$(paste -sd, "$work/folder/hospital $site.jsonl")]"
done | paste -sd, | sed 's/.*/{&}/' >"$work/object.json"
mv "$work/folder/hospital 0.jsonl" "$work/folder/hospital 4.jsonl"
for form in folder object.json; do
    train "$work/of_$form" 0 "${small[@]}" --dataset_name "$work/$form" --split_strategy natural \
        --num_clients 0
    same_adapter "$work/natural" "$work/of_$form"
done

# ---- what the data lacks

expect_error 'sites.jsonl: record 1 has no field "client"' 0 configs/sft.cfg --check \
    --dataset_name "$data" --split_strategy natural --num_clients 0
sed -i '17s/"domain": "[a-z]*", //' "$data"
expect_error 'sites.jsonl: record 17 has no field "domain"' 2 configs/sft.cfg --check \
    --dataset_name "$data" --split_strategy dirichlet
sed -i '18s/"domain": "[a-z]*"/"domain": [1]/' "$data"
expect_error 'sites.jsonl:18: domain must be a string' 0 configs/sft.cfg --check \
    --dataset_name "$data" --split_strategy dirichlet
expect_error 'num_clients = 3 is too few for the 6 labels' 0 configs/sft.cfg --check \
    --split_strategy domain --num_clients 3
expect_error 'split_strategy = "even"' 0 configs/sft.cfg --check --split_strategy even

#!/usr/bin/env bash
# Every name of lora_aggregation that --help lists: rounds change the weights, and the bytes are the
# same on one to four ranks and after kills.  What travels, what is refused, what clients keep.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mapfile -t names < <(words_of lora_aggregation)
[[ ${#names[@]} -ge 7 ]] || fail "only ${#names[@]} names of lora_aggregation in --help"

tiny=(--dataset_sample 120 --num_clients 4 --sample_clients 2 --num_rounds 3 --batch_size 2
    --max_steps 2 --eval_data "" --weight_decay 0.1)

adapter() {
    echo "$work/$1/adapter/adapter_model.safetensors"
}

# ---- every name

train "$work/initial" 0 "${tiny[@]}" --learning_rate 0 --weight_decay 0
for name in "${names[@]}"; do
    train "$work/$name" 0 "${tiny[@]}" --lora_aggregation "$name"
    for other in initial "${names[@]}"; do
        [[ $other != "$name" ]] || break
        ! cmp -s "$(adapter "$name")" "$(adapter "$other")" || fail "$name: the adapter of $other"
    done
    for ranks in 2 3 4; do
        train "$work/ranks" "$ranks" "${tiny[@]}" --lora_aggregation "$name"
        same "$(adapter "$name")" "$(adapter ranks)"
        diff <(numbers "$work/$name") <(numbers "$work/ranks") >&2 || fail "$name: other numbers"
        [[ ! -d $work/$name/clients ]] ||
            diff -r "$work/$name/clients" "$work/ranks/clients" >&2 || fail "other client states"
        [[ $ranks -ne 2 ]] || mv "$work/ranks/metrics.jsonl" "$work/$name/traffic.jsonl"
        rm -r "$work/ranks"
    done
    expect_exit 0 '^everything is in order' 0 "configs/aggregation/$name.cfg" --check \
        --output_dir "$work/check"
done
echo "${#names[@]} names"

# ---- what travels between two ranks: both factors, one, or the one whose turn it is

# traffic NAME KEY: its numbers, one after the other
traffic() {
    grep -o "\"$2\":[0-9]*" "$work/$1/traffic.jsonl" | cut -d: -f2 | tr '\n' ' '
}

# two clients alone, 4 bytes a number, against one sum of 8 bytes a number
for name in flora fedex florist; do
    [[ "$(traffic "$name" bytes_up)" == "$(traffic fedit bytes_up)" ]] || fail "$name sends other bytes"
done
read -r both _ <<<"$(traffic fedit bytes_up)"
down=$((both / 2)) # the adapter
[[ "$(traffic florist bytes_down)" == "$down $down $down " ]] || fail "florist receives more"
[[ "$(traffic fedex bytes_down)" == "$((2 * down)) $((2 * down)) $((2 * down)) " ]] ||
    fail "fedex receives $(traffic fedex bytes_down)" # and the residual of rank (K - 1) r
[[ "$(traffic flora bytes_down)" == "$((3 * down)) $((3 * down)) $((3 * down)) " ]] ||
    fail "flora receives $(traffic flora bytes_down)" # and the stack of rank K r
read -r b1 a2 b3 <<<"$(traffic rolora bytes_up)"
((b1 > 0 && a2 > 0 && b1 + a2 == both && b1 == b3)) || fail "rolora sends $b1 $a2 $b3 of $both"
[[ "$(traffic ffa bytes_up)" == "$b1 $b1 $b1 " ]] || fail "ffa sends $(traffic ffa bytes_up)"
[[ "$(traffic fedsa bytes_up)" == "$a2 $a2 $a2 " ]] || fail "fedsa sends $(traffic fedsa bytes_up)"
[[ "$(traffic rolora bytes_down)" == "$((b1 / 2)) $((b1 / 2)) $((a2 / 2)) " ]] ||
    fail "rolora receives $(traffic rolora bytes_down)"

# ---- pairs that make no sense

refused() {
    expect_error "lora_aggregation = \"$1\" does not go with fed_alg = \"$2\"" 0 configs/sft.cfg \
        --output_dir "$work/refused" --lora_aggregation "$1" --fed_alg "$2"
    [[ ! -e $work/refused ]] || fail "a refused run left files"
}
refused rolora scaffold
refused rolora local0
refused fedsa feddyn
for name in flora fedex florist; do
    for algorithm in scaffold fedavgm fedadam fednova diloco local0; do
        refused "$name" "$algorithm"
    done
done
expect_error 'lora_aggregation = "fedex" does not go with client_lora_r' 0 configs/sft.cfg \
    --output_dir "$work/refused" --lora_aggregation fedex --client_lora_r 4,8
expect_error 'client_lora_r: "17" is no rank' 0 configs/sft.cfg \
    --output_dir "$work/refused" --lora_aggregation flora --client_lora_r 4,17
private=(--dp true --dp_clip 1 --dp_noise_multiplier 1 --num_clients 4)
for name in flora fedex florist fedsa; do
    expect_error "lora_aggregation = \"$name\" is not covered by dp" 0 configs/sft.cfg \
        --output_dir "$work/refused" --lora_aggregation "$name" "${private[@]}"
done
expect_error 'lora_metrics = "on" is not covered by dp' 0 configs/sft.cfg \
    --output_dir "$work/refused" --lora_metrics on "${private[@]}"
[[ ! -e $work/refused ]] || fail "a refused run left files"

# with half of the vector: the same noise on any number of ranks, and none on what is frozen
for name in ffa rolora; do
    expect_exit 0 'dp_seed' 0 configs/sft.cfg --output_dir "$work/noised" "${tiny[@]}" "${private[@]}" \
        --dp_seed 3 --lora_aggregation "$name" # which it warns of
    expect_exit 0 'dp_seed' 3 configs/sft.cfg --output_dir "$work/noised-ranks" "${tiny[@]}" \
        "${private[@]}" --dp_seed 3 --lora_aggregation "$name"
    same "$(adapter noised)" "$(adapter noised-ranks)"
    ! cmp -s "$(adapter noised)" "$(adapter "$name")" || fail "$name: no noise"
    rm -r "$work/noised" "$work/noised-ranks"
done

# ---- a client of rank 4 beside others of rank 16 trains as one does where all have rank 4

# learnt ARGUMENT...: the loss of one client's round, ten digits
learnt() {
    train "$work/alone" 0 --dataset_sample 60 --num_clients 1 --sample_clients 1 --num_rounds 1 \
        --batch_size 2 --max_steps 5 --eval_data "" --learning_rate 0.01 --weight_decay 0.1 \
        --peft_lora_alpha 8 "$@"
    grep -o '"loss":[0-9.]*' "$work/alone/metrics.jsonl" | head -1 | cut -c 1-18
    rm -r "$work/alone"
}
for rslora in false true; do
    expected=$(learnt --peft_lora_r 4 --use_rslora "$rslora")
    for name in flora florist; do
        loss=$(learnt --peft_lora_r 16 --client_lora_r 4 --lora_aggregation "$name" \
            --use_rslora "$rslora")
        [[ $loss == "$expected" ]] || fail "$name: $loss with a smaller rank, expected $expected"
    done
done
for name in flora florist; do
    train "$work/mixed" 0 "${tiny[@]}" --lora_aggregation "$name" --client_lora_r 3,16,7
    train "$work/mixed-ranks" 4 "${tiny[@]}" --lora_aggregation "$name" --client_lora_r 3,16,7
    same "$(adapter mixed)" "$(adapter mixed-ranks)"
    rm -r "$work/mixed" "$work/mixed-ranks"
done

# ---- the change of a base that is kept in NF4

train "$work/nf4" 0 "${tiny[@]}" --lora_aggregation flora --load_in_4bit true
train "$work/nf4-ranks" 3 "${tiny[@]}" --lora_aggregation flora --load_in_4bit true
same "$(adapter nf4)" "$(adapter nf4-ranks)"

# ---- clients that keep a factor are judged one by one, and each has its model in the end

judged=(--dataset_sample 120 --num_clients 4 --sample_clients 2 --num_rounds 3 --batch_size 2
    --max_steps 4 --learning_rate 0.01 --eval_samples 1 --eval_freq 1 --max_new_tokens 3
    --lora_aggregation fedsa)
train "$work/own" 0 "${judged[@]}"
train "$work/own-ranks" 3 "${judged[@]}"
diff <(numbers "$work/own") <(numbers "$work/own-ranks") >&2 || fail "other scores"
mapfile -t kept < <(cd "$work/own/clients" && echo * | tr ' ' '\n')
[[ ${#kept[@]} -ge 2 ]] || fail "clients keep nothing"
models=$(printf '{"client":%s,"exact_match":[^}]*},' "${kept[@]}")
grep '"event":"eval","round":3' "$work/own/metrics.jsonl" |
    grep -q "\"clients\":\[${models%,}\]" || fail "not every client was judged"
for client in "${kept[@]}"; do
    [[ -s $work/own/client-$client/adapter_config.json ]] || fail "client $client has no adapter"
    same "$work/own/client-$client/adapter_model.safetensors" \
        "$work/own-ranks/client-$client/adapter_model.safetensors"
done
expect_exit 0 '^round 1/' 0 configs/sft.cfg --output_dir "$work/own" "${tiny[@]}" --fresh
[[ ! -e $work/own/clients && ! -e $work/own/client-${kept[0]} ]] || fail "--fresh left clients"

# ---- killed at random moments

for name in "${names[@]}"; do
    [[ $name != fedit ]] || continue # test_kill.sh
    settings=(--lora_aggregation "$name" --dataset_sample 200 --num_clients 5 --sample_clients 3
        --num_rounds 6 --save_model_freq 3 --batch_size 1 --max_steps 1 --eval_data "")
    train_killed "${3:-2}" "${settings[@]}"
    [[ ! -d $work/whole/clients ]] ||
        diff -r "$work/whole/clients" "$work/killed/clients" >&2 || fail "other client states"
    rm -r "$work/whole" "$work/killed"
done

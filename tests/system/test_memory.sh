#!/usr/bin/env bash
# The memory plan: what is resident is what was planned, what does not fit is refused before it is
# taken, and the advice is good.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
make_checkpoint=$3

shape=(hidden_size=512 intermediate_size=1408 num_hidden_layers=8 num_attention_heads=8
    num_key_value_heads=4 vocab_size=4096 max_position_embeddings=512)
"$make_checkpoint" "$work/bf16" configs/embedded/model "${shape[@]}"
"$make_checkpoint" "$work/fp32" configs/embedded/model "${shape[@]}" float32=1 shards=1
small=(configs/sft.cfg --num_clients 2 --sample_clients 1 --num_rounds 1 --max_steps 1 --batch_size 16
    --dataset_sample 400 --eval_data "" --output_dir "$work/out" --fresh)

# planned PATTERN: bytes of that line of the plan that the last run printed.
planned() {
    awk -v pattern="^ *$1" '$0 ~ pattern { print int($(NF - 1) * 1e6); exit }' "$work/stderr" "$work/stdout"
}

# resident PID: bytes of its own, and bytes of the pages it has of weight files.
resident() {
    awk '/^RssAnon:/ { own = $2 } /^[0-9a-f]+-[0-9a-f]+ / { weights = /\.safetensors/ }
         weights && /^Rss:/ { mapped += $2 } END { print own * 1024, mapped * 1024 }' \
        "/proc/$1/status" "/proc/$1/smaps" 2>/dev/null || true
}

# peak: $own, the most that one rank of the job had, and $mapped at that time.
peak() {
    own=0 mapped=0
    local member a b
    while kill -0 "$job" 2>/dev/null; do
        for member in $(job_members); do
            read -r a b < <(resident "$member") || continue
            [[ ${a:-0} -lt $own ]] || own=$a mapped=$b
        done
        pause 10
    done
    finish_job
    [[ $code -eq 0 ]] || fail "exit code $code"
}

# near WHAT MEASURED PLANNED: within 2 %
near() {
    echo "$1: $2 bytes resident, $3 planned"
    (($2 * 100 <= $3 * 102 && $2 * 100 >= $3 * 98)) || fail "$1: not within 2 %"
}

# rank 1 trains, and has more than rank 0
measure() {
    run 2 "${small[@]}" --check "$@"
    [[ $code -eq 0 ]] || fail "exit code $code: $*"
    local rank map
    rank=$(planned 'training rank in all') map=$(planned 'base, map of its files')
    start_job 2 "${small[@]}" "$@"
    peak
    near "own, $*" "$own" "$rank"
    near "map, $*" "$mapped" "$map"
}

for options in "" "--gradient_checkpointing true"; do
    # shellcheck disable=SC2086 # options are words
    {
        measure --model_name_or_path "$work/bf16" $options
        measure --model_name_or_path "$work/fp32" $options
        measure --model_name_or_path "$work/bf16" --load_in_8bit true $options
        measure --model_name_or_path "$work/bf16" --load_in_4bit true $options
    }
done

measure --model_name_or_path "$work/bf16" --fed_alg scaffold --sample_clients 2 --clients_per_pass 2

# ---- what does not fit

words=$(printf 'word %.0s' {1..150})
for i in {1..40}; do
    printf '{"instruction": "Say it %d times.", "output": "%s"}\n' "$i" "$words"
done >"$work/long.jsonl"
small+=(--model_name_or_path "$work/fp32" --dataset_name "$work/long.jsonl" --batch_size 4)
rm -rf "$work/out"

# What is limited: the key, the plan's line of what one has, how many have it on N ranks, the words.
key=memory_limit line='this node in all' where='on this node'
sharers() {
    echo 1
}

# refuse PERCENT RANKS ARGUMENT...: with so much of what the run needs.  One error line; $advice is
# its end, $limit the limit.
refuse() {
    local percent=$1 ranks=$2 need
    shift 2
    run "$ranks" "${small[@]}" --check "$@"
    [[ $code -eq 0 ]] || fail "exit code $code: $*"
    need=$(($(planned "$line") * $(sharers "$ranks")))
    limit=0.$(printf '%09d' $((need * percent / 100)))
    expect_error "the run needs [0-9.]+ GB $where .*there are 0[.][0-9]+ GB \($key\); " \
        "$ranks" "${small[@]}" --$key "$limit" "$@"
    [[ ! -e $work/out ]] || fail "something was written"
    advice=$(sed -nE "s/^rank 0: error: .*\($key\); //p" "$work/stderr")
    echo "$*: $advice"
}

# accept RANKS REMEDY ARGUMENT...: the keys of the remedy help.  2 % more, because what the process
# itself holds is measured anew.
accept() {
    local ranks=$1 remedy=$2 options
    shift 2
    read -ra options < <(sed -E 's/ = /=/g; s/ and / /g; s/[(),]//g' <<<"$remedy")
    [[ $remedy != *"training rank"* ]] || options=()
    run "$ranks" "${small[@]}" --$key "$(awk "BEGIN { print $limit * 1.02 }")" --check "$@" \
        "${options[@]}"
    [[ $code -eq 0 ]] || fail "the advice does not help: $remedy"
}

# propose KEY...: all of them are in $advice.
propose() {
    local key
    for key in "$@"; do
        [[ $advice == *"$key"* ]] || fail "nothing about $key: $advice"
    done
}

# follow RANKS: every remedy of $advice helps by itself.
follow() {
    local ranks remedy
    while read -r remedy; do
        ranks=$1
        [[ $remedy != *"training rank"* ]] || ranks=$((${remedy%% *} + 1)) # and rank 0
        accept "$ranks" "$remedy"
    done < <(sed -E 's/^it fits with //; s/, or /\n/g' <<<"$advice")
}

refuse 80 0 --num_clients 4 --sample_clients 4 --clients_per_pass 4
propose "clients_per_pass = "
first=${advice#it fits with }
accept 0 "${first%%, or *}" --num_clients 4 --sample_clients 4
refuse 80 0
propose "gradient_checkpointing = true" "batch_size = " "load_in_8bit = true" "load_in_4bit = true" \
    "seq_length = "
follow 0
refuse 80 3
propose "1 training rank on this node"
follow 3
refuse 60 0 --target_modules all-linear --peft_lora_r 256
propose "peft_lora_r = "

# several together, and too little in any case
refuse 20 0
[[ $advice == "it fits with "*" and "* && $advice != *", or "* ]] || fail "not several keys: $advice"
accept 0 "${advice#it fits with }"
refuse 1 0
[[ $advice == "at the least it needs 0.0"*" GB" ]] || fail "$advice"

# ---- a device, which several ranks share

small+=(--backend cuda_emu)
run 0 "${small[@]}" --check
! said 'this build has' || exit 0
key=device_memory_limit line='device, of one rank in all' where='on a device'
sharers() {
    echo $(($1 > 2 ? $1 - 1 : 1)) # all but rank 0
}
refuse 80 0
propose "gradient_checkpointing = true" "batch_size = " "load_in_8bit = true"
follow 0
refuse 80 3
propose "1 training rank on this node"
follow 3
refuse 1 0
[[ $advice == "at the least it needs 0."*" GB of a device" ]] || fail "$advice"
# the base is not the node's
run 0 "${small[@]}" --check
[[ -z $(planned 'base, map of its files') ]] || fail "a map of the base on the node"
(($(planned 'base, of its own') > $(stat -c %s "$work"/fp32/*.safetensors | awk '{ s += $1 } END { print s }') * 99 / 100)) ||
    fail "the base is not on the device"

# ---- a base that is expanded on the device: where there is memory for it, with the same bytes

"$make_checkpoint" "$work/tiny" configs/embedded/model hidden_size=64 intermediate_size=128 \
    num_hidden_layers=8 num_attention_heads=2 num_key_value_heads=1 vocab_size=1024 max_position_embeddings=512
small+=(--model_name_or_path "$work/tiny" --compute_dtype bfloat16 --load_in_4bit true --seq_length 48
    --batch_size 2)
# device_needs KEY...: sets $needs, MB of the plan
device_needs() {
    run 0 "${small[@]}" --check "$@"
    [[ $code -eq 0 ]] || fail "exit code $code: $*"
    needs=$(planned "$line")
}
device_needs --expand_base no
said 'in NF4, widened at every product' || fail "nothing about a packed base"
packed=$needs
device_needs --expand_base yes
said 'in NF4, expanded to bfloat16' || fail "nothing about an expanded base"
((needs > packed)) || fail "an expanded base takes no memory"
device_needs
said 'expanded to bfloat16' || fail "there is room, and it is not used"
between=0.$(printf '%09d' $(((needs + packed) / 2)))
device_needs --device_memory_limit "$between"
said 'widened at every product' || fail "auto takes what is not there"
expect_error 'the run needs .* \(device_memory_limit\); it fits with expand_base = no' 0 "${small[@]}" \
    --device_memory_limit "$between" --expand_base yes
for choice in yes no; do
    run 0 "${small[@]}" --expand_base $choice --output_dir "$work/$choice"
    [[ $code -eq 0 ]] || fail "exit code $code"
    ! said 'warning' || fail "the plan is wrong"
done
same "$work/yes/adapter/adapter_model.safetensors" "$work/no/adapter/adapter_model.safetensors"
expect_error 'is for a device that computes in bfloat16' 0 "${small[@]}" --backend cpu \
    --compute_dtype float32 --expand_base yes

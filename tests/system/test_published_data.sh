#!/usr/bin/env bash
# Every published training file trains, or is refused for a stated reason, with its kind and its
# number of records told.  Skipped where ../shared/data is not there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

model=../shared/data/models/stories260K-hf
data=../shared/data/train
if [[ ! -d $model || ! -d $data ]]; then
    echo "skipped: no $data"
    exit 77
fi

checked=0 # files

# try FILE ARGUMENT...: one round of one step on the file.
try() {
    local file=$1
    shift
    [[ -f $data/$file ]] || fail "no $data/$file"
    checked=$((checked + 1))
    rm -rf "$work/run"
    run 0 configs/sft.cfg --output_dir "$work/run" --model_name_or_path "$model" \
        --dataset_name "$data/$file" --eval_data "" --seq_length 256 --num_clients 2 \
        --sample_clients 1 --num_rounds 1 --max_steps 1 --batch_size 2 "$@"
}

# trains FILE COUNT KIND ARGUMENT...
trains() {
    local file=$1 count=$2 kind=$3
    shift 3
    try "$file" "$@"
    [[ $code -eq 0 ]] || fail "$file: exit code $code"
    said " $count records \($kind\)" || fail "$file: not $count records of the kind $kind"
    [[ -f $work/run/adapter/adapter_model.safetensors ]] || fail "$file: no adapter"
}

# refuses FILE REASON ARGUMENT...
refuses() {
    local file=$1 reason=$2
    shift 2
    try "$file" "$@"
    [[ $code -eq 2 ]] || fail "$file: exit code $code"
    said "^rank 0: error: .*$reason" || fail "$file: not told: $reason"
}

trains alpaca/alpaca_5000.json 5000 alpaca
trains alpaca/alpaca_tiny.json 100 alpaca
trains alpaca/seed_tasks.jsonl 175 seed_tasks
trains alpaca_gpt4/alpaca_en_demo.json 999 alpaca
trains code_alpaca/code_alpaca_2k.json 2017 alpaca
trains code_alpaca/new_codealpaca.json 4535 alpaca
trains medical/medical_meadow_small.json 5942 alpaca
trains gsm8k/train.jsonl 7473 question_answer
trains math/math_data.json 3260 alpaca
trains dolly/dolly.json 12 dolly --seq_length 512
trains sharegpt/dummy_conversation.json 500 sharegpt --template vicuna
trains sharegpt/sharegpt_zh_1K_format.jsonl 1000 sharegpt --template vicuna
trains sharegpt/v1_sft_demo.jsonl 500 messages --template llama-2
refuses sharegpt/glaive_toolcall_en_demo.json "record 1: .* has no place for a tool's turn"
refuses hh_rlhf/harmless-base/test.jsonl.gz '2312 records of the kind hh_rlhf: '
refuses ultrafeedback/train_clean.jsonl '1000 records of the kind preference: '
refuses ultrafeedback/eval_clean.jsonl '200 records of the kind preference: '
refuses preference_sharegpt/dpo_en_demo.json '300 records of the kind preference_sharegpt: '
refuses preference_sharegpt/v1_dpo_demo.jsonl '10 records of the kind preference_messages: '
refuses finance/tfns_sent_valid.csv 'csv:2: a text and a label, '
all=$(find "$data" -type f | wc -l)
[[ $checked -eq $all ]] || fail "$checked files of $all"
trains finance/tfns_sent_valid.csv 2388 fields --instruction_field text --response_field label

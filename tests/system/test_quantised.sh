#!/usr/bin/env bash
# A base that is quantised at load answers in fedllm_generate as it does in training:
# test_quantised.sh PROGRAM MPIEXEC GENERATE
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
generate=$3
model=configs/embedded/model

# The first held-out item of each domain, which is what training's evaluation shows.
head -q -n 1 configs/embedded/data/heldout/*.jsonl >"$work/items.jsonl"

# Texts of JSON strings without white space around them.
trim() {
    sed -E 's/^( |\\n)*//; s/( |\\n)*$//'
}

# answers_of METRICS: of the last evaluation, one a line.
answers_of() {
    grep '"event":"eval"' "$1" | tail -n 1 | grep -oE '"answer":"([^"\\]|\\.)*"' | sed -E 's/^"answer":"//; s/"$//' | trim
}

# ask ARGUMENT...: the same from fedllm_generate.
ask() {
    "$generate" $model --file "$work/items.jsonl" --json --max_new_tokens 12 "$@" |
        grep -oE '"text": ?"([^"\\]|\\.)*"' | sed -E 's/^"text": ?"//; s/"$//' | trim
}

for key in none load_in_8bit load_in_4bit; do
    options=()
    [[ $key == none ]] || options=("--$key" true)
    train "$work/$key" 2 --num_rounds 1 --max_steps 3 --sample_clients 1 --learning_rate 0.003 \
        --eval_samples 1 --max_new_tokens 12 --log_level warn "${options[@]}"
    answers_of "$work/$key/metrics.jsonl" >"$work/expected"
    ask --adapter "$work/$key/adapter" "${options[@]}" >"$work/answers.$key"
    [[ $(wc -l <"$work/expected") -eq $(wc -l <"$work/items.jsonl") ]] || fail "not an answer per item"
    diff "$work/expected" "$work/answers.$key" >&2 || fail "$key: training and generation answer differently"
done

# the keys do something: of a thousand drawn tokens some fall on the other side
for key in none load_in_8bit load_in_4bit; do
    options=(--adapter "$work/none/adapter" --temperature 2 --top_k 0 --max_new_tokens 200)
    [[ $key == none ]] || options+=("--$key" true)
    ask "${options[@]}" >"$work/drawn.$key"
done
for key in load_in_8bit load_in_4bit; do
    ! cmp -s "$work/drawn.none" "$work/drawn.$key" || fail "$key changes nothing"
done

# refuses PATTERN ARGUMENT...
refuses() {
    local pattern=$1
    shift
    code=0
    "$generate" "$@" --prompt x >"$work/stdout" 2>"$work/stderr" || code=$?
    [[ $code -eq 2 ]] || fail "exit code $code: $*"
    said "$pattern" || fail "nothing said matches \"$pattern\""
}

refuses 'load_in_8bit and load_in_4bit are both true' $model --load_in_8bit true --load_in_4bit true
refuses 'quantised to NF4 already' tests/golden/data/quant/nf4 --load_in_8bit true

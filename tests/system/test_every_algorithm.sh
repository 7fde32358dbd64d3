#!/usr/bin/env bash
# Every algorithm, SFT and DPO: the same bytes on 1, 2, 3 and 4 ranks, and when the job is killed in
# the middle and continued.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

list_algorithms
settings=(--dataset_sample 24 --num_clients 4 --sample_clients 3 --num_rounds 5 --save_model_freq 100
    --batch_size 1 --max_steps 2 --peft_lora_r 2 --eval_data "" --log_level warn)

# same_result NAME: adapter and client states are those of one rank.
same_result() {
    same "$work/one/adapter/adapter_model.safetensors" "$work/$1/adapter/adapter_model.safetensors"
    [[ ! -d $work/one/clients ]] || diff -r "$work/one/clients" "$work/$1/clients" >&2 ||
        fail "other client states"
}

# rounds_done: lines of the killed run
rounds_done() {
    if [[ -f $work/killed/metrics.jsonl ]]; then wc -l <"$work/killed/metrics.jsonl"; else echo 0; fi
}

# kill_in_the_middle ARGUMENT...: leaves a run that is neither new nor finished.  Rounds last
# milliseconds here, so it may take more than one attempt.
kill_in_the_middle() {
    local attempt
    for ((attempt = 0; attempt < 20; attempt++)); do
        rm -rf "$work/killed"
        start_job 0 "$config" --output_dir "$work/killed" "$@"
        while kill -0 "$job" 2>/dev/null && [[ $(rounds_done) -lt 2 ]]; do
            pause 5
        done
        kill_job
        [[ $(rounds_done) -ge 5 ]] || return 0
    done
    fail "finished before it could be killed: $*"
}

for objective in sft dpo; do
    config=configs/$objective.cfg
    for name in "${names[@]}"; do
        [[ $name != fedadgrad ]] || continue # an alias
        arguments=("${settings[@]}" --fed_alg "$name")
        rm -rf "$work/one"
        train "$work/one" 1 "${arguments[@]}"
        for ranks in 2 3 4; do
            rm -rf "$work/ranks"
            train "$work/ranks" "$ranks" "${arguments[@]}"
            same_result ranks
        done
        kill_in_the_middle "${arguments[@]}"
        done=$(rounds_done)
        train "$work/killed" 0 "${arguments[@]}"
        same_result killed
        echo "$objective, $name: killed after $done of 5 rounds"
    done
done

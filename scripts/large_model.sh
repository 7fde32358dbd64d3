#!/usr/bin/env bash
# A model of TinyLlama-1.1B's shape with random weights: loads in every format, trains federated
# rounds, answers; prints seconds and memory.  Takes some minutes and 7 GB of disk below TMPDIR.
#
#     scripts/large_model.sh BUILD TOKENIZER DATA [RANKS [SEQ_LENGTH [KEY=VALUE...]]]
#
# BUILD: folder with the programs and make_checkpoint; TOKENIZER: folder of a tokenizer of at most
# 32000 tokens; DATA: training records; KEY=VALUE: another shape, see tests/support/make_checkpoint.c.  Memory is the sum of Pss over all processes of a run, mpirun
# included, sampled five times a second; Pss counts a page that n processes share as 1/n in each.
set -euo pipefail

[[ $# -ge 3 ]] || {
    echo "usage: scripts/large_model.sh BUILD TOKENIZER DATA [RANKS [SEQ_LENGTH [KEY=VALUE...]]]" >&2
    exit 2
}
build=$(realpath "$1") tokenizer=$(realpath "$2") data=$(realpath "$3") ranks=${4:-3} length=${5:-512}
shape=("${@:6}")
repository=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
work=$(mktemp -d)
job=
clean_up() {
    [[ -z $job ]] || kill -- "-$job" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
export TMPDIR=$work

# members: process ids of the job's session
members() {
    local file line state session
    for file in /proc/[0-9]*/stat; do
        { read -r line <"$file"; } 2>/dev/null || continue
        read -r state _ _ session _ <<<"${line##*) }"
        [[ $session != "$job" || $state == Z ]] || basename "${file%/stat}"
    done
}

# pss: kilobytes of the whole job
pss() {
    local member
    for member in $(members); do
        sed -n 's/^Pss: *//p' "/proc/$member/smaps_rollup" 2>/dev/null || true
    done | awk '{ sum += $1 } END { print sum + 0 }'
}

# measured NAME COMMAND...: runs it and prints a line of the table.
measured() {
    local name=$1 peak=0 now start=$SECONDS
    shift
    setsid "$@" </dev/null >"$work/log" 2>&1 &
    job=$!
    while kill -0 "$job" 2>/dev/null; do
        now=$(pss)
        peak=$((now > peak ? now : peak))
        sleep 0.2
    done
    wait "$job" || {
        cat "$work/log" >&2
        exit 1
    }
    job=
    printf '%-34s %6d s %9.2f GB\n' "$name" $((SECONDS - start)) "$(awk "BEGIN { print $peak * 1024 / 1e9 }")"
}

cd "$repository"
start=$SECONDS
"$build/make_checkpoint" "$work/bf16" "$tokenizer" "${shape[@]}"
echo "checkpoint written in $((SECONDS - start)) s: $(du -BM -s "$work/bf16" | cut -f 1)"
printf '%-34s %8s %12s\n' "" time "peak Pss"

answer=(--prompt "Name three colours." --max_new_tokens 8 --max_length 256 --json true)
measured "answer, bf16 as stored" "$build/fedllm_generate" "$work/bf16" "${answer[@]}"
measured "answer, int8" "$build/fedllm_generate" "$work/bf16" "${answer[@]}" --load_in_8bit true
measured "answer, NF4" "$build/fedllm_generate" "$work/bf16" "${answer[@]}" --load_in_4bit true

run=("${MPIEXEC:-mpirun}" -n "$ranks" "$build/fedllm_mpi" configs/sft.cfg --model_name_or_path "$work/bf16"
    --dataset_name "$data" --eval_data "" --seq_length "$length" --num_rounds 2 --num_clients 8
    --sample_clients $((ranks > 1 ? ranks - 1 : 1)) --batch_size 1 --max_steps 2 --peft_lora_r 16
    --output_dir "$work/run")
measured "2 rounds, $ranks ranks, $length tokens" "${run[@]}"
grep -E '^(round|memory)' "$work/log"
cp "$work/run/adapter/adapter_model.safetensors" "$work/kept"
measured "the same, gradient_checkpointing" "${run[@]}" --fresh --gradient_checkpointing true
grep -E '^(round|memory)' "$work/log"
cmp "$work/kept" "$work/run/adapter/adapter_model.safetensors"
measured "answer with the adapter" "$build/fedllm_generate" "$work/bf16" --adapter "$work/run/adapter" \
    "${answer[@]}"
echo "answered: $(tr -s '[:space:]' ' ' <"$work/log")"

"$build/fedllm_merge" "$work/bf16" none "$work/fp32" --dtype float32 >/dev/null
measured "answer, fp32" "$build/fedllm_generate" "$work/fp32" "${answer[@]}"

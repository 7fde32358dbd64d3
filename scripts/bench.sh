#!/usr/bin/env bash
# Local training speed against PyTorch + Transformers + PEFT: the embedded model and data, one
# client, one rank, fp32 activations, dropout 0.05, LoRA r 16 on all linears.  The two programs take
# turns (A B A B ...), each run's figure is the median over its rounds; printed are the medians over
# the runs and the ratio.  Needs a Python with torch, transformers and peft:
#
#   PYTHON=/path/to/venv/bin/python scripts/bench.sh [RUNS [THREADS]]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
runs=${1:-5} threads=${2:-1} rounds=5 steps=10 batch=16 r=16 seq=128
python=${PYTHON:-python3}
model=configs/embedded/model data=configs/embedded/data/train.jsonl
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

median() {
    sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# Tokens per second of the training phase, round by round, without the first.
ours() {
    build/fedllm_mpi configs/sft.cfg --eval_data "" --num_clients 1 --sample_clients 1 \
        --num_rounds $((rounds + 1)) --max_steps $steps --batch_size $batch --peft_lora_r $r \
        --peft_lora_alpha $((2 * r)) --learning_rate 1e-4 --seq_length $seq --threads "$threads" \
        --log_level error --output_dir "$work/run" --fresh >/dev/null
    sed -n '2,$s/.*"tokens":\([0-9]*\),"seconds":{[^}]*"train":\([0-9.e-]*\).*/\1 \2/p' \
        "$work/run/metrics.jsonl" | awk '{ print $1 / $2 }' | median
}

peer() {
    OMP_NUM_THREADS=$threads "$python" scripts/bench_peer.py $model $data $rounds $steps $batch $r \
        $seq "$threads" 2>/dev/null
}

for ((i = 0; i < runs; i++)); do
    ours >>"$work/ours"
    peer >>"$work/peer"
done
a=$(median <"$work/ours") b=$(median <"$work/peer")
awk -v a="$a" -v b="$b" -v n="$runs" -v t="$threads" -v c="$(git rev-parse --short HEAD)" 'BEGIN {
    printf "{\"commit\":\"%s\",\"runs\":%d,\"threads\":%d,\"ours_tokens_per_s\":%.0f,", c, n, t, a
    printf "\"peer_tokens_per_s\":%.0f,\"ratio\":%.2f}\n", b, a / b }'

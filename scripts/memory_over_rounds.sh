#!/usr/bin/env bash
# Memory of each rank over the rounds of a run with many clients that keep states: 1,000 clients, 20
# a round, SCAFFOLD, 100 rounds, on the embedded model.  Prints resident megabytes (VmRSS) per rank
# after some rounds; ends with 1 when a rank has grown by more than 2 MB since round 5.
#
#     scripts/memory_over_rounds.sh PROGRAM [RANKS [ROUNDS]]
set -euo pipefail

[[ $# -ge 1 ]] || {
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
program=$(realpath "$1")
ranks=${2:-3}
rounds=${3:-100}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
job=
trap '[[ -z $job ]] || kill "$job" 2>/dev/null || true; rm -rf "$work"' EXIT

mpirun -np "$ranks" "$program" configs/algorithms/scaffold.cfg --output_dir "$work/run" --eval_data "" \
    --num_clients 1000 --sample_clients 20 --num_rounds "$rounds" --batch_size 2 --max_steps 2 \
    --save_model_freq 1000 --log_level warn >"$work/log" 2>&1 &
job=$!

# Process ids of the ranks, in order: mpirun's children, which know their number.
rank_pids() {
    local file pid
    for ((rank = 0; rank < ranks; rank++)); do
        for file in /proc/[0-9]*/environ; do
            pid=${file//[!0-9]/}
            [[ $(ps -o ppid= -p "$pid" 2>/dev/null | tr -d ' ') == "$job" ]] || continue
            ! grep -qzx "OMPI_COMM_WORLD_RANK=$rank" "$file" 2>/dev/null || echo "$pid"
        done
    done
}

# kilobytes PID FIELD
kilobytes() {
    awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status" 2>/dev/null || echo 0
}

rounds_done() {
    if [[ -f $work/run/metrics.jsonl ]]; then wc -l <"$work/run/metrics.jsonl"; else echo 0; fi
}

until [[ $(rounds_done) -ge 1 ]]; do
    kill -0 "$job" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
mapfile -t pids < <(rank_pids)
[[ ${#pids[@]} -eq $ranks ]] || { echo "found ${#pids[@]} of $ranks ranks" >&2; exit 1; }
printf 'round'
for ((rank = 0; rank < ranks; rank++)); do printf '   rank %d' "$rank"; done
echo '   (MB resident)'

base=() worst=0 last=0
while kill -0 "$job" 2>/dev/null; do
    round=$(rounds_done)
    if [[ $round -gt $last && ($round -le 5 || $((round / 10)) -gt $((last / 10))) ]]; then
        now=()
        for pid in "${pids[@]}"; do now+=("$(kilobytes "$pid" VmRSS)"); done
        [[ " ${now[*]} " != *" 0 "* && ${#now[@]} -eq $ranks && -n ${now[$((ranks - 1))]} ]] || break
        [[ ${#base[@]} -gt 0 || $round -lt 5 ]] || base=("${now[@]}")
        printf '%5d' "$round"
        for ((rank = 0; rank < ranks; rank++)); do
            printf ' %8.1f' "$(awk -v k="${now[$rank]}" 'BEGIN { print k / 1024 }')"
            [[ ${#base[@]} -eq 0 || $((now[rank] - base[rank])) -le $worst ]] ||
                worst=$((now[rank] - base[rank]))
        done
        echo
        last=$round
    fi
    sleep 0.05
done
code=0
wait "$job" || code=$?
job=
[[ $code -eq 0 ]] || { cat "$work/log" >&2; exit 1; }
clients=$(find "$work/run/clients" -mindepth 1 -maxdepth 1 | wc -l)
echo "$(rounds_done) rounds, $clients clients have states, growth since round 5: $worst kB at the most"
[[ $(rounds_done) -eq $rounds && ${#base[@]} -gt 0 && $worst -le 2048 ]]

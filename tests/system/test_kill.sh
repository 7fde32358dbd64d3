#!/usr/bin/env bash
# test_kill.sh PROGRAM MPIEXEC [KILLS [SEED]]: a job that is killed at random moments and started
# again ends with the bytes of one that was not; and what starting again does in other cases.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kills=${3:-6}
seed=${4:-$RANDOM}
RANDOM=$seed
echo "seed of the delays: $seed"

# ---- killed at random moments

ranks=3
settings=(--dataset_sample 200 --num_clients 5 --sample_clients 3 --num_rounds 12 --save_model_freq 3
    --batch_size 2 --max_steps 1 --eval_samples 1 --eval_freq 4 --max_new_tokens 3)
start=$(now)
train "$work/whole" "$ranks" "${settings[@]}"
duration=$(($(now) - start))
echo "uninterrupted: $duration ms"

# The job was started again without a word about damage.  (Where files cannot be linked there is
# no state.h5 between two steps of a save, which is worth a warning.)
check_calm() {
    ! grep -E '^rank [0-9]+: (error|warning): ' "$work/stderr" | grep -qv 'state\.h5 is missing' ||
        fail "complaints after a kill"
}

# A rank that dies, or mpirun, takes the others along: within 30 s no process of the job is left.
kill_one() {
    local members
    mapfile -t members < <(job_members)
    [[ ${#members[@]} -eq 0 ]] || kill -KILL "${members[RANDOM % ${#members[@]}]}" || true
    for ((i = 0; i < 300 && ${#members[@]} > 0; i++)); do
        pause 100
        mapfile -t members < <(job_members)
    done
    survivors=${#members[@]}
    kill_job
} 2>/dev/null # where bash would tell of every killed process

num_killed=0 num_finished=0 out=$work/killed
while [[ $num_killed -lt $kills ]]; do
    start_job "$ranks" configs/sft.cfg --output_dir "$out" "${settings[@]}"
    delay=$((50 + RANDOM % duration))
    pause "$delay"
    if kill -0 "$job" 2>/dev/null; then
        whom=all
        if ((num_killed % 3 == 2)); then
            whom=one
            kill_one
            [[ $survivors -eq 0 ]] || fail "$survivors processes outlive one that was killed"
            [[ $code -ne 0 ]] || said '^adapter .*PEFT' || fail "exit code 0 without a killed rank"
        else
            kill_job
        fi
        num_killed=$((num_killed + 1))
        echo "killed $whom after $delay ms: $(grep -c '^round ' "$work/stdout") rounds"
    else
        finish_job
        [[ $code -eq 0 ]] || fail "exit code $code after a kill"
        same_run "$work/whole" "$out"
        rm -rf "$out"
        num_finished=$((num_finished + 1))
    fi
    check_calm
done
expect_exit 0 "^round|is finished" "$ranks" configs/sft.cfg --output_dir "$out" "${settings[@]}"
check_calm
same_run "$work/whole" "$out"
echo "killed $num_killed times in $((num_finished + 1)) runs"

# ---- started again in other cases

settings=(--dataset_sample 200 --num_clients 2 --sample_clients 1 --num_rounds 2 --batch_size 2
    --max_steps 1 --eval_samples 1 --max_new_tokens 3)
run=$work/run
train "$run" 0 "${settings[@]}"
cp -R "$run" "$work/finished"

# again PATTERN ARGUMENT...: the same command again succeeds, says so, and the result is the same.
again() {
    local pattern=$1
    shift
    expect_exit 0 "$pattern" 0 configs/sft.cfg --output_dir "$run" "${settings[@]}" "$@"
    same_run "$work/finished" "$run"
}

# refused PATTERN ARGUMENT...: exit code 2 and one line; no byte of the run is changed.
refused() {
    local pattern=$1
    shift
    cp -R "$run" "$work/before"
    expect_error "$pattern" 0 configs/sft.cfg --output_dir "$run" "${settings[@]}" "$@"
    diff -r "$work/before" "$run" >&2 || fail "a refused start changed the run"
    rm -r "$work/before"
}

# rounds N: how many rounds the last start trained.
rounds() {
    [[ $(grep -c '^round ' "$work/stdout") -eq $1 ]] || fail "not $1 rounds trained"
}

again "is finished: all 2 rounds are done"
rounds 0
again "is finished" --log_level debug --threads 2
refused 'other options: .*learning_rate = .*learning_rate = ' --learning_rate 1e-4
refused 'other options: .*num_rounds' --num_rounds 3

# from the previous state, when the last one is damaged or was not yet in place
size=$(stat -c %s "$run/state.h5")
truncate -s $((size / 2)) "$run/state.h5"
again 'warning: .*state\.h5.*continuing from .*state\.prev\.h5'
rounds 1
printf 'X' | dd of="$run/state.h5" bs=1 seek=$((size / 2)) conv=notrunc status=none
again 'warning: .*state\.h5.*continuing from .*state\.prev\.h5'
rounds 1
rm "$run/state.h5"
again 'warning: .*state\.h5 is missing.*continuing from .*state\.prev\.h5'
rounds 1

# nothing to continue from
cp "$run/state.h5" "$work/state.h5"
truncate -s $((size / 2)) "$run/state.h5" "$run/state.prev.h5"
refused 'state\.h5.*state\.prev\.h5'
: >"$run/state.prev.h5"
refused 'state\.h5.*state\.prev\.h5'
cp "$work/state.h5" "$run/state.h5"
sed -i '$d' "$run/metrics.jsonl"
refused 'metrics\.jsonl: .*was it changed'

# --fresh: all anew, but files of others stay
echo mine >"$run/notes.txt"
mkdir "$run/checkpoint-7"
echo mine >"$run/checkpoint-7/notes.txt"
expect_exit 0 "^round 1/2" 0 configs/sft.cfg --output_dir "$run" "${settings[@]}" --fresh
rounds 2
rm "$run/notes.txt" "$run/checkpoint-7/notes.txt"
rmdir "$run/checkpoint-7"
rm "$run/state.prev.h5" && cp "$work/finished/state.prev.h5" "$run" # replaced by the second save
same_run "$work/finished" "$run"

# what a job that was killed while it wrote leaves behind is not in the way, and not left for ever
mkdir "$work/early"
: >"$work/early/config.cfg.tmp-1-0"
train "$work/early" 0 "${settings[@]}"
same_run "$work/finished" "$work/early"
: >"$run/state.h5.tmp-1-0"
: >"$run/adapter/adapter_model.safetensors.tmp-1-0"
again "is finished"

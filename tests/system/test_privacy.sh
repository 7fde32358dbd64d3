#!/usr/bin/env bash
# dp as a user meets it: what a private run tells and what it does not, the budget, kills, ranks, and
# what is refused.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

small=(configs/sft.cfg --dataset_sample 200 --num_clients 20 --sample_clients 4 --num_rounds 6
    --batch_size 2 --max_steps 2 --eval_data "")
dp=(--dp true --dp_clip 0.5 --dp_noise_multiplier 1.5)

# epsilon DIR: of its last round.
epsilon() {
    sed -E 's/.*"epsilon":([0-9.e+-]+).*/\1/' "$1/metrics.jsonl" | tail -1
}

# ---- what is told: the same epsilon by --check, at the start, and in the last round; no client

expect_exit 0 'epsilon [0-9.]+ at delta 1e-05 after all 6 rounds' 0 "${small[@]}" "${dp[@]}" --check
planned=$(sed -nE 's/.*epsilon ([0-9.]+) at delta .* after all.*/\1/p' "$work/stdout")
expect_exit 0 "^round 6/6  epsilon $planned at delta 1e-05" 2 "${small[@]}" "${dp[@]}" \
    --output_dir "$work/private"
! said 'loss|tokens/s|client [0-9]' || fail "a private run tells of its clients"
keys=$(sed -E 's/:\{[^{}]*\}/:0/g; s/:"[^"]*"/:0/g' "$work/private/metrics.jsonl" | grep -o '"[^"]*"' | sort -u |
    tr -d '"' | paste -sd ' ')
[[ $keys == "bytes_down bytes_up event learning_rate loss peak_memory privacy round seconds" ]] ||
    fail "a private round tells more, or less: $keys"
! grep -q '"loss":[^n]' "$work/private/metrics.jsonl" || fail "a private round tells its loss"
printf -v told '%.4g' "$(epsilon "$work/private")"
[[ $told == "$planned" ]] || fail "epsilon $told in metrics.jsonl, $planned planned"
[[ $(grep -c '"epsilon":[0-9]' "$work/private/metrics.jsonl") -eq 6 ]] || fail "rounds without epsilon"

# nor does one on preferences leave files for the clients that took part
run 2 "${small[@]}" "${dp[@]}" --objective dpo --num_rounds 2 --output_dir "$work/pairs" \
    --dataset_name configs/embedded/data/preferences.jsonl
[[ $code -eq 0 && -s $work/pairs/state.h5 && ! -e $work/pairs/clients ]] ||
    fail "a private run on preferences tells of its clients"

# two runs of one config have other noise
run 0 "${small[@]}" "${dp[@]}" --output_dir "$work/again"
! cmp -s "$work"/{private,again}/adapter/adapter_model.safetensors || fail "the same noise twice"

# ---- the budget: stops in time with a checkpoint, and says so again

limit=(--dp_epsilon "$(sed -n 3p "$work/private/metrics.jsonl" | sed -E 's/.*"epsilon":([0-9.]+).*/\1/')")
expect_exit 0 "budget dp_epsilon = .* allows 3 of them" 0 "${small[@]}" "${dp[@]}" "${limit[@]}" --check
for ranks in 2 1; do
    expect_exit 3 'error: the privacy budget ends the run after 3 of 6 rounds: .* above dp_epsilon' \
        "$ranks" "${small[@]}" "${dp[@]}" "${limit[@]}" --output_dir "$work/budget"
    [[ $(wc -l <"$work/budget/metrics.jsonl") -eq 3 ]] || fail "not three rounds"
    same "$work"/budget/{checkpoint-3,adapter}/adapter_model.safetensors
done
expect_exit 3 'after 0 of 6 rounds' 0 "${small[@]}" "${dp[@]}" --dp_epsilon 0.01 --output_dir "$work/none"

# ---- continued: the account goes on; a round that was known before it was saved counts twice

expect_exit 0 'is finished' 0 "${small[@]}" "${dp[@]}" --output_dir "$work/private"
cp -r "$work/private" "$work/lost"
rm "$work/lost/state.h5" # state.prev.h5 knows five rounds, metrics.jsonl shows six
expect_exit 0 'both count' 0 "${small[@]}" "${dp[@]}" --output_dir "$work/lost"
[[ $(wc -l <"$work/lost/metrics.jsonl") -eq 6 ]] || fail "not six rounds"
expect_exit 0 'after all 7 rounds' 0 "${small[@]}" "${dp[@]}" --check --num_rounds 7
seven=$(sed -nE 's/.*epsilon ([0-9.]+) at delta .* after all.*/\1/p' "$work/stdout")
printf -v told '%.4g' "$(epsilon "$work/lost")"
[[ $told == "$seven" ]] || fail "epsilon $told after a round done twice, not $seven"
rm "$work"/lost/state*.h5 # a run that was killed in its first rounds
printf '%s\n' "$(head -1 "$work/private/metrics.jsonl")" >"$work/lost/metrics.jsonl"
expect_exit 0 "^round 6/6  epsilon $seven at" 0 "${small[@]}" "${dp[@]}" --output_dir "$work/lost"
expect_error 'run with other options: .*dp_noise_multiplier' 0 "${small[@]}" "${dp[@]}" \
    --dp_noise_multiplier 3 --output_dir "$work/private"

# ---- dp_seed: the same bytes on any number of ranks and after kills, and no epsilon

seeded=("${small[@]}" "${dp[@]}" --dp_seed 11)
for ranks in 1 2 3 4; do
    expect_exit 0 'unsafe: with dp_seed' "$ranks" "${seeded[@]}" --output_dir "$work/ranks$ranks"
    [[ $(grep -c 'unsafe: with dp_seed' "$work/stderr") -eq 1 ]] || fail "told by every rank"
    ! said 'epsilon [0-9]' || fail "an epsilon with dp_seed"
    ! grep -q '"epsilon":[0-9]' "$work/ranks$ranks/metrics.jsonl" || fail "an epsilon with dp_seed"
    same "$work"/ranks{1,"$ranks"}/adapter/adapter_model.safetensors
done
start_job 2 "${seeded[@]}" --output_dir "$work/killed"
until [[ -s $work/killed/state.h5 ]] || ! kill -0 "$job" 2>/dev/null; do pause 5; done
kill_job
run 2 "${seeded[@]}" --output_dir "$work/killed"
[[ $code -eq 0 ]] || fail "exit code $code after a kill"
same "$work"/{killed,ranks1}/adapter/adapter_model.safetensors

# ---- server optimisers work on the noised mean

for name in fedprox fedadam; do
    expect_exit 0 '^round 2/2  epsilon' 0 "${small[@]}" "${dp[@]}" --fed_alg "$name" --num_rounds 2 \
        --output_dir "$work/$name"
done

# ---- refused, each by name

refused=("${small[@]}" --output_dir "$work/refused")
for name in scaffold feddyn fednova local0; do
    expect_error "fed_alg = \"$name\" is not covered by dp: " 0 "${refused[@]}" "${dp[@]}" --fed_alg "$name"
done
expect_error 'dp = true needs dp_clip' 0 "${refused[@]}" --dp --dp_noise_multiplier 1
expect_error 'dp = true needs dp_noise_multiplier' 0 "${refused[@]}" --dp --dp_clip 1
expect_error 'do nothing without dp = true' 0 "${refused[@]}" --dp_clip 1
expect_error 'dp_delta = 0.05 is not below' 0 "${refused[@]}" "${dp[@]}" --dp_delta 0.05
expect_error 'dp_seed is for tests' 0 "${refused[@]}" "${dp[@]}" --dp_seed 1 --dp_epsilon 3
expect_error 'eval_data is dataset_name' 3 "${refused[@]}" "${dp[@]}" \
    --eval_data configs/embedded/data/train.jsonl

expect_exit 0 'epsilon .* after all' 0 configs/dp.cfg --check

#!/usr/bin/env bash
# Algorithms of products: timed, written, read by all ranks, refused.  The emulated library has two,
# with the same bytes.  Skipped in builds without the emulation.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" # MPI's own

small=(--dataset_sample 40 --num_clients 3 --sample_clients 2 --num_rounds 1 --save_model_freq 1
    --batch_size 1 --gradient_accumulation_steps 1 --max_steps 2 --seq_length 64 --eval_data=
    --log_level warn)
emulated=("${small[@]}" --backend cuda_emu)
plans=$work/plans.txt

run 0 "$config" --output_dir "$work/none" --check --backend cuda_emu
! said 'this build has' || exit 77

# the config may name the file that is to be written
expect_exit 0 "plans.txt is written" 0 "$config" --output_dir "$work/none" "${emulated[@]}" \
    --log_level info --gemm_plans "$plans" --tune "$plans"
[[ ! -e $work/none ]] || fail "--tune left a run"
[[ $(sed -n 2p "$plans") == "emulated device, library 1" ]] || fail "made for something else"
sed 1,3d "$plans" >"$work/products"
awk 'NF != 24 || $16 != 1 { bad = 1 } END { exit bad }' "$work/products" ||
    fail "other lines than tuning leaves"
# products of every size that a batch of one example has, forwards and backwards
for tokens in 16 32 48 64; do
    [[ $(awk -v n=$tokens '$2 == n' "$work/products" | wc -l) -ge 8 ]] ||
        fail "few products of $tokens tokens"
done

train "$work/without" 0 "${emulated[@]}"
train "$work/with" 0 "${emulated[@]}" --gemm_plans "$plans"
train "$work/ranks" 3 "${emulated[@]}" --gemm_plans "$plans"
for folder in with ranks; do
    same "$work/without/adapter/adapter_model.safetensors" \
        "$work/$folder/adapter/adapter_model.safetensors"
done

# algorithms that the library does not take: one warning, its own instead
sed -E '4,$s/ 1( 0 0 0 0 0 0 0 0)$/ 7\1/' "$plans" >"$work/unknown.txt"
run 0 "$config" --output_dir "$work/unknown" "${emulated[@]}" --gemm_plans "$work/unknown.txt"
[[ $code -eq 0 && $(grep -c 'warning: ' "$work/stderr") -eq 1 ]] || fail "not exactly one warning"
said 'warning: gemm_plans: an algorithm is not taken by emulated device' || fail "another warning"
same "$work/without/adapter/adapter_model.safetensors" "$work/unknown/adapter/adapter_model.safetensors"

# refused: another device, a line cut short, no file, a backend that has no choice, several ranks
sed '2s/1$/2/' "$plans" >"$work/other.txt"
head -c -3 "$plans" >"$work/short.txt"
for ranks in 0 3; do
    expect_error 'other.txt:2: made for another device or library' $ranks "$config" \
        --output_dir "$work/none" "${emulated[@]}" --gemm_plans "$work/other.txt"
    expect_error 'short.txt:[0-9]+: not a line of 24 numbers' $ranks "$config" \
        --output_dir "$work/none" "${emulated[@]}" --gemm_plans "$work/short.txt"
    expect_error 'missing.txt' $ranks "$config" --output_dir "$work/none" "${emulated[@]}" \
        --gemm_plans "$work/missing.txt"
    expect_error 'products of backend cpu have one algorithm' $ranks "$config" \
        --output_dir "$work/none" "${small[@]}" --backend cpu --gemm_plans "$plans"
done
expect_error 'products of backend cpu have one algorithm' 0 "$config" --output_dir "$work/none" \
    "${small[@]}" --backend cpu --tune "$work/none.txt"
expect_error 'tune is for one rank' 2 "$config" --output_dir "$work/none" "${emulated[@]}" \
    --tune "$work/none.txt"
expect_exit 2 'tune needs a value' 0 "$config" --tune
[[ ! -e $work/none && ! -e $work/none.txt ]] || fail "something was left"

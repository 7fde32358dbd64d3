#!/usr/bin/env bash
# A federated run on the emulated device: the numbers of the cpu backend, and the same bytes on any
# number of ranks.  Skipped in builds without the emulation.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" # MPI's own

small=(--dataset_sample 60 --num_clients 3 --sample_clients 2 --num_rounds 1 --save_model_freq 1
    --batch_size 2 --gradient_accumulation_steps 1 --max_steps 2 --seq_length 64 --lora_dropout 0.1
    --eval_samples 1 --eval_freq 1 --max_new_tokens 2 --log_level warn)

run 0 configs/sft.cfg --output_dir "$work/none" --check --backend cuda_emu
! said 'this build has' || exit 77
[[ $code -eq 0 ]] || fail "--check: exit code $code"

train "$work/cpu" 0 "${small[@]}" --backend cpu
train "$work/one" 0 "${small[@]}" --backend cuda_emu
close_to "$work/one" "$work/cpu"
for ranks in 2 3; do
    train "$work/$ranks" "$ranks" "${small[@]}" --backend cuda_emu
    same "$work/one/adapter/adapter_model.safetensors" "$work/$ranks/adapter/adapter_model.safetensors"
    diff <(losses "$work/one") <(losses "$work/$ranks") >&2 || fail "other losses on $ranks ranks"
done

# the base's change grows from round to round, in memory that was planned
train "$work/side" 0 "${small[@]}" --eval_data= --num_rounds 4 --max_steps 1 --backend cuda_emu \
    --lora_aggregation fedex

# layers computed again instead of kept, and a window shorter than the sequences
train "$work/again" 0 "${small[@]}" --eval_data= --backend cuda_emu --gradient_checkpointing true
train "$work/kept" 0 "${small[@]}" --eval_data= --backend cuda_emu
same "$work/kept/adapter/adapter_model.safetensors" "$work/again/adapter/adapter_model.safetensors"
sliding_model "$work/sliding" 9
for backend in cpu cuda_emu; do
    train "$work/sliding-$backend" 0 "${small[@]}" --eval_data= --backend "$backend" \
        --model_name_or_path "$work/sliding"
done
close_to "$work/sliding-cuda_emu" "$work/sliding-cpu"
! diff <(losses "$work/kept") <(losses "$work/sliding-cuda_emu") >"$work/diff" || fail "the window changes nothing"

# a quantised base is widened on the device, and SCAFFOLD's vectors live there
for other in "--load_in_4bit true" "--load_in_8bit true --fed_alg scaffold"; do
    read -ra extra <<<"$other --eval_data="
    train "$work/cpu$other" 0 "${small[@]}" "${extra[@]}" --backend cpu
    train "$work/emu$other" 0 "${small[@]}" "${extra[@]}" --backend cuda_emu
    close_to "$work/emu$other" "$work/cpu$other"
done

# clients in one pass have the bytes of clients one by one, vectors on the device included
train "$work/both" 0 "${small[@]}" "${extra[@]}" --backend cuda_emu --clients_per_pass 2
same "$work/emu$other/adapter/adapter_model.safetensors" "$work/both/adapter/adapter_model.safetensors"
diff -r "$work/emu$other/clients" "$work/both/clients" >&2 || fail "clients keep something else"

# operands of products in bf16, which have eight bits of fraction: other numbers, and near
train "$work/bf16" 0 "${small[@]}" --eval_data= --backend cuda_emu --compute_dtype bfloat16
close_to "$work/bf16" "$work/one" 0.01
! cmp -s "$work/one/adapter/adapter_model.safetensors" "$work/bf16/adapter/adapter_model.safetensors" ||
    fail "compute_dtype changes nothing"
# and what pieces of a quantised weight are added up in was planned
train "$work/bf16-4bit" 0 "${small[@]}" --eval_data= --backend cuda_emu --compute_dtype bfloat16 --load_in_4bit true
expect_error 'cpu backend computes in float32 only' 0 configs/sft.cfg --output_dir "$work/none" \
    --backend cpu --compute_dtype bfloat16

# the same answers
generate=$(dirname "$program")/fedllm_generate
for backend in cpu cuda_emu; do
    "$generate" configs/embedded/model --prompt "Name the colour of Bandia." --max_new_tokens 5 \
        --backend $backend >"$work/$backend.txt"
done
same "$work/cpu.txt" "$work/cuda_emu.txt"

# named, and not there
nvidia-smi >/dev/null 2>&1 ||
    expect_error 'backend = "cuda": this build has|cuda backend: no device' 0 configs/sft.cfg \
        --output_dir "$work/none" --backend cuda

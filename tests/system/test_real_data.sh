#!/usr/bin/env bash
# A published model learns from published data.  Skipped where ../shared/data is not there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

model=../shared/data/models/stories260K-hf
data=../shared/data/train/alpaca/alpaca_5000.json
if [[ ! -d $model || ! -f $data ]]; then
    echo "skipped: no $data"
    exit 77
fi

expect_exit 0 '5000 records \(alpaca\)' 3 configs/sft.cfg --output_dir "$work/run" \
    --model_name_or_path "$model" --dataset_name "$data" --seq_length 256 --eval_data "" \
    --num_clients 8 --sample_clients 2 --num_rounds 6 --batch_size 4 --max_steps 8 \
    --learning_rate 5e-3 --peft_lora_r 16 --peft_lora_alpha 32
# loss of each round, in thousandths
mapfile -t losses < <(sed -nE 's/^\{"event":"round","round":[0-9]+,"loss":([0-9.e-]+),.*/\1/p' \
    "$work/run/metrics.jsonl" | while read -r loss; do printf '%.0f\n' "${loss}e3"; done)
echo "loss in thousandths: ${losses[*]}"
[[ ${#losses[@]} -eq 6 ]] || fail "${#losses[@]} losses of 6 rounds"
((losses[5] < losses[0] - 300)) || fail "the loss does not fall"

# every kind of preference data, one round of two steps, as the reference tokenises it and clean
for data in hh_rlhf/harmless-base/test.jsonl.gz ultrafeedback/train_clean.jsonl \
    preference_sharegpt/dpo_en_demo.json preference_sharegpt/v1_dpo_demo.jsonl; do
    for compat in false true; do
        expect_exit 0 '^round 1/1  loss 0\.[67][0-9]+  margin ' 0 configs/dpo.cfg \
            --output_dir "$work/pairs" --fresh --model_name_or_path "$model" \
            --dataset_name "../shared/data/train/$data" --template vicuna_v1.1 \
            --dpo_compat "$compat" --dataset_sample 10 --num_clients 2 --sample_clients 1 \
            --num_rounds 1 --max_steps 2 --batch_size 2 --dpo_max_length 256 \
            --learning_rate 1e-4
        ! said 'error' || fail "$data: errors"
    done
done

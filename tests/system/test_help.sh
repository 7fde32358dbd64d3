#!/usr/bin/env bash
# What needs no training: --help, --version, --check, and that the config a run leaves is the run.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# ---- texts

expect_exit 0 '^fedllm [0-9]+\.[0-9]+\.[0-9]+' 0 --version
[[ ! -s $work/stderr ]] || fail "--version: something on stderr"

expect_exit 2 '^usage: fedllm_mpi CONFIG' 0
[[ -s $work/stderr && ! -s $work/stdout ]] || fail "no arguments: usage belongs on stderr"
expect_exit 2 '^usage: fedllm_mpi CONFIG' 0 --check

expect_exit 0 '^usage: fedllm_mpi CONFIG' 0 --help
[[ -s $work/stdout && ! -s $work/stderr ]] || fail "--help belongs on stdout"
for flag in help version check fresh; do
    said "^  --$flag " || fail "--help does not tell of --$flag"
done
# the keys stand behind the first group, the flags in front of it
sed -nE -e '/^model: /,$s/^  --([a-z0-9_]+).*/\1/p' "$work/stdout" | sort >"$work/help"
[[ -z $(uniq -d "$work/help") ]] || fail "--help lists a key twice"

expect_exit 0 '^# Configuration keys' 0 --help-markdown
sed -nE 's/^\| [^a-z]([a-z0-9_]+)[^a-z] \|.*/\1/p' "$work/stdout" | sort >"$work/markdown"
diff "$work/help" "$work/markdown" >&2 || fail "--help and --help-markdown list other keys"
[[ $(wc -l <"$work/help") -ge 40 ]] || fail "only $(wc -l <"$work/help") keys"
diff docs/config.md "$work/stdout" >&2 || fail "docs/config.md is not what --help-markdown prints"

# ---- --check

model=configs/embedded/model
expect_exit 0 '^memory +[0-9.]+ MB on this node: 1 training rank' 0 configs/sft.cfg --check --output_dir "$work/check"
said '^everything is in order' || fail "--check does not say that all is well"
[[ ! -e $work/check ]] || fail "--check wrote something"
expect_exit 0 '^memory +[0-9.]+ MB on this node: 2 training rank' 3 configs/sft.cfg --check --output_dir "$work/check"
[[ ! -e $work/check ]] || fail "--check wrote something"
[[ $(grep -c '^memory ' "$work/stdout") -eq 1 ]] || fail "not only rank 0 speaks"

# a command line as the reference system's scripts give it
expect_exit 0 '20 clients, 2 per round, 200 rounds of 10 steps x 1 x 16' 0 configs/sft.cfg --check \
    --output_dir "$work/check" --model_name_or_path "$model" --local_data_dir configs/embedded/data/ \
    --dataset_name train.jsonl --dataset_sample 20000 --fed_alg fedavg --num_clients 20 \
    --sample_clients 2 --max_steps 10 --num_rounds 200 --batch_size 16 --learning_rate 5e-5 \
    --gradient_accumulation_steps 1 --seq_length 512 --peft_lora_r 32 --peft_lora_alpha 64 \
    --use_peft --load_in_8bit False --template alpaca --no_gradient_checkpointing --log_with none \
    --logging_steps=100 --num_train_epochs 3 --save-steps 1000 --save_model_freq 50 --seed 2023
said 'LoRA r 32, alpha 64' || fail "the command line was not followed"

# a config without a file, group.key=value, and what is set last wins
expect_exit 0 '3 rounds of 7 steps' 0 /dev/null --check "model_name_or_path=$model" \
    --dataset_name configs/embedded/data/train.jsonl fed.num_rounds=3 --train.max_steps=9 --max_steps 7

# ---- templates

for template in zephyr llama-2; do
    expect_exit 0 '^memory ' 0 configs/sft.cfg --check --output_dir "$work/check" --template $template
done
expect_exit 0 '^memory ' 0 configs/sft.cfg --check --output_dir "$work/check" --template custom \
    --chat_user 'Q: {}\n' --chat_assistant 'A: {}</s>\n'
while read -r template; do
    grep -qF -- "\`$template\`" docs/templates.md || fail "docs/templates.md does not name $template"
done < <(sed -n 's/^    {"\([^"]*\)",.*/\1/p' src/data/conversation_table.c)

# ---- the effective config

train "$work/first" 0 --dataset_sample 100 --num_clients 3 --sample_clients 2 --num_rounds 1 \
    --batch_size 2 --max_steps 1 --learning_rate 0.123456789 --seed 77 --eval_data "" \
    --target_modules q_proj,down_proj --local_data_dir '' --hub_model_id 'a "quoted" \name' \
    --chat_user 'U "{}"\n\t\\n'
diff <(grep -oE '^ +[a-z0-9_]+ = ' "$work/first/config.cfg" | tr -d ' =' | sort) "$work/help" >&2 ||
    fail "config.cfg is not complete"
expect_exit 0 '^round 1/1' 0 "$work/first/config.cfg" --output_dir "$work/second"
same_run "$work/first" "$work/second"
diff <(grep -v output_dir "$work/first/config.cfg") <(grep -v output_dir "$work/second/config.cfg") >&2 ||
    fail "the config of the config is another"
diff "$work/second/train.log" "$work/stdout" >&2 || fail "train.log is not what the terminal showed"

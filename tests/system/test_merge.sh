#!/usr/bin/env bash
# fedllm_merge as a user starts it, on what fedllm_mpi trained: test_merge.sh MERGE GENERATE TRAIN
set -euo pipefail

merge=$(realpath "$1") generate=$(realpath "$2") train=$(realpath "$3")
source "$(dirname "${BASH_SOURCE[0]}")/tool_lib.sh"
exec </dev/null
model=configs/embedded/model

# ---- usage -------------------------------------------------------------------------------------
run 0 "$merge" --help
grep -q 'float32' "$work/stdout" || fail "help without dtype"
run 0 "$merge" --version
run 2 "$merge"
run 2 "$merge" $model none
run 2 "$merge" $model none "$work/out" --dtype int8
complains 'dtype'
run 2 "$merge" $model none "$work"
complains 'is there and is not an empty folder'
run 2 "$merge" $model "$work/nowhere" "$work/out"
complains 'nowhere'
for format in nf4 int8; do
    run 2 "$merge" tests/golden/data/quant/$format none "$work/out"
    complains "quant/$format/config.json: has a quantization_config"
done
[[ ! -e $work/out ]] || fail "a refused merge made its folder"

# ---- a trained adapter -------------------------------------------------------------------------
# Open MPI leaks a little at its end, which a sanitizer would call a failure.
run 0 env ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" "$train" configs/sft.cfg \
    --output_dir "$work/run" --num_rounds 1 --max_steps 2 --sample_clients 1 --eval_data "" \
    --learning_rate 0.01
adapter=$work/run/adapter
run 0 "$merge" $model "$adapter" "$work/out" --check
[[ ! -e $work/out ]] || fail "--check wrote something"
run 0 "$merge" $model "$adapter" "$work/out"
for file in config.json generation_config.json tokenizer.json tokenizer_config.json; do
    cmp -s $model/$file "$work/out/$file" || fail "$file differs"
done
if cmp -s $model/model.safetensors "$work/out/model.safetensors"; then fail "nothing was merged"; fi
[[ $(stat -c %s $model/model.safetensors) -eq $(stat -c %s "$work/out/model.safetensors") ]] ||
    fail "another size"

# In fp32 the merged model answers as base and adapter do; and merging is repeatable.
run 0 "$merge" $model none "$work/wide" --dtype float32
grep -q '"torch_dtype": "float32"' "$work/wide/config.json" || fail "config.json has the old type"
run 0 "$merge" "$work/wide" "$adapter" "$work/merged"
run 0 "$merge" $model "$adapter" "$work/again" --dtype float32
cmp -s "$work/merged/model.safetensors" "$work/again/model.safetensors" || fail "not the same bytes"
question=(--prompt 'Compute 3 plus 14.' --max_new_tokens 24 --json)
run 0 "$generate" $model --adapter "$adapter" "${question[@]}"
cp "$work/stdout" "$work/expected"
run 0 "$generate" "$work/merged" "${question[@]}"
cmp -s "$work/stdout" "$work/expected" || fail "the merged model answers otherwise"
run 0 "$generate" "$work/out" "${question[@]}"

# An adapter with ranks and alphas of single modules.
patterns=(--rank_pattern 'layers\.1\.self_attn\.q_proj=2,q_proj=6' --alpha_pattern v_proj=5)
run 0 env ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" "$train" configs/sft.cfg \
    --output_dir "$work/ranks" --num_rounds 1 --max_steps 2 --sample_clients 1 --eval_data "" \
    --learning_rate 0.01 "${patterns[@]}"
run 0 "$merge" "$work/wide" "$work/ranks/adapter" "$work/merged-ranks"
run 0 "$generate" $model --adapter "$work/ranks/adapter" "${question[@]}"
cp "$work/stdout" "$work/expected"
run 0 "$generate" "$work/merged-ranks" "${question[@]}"
cmp -s "$work/stdout" "$work/expected" || fail "merged ranks answer otherwise"
run 2 "$train" configs/sft.cfg --output_dir "$work/refused" --rank_pattern z_proj=3
complains 'rank_pattern: "z_proj"'

# bf16 and back changes nothing
run 0 "$merge" "$work/wide" none "$work/narrow" --dtype bfloat16
cmp -s $model/model.safetensors "$work/narrow/model.safetensors" || fail "bf16 is not exact"

# ---- a full disk: a limit on the size of files -------------------------------------------------
(
    ulimit -f 1000
    trap '' XFSZ
    run 2 "$merge" $model none "$work/full" --dtype float32
)
complains 'cannot write .*/full/model.safetensors: '
[[ ! -e $work/full ]] || fail "a failed merge left its folder"
echo "all fine"

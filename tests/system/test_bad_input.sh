#!/usr/bin/env bash
# Every fault in what a user gives ends in exit code 2 and one clear line, before anything is written.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

embedded=$PWD/configs/embedded
out=$work/out

# bad PATTERN ARGUMENT...: as arguments of configs/sft.cfg, on one rank.
bad() {
    local pattern=$1
    shift
    expect_error "$pattern" 0 configs/sft.cfg --output_dir "$out" --num_rounds 1 "$@"
}

# bad_config PATTERN TEXT: as the text of a config file, $work/bad.cfg.
bad_config() {
    printf '%b' "$2" >"$work/bad.cfg"
    expect_error "$1" 0 "$work/bad.cfg" --output_dir "$out"
}

# bad_data PATTERN TEXT: as the text of a data set, $work/bad.jsonl.
bad_data() {
    printf '%b' "$2" >"$work/bad.jsonl"
    bad "$1" --dataset_name "$work/bad.jsonl"
}

# new_model: $model is the embedded one with files that can be replaced.
new_model() {
    model=$work/model
    rm -rf "$model"
    mkdir "$model"
    ln -s "$embedded"/model/* "$model"
}

# change FILE SED_EXPRESSION: replaces a file of $model by a changed copy.
change() {
    rm -f "$model/$1"
    sed -E -e "$2" "$embedded/model/$1" >"$model/$1"
    ! cmp -s "$model/$1" "$embedded/model/$1" || fail "nothing in $1 matches $2"
}

bad_model() {
    bad "$1" --model_name_or_path "$model"
}

# little_endian NUMBER: its 8 bytes.
little_endian() {
    local i
    for ((i = 0; i < 64; i += 8)); do
        printf '%b' "\\x$(printf '%02x' $(($1 >> i & 255)))"
    done
}

# bad_weights PATTERN HEADER DATA_BYTES [HEADER_LENGTH]: as model.safetensors.
bad_weights() {
    local header
    header=$(printf "%-$(((${#2} + 7) / 8 * 8))s" "$2") # data that is aligned
    rm -f "$model/model.safetensors"
    {
        little_endian "${4:-${#header}}"
        printf '%s' "$header"
        head -c "$3" /dev/zero
    } >"$model/model.safetensors"
    bad_model "$1"
}

# ---- command line and config

bad 'unknown key num_round; did you mean num_rounds\?' --num_round 3
bad '--batch_size = "many" is not an integer' --batch_size many
bad '--learning_rate = "fast" is not a number' --learning_rate fast
bad "num_clients = 0 takes the number of clients from the data" --num_clients 0
bad '--seed = 99999999999999999999 does not fit' --seed 99999999999999999999
bad '--fed_alg = "fedmagic" is not one of fedavg, ' --fed_alg fedmagic
bad '--template needs a value' --template
bad 'sample_clients = 9999 is more than num_clients = [0-9]+' --sample_clients 9999
bad 'num_clients = 99999, but there are only [0-9]+ records' --num_clients 99999
bad 'fed_alg = "local99", .* 0 to [0-9]+ ' --fed_alg local99
bad 'use_peft = false' --use_peft false
bad 'load_in_8bit and load_in_4bit are both true' --load_in_8bit true --load_in_4bit true
bad 'target_modules: "z_proj" is none of q_proj, ' --target_modules q_proj,z_proj
bad '--template contains a control character' --template $'al\npaca'
bad 'unknown template "vicunna"; did you mean vicuna\?' --template vicunna
bad 'template = chatgpt names the roles of a web service' --template chatgpt
bad 'chat_user = "" must hold \{\} once' --template custom
bad 'chat_user contains a control character' --template custom --chat_user $'{}\a'
bad 'tokenizer_config.json: the model has no chat_template' --template chat
bad 'unknown key num\?.*rounds' $'--num\e[31mrounds' 1 # which must not reach the terminal
! grep -q $'\e' "$work/stderr" || fail "an escape sequence was printed"

run 0 configs/sft.cfg --output_dir "$out" --num_round 3 --batch_size many --fed_alg fedmagic
[[ $code -eq 2 && $(count_errors) -eq 3 ]] || fail "not exit code 2 and three lines for three faults"
for fault in 'did you mean num_rounds' 'batch_size = "many"' 'fed_alg = "fedmagic"'; do
    said "$fault" || fail "not told: $fault"
done

expect_error 'missing\.cfg: No such file' 0 "$work/missing.cfg"
expect_error 'Is a directory' 0 "$work"
bad_config 'bad\.cfg:3: syntax error' 'train:\n{\n    batch_size = ;\n};\n'
bad_config 'bad\.cfg:3: unknown key batch_sizes; did you mean batch_size' 'train:\n{\n  batch_sizes = 4;\n};\n'
bad_config 'bad\.cfg:2: batch_size must be an integer, not a string' 'train: {\n  batch_size = "4"; };\n'
bad_config 'bad\.cfg:1: batch_size belongs to the group train' 'fed: { batch_size = 4; };\n'
bad_config 'bad\.cfg:3: a string contains a zero byte' 'data:\n{\n  dataset_name = "a\\x00b";\n};\n'
bad_config 'bad\.cfg:2: .*zero byte' 'train: { batch_size = 4; };\n\0train: { batch_size = ; };\n'
bad_config 'model_name_or_path is not set' ''

# ---- data

bad 'nowhere\.jsonl: No such file' --dataset_name "$work/nowhere.jsonl"
bad 'nowhere: No such file' --eval_data "$work/nowhere"
bad_data 'bad\.jsonl: holds no records' ''
bad_data 'bad\.jsonl: holds no records' '[]'
good='{"instruction": "a", "output": "b"}\n'
bad_data 'bad\.jsonl:3: invalid JSON' "$good$good"'{"instruction": "a", "outp'
bad_data 'bad\.jsonl:2: output must be a string' "$good"'{"instruction": "a", "output": 5}\n'
bad_data 'bad\.jsonl:1: no kind of data set has the fields frage, antwort; set dataset_kind' '{"frage": "a", "antwort": "b"}\n'
bad_data 'bad\.jsonl:1: invalid JSON.*0xff' '{"instruction": "a\xff", "output": "b"}\n'
head -c 100 "$embedded/data/train.jsonl" | gzip | head -c 60 >"$work/cut.jsonl.gz"
bad 'cut\.jsonl\.gz: damaged gzip data' --dataset_name "$work/cut.jsonl.gz"
bad 'no example keeps a token of its response' --seq_length 3

# ---- model

bad 'nowhere/[a-z_]+\.json: No such file' --model_name_or_path "$work/nowhere"
new_model
for fault in '5/must be a text or a list' '"{{ x }}"/of no known form \([0-9a-f]+\); set template' \
    '"{{ x"/a tag does not end' '[{}]/name is missing'; do
    rm -f "$model/tokenizer_config.json"
    printf '{"eos_token": "</s>", "chat_template": %s}' "${fault%%/*}" >"$model/tokenizer_config.json"
    bad "tokenizer_config.json: .*${fault#*/}" --model_name_or_path "$model" --template chat
done

new_model
change config.json 's/LlamaForCausalLM/OtherForCausalLM/'
bad_model 'config\.json: architecture "OtherForCausalLM" is not supported; known: .*LlamaForCausalLM'
size=$(sed -nE 's/.*"hidden_size": *([0-9]+).*/\1/p' "$model/config.json")
change config.json "s/(\"hidden_size\": *)$size/\1$((2 * size))/"
bad_model 'model\.safetensors: .*model\.embed_tokens\.weight'
change config.json 's/"hidden_size": *([0-9]+)/"hidden_size": "wide"/'
bad_model 'config\.json: hidden_size must be an integer'
change config.json 's/^\{/[/'
bad_model 'config\.json:[0-9]+: invalid JSON'

new_model
change tokenizer.json '0,/"type": *"BPE"/s/"BPE"/"WordPiece"/'
bad_model 'tokenizer\.json: model WordPiece is not supported'
change tokenizer.json '0,/"type": *"ByteFallback"/s/"ByteFallback"/"Mystery"/'
bad_model 'tokenizer\.json: decoder Mystery is not supported'

new_model
rm "$model/model.safetensors"
bad_model 'model\.safetensors'
head -c 100000 "$embedded/model/model.safetensors" >"$model/model.safetensors"
bad_model 'model\.safetensors: .*truncated'
head -c 4 "$embedded/model/model.safetensors" >"$model/model.safetensors"
bad_model 'model\.safetensors: 4 bytes are too short'
one='{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
bad_weights 'model\.safetensors: tensor b: its data overlaps that of a' "{\"a\":$one,\"b\":${one/0,8/4,12}}" 12
bad_weights 'model\.safetensors: header length [0-9]+ is over the limit' "{\"a\":$one}" 8 0x7fffffffffffffff
bad_weights 'model\.safetensors: truncated: a header' "{\"a\":$one}" 8 1000
bad_weights 'model\.safetensors: tensor a: .*truncated' "{\"a\":$one}" 4
bad_weights 'model\.safetensors: tensor a: shape .*overflows' '{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}' 0
bad_weights 'model\.safetensors: header is not valid JSON' '{"a":' 0
bad_weights 'there is no tensor model\.embed_tokens\.weight' "{\"a\":$one}" 8

# a NaN in the first tensor
rm "$model/model.safetensors"
cp "$embedded/model/model.safetensors" "$model"
header=$(od -A n -t u8 -N 8 "$model/model.safetensors")
printf '\xff\xff\xff\xff' |
    dd of="$model/model.safetensors" bs=1 seek=$((8 + header)) conv=notrunc status=none
bad_model 'tensor model\.[a-z_.]+ holds NaN or infinity'

# ---- several ranks: rank 0 speaks for the one that saw it

expect_error '(rank 1: )?tensor model\.[a-z_.]+ holds NaN or infinity' 2 \
    configs/sft.cfg --output_dir "$out" --model_name_or_path "$model"
expect_error 'unknown key num_round' 2 configs/sft.cfg --output_dir "$out" --num_round 3

[[ ! -e $out ]] || fail "something was written"

# ---- output

small=(--dataset_sample 100 --max_steps 1 --batch_size 1 --eval_data "")
: >"$work/file"
bad "cannot make folder $work/file: a file of that name exists" --output_dir "$work/file" "${small[@]}"
bad "cannot make folder $work/file: a file of that name exists" --output_dir "$work/file/run" "${small[@]}"
bad 'cannot make folder /proc/run: No such file or directory' --output_dir /proc/run "${small[@]}"
bad 'output_dir is empty' --output_dir ""
mkdir "$out"
echo mine >"$out/thesis.txt"
bad "$out is not empty and holds no run" "${small[@]}"
[[ $(ls "$out") == thesis.txt && $(cat "$out/thesis.txt") == mine ]] || fail "a file of others was changed"

# ---- numbers that leave the range: the updates are left out, the run goes on, and no loss is told

rm -r "$out"
expect_exit 0 'round 1: the update of client [0-9]+ is not finite after step [0-9]+; it is left out' 2 \
    configs/sft.cfg --output_dir "$out" --num_rounds 1 --eval_data "" --dataset_sample 100 --batch_size 1 \
    --max_steps 10 --adam_epsilon 1e-30 --adam_beta2 0 --learning_rate 10 --peft_lora_alpha 65536 \
    --peft_lora_r 1 --max_grad_norm 1e9
said 'no client returned a usable update' || fail "a round without a client passes silently"
grep -q '"loss":null.*"answered":0.*"reason":"not finite"' "$out/metrics.jsonl" || fail "metrics.jsonl"
! said '1: 0\.000' || fail "the report shows a loss that was never computed"

# ---- another job in the folder

rm -r "$out"
mkdir "$out"
flock "$out" sleep 60 &
holder=$!
bad "$out is in use by another job" "${small[@]}"
kill "$holder"
bad 'max_new_tokens = 65536 do not fit' --max_new_tokens 65536 --dataset_sample 100

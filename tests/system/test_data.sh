#!/usr/bin/env bash
# fedllm_data as a user starts it, and that fedllm_mpi trains the same on what it wrote:
# test_data.sh DATA TRAIN
set -euo pipefail

data=$(realpath "$1") train=$(realpath "$2")
source "$(dirname "${BASH_SOURCE[0]}")/tool_lib.sh"
exec </dev/null
config=configs/sft.cfg

# refuse PATTERN COMMAND...: exit code 2 and one line, which matches.
refuse() {
    local pattern=$1
    shift
    run 2 "$@"
    complains "$pattern"
    [[ ! -s $work/stdout ]] || fail "more than one line: $*"
}

says() {
    grep -qE -e "$1" "$work/stdout" || fail "did not say: $1"
}

# ---- usage -------------------------------------------------------------------------------------
run 0 "$data" --help
says '^usage: fedllm_data inspect'
says '^  --split_strategy '
run 0 "$data" --version
run 2 "$data"
refuse 'no command look' "$data" look $config
refuse 'inspect takes 1 arguments' "$data" inspect
refuse 'inspect takes 1 arguments' "$data" inspect $config $config
refuse 'unknown key record' "$data" inspect $config --record 1
refuse 'nowhere' "$data" inspect "$work/nowhere"
refuse 'needs --out' "$data" split $config
refuse '--record = 0' "$data" render $config --record 0
refuse '--record = 1x' "$data" render $config --record 1x
refuse '--record needs a value' "$data" render $config --record
refuse '--record 7201, but the data has only 7200' "$data" render $config --record 7201
refuse '--client 6, but clients are numbered 0 to 5' "$data" render $config --client 6
refuse 'client 0 has only 1200 records' "$data" render $config --client 0 --record=1201

# ---- inspect -----------------------------------------------------------------------------------
skewed=(--split_strategy dirichlet --dirichlet_alpha 0.2 --num_clients 12 --sample_clients 3)
run 0 "$data" inspect $config "${skewed[@]}" --seq_length 45 --picture "$work/picture.svg"
says '7200 records \(alpaca\)$'
says 'min 38, median 43, p90 50, p99 52, max 52$'
says 'cuts 1978 records \(27\.47 %\)'
says '1200 records teach nothing$'
says ' 6 in the field "domain": .*arithmetic 1200'
# the table adds up to all records, and its columns to each label's
awk '$1 ~ /^[0-9]+$/ && NF == 9 { clients++; all += $2; mix += $4 + $5 + $6 + $7 + $8 + $9; first += $4 }
    END { exit !(clients == 12 && all == 7200 && mix == 7200 && first == 1200) }' "$work/stdout" ||
    fail "the table does not add up"
grep -q '</svg>' "$work/picture.svg" || fail "no whole picture"
if command -v python3 >/dev/null; then
    python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' \
        "$work/picture.svg" || fail "the picture is not XML"
fi
refuse 'cannot write .*/none/picture.svg' "$data" inspect $config --picture "$work/none/picture.svg"
run 0 "$data" inspect $config --check --picture "$work/unwanted.svg"
says '^everything is in order'
[[ ! -e $work/unwanted.svg ]] || fail "--check wrote something"

# names from outside: as text, and in the picture
cat >"$work/hostile.jsonl" <<'END'
{"instruction": "a\u001b[31m", "response": "b\u0007", "domain": "<&\"\u001b]0;x\u0007 é漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字"}
{"instruction": "c", "response": "d", "domain": ""}
END
hostile=(--dataset_name "$work/hostile.jsonl" --num_clients 2 --sample_clients 1)
run 0 "$data" inspect $config "${hostile[@]}" --picture "$work/hostile.svg"
! grep -q $'[\033\007]' "$work/stdout" "$work/hostile.svg" || fail "control characters came through"
if command -v python3 >/dev/null; then
    python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' \
        "$work/hostile.svg" || fail "the picture is not XML"
fi
run 0 "$data" render $config "${hostile[@]}"
! grep -q $'[\033\007]' "$work/stdout" || fail "control characters came through"

# ---- render ------------------------------------------------------------------------------------
run 0 "$data" render $config --record 1
says '^record 1 of 7200; client [0-5], its record [0-9]+; domain arithmetic; [0-9]+ tokens, 4 of'
says '^Compute 0 plus 14\.'
says '^### Response:« 14</s>»$'
[[ $(awk '$1 ~ /^[0-9]+$/ && $2 == $3' "$work/stdout" | wc -l) -eq 4 ]] || fail "not 4 labels"
says '^ +[0-9]+ +2 +2  </s>$'
owner=$(sed -nE '1s/.*client ([0-9]+), its record ([0-9]+);.*/--client \1 --record \2/p' "$work/stdout")
cp "$work/stdout" "$work/first"
# shellcheck disable=SC2086 # two options in one text
run 0 "$data" render $config $owner
cmp -s "$work/stdout" "$work/first" || fail "another way to the same record shows something else"

# ---- convert -----------------------------------------------------------------------------------
records=configs/embedded/data/train.jsonl
run 0 "$data" convert $records "$work/all.jsonl"
[[ $(wc -l <"$work/all.jsonl") -eq 7200 ]] || fail "not 7200 records"
grep -qxF '{"instruction":"Compute 0 plus 14.","response":"14","domain":"arithmetic"}' \
    "$work/all.jsonl" || fail "not the first record"
run 0 "$data" convert "$work/all.jsonl" "$work/again.jsonl"
cmp "$work/all.jsonl" "$work/again.jsonl" || fail "converting what was converted changes it"
refuse 'is there already' "$data" convert $records "$work/all.jsonl"
refuse 'no/all.jsonl' "$data" convert $records "$work/no/all.jsonl"
run 0 "$data" convert $records "$work/unwanted.jsonl" --check
[[ ! -e $work/unwanted.jsonl ]] || fail "--check wrote something"

# every form of a record, in its canonical words and from others
cat >"$work/chat.jsonl" <<'END'
{"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"},{"role":"assistant","content":"a","weight":0},{"role":"tool","content":"t"},{"role":"assistant","content":"é"}],"domain":"d","client":"c 1"}
END
cat >"$work/sharegpt.jsonl" <<'END'
{"client": "c 1", "domain": "d", "system": "s", "conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a", "loss_weight": 0}, {"from": "observation", "value": "t"}, {"from": "gpt", "value": "\u00e9"}]}
END
cat >"$work/preference.jsonl" <<'END'
{"prompt":[{"role":"user","content":"u"},{"role":"assistant","content":"a"},{"role":"user","content":"v"}],"chosen":"good","rejected":"bad"}
END
for form in chat preference; do
    run 0 "$data" convert "$work/$form.jsonl" "$work/$form.out.jsonl"
    cmp "$work/$form.jsonl" "$work/$form.out.jsonl" || fail "$form: changed"
done
run 0 "$data" convert "$work/sharegpt.jsonl" "$work/sharegpt.out.jsonl"
cmp "$work/chat.jsonl" "$work/sharegpt.out.jsonl" || fail "sharegpt: not the same record"
sed 's/"tool"/"user"/' "$work/chat.jsonl" >"$work/turns.jsonl"
run 0 "$data" render $config --dataset_name "$work/turns.jsonl" --num_clients 1 --sample_clients 1 \
    --template vicuna
says '« é</s>»$'
[[ $(grep -o '«' "$work/stdout" | wc -l) -eq 1 ]] || fail "an answer of weight 0 is marked"

# ---- preferences ---------------------------------------------------------------------------------
run 0 "$data" inspect configs/dpo.cfg --dpo_max_length 40 --dpo_max_prompt_length 20 \
    --picture "$work/pairs.svg"
says '^cut +dpo_max_length = 40 cuts [1-9][0-9]* records'
says '^loss +counts [0-9]+ of [0-9]+ tokens .*; 0 records teach nothing'
grep -q '>dpo_max_length<' "$work/pairs.svg" || fail "the picture does not name the limit"
run 0 "$data" render configs/dpo.cfg --record 3
says '^chosen: record 3 of 360; .* 4 of them count'
says '^ASSISTANT:« nesi sugo zima</s>»$'
says '^rejected: record 3 of 360; .* 2 of them count'
says '^ASSISTANT:« swan</s>»$'
run 0 "$data" render configs/dpo.cfg --client 1 --record 2 --dpo_compat true
[[ $(grep -o '«' "$work/stdout" | wc -l) -eq 2 ]] || fail "not two answers"

# ---- split, and training on the files ----------------------------------------------------------
run 0 "$data" split $config "${skewed[@]}" --out "$work/sites"
[[ $(find "$work/sites" -type f | wc -l) -eq 12 && -s $work/sites/client_00.jsonl ]] ||
    fail "not 12 files"
[[ $(cat "$work"/sites/*.jsonl | sort | md5sum) == $(sort "$work/all.jsonl" | md5sum) ]] ||
    fail "the files do not hold the records"
refuse 'is not an empty folder' "$data" split $config --out "$work/sites"

# learn OUT ARGUMENT...
learn() {
    local out=$1
    shift
    # Open MPI leaks a little at its end, which a sanitizer would call a failure.
    run 0 env ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" "$train" $config --output_dir "$out" \
        --num_rounds 2 --max_steps 2 --batch_size 4 --eval_data "" "$@"
}
learn "$work/direct" "${skewed[@]}"
learn "$work/files" --dataset_name "$work/sites" --split_strategy natural --num_clients 0 \
    --sample_clients 3
cmp "$work"/{direct,files}/adapter/adapter_model.safetensors ||
    fail "the files of a split train otherwise than the split"
echo "all fine"

#!/usr/bin/env bash
# fedllm_generate as a user starts it: test_generate.sh PROGRAM
set -euo pipefail

program=$(realpath "$1")
source "$(dirname "${BASH_SOURCE[0]}")/tool_lib.sh"
model=configs/embedded/model

# same NAME: the output is that of the run that was kept under this name.
keep() { cp "$work/stdout" "$work/$1"; }
same() { cmp -s "$work/stdout" "$work/$1" || fail "differs from $1"; }
differs() { ! cmp -s "$work/stdout" "$work/$1" || fail "is the same as $1"; }

# ---- usage -------------------------------------------------------------------------------------
run 0 "$program" --help
grep -q -- '--repetition_penalty' "$work/stdout" || fail "help without keys"
run 0 "$program" --version
grep -q '^fedllm ' "$work/stdout" || fail "no version"
run 2 "$program"
run 2 "$program" $model --tempereture 1
complains 'unknown key tempereture; did you mean temperature\?'
run 2 "$program" $model --top_p 0
complains 'top_p = 0 is outside'
run 2 "$program" "$work/nowhere" --prompt x
complains 'nowhere: no such folder'
run 2 "$program" $model --adapter "$work/nowhere" --prompt x
complains 'nowhere/adapter_config.json'
run 2 "$program" $model --prompt x --file y
complains 'only one of prompt, file and chat'
run 2 "$program" $model --file "$work/nowhere"
run 2 "$program" $model --chat --template none
run 2 "$program" $model --stop
run 0 "$program" $model --check
if command -v ldd >/dev/null && ldd "$program" | grep -q 'libmpi'; then fail "is linked with MPI"; fi

# ---- prompts -----------------------------------------------------------------------------------
prompts=$'Compute 0 plus 14.\nTranslate into Lumi. brown wren\n\nSay hello, please.'
run 0 "$program" $model --max_new_tokens 24 --prompt 'Compute 0 plus 14.'
keep single
run 0 "$program" $model --max_new_tokens 24 <<<'Compute 0 plus 14.'
same single
run 0 "$program" $model --max_new_tokens 24 --json <<<"$prompts"
keep three
[[ $(wc -l <"$work/three") -eq 3 ]] || fail "three prompts, three lines"
grep -q '^{"prompt":"Compute 0 plus 14.","text":".*","tokens":\[.*\],"finish_reason":".*"}$' \
    "$work/three" || fail "other keys"
for options in "--batch_size 1" "--batch_size 2" "--threads 2"; do
    # shellcheck disable=SC2086
    run 0 "$program" $model --max_new_tokens 24 --json $options <<<"$prompts"
    same three
done
printf '{"prompt": "Compute 0 plus 14."}\n{"instruction": "Translate into Lumi.", "input": "brown wren"}\n%s\n' \
    '{"instruction": "Say hello, please.", "input": ""}' >"$work/prompts.jsonl"
gzip -k "$work/prompts.jsonl"
run 0 "$program" $model --max_new_tokens 24 --json --file "$work/prompts.jsonl"
same three
run 0 "$program" $model --max_new_tokens 24 --json --file "$work/prompts.jsonl.gz"
same three
run 0 "$program" $model --max_new_tokens 24 <<<"$prompts"
[[ $(grep -c '^> ' "$work/stdout") -eq 3 ]] || fail "a heading for each of several prompts"
printf '{"prompt": "a"}\n{"question": "b"}\n' >"$work/wrong.jsonl"
run 2 "$program" $model --file "$work/wrong.jsonl"
complains 'wrong.jsonl:2: there is neither prompt nor instruction'
run 2 "$program" $model </dev/null
complains 'standard input: holds no prompt'
run 2 "$program" $model --max_length 20 --prompt 'Compute 0 plus 14.'
complains 'prompt 1 has .* tokens: there is no room for an answer within 20'
run 2 "$program" $model --max_length 100000 --prompt x
complains "more than the model's 512 positions"
run 0 "$program" $model --template none --prompt 'a b c d e f' --max_length 16 --json
grep -q '"finish_reason":"length"' "$work/stdout" || fail "the room ends the answer"

# ---- drawing -----------------------------------------------------------------------------------
draw=(--temperature 1.2 --top_k 0 --top_p 0.95 --repetition_penalty 1.1 --max_new_tokens 24 --json)
run 0 "$program" $model "${draw[@]}" <<<"$prompts"
keep drawn
differs three
run 0 "$program" $model "${draw[@]}" --batch_size 1 --threads 2 <<<"$prompts"
same drawn
run 0 "$program" $model "${draw[@]}" --seed 5 <<<"$prompts"
differs drawn

# ---- stop strings ------------------------------------------------------------------------------
run 0 "$program" $model --template none --max_new_tokens 40 --prompt 'Compute'
read -r -d '' -a words <"$work/stdout" || true
word=${words[2]}
run 0 "$program" $model --template none --max_new_tokens 40 --prompt 'Compute' --stop 'not there' --stop "$word"
if grep -qF -- "$word" "$work/stdout"; then fail "the stop string is shown"; fi
run 0 "$program" $model --template none --max_new_tokens 40 --prompt 'Compute' --stop "$word" --json
grep -q '"finish_reason":"stop"' "$work/stdout" || fail "a stop string is a stop"

# ---- chat --------------------------------------------------------------------------------------
chat=(--chat --max_new_tokens 20 --json)
run 0 "$program" $model "${chat[@]}" <<<$'Hello\nAnd now?\n/reset\nHello\n/quit\nHello'
[[ $(wc -l <"$work/stdout") -eq 3 ]] || fail "three answers, then the end"
[[ $(sed -n 1p "$work/stdout") == "$(sed -n 3p "$work/stdout")" ]] || fail "/reset forgets"
run 0 "$program" $model "${chat[@]}" --max_length 130 <<<$'Hello\nHello again, do you hear me?\n/reset\nHello'
complains '/reset begins a new one'
[[ $(wc -l <"$work/stdout") -eq 2 ]] || fail "the chat goes on after that"
run 0 "$program" $model --chat --template alpaca --max_new_tokens 5 <<<'Hello'

# the model's own chat template by itself, the same in the words of the config, one that is not known
own=$work/own_model
mkdir "$own"
ln -s "$PWD"/$model/* "$own"
printf '%s' "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + " \
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}" \
    "{{ '<|im_start|>assistant\n' }}{% endif %}" >"$own/chat_template.jinja"
run 0 "$program" "$own" "${chat[@]}" <<<$'Hello\nAnd now?'
keep own
run 0 "$program" $model "${chat[@]}" --template custom --chat_user '<|im_start|>user\n{}<|im_end|>\n' \
    --chat_assistant '<|im_start|>assistant\n{}<|im_end|>\n' <<<$'Hello\nAnd now?'
same own
run 0 "$program" $model "${chat[@]}" <<<$'Hello\nAnd now?'
differs own
run 0 "$program" "$own" --template chat --json --max_new_tokens 20 --prompt Hello
cmp <(head -1 "$work/own") "$work/stdout" || fail "a prompt is not the first turn of a chat"
printf '{{ messages }}' >"$own/chat_template.jinja"
run 2 "$program" "$own" "${chat[@]}" <<<'Hello'
complains 'chat_template.jinja: a chat template of no known form'
run 0 "$program" "$own" "${chat[@]}" --template vicuna <<<'Hello'

# ---- output ------------------------------------------------------------------------------------
if [[ -w /dev/full ]]; then
    code=0
    "$program" $model --prompt x --max_new_tokens 5 >/dev/full 2>"$work/stderr" || code=$?
    [[ $code -eq 2 ]] || fail "exit code $code on a full disk"
    complains 'cannot write to standard output'
fi
echo "all fine"

# shellcheck shell=bash
# What the tests in this folder share.  Each of them is called as
#     test_NAME.sh PROGRAM MPIEXEC [ARGUMENT...]
# with fedllm_mpi as PROGRAM, and sources this file after `set -euo pipefail`.  It stands in the
# repository root, where the embedded model and data are, and writes below $work only.

program=$(realpath "$1")
mpiexec=$2
config=configs/sft.cfg # of train
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
work=$(mktemp -d)
job=  # session of the run that is in the background
code= # exit code of the last run

# Files of Open MPI that a killed job leaves behind go away with the rest.
export TMPDIR=$work OMPI_MCA_btl_vader_backing_directory=$work
# Alone, the program needs no helper process of Open MPI: half of the time to start.
export OMPI_MCA_ess_singleton_isolated=1

clean_up() {
    [[ -z $job ]] || kill_job
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# Shows what the last run said and ends the test.
fail() {
    local file
    for file in "$work/stdout" "$work/stderr"; do
        [[ ! -s $file ]] || sed "s/^/${file##*/}: /" "$file" | tail -n 40 >&2
    done
    echo "failed: $*" >&2
    exit 1
}

# command_on N ARGUMENT...: sets $command, the program on N ranks; on 0 ranks without mpirun.
command_on() {
    local ranks=$1
    shift
    command=("$program" "$@")
    [[ $ranks -eq 0 ]] || command=("$mpiexec" -n "$ranks" "${command[@]}")
}

# run N ARGUMENT...: sets $code and leaves $work/stdout and $work/stderr.
run() {
    local command
    command_on "$@"
    code=0
    "${command[@]}" </dev/null >"$work/stdout" 2>"$work/stderr" || code=$?
}

# said PATTERN: a line of the last run matches the extended regular expression.
said() {
    grep -qE -e "$1" "$work/stdout" "$work/stderr"
}

# expect_exit CODE PATTERN N ARGUMENT...: as run; CODE is the exit code and PATTERN was said.
expect_exit() {
    local expected=$1 pattern=$2
    shift 2
    run "$@"
    [[ $code -eq $expected ]] || fail "exit code $code instead of $expected: $*"
    said "$pattern" || fail "nothing said matches \"$pattern\": $*"
}

# count_errors: error lines of the last run.
count_errors() {
    grep -cE '^rank [0-9]+: error: ' "$work/stderr" || true
}

# expect_error PATTERN N ARGUMENT...: exit code 2 and exactly one error line, which matches.
expect_error() {
    local pattern=$1
    shift
    expect_exit 2 "^rank 0: error: .*$pattern" "$@"
    [[ $(count_errors) -eq 1 ]] || fail "not exactly one line of error: $*"
    ! said 'assertion|Sanitizer|runtime error|signal' || fail "more than an error line: $*"
}

# words_of KEY: what --help lists for it, "... (default a; one of a, b, localN)", with 1 for N.
words_of() {
    run 0 --help
    sed -n "/^  --$1 /,\$p" "$work/stdout" | sed '1!{/^  --/,$d}' | tr -d ' \n' |
        sed -E 's/.*oneof([a-zN,]+)\).*/\1\n/' | tr ',' '\n' | sed 's/N$/1/'
}

# list_algorithms: sets $names, every name of fed_alg that --help lists.
list_algorithms() {
    mapfile -t names < <(words_of fed_alg)
    [[ ${#names[@]} -ge 12 ]] || fail "only ${#names[@]} names of fed_alg in --help: ${names[*]}"
}

# train OUT N ARGUMENT...: a run of $config that must succeed without a warning.
train() {
    local out=$1 ranks=$2
    shift 2
    run "$ranks" "$config" --output_dir "$out" "$@"
    [[ $code -eq 0 ]] || fail "exit code $code: $*"
    ! said '^rank [0-9]+: (error|warning): ' || fail "complaints: $*"
}

# same FILE FILE
same() {
    cmp "$@" >&2 || fail "different bytes"
}

# metrics DIR: its metrics.jsonl without what differs from one execution to the next.
metrics() {
    sed -E -e 's/"seconds":(\{[^}]*\}|[^,}]*)/"seconds":0/g' -e 's/"peak_memory":[0-9]+/"peak_memory":0/' \
        -e 's/"reference":\{[^}]*\}/"reference":0/' "$1/metrics.jsonl"
}

# numbers DIR: those that must not depend on where a client was trained.
numbers() {
    metrics "$1" | sed -E -e 's/"rank":[0-9]+/"rank":0/g' -e 's/"bytes(_[a-z]+)?":[0-9]+/"bytes":0/g'
}

# same_run DIR DIR: two runs left the same files, bytes and numbers.
same_run() {
    local file
    diff <(cd "$1" && find . -type f | sort) <(cd "$2" && find . -type f | sort) >&2 ||
        fail "$1 and $2 hold other files"
    for file in "$1"/adapter/* "$1"/checkpoint-*/*; do
        same "$file" "$2/${file#"$1"/}"
    done
    diff <(metrics "$1") <(metrics "$2") >&2 || fail "other numbers in metrics.jsonl"
}

# losses DIR: of every round and client
losses() {
    grep -o '"loss":[^,}]*' "$1/metrics.jsonl" | cut -d : -f 2
}

# close_to DIR DIR [SHARE]: two runs have the same losses but for that share of each, at least one of them.
close_to() {
    paste -d ' ' <(losses "$1") <(losses "$2") | awk -v most="${3:-1e-5}" '
        { d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || !(d <= most * $2)) bad = 1 }
        END { exit bad || NR == 0 }' || fail "other losses in $1 and $2"
}

# sliding_model OUT WINDOW: the embedded model as a Mistral, which differs by its window alone
sliding_model() {
    cp -R configs/embedded/model "$1"
    sed -e 's/LlamaForCausalLM/MistralForCausalLM/' -e 's/"model_type": "llama"/"model_type": "mistral"/' \
        -e "s/\"use_cache\"/\"sliding_window\": $2, &/" configs/embedded/model/config.json >"$1/config.json"
}

# Milliseconds of a clock.
now() {
    echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# pause MILLISECONDS
pause() {
    sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"
}

# start_job N ARGUMENT...: as run, but in the background, as a session of its own.
start_job() {
    local command
    command_on "$@"
    setsid "${command[@]}" </dev/null >"$work/stdout" 2>"$work/stderr" &
    job=$!
}

# Waits for the job and sets $code.
finish_job() {
    code=0
    wait "$job" || code=$?
    job=
}

# Process ids of the job: mpirun puts each rank into a process group of its own, not into a session.
job_members() {
    local file line state session
    for file in /proc/[0-9]*/stat; do
        { read -r line <"$file"; } 2>/dev/null || continue
        read -r state _ _ session _ <<<"${line##*) }" # the name may hold blanks and brackets
        [[ $session != "$job" || $state == Z ]] || basename "${file%/stat}"
    done
}

# SIGKILL for mpirun and all ranks; returns when the last one is gone.
kill_job() {
    local members
    for (( ; ; )); do
        mapfile -t members < <(job_members)
        [[ ${#members[@]} -gt 0 ]] || break
        kill -KILL "${members[@]}" || true
    done
    finish_job
} 2>/dev/null # where bash would tell of every killed process

# train_killed KILLS ARGUMENT...: $work/whole is a run of $config on 3 ranks in one go, $work/killed the
# same run, killed at random moments, started again each time, and finished; they are the same run.
train_killed() {
    local kills=$1 start duration num_killed=0
    shift
    start=$(now)
    train "$work/whole" 3 "$@"
    duration=$(($(now) - start))
    while [[ $num_killed -lt $kills ]]; do
        start_job 3 "$config" --output_dir "$work/killed" "$@"
        pause $((duration / 4 + RANDOM % duration))
        if kill -0 "$job" 2>/dev/null; then
            kill_job
            num_killed=$((num_killed + 1))
        else
            finish_job
            [[ $code -eq 0 ]] || fail "exit code $code after a kill"
            rm -r "$work/killed"
        fi
    done
    expect_exit 0 "^round|is finished" 3 "$config" --output_dir "$work/killed" "$@"
    same_run "$work/whole" "$work/killed"
}

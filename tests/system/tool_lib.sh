# shellcheck shell=bash
# What the tests of programs without ranks share.  A test sources this file after `set -euo pipefail`
# and after it has made the paths of its arguments absolute.  It stands in the repository root and
# writes below $work only.
export LC_ALL=C OMPI_MCA_ess_singleton_isolated=1
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work

fail() {
    tail -n 20 "$work/stdout" "$work/stderr" >&2 || true
    echo "failed: $*" >&2
    exit 1
}

# run CODE COMMAND...: leaves $work/stdout and $work/stderr; standard input is that of the caller.
run() {
    local expected=$1 code=0
    shift
    "$@" >"$work/stdout" 2>"$work/stderr" || code=$?
    [[ $code -eq $expected ]] || fail "exit code $code, not $expected: $*"
}

# complains PATTERN: one line on standard error, and this.
complains() {
    grep -qE -e "$1" "$work/stderr" || fail "did not say: $1"
    [[ $(wc -l <"$work/stderr") -eq 1 ]] || fail "more than one line"
}

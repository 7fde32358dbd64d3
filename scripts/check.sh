#!/usr/bin/env bash
# The one command before a change goes in: format, layers, lengths and banned words, shell scripts,
# then the build with warnings as errors and all tests that are not slow.
#
#     scripts/check.sh           everything
#     scripts/check.sh --fast    only what needs no build
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
case ${1:-} in
"" | --fast) ;;
*)
    echo "usage: scripts/check.sh [--fast]" >&2
    exit 2
    ;;
esac

failed=()
# step NAME COMMAND...: runs on after a failure, so that one call shows all of them.
step() {
    local name=$1
    shift
    echo "== $name"
    "$@" || failed+=("$name")
}

# files PATTERN...: those of the working tree that git does not ignore and that exist.
files() {
    git ls-files --cached --others --exclude-standard -z -- "$@" | while IFS= read -r -d '' file; do
        [[ ! -f $file ]] || printf '%s\0' "$file"
    done
}

# Other versions lay out code differently, so only this one decides.
check_format() {
    local tool
    for tool in clang-format-14 clang-format; do
        if command -v "$tool" >/dev/null && "$tool" --version | grep -q 'version 14\.'; then
            files '*.c' '*.h' '*.cc' '*.cu' '*.cuh' | xargs -0 -r "$tool" --dry-run --Werror
            return
        fi
    done
    echo "skipped: no clang-format 14"
}

check_shell() {
    if ! command -v shellcheck >/dev/null; then
        echo "skipped: no shellcheck"
        return
    fi
    files '*.sh' '*.sbatch' .ci/run | xargs -0 -r shellcheck -x
}

check_python() {
    if ! command -v python3 >/dev/null; then
        echo "skipped: no python3"
        return
    fi
    "$@"
}

step "format" check_format
step "layers" check_python scripts/check_layers.py
step "lengths and banned words" check_python scripts/check_style.py
step "shell scripts" check_shell

build_and_test() {
    cmake --preset dev >/dev/null &&
        cmake --build --preset dev -j "$(nproc)" &&
        (cd build/dev && ctest --output-on-failure -j 2 -LE slow)
}
if [[ ${1:-} != --fast ]]; then
    step "build and tests" build_and_test
fi

if [[ ${#failed[@]} -gt 0 ]]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "all fine"

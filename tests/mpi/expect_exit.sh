#!/usr/bin/env bash
# expect_exit.sh CODE COMMAND...: succeeds when the command ends with exactly this exit code.
set -euo pipefail

expected=$1
shift
code=0
"$@" || code=$?
if [[ $code -ne $expected ]]; then
    echo "exit code $code, expected $expected" >&2
    exit 1
fi

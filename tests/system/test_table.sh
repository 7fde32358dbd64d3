#!/usr/bin/env bash
# scripts/table.py: a table of runs that are far too short to learn, made twice.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command -v python3 >/dev/null || exit 77
table() {
    python3 scripts/table.py --program "$program" --ranks 1 --rounds 1 --seeds 1,2 --out "$work/table" \
        "$@" -- --max_steps 1 --batch_size 2 --eval_samples 1 --max_new_tokens 2
}

table --only local,fedyogi,centralised >"$work/stdout" 2>"$work/stderr" || fail "no table"
[[ $(wc -l <"$work/stdout") -eq 5 ]] || fail "not three rows"
for row in local fedyogi centralised; do
    said "^\| $row \| [0-9.]+ \| [0-9.]+ \| [0-9.]+, [0-9.]+ \|$" || fail "no row $row"
done
[[ $(find "$work/table" -name metrics.jsonl | wc -l) -eq 16 ]] || fail "not 16 runs"
grep -q 'split_strategy = "domain"' "$work/table/fedyogi-seed1-rounds1/config.cfg" || fail "not the split"
cp "$work/stdout" "$work/first"
cp "$work/table/fedyogi-seed2-rounds1/metrics.jsonl" "$work/metrics.jsonl" # holds times
table --only local,fedyogi,centralised >"$work/stdout" 2>"$work/stderr" || fail "not a second time"
same "$work/stdout" "$work/first"
same "$work/table/fedyogi-seed2-rounds1/metrics.jsonl" "$work/metrics.jsonl"
code=0
table --only fedyogi,fedmagic >"$work/stdout" 2>"$work/stderr" || code=$?
[[ $code -ne 0 ]] || fail "an unknown row"
said 'no row fedmagic' || fail "an unknown row is not named"

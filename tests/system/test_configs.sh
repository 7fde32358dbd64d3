#!/usr/bin/env bash
# Every .cfg in configs/: where its model is there it passes --check; where it is not, the missing
# model is all there is to complain about.  The small twins of large experiments train.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# value KEY FILE: of a text key in the file itself.
value() {
    sed -nE "s/^ *$1 = \"(.*)\";.*/\1/p" "$2"
}

mapfile -t configs < <(find configs -name '*.cfg' | sort)
[[ ${#configs[@]} -ge 19 ]] || fail "only ${#configs[@]} configs"
for config in "${configs[@]}"; do
    model=$(value model_name_or_path "$config")
    # no model of its own: it includes one of the embedded model
    if [[ -z $model || -d $model ]]; then
        expect_exit 0 '^everything is in order' 0 "$config" --check
    else
        expect_error "$model" 0 "$config" --check
    fi
done

dirs=$(for config in "${configs[@]}"; do value output_dir "$config"; done)
[[ -z $(sort <<<"$dirs" | uniq -d) ]] || fail "two configs write into one folder"

for config in configs/*/*small.cfg; do
    expect_exit 0 '^round 1/1 ' 2 "$config" --output_dir "$work/${config%.cfg}" --num_rounds 1 \
        --max_steps 1
done

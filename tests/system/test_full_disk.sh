#!/usr/bin/env bash
# A disk that is full ends the run with one line and exit code 2; with space again the same command
# continues and ends with the bytes of an undisturbed run.  Skipped where mounting is not permitted.
set -euo pipefail

# A mount of our own goes away with us, however we end.
if [[ -z ${FL_TEST_MOUNTS:-} ]]; then
    if ! unshare --mount --map-root-user mount -t tmpfs none "${TMPDIR:-/tmp}" 2>/dev/null; then
        echo "skipped: a file system may not be mounted here"
        exit 77
    fi
    FL_TEST_MOUNTS=1 exec unshare --mount --map-root-user bash "$0" "$@"
fi
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

settings=(--dataset_sample 200 --num_clients 4 --sample_clients 2 --num_rounds 12 --save_model_freq 12
    --batch_size 2 --max_steps 2 --eval_data "")
train "$work/whole" 2 "${settings[@]}"
kilobytes=$(du -sk "$work/whole" | cut -f 1)

disk=$work/disk out=$work/disk/run
mkdir "$disk"
trap 'umount -l "$disk" || true; clean_up' EXIT
mount -t tmpfs -o size=$((2 * kilobytes))k none "$disk"
start_job 2 configs/sft.cfg --output_dir "$out" "${settings[@]}"
for ((i = 0; i < 1200; i++)); do
    [[ ! -s $out/state.h5 ]] || break
    pause 50
done
dd if=/dev/zero of="$disk/filling" bs=4096 2>"$work/dd" || true
finish_job
[[ $code -eq 2 ]] || fail "exit code $code instead of 2"
said '^round 1/12 ' || fail "the disk was full before the first round"
[[ $(count_errors) -eq 1 ]] || fail "not exactly one line of error"
said "^rank 0: error: .*$out/.*: No space left on device" || fail "the file is not named"

# nothing was lost, and it is still full
run 2 configs/sft.cfg --output_dir "$out" "${settings[@]}"
[[ $code -eq 2 && $(count_errors) -eq 1 ]] || fail "exit code $code on a full disk"

rm "$disk/filling"
expect_exit 0 "^continuing $out after round [1-9]" 2 configs/sft.cfg --output_dir "$out" "${settings[@]}"
same_run "$work/whole" "$out"

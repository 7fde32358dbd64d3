#!/usr/bin/env bash
# test_slurm_job.sh PROGRAM: jobs/sft.sbatch without Slurm, and under a Slurm that is played by
# scripts in front of PATH.  PROGRAM is fedllm_mpi; it is run for real once, with --check.
set -euo pipefail

program=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
export PATH="$work/bin:$PATH"
unset SLURM_JOB_ID SLURM_NTASKS

# tool NAME BODY: a command that records its arguments, one line per call.
tool() {
    printf '#!/usr/bin/env bash\necho "%s $*" >>"%s/calls"\n%s\n' "$1" "$work" "$2" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}

# expect TITLE LINE...: these are the calls since the last time.
expect() {
    local title=$1
    shift
    if ! diff <(printf '%s\n' "$@") "$work/calls" >&2; then
        echo "failed: $title" >&2
        exit 1
    fi
    rm -f "$work/calls"
}

arguments="configs/sft.cfg --output_dir output/sft --num_rounds 2"
export FEDLLM_MPI="$work/bin/fedllm_mpi"
tool fedllm_mpi ""
# shellcheck disable=SC2016 # for the script that is written
tool mpirun 'shift 2; exec "$@"'

# shellcheck disable=SC2016
tool srun '[[ $1 == --mpi=list ]] && { echo "MPI plugin types are..."; echo pmi2; echo pmix_v4; echo pmix; exit; } >&2
shift; exec "$@"'
(cd / && bash "$root/jobs/sft.sbatch" --num_rounds 2)
expect "without Slurm: mpirun, from any folder" \
    "mpirun -np 4 $FEDLLM_MPI $arguments" "fedllm_mpi $arguments"

cd "$root"
export SLURM_JOB_ID=17 SLURM_NTASKS=6
cp jobs/sft.sbatch "$work/slurm_script" # where Slurm runs it from
bash "$work/slurm_script" --num_rounds 2
expect "Slurm with PMIx: srun" \
    "srun --mpi=list" "srun --mpi=pmix $FEDLLM_MPI $arguments" "fedllm_mpi $arguments"

# shellcheck disable=SC2016
tool srun '[[ $1 == --mpi=list ]] && { echo none; echo pmi2; exit; }
shift; exec "$@"'
bash "$work/slurm_script" --num_rounds 2
expect "Slurm with PMI-2: srun" \
    "srun --mpi=list" "srun --mpi=pmi2 $FEDLLM_MPI $arguments" "fedllm_mpi $arguments"

tool srun 'echo none'
bash "$work/slurm_script" --num_rounds 2
expect "Slurm without either: mpirun with the job's tasks" \
    "srun --mpi=list" "mpirun -np 6 $FEDLLM_MPI $arguments" "fedllm_mpi $arguments"

tool fedllm_mpi 'exit 3'
code=0
bash "$work/slurm_script" --num_rounds 2 || code=$?
if [[ $code -ne 3 ]]; then
    echo "failed: exit code $code is not the program's 3" >&2
    exit 1
fi
rm "$work/calls"

code=0
(cd "$work" && bash slurm_script 2>"$work/errors") || code=$?
if [[ $code -ne 2 ]] || ! grep -q "submit from" "$work/errors"; then
    echo "failed: submitted from elsewhere, exit code $code" >&2
    exit 1
fi

rm "$work/bin/mpirun" "$work/bin/srun"
unset SLURM_JOB_ID SLURM_NTASKS
FEDLLM_MPI=$program bash jobs/sft.sbatch --check

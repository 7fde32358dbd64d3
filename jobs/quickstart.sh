#!/usr/bin/env bash
# From a fresh clone to a trained adapter: installs and builds what is missing, then trains on four
# ranks with the data and the small model that come with the repository.  Arguments go to the
# program: jobs/quickstart.sh --num_rounds 5
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source jobs/common.sh
fedllm_build
program=$(fedllm_program)
output=$(fedllm_output_dir output/quickstart "$@")

echo "training on 4 ranks: 1 server, 3 for the clients"
fedllm_mpirun 4 "$program" configs/sft.cfg --output_dir output/quickstart --fresh "$@"

echo
echo "the run is in $output: adapter/ loads in PEFT, metrics.jsonl has every number, config.cfg"
echo "every setting; other settings: jobs/quickstart.sh --num_rounds 20 --learning_rate 1e-3"

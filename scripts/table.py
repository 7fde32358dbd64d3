#!/usr/bin/env python3
"""Compares the algorithms on data that differ from client to client: configs/noniid.cfg on the embedded model.

    scripts/table.py                  the whole table, three seeds: about 20 minutes on two idle cores
    scripts/table.py --quick          one seed, two algorithms and the two baselines: about 3 minutes
    scripts/table.py --only scaffold --seeds 1,2,3,4,5
    scripts/table.py --out output/mild -- --split_strategy dirichlet --dirichlet_alpha 0.1

Every row is a number of runs of fedllm_mpi that differ in `seed` (split, adapter, sampling of clients, dropout).
Printed is Markdown: mean and standard deviation over the seeds of the exact match on the held-out records after
the last round, in percent.  "local" is the mean over six runs, in which one client each trains alone; "centralised"
one client with all records.  What stands behind -- is passed on to every run.  Runs that are finished are not done again (--out holds them); one that was killed
continues.  Needs nothing but Python's own library.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Settings of the servers, as in configs/algorithms; few rounds want short memories.
SERVERS = {
    "fedavg": {},
    "fedprox": {"prox_mu": 0.01},
    "scaffold": {"scaffold_eta": 1.0},
    "fedavgm": {"fedopt_beta1": 0.5},
    "fedadagrad": {"fedopt_eta": 1e-2, "fedopt_tau": 1e-3},
    "fedyogi": {"fedopt_eta": 5e-3, "fedopt_tau": 1e-3, "fedopt_beta1": 0.5, "fedopt_beta2": 0.99},
    "fedadam": {"fedopt_eta": 5e-3, "fedopt_tau": 1e-3, "fedopt_beta1": 0.5, "fedopt_beta2": 0.99},
    "fednova": {},
    "feddyn": {"feddyn_alpha": 0.1},
    "diloco": {"diloco_eta": 0.7, "diloco_momentum": 0.5},
}
NUM_CLIENTS = 6
QUICK = ["local", "fedavg", "fedyogi", "centralised"]


def rows(names):
    """Name of a row -> list of option sets, whose results are averaged for one seed."""
    alone = [{"fed_alg": f"local{k}"} for k in range(NUM_CLIENTS)]
    whole = [{"fed_alg": "fedavg", "split_strategy": "iid", "num_clients": 1, "sample_clients": 1}]
    table = {"local": alone}
    table.update({name: [{"fed_alg": name, **options}] for name, options in SERVERS.items()})
    table["centralised"] = whole
    unknown = set(names) - set(table)
    if unknown:
        sys.exit(f"table.py: no row {', '.join(sorted(unknown))}; rows are {', '.join(table)}")
    return {name: table[name] for name in table if not names or name in names}


def last_score(folder):
    """Exact match in percent after the last round."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return 100 * [line["exact_match"] for line in lines if line["event"] == "eval"][-1]


def run(arguments, options, seed):
    """One run, or what is left of it; its score."""
    name = options["fed_alg"] if options.get("num_clients") != 1 else "centralised"
    folder = pathlib.Path(arguments.out) / f"{name}-seed{seed}-rounds{arguments.rounds}"
    options = {**options, "seed": seed, "num_rounds": arguments.rounds, "output_dir": folder, "log_level": "warn"}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    ranks = [] if arguments.ranks == 1 else [arguments.mpiexec, "-n", str(arguments.ranks)]
    command = [*ranks, str(arguments.program), "configs/noniid.cfg", *arguments.more, *words]
    print(f"{name}, seed {seed} ...", end=" ", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"table.py: exit code {done.returncode} of {' '.join(command)}")
    score = last_score(folder)
    print(f"{score:.1f}", file=sys.stderr, flush=True)
    return score


def print_row(name, scores):
    spread = f"{statistics.stdev(scores):.1f}" if len(scores) > 1 else "-"
    print(f"| {name} | {statistics.mean(scores):.1f} | {spread} | {', '.join(f'{s:.1f}' for s in scores)} |", flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/fedllm_mpi", help="fedllm_mpi (build/fedllm_mpi)")
    parser.add_argument("--mpiexec", default="mpirun", help="mpirun or the like")
    parser.add_argument("--ranks", type=int, default=len(os.sched_getaffinity(0)) + 1, help="1: without mpirun")
    parser.add_argument("--seeds", default="2023,2024,2025")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", default="", help="rows, separated by commas")
    parser.add_argument("--out", default="output/table", help="folder of the runs")
    parser.add_argument("--quick", action="store_true", help="seed 2023, few rows")
    parser.add_argument("more", nargs="*", help="keys of fedllm_mpi, behind --")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds = "2023"
        arguments.only = arguments.only or ",".join(QUICK)
    arguments.program = pathlib.Path(arguments.program).resolve()
    arguments.out = pathlib.Path(arguments.out).resolve()
    return arguments


def main():
    arguments = parse()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    print("| algorithm | exact match, % | standard deviation | seeds " + arguments.seeds.replace(",", ", ") + " |")
    print("|---|---|---|---|", flush=True)
    for name, settings in rows([word for word in arguments.only.split(",") if word]).items():
        print_row(name, [statistics.mean(run(arguments, options, seed) for options in settings) for seed in seeds])


if __name__ == "__main__":
    main()

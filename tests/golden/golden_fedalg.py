"""Federated algorithms written out in NumPy, double precision, and clients that are formulas.

`run` is a transcription of spec formulas: one branch per algorithm, nothing shared with the C code but names.
Client k of `Formulas` descends the gradient h_k (y - b_k) plus a term that changes from step to step, by plain SGD,
a number of steps of its own. Everything about it is a fraction with a small power of two below, so that C has the
same values. The clients of golden_fedtrain.py train a model.
"""
import random

import numpy as np

COUNT, SAMPLED, ROUNDS, SEED = 24, 3, 3, 5
RECORDS = [10, 1, 7, 30, 12, 9, 8]
STEPS = [1, 4, 2, 5, 3, 1, 4]
RATES = [0.125, 0.0625, 0.09375]
OPTIONS = {"prox_mu": 0.3, "scaffold_eta": 0.5, "feddyn_alpha": 0.2, "diloco_eta": 0.7, "diloco_momentum": 0.9,
           "fedopt_tau": 0.01, "fedopt_eta": 0.1, "fedopt_beta1": 0.8, "fedopt_beta2": 0.95}
ALGORITHMS = ["fedavg", "fedprox", "scaffold", "fedavgm", "fedadagrad", "fedyogi", "fedadam", "fednova", "feddyn",
              "diloco", "local2"]
VARIANTS = ["paper", "openfedllm"]

INDEX = np.arange(COUNT)


def curvature(k):
    return 0.5 + ((7 * k + 3 * INDEX) % 11) / 16


def target(k):
    return ((5 * k + 11 * INDEX) % 13) / 8 - 0.75


def gradient(k, step, y):
    return curvature(k) * (y - target(k)) + ((step + INDEX) % 5) / 64


def start():
    return ((9 * INDEX) % 17) / 16 - 0.5


def participants(alg, variant, t, world):
    if alg.startswith("local"):
        return [int(alg[5:])]
    random.seed(t if variant == "openfedllm" else (world.seed << 32) + t)
    return sorted(random.sample(range(len(world.records)), world.sampled))


class Formulas:
    """Clients that are formulas; `run` says what a world is."""
    seed, sampled, records, rates, options, start = SEED, SAMPLED, RECORDS, RATES, OPTIONS, start()

    def descend(self, alg, variant, t, k, w, c, state):
        y, lr = w.copy(), self.rates[t]
        for step in range(STEPS[k]):
            g = gradient(k, step, y)
            if alg == "fedprox":
                g = g + self.options["prox_mu"] * (y - w)
            if alg == "feddyn":
                g = g - state + self.options["feddyn_alpha"] * (y - w)
            y = y - lr * g
            if alg == "scaffold":
                y = y - lr * (c - state)
        return y, STEPS[k]


def adaptive(alg, variant, t, m, v, d, options):
    """New m and v of FedAdagrad, FedYogi and FedAdam."""
    b1, b2 = options["fedopt_beta1"], options["fedopt_beta2"]
    if alg == "fedadagrad":
        return d, v + d**2
    m = d if variant == "openfedllm" and t == 0 else b1 * m + (1 - b1) * d
    s = m if variant == "openfedllm" else d
    if alg == "fedyogi":
        return m, v - (1 - b2) * s**2 * np.sign(v - s**2)
    return m, b2 * v + (1 - b2) * s**2


def run(alg, variant, world):
    """-> (adapter after each round, server states by name at the end, {client: state at the end}).

    world: `start`, `rates` of the rounds, `records` of the clients, how many are `sampled`, `seed`, `options`, and
    `descend`, which trains client k -> (its result, its steps).
    """
    o, w, after, records = world.options, world.start, [], world.records
    m, c, h = (np.zeros(len(w)) for _ in range(3))
    v = np.full(len(w), o["fedopt_tau"]**2)
    states = {}
    for t, lr in enumerate(world.rates):
        chosen = participants(alg, variant, t, world)
        old = {k: states.get(k, np.zeros(len(w))) for k in chosen}
        trained = {k: world.descend(alg, variant, t, k, w, c, old[k]) for k in chosen}
        ys, steps = {k: y for k, (y, _) in trained.items()}, {k: count for k, (_, count) in trained.items()}
        total = sum(records[k] for k in chosen)
        p = {k: records[k] / total for k in chosen}
        weighted = sum(p[k] * (ys[k] - w) for k in chosen)
        uniform = sum(ys[k] - w for k in chosen) / len(chosen)
        if alg in ("fedavg", "fedprox") or alg.startswith("local"):
            w = sum(p[k] * ys[k] for k in chosen)
        elif alg == "scaffold":
            for k in chosen:
                states[k] = old[k] - c + (w - ys[k]) / (steps[k] * lr)
            w = w + (weighted if variant == "openfedllm" else o["scaffold_eta"] * uniform)
            c = c + sum(states[k] - old[k] for k in chosen) / len(records)
        elif alg == "fedavgm":
            b = o["fedopt_beta1"]
            if variant == "openfedllm":
                m = weighted if t == 0 else b * m + (1 - b) * weighted
            else:
                m = b * m + weighted
            w = w + m
        elif alg in ("fedadagrad", "fedyogi", "fedadam"):
            m, v = adaptive(alg, variant, t, m, v, uniform, o)
            w = w + o["fedopt_eta"] * m / (np.sqrt(v) + o["fedopt_tau"])
        elif alg == "fednova":
            tau_eff = sum(p[k] * steps[k] for k in chosen)
            w = w - tau_eff * sum(p[k] * (w - ys[k]) / steps[k] for k in chosen)
        elif alg == "feddyn":
            a = o["feddyn_alpha"]
            for k in chosen:
                states[k] = old[k] - a * (ys[k] - w)
            h = h - a * sum(ys[k] - w for k in chosen) / len(records)
            w = sum(ys[k] for k in chosen) / len(chosen) - h / a
        elif alg == "diloco":
            b = o["diloco_momentum"]
            m = b * m - weighted
            w = w - o["diloco_eta"] * (b * m - weighted)
        after.append(w)
    server = {"scaffold": {"c": c}, "fedavgm": {"m": m}, "fedadagrad": {"v": v}, "fedyogi": {"m": m, "v": v},
              "fedadam": {"m": m, "v": v}, "feddyn": {"h": h}, "diloco": {"m": m}}.get(alg, {})
    return after, server, states


def make_cases():
    """Everything that fed_algorithms.json holds."""
    cases, world = [], Formulas()
    for alg in ALGORITHMS:
        for variant in VARIANTS:
            after, server, clients = run(alg, variant, world)
            cases.append({"fed_alg": alg, "fed_variant": variant, "rounds": [w.tolist() for w in after],
                          "participants": [participants(alg, variant, t, world) for t in range(ROUNDS)],
                          "server": {name: state.tolist() for name, state in server.items()},
                          "clients": {str(k): state.tolist() for k, state in clients.items()}})
    return {"count": COUNT, "num_clients": len(RECORDS), "sample_clients": SAMPLED, "seed": SEED, "records": RECORDS,
            "steps": STEPS, "learning_rates": RATES, "options": OPTIONS, "start": start().tolist(), "cases": cases}

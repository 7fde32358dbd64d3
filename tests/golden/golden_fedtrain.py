"""Rounds of every federated algorithm with clients that train: PEFT's gradients, AdamW, two of four clients a round.

The server is `golden_fedalg.run` in double precision; a client gets the adapter and the states in the model's
precision, as it does in the program. One case per algorithm and variant, for SFT and for DPO.
"""
import random

import numpy as np
import torch
from safetensors.torch import load_file

import golden_fedalg
from golden_io import concat, group, read_json, relative, write_json, write_tensors
from golden_train import cosine, losses_of, train

ALGORITHMS = ["local1" if alg.startswith("local") else alg for alg in golden_fedalg.ALGORITHMS]
VARIANTS = golden_fedalg.VARIANTS
TARGETS = ["v_proj"]
# Records and steps of the clients; every step takes two micro-batches of two records.
CLIENT_SIZES, STEPS = [9, 12, 17, 7], [2, 3, 4, 1]
# Large, so that a term that is missing or twice there changes the result by far more than rounding does.
OPTIONS = {"prox_mu": 1.0, "scaffold_eta": 0.5, "feddyn_alpha": 5.0, "diloco_eta": 0.7, "diloco_momentum": 0.9,
           "fedopt_tau": 1e-3, "fedopt_eta": 2e-3, "fedopt_beta1": 0.8, "fedopt_beta2": 0.95}
PLAN = {"num_rounds": 3, "sample_clients": 2, "batch_size": 2, "gradient_accumulation_steps": 2, "steps": STEPS,
        "seed": 2023, "learning_rate": 1e-3, "lr_min": 1e-6, "options": OPTIONS}
APART = 1e-2  # the least relative difference of two algorithms' updates


def flatten(adapter):
    """All tensors in name order, double precision."""
    return np.concatenate([adapter[name].double().flatten().numpy() for name in sorted(adapter)])


def prox_term(w, mu):
    def after_backward(adapter, grads):
        for name, y in adapter.items():
            grads[name] += mu * (y - w[name])
        return sum(0.5 * mu * ((y - w[name])**2).sum() for name, y in adapter.items()).item()
    return after_backward


def dyn_term(w, state, alpha):
    def after_backward(adapter, grads):
        for name, y in adapter.items():
            grads[name] += alpha * (y - w[name]) - state[name]
        return 0.0
    return after_backward


def correction(shift, lr):
    def after_step(adapter):
        for name, y in adapter.items():
            y -= lr * shift[name]
    return after_step


class Training:
    """Clients with records of their own; golden_fedalg.run says what a world is."""
    seed, sampled, options = PLAN["seed"], PLAN["sample_clients"], OPTIONS
    rates = [cosine(t, PLAN["num_rounds"], PLAN["learning_rate"], PLAN["lr_min"]) for t in range(PLAN["num_rounds"])]

    def __init__(self, model, initial, clients):
        self.model, self.clients, self.layout = model, clients, {name: w.shape for name, w in initial.items()}
        self.records, self.start = [len(samples) for samples in clients], flatten(initial)
        self.reports = [[] for _ in self.rates]

    def named(self, flat):
        """The opposite of flatten, in the model's precision."""
        adapter, at = {}, 0
        for name in sorted(self.layout):
            count = self.layout[name].numel()
            adapter[name] = torch.from_numpy(flat[at:at + count]).reshape(self.layout[name]).to(self.model.dtype)
            at += count
        return adapter

    def batches(self, variant, t, k):
        """-> (rows of the client in this round, micro-batches)"""
        size = PLAN["batch_size"]
        random.seed(t if variant == "openfedllm" else k + (t << 32) + (self.seed << 64))
        rows = random.sample(range(self.records[k]), size * PLAN["gradient_accumulation_steps"] * STEPS[k])
        drawn = [self.clients[k][row] for row in rows]
        return rows, [drawn[i:i + size] for i in range(0, len(drawn), size)]

    def descend(self, alg, variant, t, k, w, c, state):
        hooks, lr, w = {}, self.rates[t], self.named(w)
        if alg == "fedprox":
            hooks["after_backward"] = prox_term(w, self.options["prox_mu"])
        elif alg == "feddyn":
            hooks["after_backward"] = dyn_term(w, self.named(state), self.options["feddyn_alpha"])
        elif alg == "scaffold":
            hooks["after_step"] = correction(self.named(c - state), lr)
        rows, batches = self.batches(variant, t, k)
        y, losses, _ = train(self.model, w, batches, PLAN["gradient_accumulation_steps"], lr, **hooks)
        self.reports[t].append({"client": k, "subsample": rows, "loss": sum(losses) / len(losses)})
        return flatten(y), STEPS[k]


def run_case(model, initial, clients, alg, variant):
    """-> (adapter at the end, {server state: at the end}, reports of every round)"""
    world = Training(model, initial, clients)
    after, server, _ = golden_fedalg.run(alg, variant, world)
    return world.named(after[-1]), {name: world.named(state) for name, state in server.items()}, world.reports


def federate(model, initial, clients):
    """Every case -> {(alg, variant): (adapter, server states, reports)}"""
    return {(alg, variant): run_case(model, initial, clients, alg, variant)
            for alg in ALGORITHMS for variant in VARIANTS}


def moved(adapter, initial):
    return torch.from_numpy(flatten(adapter) - flatten(initial))


def verify(cases, initial):
    """No two algorithms of a variant end at the same place."""
    for (alg, variant), (adapter, _, _) in cases.items():
        for (other, same), (theirs, _, _) in cases.items():
            far = relative(moved(adapter, initial), moved(theirs, initial))
            assert other == alg or same != variant or far > APART, (alg, other, variant, far)


def write(out, name, model, initial, clients, more):
    """NAME.safetensors and NAME.json; more: what else the latter holds."""
    cases, groups, listed = federate(model, initial, clients), {}, []
    verify(cases, initial)
    for (alg, variant), (adapter, server, reports) in cases.items():
        groups[f"{alg}.{variant}.adapter"] = adapter
        groups.update({f"{alg}.{variant}.{state}": vector for state, vector in server.items()})
        listed.append({"fed_alg": alg, "fed_variant": variant, "rounds": reports})
    write_tensors(out / f"{name}.safetensors", adapter=initial,
                  **{prefix: {key: w.float() for key, w in tensors.items()} for prefix, tensors in groups.items()})
    write_json(out / f"{name}.json", {
        **more, "plan": PLAN, "cases": listed,
        "clients": [{"n": len(samples), "samples": samples} for samples in clients]})
    print(f"{name}: {len(cases)} cases")


def noise(model, data, name):
    """How far the committed cases are from those of `model` -> {label: the worst case, as text}"""
    tensors, stored, worst = load_file(data / f"{name}.safetensors"), read_json(data / f"{name}.json"), {}
    initial = group(tensors, "adapter")
    again = federate(model, initial, [client["samples"] for client in stored["clients"]])
    for case in stored["cases"]:
        prefix = f"{case['fed_alg']}.{case['fed_variant']}"
        adapter, server, reports = again[case["fed_alg"], case["fed_variant"]]
        golden = group(tensors, f"{prefix}.adapter")
        pairs = {"client losses": (torch.tensor(losses_of(case["rounds"])), torch.tensor(losses_of(reports))),
                 "adapter": (concat(golden), concat(adapter)),
                 "adapter - initial": (moved(golden, initial), moved(adapter, initial))}
        for state, vector in server.items():
            pairs[f"server state {state}"] = concat(group(tensors, f"{prefix}.{state}")), concat(vector)
        for what, pair in pairs.items():
            label = f"{name}: {what}"
            worst[label] = max(worst.get(label, (0.0, "")), (relative(*pair), prefix))
    return {label: f"{value:.1e} ({where})" for label, (value, where) in worst.items()}

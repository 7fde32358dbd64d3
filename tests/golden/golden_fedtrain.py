"""Rounds of the algorithms that change local training, with real gradients: FedProx, SCAFFOLD, FedDyn.

As `golden_train.federate`, but two of the three clients take part in a round, chosen as the reference does.
"""
import random

import torch

from golden_train import cosine, subsample, train, weighted_mean

# fed_alg, what it adapts, accumulation, its option.  The options are large, so that a term that is missing or twice
# there changes the result by far more than rounding does.
CASES = [("fedprox", "qv", 2, {"prox_mu": 1.0}), ("scaffold", "qv", 1, {}), ("feddyn", "qv", 1, {"feddyn_alpha": 5.0})]
SAMPLED = 2


def zeros(adapter):
    return {name: torch.zeros_like(w) for name, w in adapter.items()}


def apart(a, b):
    return {name: a[name] - b[name] for name in a}


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


class Federation:
    def __init__(self, model, initial, clients, plan):
        self.model, self.clients, self.plan = model, clients, plan
        self.w = {name: w.to(model.dtype).clone() for name, w in initial.items()}
        self.server = zeros(self.w)
        self.states = [zeros(self.w) for _ in clients]

    def batches(self, t, k):
        """-> (rows of the round, micro-batches)"""
        plan, size = self.plan, self.plan["batch_size"]
        rows = subsample(t, len(self.clients[k]), size * plan["gradient_accumulation_steps"] * plan["max_steps"])
        drawn = [self.clients[k][row] for row in rows]
        return rows, [drawn[i:i + size] for i in range(0, len(drawn), size)]

    def train_client(self, k, batches, lr):
        plan, hooks = self.plan, {}
        if plan["fed_alg"] == "fedprox":
            hooks["after_backward"] = prox_term(self.w, plan["prox_mu"])
        elif plan["fed_alg"] == "feddyn":
            hooks["after_backward"] = dyn_term(self.w, self.states[k], plan["feddyn_alpha"])
        elif plan["fed_alg"] == "scaffold":
            hooks["after_step"] = correction(apart(self.server, self.states[k]), lr)
        return train(self.model, self.w, batches, plan["gradient_accumulation_steps"], lr, **hooks)

    def aggregate(self, chosen, results, lr):
        plan, count, w = self.plan, len(self.clients), self.w
        sizes = [len(self.clients[k]) for k in chosen]
        mean = weighted_mean(results, [n / sum(sizes) for n in sizes])
        for name in w:
            moved = [y[name] - w[name] for y in results]
            if plan["fed_alg"] == "scaffold":
                for k, change in zip(chosen, moved):
                    shift = self.server[name] - self.states[k][name]
                    self.states[k][name] = -change / (plan["max_steps"] * lr) - shift
            elif plan["fed_alg"] == "feddyn":
                for k, change in zip(chosen, moved):
                    self.states[k][name] = self.states[k][name] - plan["feddyn_alpha"] * change
                self.server[name] = self.server[name] - plan["feddyn_alpha"] * sum(moved) / count
                mean[name] = w[name] + sum(moved) / len(moved) - self.server[name] / plan["feddyn_alpha"]
        self.w = mean

    def round(self, t):
        """-> record of the round"""
        random.seed(t)
        chosen = sorted(random.sample(range(len(self.clients)), SAMPLED))
        lr = cosine(t, self.plan["num_rounds"], self.plan["learning_rate"])
        old = [dict(state) for state in self.states]
        record = {"t": t, "lr": lr, "clients": chosen, "subsample": [], "client_losses": []}
        results = []
        for k in chosen:
            rows, batches = self.batches(t, k)
            result, losses, _ = self.train_client(k, batches, lr)
            results.append(result)
            record["subsample"].append(rows)
            record["client_losses"].append(sum(losses) / len(losses))
        self.aggregate(chosen, results, lr)
        if self.plan["fed_alg"] == "scaffold":
            for name in self.w:
                change = sum(self.states[k][name] - old[k][name] for k in chosen)
                self.server[name] = self.server[name] + change / len(self.clients)
        return record


def federate(model, initial, clients, plan):
    """-> (list of the global adapter after each round, list of round records, server state at the end)"""
    federation, adapters, records = Federation(model, initial, clients, plan), [], []
    for t in range(plan["num_rounds"]):
        records.append(federation.round(t))
        adapters.append(federation.w)
    return adapters, records, federation.server

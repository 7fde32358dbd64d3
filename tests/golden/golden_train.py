"""Local training and federated averaging, written out; the model comes as an object with `loss_and_grads`.

Tensors are dicts under PEFT's names in the model's precision, so the same code makes the fp32 files with
Transformers + PEFT and their double-precision twins with the hand-written decoder.
"""
import math
import random

import torch

BETA1, BETA2, EPS, MAX_GRAD_NORM = 0.9, 0.999, 1e-8, 1.0
LR_MIN = 1e-6


def mean_over_micro_batches(model, adapter, batches):
    """Mean of the micro-batches' mean losses, and its gradient."""
    total, summed = 0.0, {name: torch.zeros_like(w) for name, w in adapter.items()}
    for batch in batches:
        loss, grads = model.loss_and_grads(adapter, batch)
        total += loss / len(batches)
        for name, grad in grads.items():
            summed[name] += grad / len(batches)
    return total, summed


def clip(grads):
    """Scales all gradients to a global norm of at most 1; returns the norm before."""
    norm = torch.sqrt(sum((grad * grad).sum() for grad in grads.values())).item()
    factor = min(1.0, MAX_GRAD_NORM / (norm + 1e-6))
    for grad in grads.values():
        grad *= factor
    return norm


class AdamW:
    """The older Hugging Face form: eps is added to sqrt(v) before the bias correction; no weight decay."""

    def __init__(self, adapter):
        self.steps = 0
        self.m = {name: torch.zeros_like(w) for name, w in adapter.items()}
        self.v = {name: torch.zeros_like(w) for name, w in adapter.items()}

    def step(self, adapter, grads, lr):
        self.steps += 1
        size = lr * math.sqrt(1 - BETA2**self.steps) / (1 - BETA1**self.steps)
        for name, w in adapter.items():
            m, v, g = self.m[name], self.v[name], grads[name]
            m.mul_(BETA1).add_(g, alpha=1 - BETA1)
            v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            w -= size * m / (v.sqrt() + EPS)


def train(model, initial, batches, accum, lr, after_backward=None, after_step=None):
    """One optimizer step per `accum` micro-batches -> (adapter, loss of each step, grad norm of each step).

    after_backward(adapter, grads) adds a term's gradient and returns its value; after_step(adapter) edits weights.
    """
    adapter = {name: w.to(model.dtype).clone() for name, w in initial.items()}
    optimizer, losses, norms = AdamW(adapter), [], []
    for start in range(0, len(batches), accum):
        loss, grads = mean_over_micro_batches(model, adapter, batches[start:start + accum])
        if after_backward:
            loss += after_backward(adapter, grads)
        losses.append(loss)
        norms.append(clip(grads))
        optimizer.step(adapter, grads, lr)
        if after_step:
            after_step(adapter)
    return adapter, losses, norms


def cosine(t, rounds, lr0, lr_min=LR_MIN):
    """Learning rate of round t, counted from 0."""
    return lr_min + 0.5 * (lr0 - lr_min) * (1 + math.cos(math.pi * t / rounds))


def subsample(t, n, count):
    """Rows of a client with n samples that are used in round t, in draw order."""
    random.seed(t)
    return random.sample(range(n), count)


def weighted_mean(adapters, weights):
    return {name: sum(p * w[name] for p, w in zip(weights, adapters)) for name in adapters[0]}


def fed_round(model, adapter, clients, plan, t):
    """One round of FedAvg, all clients taking part -> (new adapter, reports of the clients)."""
    lr, size = cosine(t, plan["num_rounds"], plan["learning_rate"]), plan["batch_size"]
    reports, trained = [], []
    for k, samples in enumerate(clients):
        rows = subsample(t, len(samples), size * plan["gradient_accumulation_steps"] * plan["max_steps"])
        drawn = [samples[row] for row in rows]
        batches = [drawn[i:i + size] for i in range(0, len(drawn), size)]
        result, losses, _ = train(model, adapter, batches, plan["gradient_accumulation_steps"], lr)
        trained.append(result)
        reports.append({"client": k, "subsample": rows, "loss": sum(losses) / len(losses)})
    total = sum(len(samples) for samples in clients)
    return weighted_mean(trained, [len(samples) / total for samples in clients]), reports


def federate(model, initial, clients, plan):
    """-> (list of the global adapter after each round, list of the rounds' reports)."""
    adapter, adapters, rounds = initial, [], []
    for t in range(plan["num_rounds"]):
        adapter, reports = fed_round(model, adapter, clients, plan, t)
        adapters.append(adapter)
        rounds.append(reports)
    return adapters, rounds


def losses_of(rounds):
    return [report["loss"] for reports in rounds for report in reports]

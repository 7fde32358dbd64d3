#!/usr/bin/env python3
"""Makes the golden files of DPO: losses, rewards and LoRA gradients, optimiser steps, rounds of every algorithm.

    python3 make_dpo_golden.py              writes data/dpo_*
    python3 make_dpo_golden.py --check      makes them again and compares with the committed files
    python3 make_dpo_golden.py --noise      prints how far the rounds are from exact arithmetic
    python3 make_dpo_golden.py --trl        compares the losses with those of the installed TRL, where it has them

The base is data/model (make_golden.py); golden_dpo.py holds the losses. Everything runs in fp32 on one CPU thread.
"""
import argparse
import collections
import pathlib
import sys
import tempfile
import types
import warnings

import numpy
import torch
import transformers

import golden_fedtrain
from golden_dpo import DEFAULTS, DpoHand, DpoReference, awkward_pairs, log_probs, random_pairs, stack, tokenise
from golden_io import concat, difference, write_json, write_tensors
from golden_model import ALL, LORA_ALPHA, LORA_R, QV, initial_adapter, random_adapter
from golden_train import BETA1, BETA2, EPS, LR_MIN, MAX_GRAD_NORM, federate, losses_of, train

HERE = pathlib.Path(__file__).resolve().parent
SEED, TOLERANCE = 6007, 1e-4
STEPS_SEED = 6029  # of 31 the one with the least rounding in Adam's small gradients
LOSSES = ["dpo", "cdpo", "ipo"]
STEPS, MICRO_BATCH, LEARNING_RATE = 10, 4, 1e-3
BETA = 0.15  # of steps and rounds: some of the steps are clipped
CLIENT_SIZES = [9, 12, 17]
NAMES = [f"dpo_loss_{loss}" for loss in LOSSES] + ["dpo_steps", "dpo_fed", "fedtrain_dpo"]
FILES = [f"{name}.{kind}" for name in NAMES for kind in ("json", "safetensors")]


def lora_config(targets):
    return {"r": LORA_R, "lora_alpha": LORA_ALPHA, "target_modules": targets, "lora_dropout": 0.0}


def optimizer_config():
    return {"beta1": BETA1, "beta2": BETA2, "eps": EPS, "weight_decay": 0.0, "max_grad_norm": MAX_GRAD_NORM}


def make_loss(out, loss):
    """Loss, rewards and gradients of one batch, the adapter in the middle of training."""
    rules, batch = {**DEFAULTS, "loss": loss}, awkward_pairs(numpy.random.default_rng(SEED))
    model = DpoReference(HERE / "data/model", ALL, rules)
    adapter = random_adapter(model.shapes(), SEED + 1)
    value, h, policy, reference = model.compare(adapter, batch)
    _, grads = model.loss_and_grads(adapter, batch)
    rewards = [rules["beta"] * row for row in (policy - reference).detach().chunk(2)]
    assert 0 < (h > 0).sum() < len(batch), "pairs of both orders"
    write_tensors(out / f"dpo_loss_{loss}.safetensors", adapter=adapter, grad=grads)
    write_json(out / f"dpo_loss_{loss}.json", {
        "lora": lora_config(ALL), "optimizer": optimizer_config(), "dpo": rules, "loss": value.item(),
        "h": h.tolist(), "logps": policy.tolist(), "reference_logps": reference.tolist(),
        "rewards_chosen": rewards[0].tolist(), "rewards_rejected": rewards[1].tolist(), "pairs": batch,
        "sequences": [[{key: row[key] for key in ("ids", "mask")} for row in tokenise(pair, rules)]
                      for pair in batch]})
    print(f"dpo_loss_{loss}: {value.item():.6f}, gradient norm {concat(grads).norm().item():.4f}")


def make_steps(out):
    """Ten steps from a fresh adapter; short and long pairs in turn."""
    rules, stream = {**DEFAULTS, "beta": BETA}, numpy.random.default_rng(STEPS_SEED)
    model = DpoReference(HERE / "data/model", ALL, rules)
    batches = [random_pairs(stream, MICRO_BATCH, *((4, 6) if step % 2 else (10, 16))) for step in range(STEPS)]
    initial = initial_adapter(model.shapes(), STEPS_SEED + 1)
    final, losses, norms = train(model, initial, batches, 1, LEARNING_RATE)
    assert 0 < sum(norm > MAX_GRAD_NORM for norm in norms) < STEPS, norms
    write_tensors(out / "dpo_steps.safetensors", adapter=initial, final=final)
    write_json(out / "dpo_steps.json", {
        "lora": lora_config(ALL), "optimizer": optimizer_config(), "dpo": rules, "learning_rate": LEARNING_RATE,
        "gradient_accumulation_steps": 1, "losses": losses, "grad_norms": norms, "batches": batches})
    print(f"dpo_steps: losses {losses[0]:.4f} .. {losses[-1]:.4f}, norms", *(f"{norm:.3f}" for norm in norms))


def make_fed(out):
    """Three rounds of FedAvg with all clients."""
    rules = {**DEFAULTS, "beta": BETA}
    model, stream = DpoReference(HERE / "data/model", QV, rules), numpy.random.default_rng(SEED + 4)
    plan = {"num_rounds": 3, "batch_size": 2, "gradient_accumulation_steps": 1, "max_steps": 4,
            "learning_rate": LEARNING_RATE, "lr_min": LR_MIN}
    clients, initial = [random_pairs(stream, n) for n in CLIENT_SIZES], initial_adapter(model.shapes(), SEED + 5)
    adapters, rounds = federate(model, initial, clients, plan)
    groups = {f"round{i + 1}": adapter for i, adapter in enumerate(adapters)}
    write_tensors(out / "dpo_fed.safetensors", adapter=initial, **groups)
    write_json(out / "dpo_fed.json", {
        "lora": lora_config(QV), "optimizer": optimizer_config(), "dpo": rules, "plan": plan, "rounds": rounds,
        "clients": [{"n": len(pairs), "samples": pairs} for pairs in clients]})
    print(f"dpo_fed: losses", *(f"{loss:.4f}" for loss in losses_of(rounds)))


def make_fed_train(out):
    """Three rounds of every algorithm, two of four clients in each."""
    rules = {**DEFAULTS, "beta": BETA}
    model = DpoReference(HERE / "data/model", golden_fedtrain.TARGETS, rules)
    stream = numpy.random.default_rng(SEED + 6)
    clients = [random_pairs(stream, n) for n in golden_fedtrain.CLIENT_SIZES]
    golden_fedtrain.write(out, "fedtrain_dpo", model, initial_adapter(model.shapes(), SEED + 7), clients, {
        "lora": lora_config(golden_fedtrain.TARGETS), "optimizer": optimizer_config(), "dpo": rules})


def noise(data):
    """As make_golden.py --noise, for fedtrain_dpo."""
    rules, scale = {**DEFAULTS, "beta": BETA}, LORA_ALPHA / LORA_R
    exact, second = (golden_fedtrain.noise(DpoHand(data / "model", scale, rules, dtype), data, "fedtrain_dpo")
                     for dtype in (torch.float64, torch.float32))
    print("| all together / worst tensor | against double precision | against fp32, unpadded |\n|---|---|---|")
    for label in exact:
        print(f"| {label} | {exact[label]} | {second[label]} |")


def make_all(out):
    for loss in LOSSES:
        make_loss(out, loss)
    make_steps(out)
    make_fed(out)
    make_fed_train(out)
    for name in FILES:
        (out / name).chmod(0o644)  # the writer leaves tensors readable by the owner alone


def trl_loss(model, batch, reference, kind):
    """The loss of trl.DPOTrainer for the same model and reference, without the trainer around it."""
    from trl import DPOTrainer
    inputs = stack(batch, model.rules)

    def forward(**_):
        logits = model.model(input_ids=inputs["ids"], attention_mask=inputs["mask"]).logits
        each, _ = log_probs(logits, inputs["labels"])
        zeros = torch.zeros_like(each)
        return types.SimpleNamespace(log_probs=each, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())

    trainer = object.__new__(DPOTrainer)
    same = types.SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    trainer.__dict__.update(
        model=model.model, accelerator=same, aux_loss_enabled=False, ld_alpha=None, precompute_ref_logps=True,
        f_divergence_type="reverse_kl", loss_types=[kind], loss_weights=[1.0], beta=model.rules["beta"],
        use_weighting=False, _total_train_tokens=0, _tp_size=1, label_smoothing=0.0,
        _metrics={"train": collections.defaultdict(list)})
    chosen, rejected = reference.chunk(2)
    return trainer._compute_loss(forward, {
        "input_ids": inputs["ids"], "attention_mask": inputs["mask"],
        "completion_mask": (inputs["labels"] >= 0).long(), "ref_chosen_logps": chosen,
        "ref_rejected_logps": rejected}, False).item()


def compare_with_trl():
    """dpo and ipo are TRL's to this day; its label smoothing has become another loss ("robust")."""
    for loss, kind in [("dpo", "sigmoid"), ("ipo", "ipo")]:
        model = DpoReference(HERE / "data/model", ALL, {**DEFAULTS, "loss": loss})
        batch = awkward_pairs(numpy.random.default_rng(SEED))
        value, _, _, reference = model.compare(random_adapter(model.shapes(), SEED + 1), batch)
        theirs = trl_loss(model, batch, reference, kind)
        print(f"{loss}: {value.item():.9f}, TRL {theirs:.9f}")
        if abs(theirs / value.item() - 1) > 1e-6:
            return False
    return True


def check():
    with tempfile.TemporaryDirectory() as folder:
        make_all(pathlib.Path(folder))
        worst = max(difference(HERE / "data" / name, pathlib.Path(folder) / name) for name in FILES)
    print(f"{worst:10.3g}  largest relative difference")
    return worst < TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="make again elsewhere and compare")
    parser.add_argument("--noise", action="store_true", help="print the fp32 error table")
    parser.add_argument("--trl", action="store_true", help="compare with the installed TRL")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    if options.trl:
        return 0 if compare_with_trl() else 1
    if options.noise:
        noise(HERE / "data")
        return 0
    if options.check:
        return 0 if check() else 1
    make_all(HERE / "data")
    return 0


if __name__ == "__main__":
    sys.exit(main())

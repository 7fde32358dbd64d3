#!/usr/bin/env python3
"""Makes the golden files that the C tests replay.

Needs PyTorch, Transformers, PEFT, safetensors, tokenizers and NumPy (versions used: data/MADE_WITH).
Everything runs in fp32 on one CPU thread and is seeded.

    python3 make_golden.py              writes into the folder data/ beside this script
    python3 make_golden.py --out DIR    writes elsewhere
    python3 make_golden.py --check      makes everything again and compares with the committed files
    python3 make_golden.py --noise      prints how far fp32 is from exact arithmetic, as a table

README.md says what each file holds.
"""
import argparse
import pathlib
import platform
import sys
import tempfile
import warnings

import numpy
import peft
import safetensors
import tokenizers
import torch
import transformers
from safetensors.torch import load_file

import golden_fedalg
import golden_fedtrain
import golden_lora
import golden_sft
from golden_hand import HandModel
from golden_io import concat, difference, relative, write_json, write_tensors
from golden_model import (ALL, LORA_ALPHA, LORA_R, MODEL_SEED, QV, SHARDED_SEED, PeftReference, initial_adapter,
                          load_base, make_model, make_sharded_model, random_adapter, random_sequence, real_logits)
from golden_rng import make_rng
from golden_train import BETA1, BETA2, EPS, LR_MIN, MAX_GRAD_NORM, federate, train

HERE = pathlib.Path(__file__).resolve().parent
TARGETS = {"qv": QV, "all": ALL}
# Ranks and alphas of single modules.  Several expressions fit layer 1's q_proj; the first one counts.
PATTERNS = {"rank_pattern": {r"layers\.1\.self_attn\.q_proj": 2, "q_proj": 6, r"mlp\.(gate|up)_proj": 3},
            "alpha_pattern": {r"layers\.[02]\.self_attn\.v_proj": 5, "(q|v)_proj": 10}}
SEEDS = {"model": MODEL_SEED, "model_sharded": SHARDED_SEED, "forward": 2001, "steps": 3031, "fed": 4079,
         "sft": golden_sft.SEED}
LEARNING_RATE, STEPS, MICRO_BATCH = 1e-3, 10, 4
STEP_CASES = [("steps_qv", "qv", 1), ("steps_all", "all", 1), ("steps_all_accum2", "all", 2)]
FED_CASES = [("fed_qv", "qv", 1), ("fed_all", "all", 1), ("fed_all_accum2", "all", 2)]
CLIENT_SIZES = [9, 12, 17]
OTHERS = {"generate"}  # files in data/ that another script makes
TOLERANCE = 1e-4  # of --check: another processor sums in another order


def lora_config(kind):
    return {"r": LORA_R, "lora_alpha": LORA_ALPHA, "target_modules": TARGETS.get(kind, ALL), "lora_dropout": 0.0}


def optimizer_config():
    return {"beta1": BETA1, "beta2": BETA2, "eps": EPS, "weight_decay": 0.0, "max_grad_norm": MAX_GRAD_NORM}


def forward_batch():
    """Four sequences: one ordinary, one of length 1, one without a target, one ordinary."""
    stream = numpy.random.default_rng(SEEDS["forward"])
    return [random_sequence(stream, length, prompt) for length, prompt in [(23, 8), (1, 0), (9, 9), (17, 5)]]


def random_samples(stream, count, shortest=6, longest=30):
    """Sequences of 6 to 30 ids, a third to a half of each masked."""
    lengths = [int(n) for n in stream.integers(shortest, longest + 1, count)]
    return [random_sequence(stream, n, int(stream.integers(n // 3, n // 2 + 1))) for n in lengths]


def random_batches(stream, accum):
    """Micro-batches of four; steps of short and of long sequences in turn, so that gradient norms vary."""
    spans = [(6, 8) if step % 2 == 0 else (22, 30) for step in range(STEPS) for _ in range(accum)]
    return [random_samples(stream, MICRO_BATCH, *span) for span in spans]


def random_clients(stream):
    return [random_samples(stream, n) for n in CLIENT_SIZES]


def hand_model(folder, dtype=torch.float64):
    return HandModel(folder, LORA_ALPHA / LORA_R, dtype)


def verify_forward(name, hand, adapter, batch, logits, loss, grads):
    """The padded batch must equal the hand computation sequence by sequence in double precision."""
    exact_loss, exact_grads = hand.loss_and_grads(adapter, batch)
    assert relative(logits, hand.batch_logits(adapter, batch)) < 1e-5, name
    assert abs(loss / exact_loss - 1) < 1e-5, name
    for tensor, grad in grads.items():
        assert relative(grad, exact_grads[tensor]) < 1e-4, (name, tensor)


def pattern_scale(module, rank):
    """The scale that PATTERNS mean, without PEFT's rules."""
    if module.endswith("v_proj") and ".1." not in module:
        return 5 / rank
    return (10 if module.endswith(("q_proj", "v_proj")) else LORA_ALPHA) / rank


def make_forward(out, kind, more=None, scale=LORA_ALPHA / LORA_R):
    """Logits, loss and gradients of one padded batch."""
    name, batch, more = f"forward_{kind}", forward_batch(), more or {}
    model = PeftReference(out / "model", TARGETS.get(kind, ALL), **more)
    hand = HandModel(out / "model", scale, torch.float64)
    adapter = random_adapter(model.shapes(), SEEDS["forward"] + 1)
    loss, grads = model.loss_and_grads(adapter, batch)
    logits = model.batch_logits(adapter, batch)
    verify_forward(name, hand, adapter, batch, logits, loss, grads)
    sums = [hand.nll(s, {n: w.double() for n, w in adapter.items()}) for s in batch]
    write_tensors(out / f"{name}.safetensors", adapter=adapter, grad=grads, logits=logits)
    write_json(out / f"{name}.json", {
        "lora": {**lora_config(kind), **more}, "loss": loss, "grad_norm": concat(grads).norm().item(),
        "nll_sum": [float(s) for s, _ in sums], "n_targets": [n for _, n in sums], "sequences": batch})
    print(f"{name}: loss {loss:.6f}, gradient norm {concat(grads).norm().item():.4f}")


def verify_clipping(name, norms):
    """A run must hold steps with and without clipping, none of them close to the edge."""
    clipped = sum(norm > MAX_GRAD_NORM for norm in norms)
    assert 0 < clipped < len(norms), (name, norms)
    assert min(abs(norm - MAX_GRAD_NORM) for norm in norms) > 1e-3, (name, norms)


def make_steps(out, name, kind, accum):
    """Ten optimizer steps from a fresh adapter."""
    model = PeftReference(out / "model", TARGETS[kind])
    batches = random_batches(numpy.random.default_rng(SEEDS["steps"] + accum), accum)
    initial = initial_adapter(model.shapes(), SEEDS["steps"])
    final, losses, norms = train(model, initial, batches, accum, LEARNING_RATE)
    print(f"{name}: losses {losses[0]:.4f} .. {losses[-1]:.4f}, norms", *(f"{norm:.3f}" for norm in norms))
    verify_clipping(name, norms)
    write_tensors(out / f"{name}.safetensors", adapter=initial, final=final)
    write_json(out / f"{name}.json", {
        "lora": lora_config(kind), "optimizer": optimizer_config(), "learning_rate": LEARNING_RATE,
        "gradient_accumulation_steps": accum, "losses": losses, "grad_norms": norms, "batches": batches})


def fed_plan(accum):
    return {"num_rounds": 3, "batch_size": 2, "gradient_accumulation_steps": accum, "max_steps": 4 // accum,
            "learning_rate": LEARNING_RATE, "lr_min": LR_MIN}


def make_fed(out, name, kind, accum):
    """Three rounds of FedAvg with three clients of unequal size."""
    model, plan = PeftReference(out / "model", TARGETS[kind]), fed_plan(accum)
    clients = random_clients(numpy.random.default_rng(SEEDS["fed"]))
    initial = initial_adapter(model.shapes(), SEEDS["fed"])
    adapters, rounds = federate(model, initial, clients, plan)
    groups = {f"round{i + 1}": adapter for i, adapter in enumerate(adapters)}
    write_tensors(out / f"{name}.safetensors", adapter=initial, **groups)
    write_json(out / f"{name}.json", {
        "lora": lora_config(kind), "optimizer": optimizer_config(), "plan": plan, "rounds": rounds,
        "clients": [{"n": len(samples), "samples": samples} for samples in clients]})
    for record in rounds:
        print(f"{name}: round {record['t'] + 1} losses", *(f"{loss:.4f}" for loss in record["client_losses"]))


def make_fed_train(out, alg, kind, accum, options):
    """Three rounds of an algorithm that changes local training, two of three clients in each."""
    name, model = f"fed_{alg}", PeftReference(out / "model", TARGETS[kind])
    plan = {**fed_plan(accum), "fed_alg": alg, "sample_clients": golden_fedtrain.SAMPLED, **options}
    clients = random_clients(numpy.random.default_rng(SEEDS["fed"]))
    initial = initial_adapter(model.shapes(), SEEDS["fed"])
    adapters, rounds, server = golden_fedtrain.federate(model, initial, clients, plan)
    groups = {f"round{i + 1}": adapter for i, adapter in enumerate(adapters)}
    write_tensors(out / f"{name}.safetensors", adapter=initial, server=server, **groups)
    write_json(out / f"{name}.json", {
        "lora": lora_config(kind), "optimizer": optimizer_config(), "plan": plan, "rounds": rounds,
        "clients": [{"n": len(samples), "samples": samples} for samples in clients]})
    for record in rounds:
        print(f"{name}: round {record['t'] + 1} losses", *(f"{loss:.4f}" for loss in record["client_losses"]))


def make_sharded(out):
    """The sharded bf16 model and its logits, computed in fp32."""
    make_sharded_model(out / "model_sharded")
    stream = numpy.random.default_rng(SEEDS["model_sharded"])
    batch = [random_sequence(stream, length, 0) for length in (19, 12, 5)]
    logits = real_logits(load_base(out / "model_sharded"), batch)
    assert relative(logits, hand_model(out / "model_sharded").batch_logits({}, batch)) < 1e-5
    write_tensors(out / "model_sharded_logits.safetensors", logits=logits)
    write_json(out / "model_sharded_logits.json", {"sequences": [{"ids": s["ids"]} for s in batch]})


def write_made_with(out):
    modules = [torch, transformers, peft, safetensors, tokenizers, numpy]
    lines = [f"python {platform.python_version()}"] + [f"{m.__name__} {m.__version__}" for m in modules]
    lines += [f"machine {platform.machine()}, torch {torch.backends.cpu.get_cpu_capability()}, 1 thread"]
    lines += [f"seed {name} {seed}" for name, seed in SEEDS.items()]
    (out / "MADE_WITH").write_text("\n".join(lines) + "\n")


def make_all(out):
    """Writes every golden file below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    make_model(out / "model")
    make_sharded(out)
    for kind in TARGETS:
        make_forward(out, kind)
    make_forward(out, "patterns", PATTERNS, pattern_scale)
    for case in STEP_CASES:
        make_steps(out, *case)
    for case in FED_CASES:
        make_fed(out, *case)
    for case in golden_fedtrain.CASES:
        make_fed_train(out, *case)
    write_json(out / "fed_algorithms.json", golden_fedalg.make_cases())
    write_json(out / "fed_lora.json", golden_lora.make_cases())
    write_json(out / "rng.json", make_rng())
    golden_sft.make_sft(out)
    write_made_with(out)
    for path in out.rglob("*.safetensors"):  # the writer leaves them readable by the owner alone
        path.chmod(0o644)


def check(committed):
    """Compares a fresh set with the committed one, file by file; True when all agree."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        fresh = pathlib.Path(folder)
        make_all(fresh)
        names = {p.relative_to(root) for root in (fresh, committed) for p in root.rglob("*")
                 if p.suffix and p.stem not in OTHERS and not p.stem.startswith("dpo_")}
        for name in sorted(names):
            apart = difference(committed / name, fresh / name)
            worst = max(worst, apart)
            print(f"{apart:10.3g}  {name}")
    print(f"{worst:10.3g}  largest relative difference")
    return worst < TOLERANCE


def moved(adapter, initial):
    return {name: w.double() - initial[name].double() for name, w in adapter.items()}


def group(tensors, prefix):
    return {name[len(prefix) + 1:]: w for name, w in tensors.items() if name.startswith(prefix + ".")}


def apart(golden, again):
    """Relative L2 difference of all tensors together, and of the worst single tensor, as text."""
    single = max(relative(golden[name], again[name]) for name in golden)
    return f"{relative(concat(golden), concat(again)):.1e} / {single:.1e}"


def apart_list(golden, again):
    return f"{relative(torch.tensor(golden), torch.tensor(again)):.1e}"


def noise_run(label, initial, golden, again):
    return {f"{label}: adapter": apart(golden, again),
            f"{label}: adapter - initial": apart(moved(golden, initial), moved(again, initial))}


def noise_forward(data, hand, kind):
    tensors, batch = load_file(data / f"forward_{kind}.safetensors"), forward_batch()
    adapter = group(tensors, "adapter")
    _, grads = hand.loss_and_grads(adapter, batch)
    logits = hand.batch_logits(adapter, batch)
    return {f"forward_{kind}: logits": f"{relative(tensors['logits'], logits):.1e}",
            f"forward_{kind}: gradients": apart(group(tensors, "grad"), grads)}


def noise_steps(data, hand, name, accum):
    tensors, stored = load_file(data / f"{name}.safetensors"), golden_sft.read_json(data / f"{name}.json")
    initial = group(tensors, "adapter")
    final, losses, norms = train(hand, initial, stored["batches"], accum, LEARNING_RATE)
    return {f"{name}: losses": apart_list(stored["losses"], losses),
            f"{name}: gradient norms": apart_list(stored["grad_norms"], norms),
            **noise_run(name, initial, group(tensors, "final"), final)}


def noise_fed(data, hand, name):
    tensors, stored = load_file(data / f"{name}.safetensors"), golden_sft.read_json(data / f"{name}.json")
    initial = group(tensors, "adapter")
    adapters, rounds = federate(hand, initial, [c["samples"] for c in stored["clients"]], stored["plan"])
    golden, again = ([r["client_losses"] for r in records] for records in (stored["rounds"], rounds))
    cells = {f"{name}: client losses": apart_list(golden, again)}
    for i, adapter in enumerate(adapters, 1):
        cells.update(noise_run(f"{name}: round {i}", initial, group(tensors, f"round{i}"), adapter))
    return cells


def noise_fed_train(data, hand, alg):
    name = f"fed_{alg}"
    tensors, stored = load_file(data / f"{name}.safetensors"), golden_sft.read_json(data / f"{name}.json")
    initial, samples = group(tensors, "adapter"), [c["samples"] for c in stored["clients"]]
    adapters, rounds, server = golden_fedtrain.federate(hand, initial, samples, stored["plan"])
    golden, again = ([x for r in records for x in r["client_losses"]] for records in (stored["rounds"], rounds))
    cells = {f"{name}: client losses": apart_list(golden, again)}
    for i, adapter in enumerate(adapters, 1):
        cells.update(noise_run(f"{name}: round {i}", initial, group(tensors, f"round{i}"), adapter))
    if alg != "fedprox":
        cells[f"{name}: server state"] = apart(group(tensors, "server"), server)
    return cells


def replay(data, dtype):
    """Every committed case again with the hand-written decoder -> label: difference."""
    hand, cells = hand_model(data / "model", dtype), {}
    for kind in TARGETS:
        cells.update(noise_forward(data, hand, kind))
    for name, _, accum in STEP_CASES:
        cells.update(noise_steps(data, hand, name, accum))
    for name, _, _ in FED_CASES:
        cells.update(noise_fed(data, hand, name))
    for alg, *_ in golden_fedtrain.CASES:
        cells.update(noise_fed_train(data, hand, alg))
    return cells


def noise(data):
    """Prints how far the golden files are from exact arithmetic, and from a second fp32 implementation."""
    exact, second = replay(data, torch.float64), replay(data, torch.float32)
    print("| all together / worst tensor | against double precision | against fp32, unpadded |\n|---|---|---|")
    for label in exact:
        print(f"| {label} | {exact[label]} | {second[label]} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "data", help="folder of the golden files")
    parser.add_argument("--check", action="store_true", help="make again elsewhere and compare")
    parser.add_argument("--noise", action="store_true", help="print the fp32 error table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    if options.noise:
        noise(options.out)
    elif options.check:
        return 0 if check(options.out) else 1
    else:
        make_all(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The peer of tests/bench/bench_train.c: the same optimiser steps with PyTorch, Transformers, PEFT.

    python bench_train_peer.py [options] FOLDER...

FOLDER: what `bench_train --export` wrote for a workload: settings, token ids, the adapter that
training starts from.  Prints a JSON object per workload.  The best mode that needs no further
library: the base in bf16 (int8 and NF4 through bitsandbytes where that is installed), adapters in
bf16, SDPA attention without a mask (padding stands on the right, where causal attention does not
see it), fused AdamW, no checkpointing unless memory asks for it; of preferences the reference's
log-probabilities are computed before the clock starts, and logits for answers only.  On the CPU
everything is fp32.
"""
import argparse
import gc
import importlib.util
import json
import pathlib
import statistics
import subprocess
import sys
import time

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

IGNORE = -100


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--losses", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--least_steps", type=int, default=5)
    parser.add_argument("--most_steps", type=int, default=20)
    parser.add_argument("--compile", action="store_true", help="torch.compile, which takes minutes")
    return parser.parse_args()


# ---- data


def pad(rows, value, device):
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows], device=device)


def sft_batch(rows, device):
    labels = [[IGNORE] * row["prompt"] + row["ids"][row["prompt"]:] for row in rows]
    return {"ids": pad([row["ids"] for row in rows], 0, device), "labels": pad(labels, IGNORE, device),
            "tokens": sum(len(row["ids"]) for row in rows)}


def dpo_batch(rows, device):
    pairs = [(row["prompt"], row[part]) for part in ("chosen", "rejected") for row in rows]
    ids = [prompt + answer for prompt, answer in pairs]
    labels = [[IGNORE] * len(prompt) + answer for prompt, answer in pairs]
    return {"ids": pad(ids, 0, device), "labels": pad(labels, IGNORE, device),
            "first": min(len(prompt) for prompt, _ in pairs), "tokens": sum(map(len, ids))}


# ---- losses


def sft_loss(model, batch, _):
    return model(input_ids=batch["ids"], labels=batch["labels"], use_cache=False).loss


def answer_logps(model, batch):
    """Summed log-probabilities of the answers: of all chosen, then of all rejected."""
    keep = batch["ids"].shape[1] - batch["first"] + 1
    logits = model(input_ids=batch["ids"], use_cache=False, logits_to_keep=keep).logits[:, :-1]
    labels = batch["labels"][:, batch["first"]:]
    counted = labels != IGNORE
    chosen = logits.gather(2, labels.clamp(min=0).unsqueeze(2)).squeeze(2).float()
    return ((chosen - logits.float().logsumexp(2)) * counted).sum(1)


def dpo_loss(model, batch, settings):
    gain = answer_logps(model, batch) - batch["reference"]
    half = len(gain) // 2
    return -torch.nn.functional.logsigmoid(settings["beta"] * (gain[:half] - gain[half:])).mean()


def add_reference(model, batches):
    with torch.no_grad(), model.disable_adapter():
        for batch in batches:
            batch["reference"] = answer_logps(model, batch)


OBJECTIVES = {"sft": (sft_batch, sft_loss), "dpo": (dpo_batch, dpo_loss)}


# ---- models


def base_kind(settings, device):
    """How the base is kept: as the workload says where bitsandbytes is there, else in bf16."""
    if device == "cpu":
        return "float32"
    if settings["base"] != "bfloat16" and importlib.util.find_spec("bitsandbytes"):
        return settings["base"]
    return "bfloat16"


def quantisation(kind):
    """Arguments of from_pretrained; made only where bitsandbytes is, which the class asks for."""
    if kind == "int8":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    if kind == "nf4":
        return {"quantization_config": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16)}
    return {}


def load_base(folder, kind, device):
    dtype = torch.float32 if kind == "float32" else torch.bfloat16
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="sdpa", device_map={"": device},
        **quantisation(kind))


# ---- steps


def run_steps(model, batches, settings, loss_of):
    """Losses and the times at which the steps ended, in seconds; a fresh AdamW, as a client has."""
    params = [p for p in model.parameters() if p.requires_grad]
    on_device = params[0].is_cuda
    optimizer = torch.optim.AdamW(params, lr=settings["learning_rate"], weight_decay=0.0,
                                  fused=on_device)
    losses, ends = [], []
    for batch in batches:
        loss = loss_of(model, batch, settings)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, settings["max_grad_norm"])
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        if on_device:
            ends.append(torch.cuda.Event(enable_timing=True))
            ends[-1].record()
        else:
            ends.append(time.perf_counter())
    if on_device:
        torch.cuda.synchronize()
        ends = [ends[0].elapsed_time(end) * 1e-3 for end in ends]
    return [float(loss) for loss in losses], ends


def device_bytes():
    query = ["nvidia-smi", "-i", "0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        return int(answer.split()[0]) * 1048576
    except (OSError, ValueError, IndexError, subprocess.CalledProcessError):
        return 0


def measure(model, settings, args):
    make_batch, loss_of = OBJECTIVES[settings["objective"]]
    size, rows = settings["batch"], settings["data"]
    batches = [make_batch(rows[i:i + size], args.device) for i in range(0, len(rows), size)]
    if settings["objective"] == "dpo":
        add_reference(model, batches)
    if args.compile:
        model = torch.compile(model)
    losses, ends = run_steps(model, batches[:args.losses], settings, loss_of)
    step = ends[-1] - ends[-2] if len(ends) > 1 else 0
    wanted = args.seconds / step if step > 0 else args.most_steps
    steps = int(max(args.least_steps, min(args.most_steps, wanted)))
    _, ends = run_steps(model, batches[:steps + 1], settings, loss_of)
    ms = sorted(1e3 * (b - a) for a, b in zip(ends, ends[1:]))
    seconds = ends[-1] - ends[0]
    tokens = sum(batch["tokens"] for batch in batches[1:steps + 1])
    return {"steps": steps, "ms": statistics.median(ms),
            "ms_quartiles": [ms[steps // 4], ms[3 * steps // 4]], "seconds": seconds,
            "tokens": tokens, "tokens_per_s": tokens / seconds,
            "device_bytes": device_bytes() if args.device != "cpu" else 0, "losses": losses}


def with_adapter(base, folder):
    model = PeftModel.from_pretrained(base, folder / "adapter", is_trainable=True,
                                      autocast_adapter_dtype=False)
    return model.train()


def forget():
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def run_workload(base, folder, settings, args):
    """As fast as memory allows: without checkpointing, and with it where that fails."""
    for checkpointing in (False, True):
        model = with_adapter(base, folder)
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            return measure(model, settings, args) | {"checkpointing": checkpointing}
        except torch.OutOfMemoryError as error:
            if checkpointing:
                return {"error": str(error).splitlines()[0]}
        finally:
            model.unload()
            if checkpointing:
                base.gradient_checkpointing_disable()
            forget()
    return {}


def main():
    args = arguments()
    torch.manual_seed(0)
    base, held, fine = None, None, True
    for folder in args.folders:
        settings = json.loads((folder / "workload.json").read_text())
        kind = base_kind(settings, args.device)
        if held != (settings["model"], kind):
            base = None
            forget()
            base, held = load_base(settings["model"], kind, args.device), (settings["model"], kind)
        mode = "compiled" if args.compile else "eager"
        figures = run_workload(base, folder, settings, args)
        fine = fine and "error" not in figures
        print(json.dumps({"side": "peer", "workload": settings["workload"], "base": kind,
                          "mode": mode} | figures), flush=True)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())

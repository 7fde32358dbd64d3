#!/usr/bin/env python3
"""Checks that Transformers loads a folder that fedllm_merge wrote and computes what PEFT computes.

    python3 check_merge.py BASE_DIR ADAPTER_DIR MERGED_DIR [--record]

ADAPTER_DIR is `none` for a folder in which only the element type changed. Compared are the logits of 64 ids, in fp32 on
the CPU. Where the merged weights are fp32 the reference is PeftModel as it is; where they are narrower it is PEFT's
own merge in fp32, rounded once to that type. Exit code 0 when the relative L2 difference is at most 1e-5, 1 when it is
larger, 2 when an input cannot be used. --record adds a line to RESULTS.md beside this script.
"""
import argparse
import datetime
import json
import pathlib
import sys
import warnings

import peft
import torch
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM

LIMIT = 1e-5
RESULTS = pathlib.Path(__file__).resolve().parent / "RESULTS.md"
HEADING = """
# Folders written by fedllm_merge, loaded by Transformers

One line per run of `check_merge.py --record`: relative L2 difference of the logits from PEFT's (limit 1e-5).

| date | base | adapter | dtype | shards | difference | verdict | versions |
|---|---|---|---|---|---|---|---|
"""


def load(folder, dtype=torch.float32):
    """strict: a tensor that is missing or too many in the files is an error."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager",
                                                       output_loading_info=True)
    faults = [f"{kind}: {sorted(info[kind])[:3]}" for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
              if info[kind]]
    if faults:
        raise ValueError(f"{folder}: {'; '.join(faults)}")
    return model.eval()


def reference(base, adapter, dtype):
    model = load(base)
    if adapter != "none":
        model = PeftModel.from_pretrained(model, adapter).eval()
        if dtype != torch.float32:
            model = model.merge_and_unload()
    for weight in model.parameters() if dtype != torch.float32 else ():
        weight.data = weight.data.to(dtype).float()  # not model.to(): that would round the rope table too
    return model


def logits(model, count=64):
    ids = torch.randint(3, model.config.vocab_size, (1, count), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(input_ids=ids).logits[0].double()


def check(options):
    """-> relative difference, dtype of the merged weights, number of shards."""
    dtype = load(options.merged, dtype="auto").dtype
    config = json.loads((pathlib.Path(options.merged) / "config.json").read_text())
    said = config.get("dtype") or config.get("torch_dtype")
    if said and said != str(dtype).removeprefix("torch."):
        raise ValueError(f"config.json says {said}, the weights are {dtype}")
    ours = logits(load(options.merged))
    theirs = logits(reference(options.base, options.adapter, dtype))
    value = ((ours - theirs).norm() / theirs.norm()).item()
    shards = len(list(pathlib.Path(options.merged).glob("*.safetensors")))
    return value if value == value else float("inf"), str(dtype).removeprefix("torch."), shards


def record(options, value, dtype, shards):
    if HEADING.splitlines()[1] not in (RESULTS.read_text() if RESULTS.exists() else ""):
        with RESULTS.open("a") as out:
            out.write(HEADING)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
    names = " | ".join("none" if p == "none" else pathlib.Path(p).resolve().name
                       for p in (options.base, options.adapter))
    verdict = "equal" if value <= LIMIT else "DIFFERENT"
    with RESULTS.open("a") as out:
        out.write(f"| {datetime.date.today()} | {names} | {dtype} | {shards} | {value:.2e} | {verdict} "
                  f"| {versions} |\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="folder of the base model")
    parser.add_argument("adapter", help="folder of the adapter, or none")
    parser.add_argument("merged", help="folder that fedllm_merge wrote")
    parser.add_argument("--record", action="store_true", help="add a line to RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    try:
        value, dtype, shards = check(options)
    except Exception as problem:  # whatever keeps Transformers from loading the files is the finding
        print(f"check_merge: {type(problem).__name__}: {problem}", file=sys.stderr)
        return 2
    print(f"relative L2 difference {value:.3e}, {dtype}, {shards} shards, limit {LIMIT:g}")
    if options.record:
        record(options, value, dtype, shards)
    return 0 if value <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())

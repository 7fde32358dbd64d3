#!/usr/bin/env python3
"""Checks that PEFT loads an adapter that fedllm wrote and computes the same logits.

    python3 check_adapter.py BASE_DIR ADAPTER_DIR LOGITS.safetensors [--record]

LOGITS.safetensors is written by the C side: `ids` [T] int32 or int64 and `logits` [T,V] float32, the logits of base
plus adapter at every position of that one sequence. Prints the relative L2 difference. Exit code 0 when it is at most
1e-5, 1 when it is larger, 2 when an input cannot be used. --record adds a line to RESULTS.md beside this script.
"""
import argparse
import datetime
import pathlib
import sys
import warnings

import peft
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

LIMIT = 1e-5
RESULTS = pathlib.Path(__file__).resolve().parent / "RESULTS.md"
HEADING = """# Adapters written by fedllm, loaded by PEFT

One line per run of `check_adapter.py --record`: relative L2 difference of the logits (limit 1e-5).

| date | base | adapter | sequence | difference | verdict | versions |
|---|---|---|---|---|---|---|
"""


def read_logits(path):
    tensors = load_file(path)
    ids, logits = tensors["ids"].long(), tensors["logits"]
    if ids.dim() != 1 or logits.dim() != 2 or len(ids) != len(logits) or logits.dtype != torch.float32:
        raise ValueError(f"{path}: expected ids [T] and logits [T,V] float32, "
                         f"found {list(ids.shape)} and {list(logits.shape)} {logits.dtype}")
    return ids, logits


def check_names(model, adapter):
    """PEFT passes over tensors whose names it does not know; here that is an error."""
    written = set(load_file(pathlib.Path(adapter) / "adapter_model.safetensors"))
    known = set(peft.get_peft_model_state_dict(model))
    if written != known:
        raise ValueError(f"{adapter}: names that differ from PEFT's: {sorted(written ^ known)[:4]}")


def peft_logits(base, adapter, ids):
    """Base and adapter in fp32 on the CPU -> [T,V]."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    model = PeftModel.from_pretrained(model, adapter).eval()
    check_names(model, adapter)
    with torch.no_grad():
        return model(input_ids=ids[None]).logits[0]


def relative(ours, theirs):
    """NaN or a wrong shape counts as infinitely far."""
    if ours.shape != theirs.shape:
        return float("inf")
    value = ((ours.double() - theirs.double()).norm() / theirs.double().norm()).item()
    return value if value == value else float("inf")


def record(options, length, value):
    if not RESULTS.exists():
        RESULTS.write_text(HEADING)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
    verdict = "equal" if value <= LIMIT else "DIFFERENT"
    names = " | ".join(pathlib.Path(p).resolve().name for p in (options.base, options.adapter))
    with RESULTS.open("a") as out:
        out.write(f"| {datetime.date.today()} | {names} | {length} ids | {value:.2e} | {verdict} | {versions} |\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="folder of the base model")
    parser.add_argument("adapter", help="folder with adapter_model.safetensors and adapter_config.json")
    parser.add_argument("logits", help="safetensors file with ids and logits")
    parser.add_argument("--record", action="store_true", help="add a line to RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    try:
        ids, logits = read_logits(options.logits)
        value = relative(logits, peft_logits(options.base, options.adapter, ids))
    except Exception as problem:  # whatever keeps PEFT from loading the files is the finding
        print(f"check_adapter: {type(problem).__name__}: {problem}", file=sys.stderr)
        return 2
    print(f"relative L2 difference {value:.3e} over {len(ids)} positions, limit {LIMIT:g}")
    if options.record:
        record(options, len(ids), value)
    return 0 if value <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Makes the golden files of generation: what Transformers' generate() answers, and what its logits processors do.

    python3 make_generate_golden.py              writes data/generate.json and data/generate.safetensors
    python3 make_generate_golden.py --check      makes them again and compares with the committed files

The base is data/model (make_golden.py). Everything runs in fp32 on one CPU thread. The script stops by itself when a
choice is so narrow that another order of summation could turn it, and when the answers of the left-padded batch and
those of the prompts one by one differ.
"""
import argparse
import pathlib
import sys
import tempfile
import warnings

import numpy
import torch
import transformers
from transformers import (LogitsProcessorList, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper,
                          TopKLogitsWarper, TopPLogitsWarper)

from golden_io import difference, write_json, write_tensors
from golden_model import ALL, LORA_ALPHA, LORA_R, PeftReference, load_base, random_adapter

HERE = pathlib.Path(__file__).resolve().parent
FILES = ["generate.json", "generate.safetensors"]
SEED, NEW_TOKENS, PENALTY = 5003, 64, 1.3
LENGTHS = [7, 1, 23, 12, 40]
NARROWEST = 2e-4  # logits of the first and the second choice
VOCAB = 64
TOLERANCE = 1e-4

# temperature, top_k, top_p, repetition_penalty; the history has tokens twice and both signs of logits
WARPERS = [(1.0, 0, 1.0, 1.0), (0.7, 0, 1.0, 1.0), (2.5, 0, 1.0, 1.0), (1.0, 5, 1.0, 1.0), (1.0, 1, 1.0, 1.0),
           (1.0, 1000, 1.0, 1.0), (1.0, 0, 0.9, 1.0), (1.0, 0, 0.3, 1.0), (1.0, 0, 0.01, 1.0), (0.6, 10, 0.8, 1.0),
           (1.0, 0, 1.0, 1.3), (1.0, 0, 1.0, 0.8), (0.8, 12, 0.95, 1.2), (0.05, 20, 0.999, 1.05)]


def prompts():
    stream = numpy.random.default_rng(SEED)
    return [[1] + [int(i) for i in stream.integers(3, 160, n - 1)] for n in LENGTHS]


def generate(model, batch, eos=None, penalty=1.0):
    """Greedy answers of a left-padded batch, and the narrowest margin of any choice that counts."""
    width = max(map(len, batch))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in batch])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch])
    out = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW_TOKENS,
                         eos_token_id=eos, pad_token_id=0, repetition_penalty=penalty, use_cache=True,
                         output_scores=True, return_dict_in_generate=True)
    answers = [row[width:].tolist() for row in out.sequences]
    if eos is not None:
        answers = [a[:a.index(eos)] if eos in a else a for a in answers]
    top = torch.stack(out.scores).topk(2).values  # [step, prompt, 2]
    margins = [(top[:len(a) + 1, i, 0] - top[:len(a) + 1, i, 1]).min().item() for i, a in enumerate(answers)]
    return answers, min(margins)


def answers_of(name, model, **options):
    """Of the batch, checked against the prompts one by one. The penalty sees padding in a batch, so it gets none."""
    alone = [generate(model, [p], **options) for p in prompts()]
    answers, margin = [a for (a,), _ in alone], min(m for _, m in alone)
    if options.get("penalty", 1.0) == 1.0:
        together, _ = generate(model, prompts(), **options)
        assert together == answers, name
    assert margin > NARROWEST, (name, margin)
    print(f"{name}: narrowest choice {margin:.1e}, lengths {[len(a) for a in answers]}")
    return answers


def process(logits, history, temperature, top_k, top_p, penalty):
    """The probabilities that generate() would draw from; the order is that of its own list."""
    steps = LogitsProcessorList()
    if penalty != 1.0:
        steps.append(RepetitionPenaltyLogitsProcessor(penalty))
    if temperature != 1.0:
        steps.append(TemperatureLogitsWarper(temperature))
    if top_k:
        steps.append(TopKLogitsWarper(top_k))
    if top_p < 1.0:
        steps.append(TopPLogitsWarper(top_p))
    return torch.softmax(steps(history[None], logits[None])[0], -1)


def warper_cases():
    """Two rows of random logits, one of them with equal values at the edge of top-k."""
    stream = numpy.random.default_rng(SEED + 1)
    rows = torch.from_numpy((3 * stream.standard_normal((2, VOCAB))).astype(numpy.float32))
    order = rows[1].argsort(descending=True)
    rows[1, order[4:7]] = rows[1, order[5]].clone()
    history = torch.from_numpy(stream.integers(0, VOCAB, 24))
    history[3] = history[7]
    cases = [{"row": row, "temperature": t, "top_k": k, "top_p": p, "repetition_penalty": r}
             for row in range(2) for t, k, p, r in WARPERS]
    probs = [process(rows[c["row"]], history, *WARPERS[i % len(WARPERS)]) for i, c in enumerate(cases)]
    return rows, history, cases, torch.stack(probs)


def make(out):
    model = load_base(HERE / "data" / "model")
    plain = answers_of("greedy", model)
    eos = plain[2][20]  # ends answers at once, later, and not at all
    data = {"lora": {"r": LORA_R, "lora_alpha": LORA_ALPHA, "target_modules": ALL, "lora_dropout": 0.0},
            "prompts": prompts(), "max_new_tokens": NEW_TOKENS, "greedy": plain, "eos": eos,
            "greedy_eos": answers_of("greedy_eos", model, eos=eos), "repetition_penalty": PENALTY,
            "greedy_penalty": answers_of("greedy_penalty", model, penalty=PENALTY)}
    reference = PeftReference(HERE / "data" / "model", ALL)
    adapter = random_adapter(reference.shapes(), SEED + 2)
    reference.load(adapter)
    reference.model.eval()
    data["greedy_adapter"] = answers_of("greedy_adapter", reference.model)
    rows, history, data["warpers"], probs = warper_cases()
    write_json(out / FILES[0], data)
    write_tensors(out / FILES[1], adapter=adapter, warper_logits=rows, warper_history=history.int(),
                  warper_probs=probs)


def check(committed):
    with tempfile.TemporaryDirectory() as folder:
        make(pathlib.Path(folder))
        worst = {name: difference(committed / name, pathlib.Path(folder) / name) for name in FILES}
    for name, value in worst.items():
        print(f"{name}: {value:.1e}")
    return max(worst.values()) <= TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="make again elsewhere and compare")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    if options.check:
        return 0 if check(HERE / "data") else 1
    make(HERE / "data")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Simulates the default run with PyTorch and PEFT and prints the held-out exact match before and after.

    python check.py [--model DIR] [--data DIR] [--rounds N] [--lr X] ...

Federated averaging of LoRA adapters, as the program does it: alpaca template, loss on the response and </s>,
a fresh AdamW per client and round, one learning rate per round (cosine over the rounds), updates weighted by
the clients' sizes.  Answers are decoded greedily from a prompt that ends in "### Response:".
"""
import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from world import TEMPLATE

HERE = Path(__file__).resolve().parents[2] / "configs" / "embedded"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def instruction(row):
    return f"{row['instruction']} {row['input']}" if row["input"] else row["instruction"]


def encode(tokenizer, row):
    """Token ids and labels: -100 up to and including the last "### Response:"."""
    ids = tokenizer(TEMPLATE.format(instruction(row), row["output"], tokenizer.eos_token)).input_ids
    key = tokenizer("\n### Response:", add_special_tokens=False).input_ids[2:]
    end = max(i + len(key) for i in range(len(ids)) if ids[i:i + len(key)] == key)
    return ids, [-100] * end + ids[end:]


def pad(rows, index, value):
    longest = max(len(row[index]) for row in rows)
    return torch.tensor([row[index] + [value] * (longest - len(row[index])) for row in rows])


def train_client(model, rows, args, lr, seed):
    """`max_steps` local steps from the model's present adapter; returns the mean loss."""
    torch.manual_seed(seed)
    chosen = random.Random(seed).sample(rows, min(len(rows), args.batch * args.steps))
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.AdamW(params, lr=lr, weight_decay=0.0), []
    model.train()
    for step in range(args.steps):
        batch = chosen[step * args.batch:(step + 1) * args.batch]
        ids = pad(batch, 0, 0)
        loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=pad(batch, 1, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def partition(rows, args):
    """Equal shares of a shuffle, or (--by-domain) two domains per client."""
    random.Random(2023).shuffle(rows)
    if not args.by_domain:
        return [rows[i::args.clients] for i in range(args.clients)]
    rows.sort(key=lambda row: row["domain"])
    size = len(rows) // (2 * args.clients)
    shards = [rows[i * size:(i + 1) * size] for i in range(2 * args.clients)]
    random.Random(2023).shuffle(shards)
    return [shards[2 * i] + shards[2 * i + 1] for i in range(args.clients)]


def federate(model, clients, args):
    """FedAvg: every sampled client starts from the same adapter; the weighted mean replaces it."""
    params = [p for p in model.parameters() if p.requires_grad]
    shared = [p.detach().clone() for p in params]
    for t in range(args.rounds):
        lr = 1e-6 + 0.5 * (args.lr - 1e-6) * (1 + math.cos(math.pi * t / args.rounds))
        picked = sorted(random.Random(t).sample(range(len(clients)), args.sample))
        total, mean, losses = sum(len(clients[k]) for k in picked), [torch.zeros_like(p) for p in shared], []
        for k in picked:
            for p, value in zip(params, shared):
                p.data.copy_(value)
            losses.append(train_client(model, clients[k], args, lr, seed=1000 * t + k))
            for acc, p in zip(mean, params):
                acc.add_(p.detach(), alpha=len(clients[k]) / total)
        shared = mean
        print(f"round {t + 1}/{args.rounds} clients {picked} loss {sum(losses) / len(losses):.4f} lr {lr:.2e}", flush=True)
    for p, value in zip(params, shared):
        p.data.copy_(value)


@torch.no_grad()
def answers(model, tokenizer, rows):
    """Greedy answers of up to 24 tokens; prompts of equal length are decoded together, so nothing is padded."""
    model.eval()
    prompts = [tokenizer(TEMPLATE.format(instruction(row), "", "").rstrip(" ")).input_ids for row in rows]
    texts = [""] * len(rows)
    for length in sorted({len(p) for p in prompts}):
        group = [i for i, p in enumerate(prompts) if len(p) == length]
        ids = torch.tensor([prompts[i] for i in group])
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False,
                             pad_token_id=0)[:, length:]
        for i, row in zip(group, out):
            texts[i] = tokenizer.decode(row, skip_special_tokens=True).strip()
    return texts


def exact_match(model, tokenizer, heldout, show):
    scores = {}
    for domain, rows in heldout.items():
        texts = answers(model, tokenizer, rows)
        scores[domain] = 100 * sum(t == r["output"] for t, r in zip(texts, rows)) / len(rows)
        for text, row in list(zip(texts, rows))[:show]:
            print(f"  {instruction(row)!r} -> {text!r} (right: {row['output']!r})")
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=HERE / "model")
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--show", type=int, default=0, help="answers printed per domain")
    parser.add_argument("--by-domain", action="store_true", help="clients hold two domains each instead of a share of all")
    for name, value in dict(rounds=12, clients=6, sample=3, steps=10, batch=16, r=16, alpha=32, threads=2, seed=1).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    heldout = {path.stem: read(path) for path in sorted((args.data / "heldout").glob("*.jsonl"))}
    rows = read(args.data / "train.jsonl")
    for row in rows:
        row["ids"] = encode(tokenizer, row)
    clients = [[row["ids"] for row in part] for part in partition(rows, args)]
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=args.r, lora_alpha=args.alpha, lora_dropout=0.05, target_modules=TARGETS,
                                             task_type="CAUSAL_LM"))
    before, start = exact_match(model, tokenizer, heldout, args.show), time.time()
    federate(model, clients, args)
    seconds, after = time.time() - start, exact_match(model, tokenizer, heldout, args.show)
    for domain in heldout:
        print(f"{domain:12s} {before[domain]:6.1f} -> {after[domain]:6.1f}")
    print(f"{'mean':12s} {sum(before.values()) / len(before):6.1f} -> {sum(after.values()) / len(after):6.1f}"
          f"   training {seconds:.0f} s")


if __name__ == "__main__":
    main()

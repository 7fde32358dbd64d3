"""The peer of scripts/bench.sh: local LoRA training with PyTorch + Transformers + PEFT.

    python bench_peer.py MODEL DATA ROUNDS STEPS BATCH R SEQ THREADS

Trains ROUNDS x STEPS steps of BATCH records in fp32 on the CPU, padded to the longest of the batch,
with a fresh AdamW per round as a client has, and prints the real (not padded) tokens per second of
the steps, median over the rounds.  Tokenisation and loading are not counted.
"""
import json
import random
import statistics
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

TEMPLATE = ("Below is an instruction that describes a task. Write a response that appropriately "
            "completes the request.\n\n### Instruction:\n{} \n\n### Response: {}{}")
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def encode(tokenizer, row, seq):
    """Ids and labels of one record; the prompt does not count."""
    instruction = f"{row['instruction']} {row['input']}" if row.get("input") else row["instruction"]
    prompt = tokenizer(TEMPLATE.format(instruction, "", "").rstrip(" ")).input_ids[:seq]
    ids = tokenizer(TEMPLATE.format(instruction, row["output"], tokenizer.eos_token)).input_ids[:seq]
    return ids, [-100] * min(len(prompt), len(ids)) + ids[len(prompt):]


def pad(rows, index, value):
    longest = max(len(row[index]) for row in rows)
    return torch.tensor([row[index] + [value] * (longest - len(row[index])) for row in rows])


def train_round(model, rows):
    """Seconds and real tokens of one client's steps."""
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=1e-4, weight_decay=0.0)
    tokens, start = 0, time.perf_counter()
    for batch in rows:
        ids = pad(batch, 0, 0)
        mask = pad([([1] * len(row[0]),) for row in batch], 0, 0)
        model(input_ids=ids, attention_mask=mask, labels=pad(batch, 1, -100)).loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        tokens += sum(len(row[0]) for row in batch)
    return tokens / (time.perf_counter() - start)


def main():
    model_dir, data = sys.argv[1:3]
    rounds, steps, batch, r, seq, threads = map(int, sys.argv[3:9])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=r, lora_alpha=2 * r, lora_dropout=0.05,
                                             target_modules=TARGETS, task_type="CAUSAL_LM"))
    model.train()
    with open(data, encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    random.Random(0).shuffle(records)
    rows = [encode(tokenizer, row, seq) for row in records[:(rounds + 1) * steps * batch]]
    batches = [rows[i:i + batch] for i in range(0, len(rows), batch)]
    speeds = [train_round(model, batches[t * steps:(t + 1) * steps]) for t in range(rounds + 1)]
    print(f"{statistics.median(speeds[1:]):.1f}")


if __name__ == "__main__":
    main()

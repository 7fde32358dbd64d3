"""Writes the instruction data: train.jsonl (domains mixed) and heldout/<domain>.jsonl.

    python make_data.py [DATA_DIR]

Held-out questions are chosen by content, not by wording: no paraphrase of one is in the training file.
"""
import json
import random
import sys
from pathlib import Path

from world import DOMAINS, SEED, heldout_items

PER_DOMAIN = 1200
DEFAULT = Path(__file__).resolve().parents[2] / "configs" / "embedded" / "data"


def record(domain, item, rng):
    instruction, text, output = DOMAINS[domain].ask(item, rng)
    return {"instruction": instruction, "input": text, "output": output, "domain": domain}


def excluded(domain):
    """Items kept out of training: the held-out ones and, for a sum, the same two numbers the other way round."""
    heldout = set(heldout_items(domain))
    return heldout | {("plus", item[2], item[1]) for item in heldout if item[0] == "plus"}


def train_records(domain, heldout):
    """PER_DOMAIN different records about items that are not in `heldout`."""
    rng, found = random.Random(f"{SEED} train {domain}"), {}
    while len(found) < PER_DOMAIN:
        item = DOMAINS[domain].draw(rng)
        if item not in heldout:
            row = record(domain, item, rng)
            found.setdefault((row["instruction"], row["input"]), row)
    return list(found.values())


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"{path}: {len(rows)} records, {path.stat().st_size} bytes")


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    train = [row for domain in DOMAINS for row in train_records(domain, excluded(domain))]
    random.Random(f"{SEED} order").shuffle(train)
    seen = {(row["instruction"], row["input"]) for row in train}
    write(out / "train.jsonl", train)
    for domain in DOMAINS:
        rng = random.Random(f"{SEED} wording {domain}")
        rows = [record(domain, item, rng) for item in heldout_items(domain)]
        assert not any((row["instruction"], row["input"]) in seen for row in rows), domain
        write(out / "heldout" / f"{domain}.jsonl", rows)


if __name__ == "__main__":
    main()

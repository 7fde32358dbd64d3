"""Writes the preference data: preferences.jsonl, a question with its answer and one that is beside the point.

    python make_preferences.py [DATA_DIR]

The questions are the first of every domain in train.jsonl (make_data.py); the rejected answer is one to a question of
another domain.
"""
import json
import random
import sys
from pathlib import Path

from make_data import DEFAULT, write
from world import DOMAINS, SEED

PER_DOMAIN = 60


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    train = [json.loads(line) for line in (DEFAULT / "train.jsonl").read_text().splitlines()]
    rng = random.Random(f"{SEED} preferences")
    rows = [row for domain in DOMAINS for row in [r for r in train if r["domain"] == domain][:PER_DOMAIN]]
    pairs = [{"prompt": " ".join(filter(None, (row["instruction"], row["input"]))), "chosen": row["output"],
              "rejected": rng.choice([r["output"] for r in rows if r["domain"] != row["domain"]])} for row in rows]
    rng.shuffle(pairs)
    write(out / "preferences.jsonl", pairs)


if __name__ == "__main__":
    main()

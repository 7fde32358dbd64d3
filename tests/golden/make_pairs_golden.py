#!/usr/bin/env python3
"""Makes data/pairs.json.gz: preference records to token ids as the reference does, with a Hugging Face tokenizer.

    python3 make_pairs_golden.py             writes into data/ beside this script
    python3 make_pairs_golden.py --out DIR   writes elsewhere

Records of hh-rlhf and of prompt, chosen, rejected, in vicuna_v1.1; the tokenizer is the embedded model's, taken from its
tokenizer.json as it is (Transformers 5 replaces parts of it by class).
"""
import argparse
import gzip
import json
import pathlib
import random

from tokenizers import Tokenizer

from golden_dpo import EOS, tokenise

HERE = pathlib.Path(__file__).resolve().parent
EMBEDDED = HERE.parents[1] / "configs" / "embedded"
SYSTEM = ("A chat between a curious user and an artificial intelligence assistant. "
          "The assistant gives helpful, detailed, and polite answers to the user's questions.")
HUMAN, ASSISTANT = "\n\nHuman: ", "\n\nAssistant: "
# the reference's limits, and some that cut most records
LIMITS = [{"max_length": 512, "max_prompt_length": 128}, {"max_length": 200, "max_prompt_length": 64}]


def words(seed, count):
    lines = (EMBEDDED / "data" / "train.jsonl").read_text(encoding="utf-8").split()
    return " ".join(random.Random(seed).choices([w for w in lines if w.isalpha()], k=count))


def render(turns):
    """vicuna_v1.1; turns alternate, user first; an empty answer is left open."""
    text = SYSTEM + " "
    for i, (role, message) in enumerate(turns):
        text += f"{role}: {message}{[' ', '</s>'][i % 2]}" if message else f"{role}:"
    return text


def from_transcripts(record):
    """hh-rlhf: the prompt is what both dialogues begin with, as far as its turns are whole."""
    chosen, rejected = record["chosen"], record["rejected"]
    common = 0
    while common < min(len(chosen), len(rejected)) and chosen[common] == rejected[common]:
        common += 1
    rest, turns = chosen[:common].removeprefix(HUMAN), []
    for i in range(common):
        text, marker, rest = rest.partition([ASSISTANT, HUMAN][i % 2])
        if not marker:
            break
        turns.append((["USER", "ASSISTANT"][i % 2], text))
    return render(turns + [("ASSISTANT", "")]), chosen[common - 1:], rejected[common - 1:]


def from_fields(record):
    """UltraFeedback: a prompt, and answers as texts or as the second of two messages."""
    answers = [a if isinstance(a, str) else a[1]["content"] for a in (record["chosen"], record["rejected"])]
    return render([("USER", record["prompt"]), ("ASSISTANT", "")]), " " + answers[0], " " + answers[1]


def transcripts():
    """A dialogue each: its beginning, and the two ways in which it goes on."""
    ask, long = HUMAN + "What is a wren?" + ASSISTANT, words(1, 450)
    return [{"chosen": common + a, "rejected": common + b} for common, a, b in [
        (ask, "A small bird.", "No idea."),
        (ask, "A small bird.", "A small tool."),  # the same beginning, which the reference loses
        (ask + "A bird." + HUMAN + "How big?\nTell me." + ASSISTANT, "Ten centimetres.", "Big."),
        (ask + "A bird." + HUMAN + "How ", "big?" + ASSISTANT + "Small.", "old?" + ASSISTANT + "Two years."),
        (HUMAN + long + ASSISTANT, "Yes.", "Certainly not."),
        (ask, long, "No."),
        (HUMAN + long + ASSISTANT, words(2, 500), words(3, 40)),
        (HUMAN + "Größe? 四" + ASSISTANT, "Fünf ☃", "sechs")]]


def fields():
    def messages(prompt, answer):
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]

    rows = [("Name a bird.", "wren", "wooden axe"), (words(4, 450), "Yes.", "No."),
            ("Tell a story.", words(5, 450), words(6, 30)), (words(7, 300), words(8, 400), words(9, 260)),
            ("one\ntwo", "\nthree", "four\n")]
    plain = [{"prompt": p, "chosen": a, "rejected": b} for p, a, b in rows]
    return plain, [{"prompt": p, "chosen": messages(p, a), "rejected": messages(p, b)} for p, a, b in rows]


def make_set(tokenizer, records, split):
    """-> {"records", "limits": [{..., "sequences"}]}; a sequence is that of golden_dpo.tokenise."""
    cases = []
    for rules in LIMITS:
        sequences, cut = [], 0
        for record in records:
            parts = [tokenizer.encode(text, add_special_tokens=False).ids for text in split(record)]
            assert EOS not in parts[1] + parts[2]
            pair = tokenise(dict(zip(("prompt", "chosen", "rejected"), parts)), rules)
            cut += len(pair[0]["ids"]) + len(pair[1]["ids"]) < sum(map(len, parts)) + len(parts[0]) + 2
            sequences.append([{key: row[key] for key in ("ids", "mask")} for row in pair])
        assert cut >= 2, rules
        cases.append({**rules, "num_cut": cut, "sequences": sequences})
    return {"records": records, "limits": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "data")
    out = parser.parse_args().out
    tokenizer = Tokenizer.from_file(str(EMBEDDED / "model" / "tokenizer.json"))
    assert tokenizer.token_to_id("</s>") == EOS
    plain, messages = fields()
    sets = [make_set(tokenizer, transcripts(), from_transcripts), make_set(tokenizer, plain, from_fields),
            make_set(tokenizer, messages, from_fields)]
    text = json.dumps({"format": "vicuna_v1.1", "sets": sets})
    with gzip.GzipFile(out / "pairs.json.gz", "wb", 9, mtime=0) as file:
        file.write(text.encode())


if __name__ == "__main__":
    main()

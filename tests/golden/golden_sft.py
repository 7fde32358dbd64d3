"""Instruction records through template, tokenizer, truncation and completion-only labels.

Uses the tokenizer and the records of configs/embedded; without them this part is left out with a note.
"""
import json
import pathlib
import random

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from golden_io import read_json, write_json

SEED, IGNORE = 5001, -100
EMBEDDED = pathlib.Path(__file__).resolve().parents[2] / "configs" / "embedded"
TEMPLATES = {
    "alpaca": {"format": "Below is an instruction that describes a task. Write a response that appropriately completes "
                         "the request.\n\n### Instruction:\n{} \n\n### Response: {}{}",
               "response_key": "\n### Response:", "seq_length": 96, "drawn": 60},
    "vicuna": {"format": "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
                         "helpful, detailed, and polite answers to the user's questions. USER: {} ASSISTANT: {}{}",
               "response_key": " ASSISTANT:", "seq_length": 176, "drawn": 20}}  # its preamble alone costs about 100 ids
# Encoded alone, both keys begin with two pieces that text in front of the key may change: the word-boundary piece
# that the tokenizer puts before any text, then the newline (alpaca) or the boundary joined to the first letters
# (vicuna). The reference drops these two and looks for the rest; `verify_key` makes sure that the rest is found.
DROPPED = 2


class Sft:
    """One template with the reference's procedure; pad is unk."""

    def __init__(self, folder, template):
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.second = AutoTokenizer.from_pretrained(folder)
        self.name, self.template, self.limit = template, TEMPLATES[template], TEMPLATES[template]["seq_length"]
        config = read_json(folder / "tokenizer_config.json")
        self.special = [config[kind + "_token"] for kind in ("bos", "eos", "unk")]
        self.bos, self.eos, self.pad = (self.tokenizer.token_to_id(token) for token in self.special)
        self.key = self.tokenizer.encode(self.template["response_key"], add_special_tokens=False).ids[DROPPED:]

    def text(self, instruction, response, eos=None):
        return self.template["format"].format(instruction, response, self.special[1] if eos is None else eos)

    def encode(self, text):
        """Ids with bos in front, not truncated, as tokenizer.json defines them.

        Transformers must agree, except behind a special token inside the text: its Llama class puts its own
        pre-tokenizer in place of the file's normalizer and then adds no word boundary to a segment that has one.
        """
        ids = self.tokenizer.encode(text).ids
        inside = any(token in text.removesuffix(self.special[1]) for token in self.special)
        assert ids[0] == self.bos and (inside or ids == self.second(text).input_ids), text
        return ids

    def labels(self, ids):
        """(labels, whether the key was found): everything up to the key's last occurrence is ignored."""
        labels, size = [IGNORE if i == self.pad else i for i in ids], len(self.key)
        starts = [i for i in range(len(labels) - size + 1) if labels[i:i + size] == self.key]
        end = starts[-1] + size if starts else len(labels)
        return [IGNORE] * end + labels[end:], bool(starts)

    def example(self, record):
        text = self.text(merge(record), record["output"])
        full = self.encode(text)
        ids = full[:self.limit]
        labels, found = self.labels(ids)
        return {**record, "template": self.name, "text": text, "full_length": len(full), "key_found": found,
                "ids": ids, "labels": labels}

    def verify_key(self):
        """In a plain text the key must be found, right before the response."""
        labels, found = self.labels(self.encode(self.text("Add 1.", "2")))
        answer = self.tokenizer.decode([i for i in labels if i != IGNORE]).strip()
        assert found and answer == "2", (self.name, answer)

    def describe(self):
        return {**{k: self.template[k] for k in ("format", "response_key", "seq_length")}, "response_key_ids": self.key}


def merge(record):
    """The input, when there is one, follows the instruction after a space."""
    return record["instruction"] + (" " + record["input"] if record["input"] != "" else "")


def record(note, instruction, text, output):
    return {"note": note, "instruction": instruction, "input": text, "output": output}


def edge_records():
    """Records that data sets do hold now and then."""
    emoji = "\U0001F600 caf\u00e9 cafe\u0301 \u4f60\u597d \u0416 \U0001F468\u200d\U0001F469\u200d\U0001F467 \u00a0x"
    return [
        record("empty input", "Name a colour.", "", "red"),
        record("noinput kept literally", "Name a colour.", "<noinput>", "blue"),
        record("emoji and other scripts", "Repeat \U0001F98A.", "", emoji),
        record("key inside the response", "Say more.", "", "one\n\n### Response: two\n### Response: three"),
        record("vicuna key inside the response", "Say more.", "", "one ASSISTANT: two ASSISTANT: three"),
        record("keys inside the instruction", "a\n\n### Response: b ASSISTANT: c", "", "d"),
        record("instruction too long, key cut", "count the birds " * 60, "", "many"),
        record("response cut, no eos", "Count.", "", "1 2 3 4 5 6 7 8 9 " * 20),
        record("unk in the response is masked", "Repeat.", "<unk> b <unk>", "a <unk> b <unk>"),
        record("unk inside the key's place", "Repeat <unk>", "", "<unk>"),
        record("bos and eos written out", "a <s> b </s> c", "", "d </s> e <s> f"),
        record("braces are text", "Fill {} and {0} and {x}", "{}", "{} {1} {{}}"),
        record("empty response", "Say nothing.", "", ""),
        record("empty instruction", "", "", "something"),
        record("both empty", "", "", ""),
        record("instruction empty, input not", "", "only input", "yes"),
        record("white space", "  two  spaces\tand tab ", "\n\nlines\r\n", "  a   b \n\n c\t\n"),
        record("response of one line feed", "Break.", "", "\n"),
        record("input is a space", "Think.", " ", "ok")]


def fit(sft, note, response, target):
    """A record with so many digits as instruction that `target` ids precede and include the key."""
    digits = next(n for n in range(1, 999) if key_end(sft, "7" * n) >= target)
    assert key_end(sft, "7" * digits) == target, note
    return record(note, "7" * digits, "", response)


def key_end(sft, instruction):
    """Number of ids up to and including the response key."""
    ids = sft.encode(sft.text(instruction, "", eos=""))
    return max(i for i in range(len(ids) + 1) if ids[i - len(sft.key):i] == sft.key)


def boundary_records(sft):
    """Truncation inside the key, right behind it, one id later, and around eos (the response is two or three ids)."""
    ends = [("the key's last id is cut", 1), ("the key is the last thing kept", 0), ("one id behind the key", -1),
            ("two ids behind the key", -2), ("three ids behind the key", -3), ("four ids behind the key", -4)]
    return [fit(sft, note, "9", sft.limit + beyond) for note, beyond in ends]


def drawn_records(count):
    lines = (EMBEDDED / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in random.Random(SEED).sample(lines, count)]
    return [record("drawn", row["instruction"], row["input"], row["output"]) for row in rows]


def examples(sft):
    sft.verify_key()
    records = drawn_records(sft.template["drawn"]) + edge_records() + boundary_records(sft)
    made = [sft.example(r) for r in records]
    assert {e["key_found"] for e in made} == {True, False} and any(e["full_length"] > sft.limit for e in made)
    return made


def make_sft(out):
    """Writes sft_examples.json."""
    if not ((EMBEDDED / "model" / "tokenizer.json").exists() and (EMBEDDED / "data" / "train.jsonl").exists()):
        print(f"sft_examples: left out, no tokenizer or records below {EMBEDDED.name}/")
        return
    makers = [Sft(EMBEDDED / "model", name) for name in TEMPLATES]
    made = [example for sft in makers for example in examples(sft)]
    write_json(out / "sft_examples.json", {
        "bos_id": makers[0].bos, "eos_id": makers[0].eos, "pad_id": makers[0].pad, "eos_token": makers[0].special[1],
        "templates": {sft.name: sft.describe() for sft in makers}, "examples": made})
    print(f"sft_examples: {len(made)} examples")

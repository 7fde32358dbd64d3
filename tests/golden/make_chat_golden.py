#!/usr/bin/env python3
"""Makes data/chat_masks.json.gz: token ids and labels of conversations as Transformers' `apply_chat_template` gives
them, with `{% generation %}` around what the assistant has to write.  test_chat_masks.c replays it.

    python3 make_chat_golden.py [--out FILE]      needs transformers and tokenizers; the versions are in the file

{"made_with", "tokenizers": {name: tokenizer.json}, "records": [a record as data sets have it], "cases": [{"format",
 "tokenizer", "record", "seq_length", "ids", "labels"}]}

The formats are FastChat's as template = NAME knows them, written here once more in Jinja.
"""
import argparse
import gzip
import json
import pathlib
import random
import sys

import tokenizers
import transformers
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from make_tokenizer_golden import SPLIT, byte_level, corpus, llama
from tokenizer_texts import english, mixed

SEED, IGNORE, LENGTHS = 20240611, -100, (4096, 150)
ANSWER = "{%% if m.trains %%}{%% generation %%}%s{%% endgeneration %%}{%% else %%}%s{%% endif %%}"
START = "{{ bos_token }}{% set given = messages[0].role == 'system' %}"
FORMATS = {
    "mpt-30b-chat": START + (
        "<|im_start|>system\n{{ messages[0].content if given else 'A conversation between a user and an LLM-based AI "
        "assistant. The assistant gives helpful and honest answers.' }}<|im_end|>\n{% for m in messages %}{% if m.role == "
        "'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n{% elif m.role == 'assistant' %}<|im_start|>assistant\n"
        "ANSWER{{ '\n' }}{% endif %}{% endfor %}").replace("ANSWER", ANSWER % (("{{ m.content }}<|im_end|>",) * 2)),
    "vicuna": START + (
        "{{ messages[0].content if given else \"A chat between a curious user and an artificial intelligence assistant. The "
        "assistant gives helpful, detailed, and polite answers to the user's questions.\" }} {% for m in messages %}{% if "
        "m.role == 'user' %}USER: {{ m.content }} {% elif m.role == 'assistant' %}ASSISTANT:ANSWER{% endif %}{% endfor %}"
        ).replace("ANSWER", ANSWER % ((" {{ m.content }}</s>",) * 2)),
    "llama-2": START + (
        "{% for m in messages %}{% if m.role == 'user' %}{% if given and loop.index0 == 1 and messages[0].content %}[INST] <<SYS>>\n{{ "
        "messages[0].content }}\n<</SYS>>\n\n{% else %}{{ '[INST] ' }}{% endif %}{{ m.content }} {% elif m.role == "
        "'assistant' %}[/INST]ANSWER<s>{% endif %}{% endfor %}").replace("ANSWER", ANSWER % ((" {{ m.content }} </s>",) * 2)),
}


def make_tokenizers():
    lines = corpus()[:600]
    bytes_level, pieces = byte_level(lines, SPLIT % r"\p{N}{1,3}", size=560), llama(lines, size=400)
    pieces.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return {"byte_level": bytes_level, "pieces": pieces}


def text(rng):
    choice = rng.random()
    if choice < 0.1:
        return ""
    made = english(rng, rng.randint(1, 25)) if choice < 0.6 else mixed(rng, False)
    return made.replace("\0", "")


def make_record(rng, style):
    """Turns in turn, the user first; in the style of OpenAI some answers have the weight 0."""
    turns = [("system", text(rng), 0)] if rng.random() < 0.4 else []
    for _ in range(rng.randint(1, 4)):
        turns += [("user", text(rng), 0), ("assistant", text(rng), 1 if style == "sharegpt" else rng.randint(0, 1))]
    if style == "sharegpt":
        names = {"system": "system", "user": "human", "assistant": "gpt"}
        return {"conversations": [{"from": names[r], "value": t} for r, t, _ in turns]}
    return {"messages": [{"role": r, "content": t, "loss_weight": w} for r, t, w in turns]}


def turns_of(record):
    if "messages" in record:
        return [{"role": m["role"], "content": m["content"], "trains": m["loss_weight"]} for m in record["messages"]]
    roles = {"system": "system", "human": "user", "gpt": "assistant"}
    return [{"role": roles[m["from"]], "content": m["value"], "trains": m["from"] == "gpt"}
            for m in record["conversations"]]


def ids_and_labels(tokenizer, template, record):
    made = tokenizer.apply_chat_template(turns_of(record), chat_template=template, tokenize=True, return_dict=True,
                                         return_assistant_tokens_mask=True)
    ids, mask = made["input_ids"], made["assistant_masks"]
    return ids, [i if counts else IGNORE for i, counts in zip(ids, mask)]


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=here / "data" / "chat_masks.json.gz")
    arguments = parser.parse_args()
    rng = random.Random(SEED)
    records = [make_record(rng, "sharegpt" if i % 2 else "openai") for i in range(12)]
    made, cases = make_tokenizers(), []
    for name, tokenizer in made.items():
        wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
        for style, template in FORMATS.items():
            for i, record in enumerate(records):
                ids, labels = ids_and_labels(wrapped, template, record)
                for limit in LENGTHS:
                    cases.append({"format": style, "tokenizer": name, "record": i, "seq_length": limit,
                                  "ids": ids[:limit], "labels": labels[:limit]})
    counted = sum(label != IGNORE for case in cases for label in case["labels"])
    print(f"{len(cases)} cases, {sum(len(c['ids']) for c in cases)} ids, {counted} count")
    file = {"made_with": f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}",
            "tokenizers": {name: json.loads(t.to_str()) for name, t in made.items()}, "records": records, "cases": cases}
    data = json.dumps(file, ensure_ascii=False, separators=(",", ":")).encode()
    arguments.out.write_bytes(gzip.compress(data, 9, mtime=0))
    print(f"{arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())

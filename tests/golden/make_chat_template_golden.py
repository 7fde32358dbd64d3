#!/usr/bin/env python3
"""Makes data/chat_templates.json.gz: conversations in models' own chat templates, as apply_chat_template writes them.

    python3 make_chat_template_golden.py             writes into data/ beside this script
    python3 make_chat_template_golden.py --out DIR   writes elsewhere

Needs transformers, tokenizers and jinja2.
"""
import argparse
import gzip
import json
import pathlib
import warnings
import zlib

import jinja2
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from chat_template_sources import ALWAYS_OPEN, IGNORE_SYSTEM, SOURCES

HERE = pathlib.Path(__file__).resolve().parent
# What a template that asks for the day falls back to; a run must not depend on the day.
DAY = {"date_string": "26 Jul 2024"}

U, A, S = "user", "assistant", "system"
CONVERSATIONS = [
    {"open": True, "turns": [[U, "Name three colours."]]},
    {"open": False, "turns": [[U, "Hi"], [A, "Hello, how are you?"]]},
    {"open": True, "turns": [[S, "Be brief."], [U, "Hi"]]},
    {"open": False, "turns": [[S, "Be brief."], [U, "Hi"], [A, "Hello"]]},
    {"open": True, "turns": [[U, "one"], [A, "two"], [U, "three"]]},
    {"open": False, "turns": [[U, "one"], [A, "two"], [U, "three"], [A, "four 四"], [U, "five"], [A, "six"]]},
    {"open": True, "turns": [[S, " \n be kind\t\n"], [U, "\n a  b \n\n"], [A, "  c\n"], [U, " d\u00a0"]]},
    {"open": False, "turns": [[U, " \u3000a\n"], [A, "\n\nb \n "]]},
    {"open": True, "turns": [[S, ""], [U, "x"]]},
    {"open": True, "turns": [[S, "  "], [U, " \n "]]},
    {"open": False, "turns": [[U, "left open"]]},
    {"open": False, "turns": [[S, "s"], [U, "1"], [A, "2"], [U, "3"], [A, "4"]]},
    {"open": True, "turns": [[U, "{bos} </s> {{ x }} <|im_end|> {1}"], [A, "\\n\r\n"], [U, "%s"]]},
    {"open": True, "turns": [[A, "I begin"], [U, "then I"]]},
    {"open": True, "turns": [[U, "twice"], [U, "in a row"]]},
    {"open": False, "turns": [[U, "q"], [A, "<think>\n\nhm\n\n</think>\n\nyes\n"], [U, "r"],
                              [A, "x<think>\n so </think>\nno</think>\n\nmaybe\n"]]},
    {"open": False, "turns": [[U, "q"], [A, "<think>a</think>b"], [A, "\n\nc"]]},
]


def render(tokenizer, source, conversation):
    messages = [{"role": role, "content": text} for role, text in conversation["turns"]]
    try:
        return tokenizer.apply_chat_template(messages, chat_template=source, tokenize=False,
                                             add_generation_prompt=conversation["open"], **DAY)
    except (jinja2.exceptions.TemplateError, TypeError, AttributeError):
        return None


def texts_of(tokenizer, name, source):
    texts = []
    for c in CONVERSATIONS:
        is_refused = name in IGNORE_SYSTEM and c["turns"][0][0] == S
        texts.append(None if is_refused else render(tokenizer, source, c))
    if name in ALWAYS_OPEN:  # what "open" is not, it cannot write
        texts = [text if c["open"] else False for text, c in zip(texts, CONVERSATIONS)]
    return texts


def checksum(texts):
    """Of all texts of a template; what it refuses is one byte, what it cannot say nothing."""
    whole = b"".join(b"\1" if text is None else text.encode() for text in texts if text is not False)
    return zlib.crc32(whole)


def changed(tokenizer, name, source):
    """The template without one character, at up to a hundred places: [place, checksum of what it then writes]."""
    step = max(1, len(source) // 100)
    places = range(len(source) % step, len(source), step)
    return [[at, checksum(texts_of(tokenizer, name, source[:at] + source[at + 1:]))] for at in places]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "data")
    out = parser.parse_args().out
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>")
    warnings.simplefilter("ignore")  # of changed templates with odd escapes
    templates = [{"name": name, "source": source, "texts": texts_of(tokenizer, name, source),
                  "changed": changed(tokenizer, name, source)} for name, source in SOURCES.items()]
    for template in templates:
        assert sum(text is not None for text in template["texts"]) >= 7, template["name"]
    text = json.dumps({"conversations": CONVERSATIONS, "templates": templates}, ensure_ascii=False)
    with gzip.GzipFile(out / "chat_templates.json.gz", "wb", 9, mtime=0) as file:
        file.write(text.encode())


if __name__ == "__main__":
    main()

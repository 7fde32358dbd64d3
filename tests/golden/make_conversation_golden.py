#!/usr/bin/env python3
"""Makes data/conversations.json.gz: conversations in FastChat's templates.

    python3 make_conversation_golden.py             writes into data/ beside this script
    python3 make_conversation_golden.py --out DIR   writes elsewhere

Needs FastChat 0.2.33, without what it depends on: pip install --no-deps fschat==0.2.33
"""
import argparse
import gzip
import json
import pathlib

from fastchat.conversation import conv_templates

HERE = pathlib.Path(__file__).resolve().parent
# In 0.2.33 and not yet in the reference's copy of November 2023.
NEWER = {"orca-2", "deepseek", "chatglm3"}

USER, ASSISTANT = "user", "assistant"
CONVERSATIONS = [
    {"system": None, "turns": []},
    {"system": None, "turns": [[USER, "Name three colours."]], "open": True},
    {"system": None, "turns": [[USER, "Hi"], [ASSISTANT, "Hello, how are you?"]]},
    {"system": None, "turns": [[USER, " a\r\n\r\nb\n\n\n\nc\r\n\n"], [ASSISTANT, "\n{x} %s\n\n\n"], [USER, "Größe: 5\t"]],
     "open": True},
    {"system": None, "turns": [[USER, "one"], [ASSISTANT, "two"], [USER, "three"], [ASSISTANT, "four 四"], [USER, "five"],
                               [ASSISTANT, "six"]]},
    {"system": "Be brief.\n", "turns": [[USER, "one"], [ASSISTANT, "two</s>"], [USER, "{system_message}"]], "open": True},
    {"system": "You see [INST].", "turns": [[USER, "[/INST]"]]},
    {"system": "", "turns": [[USER, "x"], [ASSISTANT, "y"]]},
]


def render(name, conversation):
    c = conv_templates[name].copy()
    if conversation["system"] is not None:
        c.set_system_message(conversation["system"])
    for role, text in conversation["turns"]:
        c.append_message(c.roles[role == ASSISTANT], text)
    if conversation.get("open"):
        c.append_message(c.roles[1], None)
    return c.get_prompt()


def describe(name):
    c = conv_templates[name]
    stops = [c.stop_str] if isinstance(c.stop_str, str) else c.stop_str or []
    out = {"name": name, "stops": stops, "stop_ids": c.stop_token_ids or []}
    if c.sep_style is not None:  # else it only names the roles of a web service
        # with no turn Llama-2's style begins a user's turn that is not there
        is_llama = c.sep_style.name == "LLAMA2"
        out["texts"] = [None if is_llama and not x["turns"] else render(name, x) for x in CONVERSATIONS]
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "data")
    out = parser.parse_args().out
    templates = [describe(name) for name in conv_templates if name not in NEWER]
    assert len(templates) == 62, len(templates)
    text = json.dumps({"conversations": CONVERSATIONS, "templates": templates}, ensure_ascii=False)
    with gzip.GzipFile(out / "conversations.json.gz", "wb", 9, mtime=0) as file:
        file.write(text.encode())


if __name__ == "__main__":
    main()

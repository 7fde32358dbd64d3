#!/usr/bin/env python3
"""Makes data/tokenizers.json.gz: small tokenizers of every kind, trained on generated text, and the ids that Hugging
Face's `tokenizers` gives for more than 2,000 texts.  test_tokenizers.c replays it.

    python3 make_tokenizer_golden.py [--out FILE]      needs tokenizers; the version is in the file

{"made_with", "texts": [string, or list of bytes where it is no UTF-8 or has a zero byte],
 "cases": [{"name", "tokenizer": tokenizer.json, "ids": one list per text, "crc": of each decoded text's bytes}]}

Texts hold only characters that this Python knows: classes of newer ones depend on the Unicode version of the library.
"""
import argparse
import collections
import gzip
import json
import pathlib
import random
import sys
import unicodedata
import zlib

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizer_texts import english, make_texts, mixed, scripts

SEED, COUNT = 20240519, 2050
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPECIALS = ["<unk>", "<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<mask>"]


def known(c):
    return unicodedata.category(c) != "Cn"


def corpus():
    rng = random.Random(SEED)
    lines = [english(rng, rng.randint(3, 40)) for _ in range(3000)] + [scripts(rng) for _ in range(300)]
    return ["".join(c for c in line if known(c)) for line in lines + [mixed(rng, False) for _ in range(500)]]


def added(text, **flags):
    return AddedToken(text, **{"normalized": False, **flags})


def train_bpe(tokenizer, lines, size, byte_level):
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[added(s, special=True) for s in SPECIALS], show_progress=False,
        limit_alphabet=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if byte_level else [])
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def byte_level(lines, split, prefix_space=False, normalizer=None, ignore_merges=False, size=1400):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    level = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=split is None)
    tokenizer.pre_tokenizer = level if split is None else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), level])
    tokenizer.decoder = decoders.ByteLevel()
    train_bpe(tokenizer, lines, size, True)
    begin = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])])
    return tokenizer


def with_bytes(tokenizer):
    """The same tokenizer with the 256 byte tokens that byte fallback needs."""
    file = json.loads(tokenizer.to_str())
    vocab = file["model"]["vocab"]
    if isinstance(vocab, dict):
        for i in range(256):
            vocab.setdefault(f"<0x{i:02X}>", len(vocab))
    else:
        present = {piece for piece, _ in vocab}
        vocab += [[text, 0.0] for text in (f"<0x{i:02X}>" for i in range(256)) if text not in present]
    file["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(file))


def llama(lines, size=1200):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    train_bpe(tokenizer, lines, size, False)
    file = json.loads(with_bytes(tokenizer).to_str())
    file["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(file))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return tokenizer


def unigram(lines, byte_fallback):
    tokenizer = Tokenizer(models.Unigram())
    if byte_fallback:
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if byte_fallback else "always")
    frequent = {c for c, _ in collections.Counter("".join(lines)).most_common(300)}
    lines = ["".join(c for c in line if c in frequent) for line in lines]
    tokenizer.train_from_iterator(lines, trainers.UnigramTrainer(
        vocab_size=1500, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False))
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first" if byte_fallback else "always")
    if byte_fallback:
        tokenizer = with_bytes(tokenizer)
        tokenizer.decoder = decoders.Sequence([decoders.Metaspace(prepend_scheme="first"), decoders.ByteFallback()])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return tokenizer


def zoo(lines, normalizer, steps, flags):
    """Steps and flags that published tokenizers have here and there."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    train_bpe(tokenizer, lines, 700, False)
    tokenizer.add_tokens([AddedToken("the", **flags), AddedToken("learn", **flags), AddedToken("ing t", **flags),
                          AddedToken("in", single_word=True), AddedToken("it", single_word=True, normalized=False)])
    return tokenizer


def make_cases():
    lines = corpus()
    p = pre_tokenizers
    accents = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.Strip()])
    yield "gpt2", byte_level(lines, None)
    yield "gpt2_prefix_space", byte_level(lines, None, prefix_space=True)
    yield "llama3", byte_level(lines, SPLIT % r"\p{N}{1,3}", ignore_merges=True)
    yield "qwen2", byte_level(lines, SPLIT % r"\p{N}", normalizer=normalizers.NFC())
    yield "llama2", llama(lines)
    yield "unigram", unigram(lines, False)
    yield "unigram_bytes", unigram(lines, True)
    yield "zoo_words", zoo(lines, accents, [p.Whitespace(), p.Digits(individual_digits=True)], {"lstrip": True})
    yield "zoo_punctuation", zoo(lines, normalizers.NFKD(), [p.WhitespaceSplit(), p.Punctuation("contiguous"), p.Digits()],
                                 {"rstrip": True, "normalized": False})
    yield "zoo_split", zoo(lines, normalizers.NFC(), [
        p.Split(Regex(r"\w+\b"), "merged_with_previous"), p.Split(Regex(r"\d|\p{Lu}|[\s-]"), "merged_with_next"), p.Split(Regex(r"\p{Han}|^a|\S$"), "contiguous"),
        p.Split(".", "removed")], {"lstrip": True, "rstrip": True})


def make_broken(rng):
    pool = [0x41, 0x20, 0x80, 0xC3, 0xA9, 0xE6, 0x97, 0xA5, 0xF0, 0x9F, 0x98, 0x80, 0xFF, 0xED, 0xA0, 0x00]
    return bytes(rng.choice(pool) for _ in range(rng.randint(1, 12)))


def count_back(tokenizer, texts):
    ids = [tokenizer.encode(t, add_special_tokens=False).ids for t in texts]
    return sum(a == tokenizer.decode(b, skip_special_tokens=False) for a, b in zip(texts, ids))


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=here / "data" / "tokenizers.json.gz")
    arguments = parser.parse_args()
    rng = random.Random(SEED)
    texts = make_texts(COUNT, SEED, known=known, longest=12, run=300)
    stored = [list(t.encode()) if "\0" in t else t for t in texts]
    for _ in range(60):
        data = make_broken(rng)
        texts.append(data.decode("utf-8", "replace"))
        stored.append(list(data))
    cases = []
    for name, tokenizer in make_cases():
        rows = [tokenizer.encode(t).ids for t in texts]
        decoded = [tokenizer.decode(ids, skip_special_tokens=False) for ids in rows]
        cases.append({"name": name, "tokenizer": json.loads(tokenizer.to_str()), "ids": rows,
                      "crc": [zlib.crc32(t.encode()) for t in decoded]})
        print(f"{name}: {sum(map(len, rows))} ids, {count_back(tokenizer, texts)} of {len(texts)} come back")
    file = {"made_with": f"tokenizers {tokenizers.__version__}", "texts": stored, "cases": cases}
    data = json.dumps(file, ensure_ascii=False, separators=(",", ":")).encode()
    arguments.out.write_bytes(gzip.compress(data, 9, mtime=0))
    print(f"{len(texts)} texts, {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compares fedllm's tokenizers with Hugging Face's on published vocabularies, which are too large, or not free
enough, to be committed.  By hand; needs tokenizers, and sentencepiece for the last rows.

    python3 check_tokenizers.py --data FOLDER --dump BUILD/tests/golden/dump_tokens [--count 3000]

FOLDER holds llama2/, llama3/, qwen2/, gpt2/, cl100k/ as their publishers lay them out.
"""
import argparse
import base64
import json
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tokenizer_texts import english, make_texts

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = (["<|begin_of_text|>", "<|end_of_text|>"] + [f"<|reserved_special_token_{i}|>" for i in range(4)] +
          ["<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"] +
          [f"<|reserved_special_token_{i}|>" for i in range(5, 251)])


def byte_alphabet():
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    other = [b for b in range(256) if b not in plain]
    table = {b: chr(b) for b in plain}
    table.update({b: chr(256 + i) for i, b in enumerate(other)})
    return table


def from_ranks(path, split, specials, normalizer=None):
    """A Hugging Face tokenizer of a rank file: all pairs that join to a token, by its rank."""
    ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in path.read_bytes().splitlines() if line)}
    table = byte_alphabet()
    text = {token: "".join(table[b] for b in token) for token in ranks}
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        pairs = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in ranks and token[i:] in ranks]
        merges += sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    bpe = models.BPE({text[t]: r for t, r in ranks.items()}, [(text[a], text[b]) for a, b in merges], ignore_merges=True)
    tokenizer = Tokenizer(bpe)
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in specials])
    return tokenizer


def llama2(path):
    """The published file, with merges as pairs (three of them join tokens of spaces, which the library no longer
    reads as strings) and with special tokens that are not normalised (fedllm's rule, see data/tokenizer.h)."""
    file = json.loads(path.read_text())
    vocab, merges = file["model"]["vocab"], file["model"]["merges"]
    pairs = [[(m[:i], m[i + 1:]) for i, c in enumerate(m) if c == " "] for m in merges]
    file["model"]["merges"] = [next([a, b] for a, b in p if a in vocab and b in vocab and a + b in vocab) for p in pairs]
    for token in file["added_tokens"]:
        token["normalized"] = False
    return Tokenizer.from_str(json.dumps(file))


def llama2_model(path):
    """From SentencePiece's own file: pieces, and merges in the order of their scores."""
    import sentencepiece
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    count = model.get_piece_size()
    vocab = {model.id_to_piece(i): i for i in range(count)}
    plain = {p: i for p, i in vocab.items() if not (model.is_byte(i) or model.is_control(i) or model.is_unknown(i))}
    merges = []
    for piece, _ in sorted(plain.items(), key=lambda item: (-model.get_score(item[1]), item[1])):
        merges += [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in plain and piece[i:] in plain]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in ("<unk>", "<s>", "</s>")])
    return tokenizer


class SentencePiece:
    """SentencePiece's library with the two methods that compare() calls; for texts without special tokens."""

    def __init__(self, path):
        import sentencepiece
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def encode(self, text, add_special_tokens):
        self.ids = self.model.encode(text)
        return self

    def decode(self, ids, skip_special_tokens):
        return self.model.decode(ids)


def train_unigram(folder, texts, byte_fallback):
    import sentencepiece
    source = folder / "corpus.txt"
    source.write_text("\n".join(t.replace("\n", " ").replace("\r", " ").replace("\0", "") for t in texts))
    sentencepiece.SentencePieceTrainer.train(
        input=str(source), model_prefix=str(folder / "unigram"), vocab_size=3000, model_type="unigram",
        normalization_rule_name="identity" if byte_fallback else "nmt_nfkc", byte_fallback=byte_fallback, character_coverage=0.98, minloglevel=2,
        hard_vocab_limit=False, num_threads=1)
    return folder / "unigram.model"


def gpt2(folder):
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def ours(dump, path, texts):
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder) / "in", pathlib.Path(folder) / "out"
        source.write_bytes(b"".join(struct.pack("<I", len(t)) + t for t in texts))
        told = subprocess.run([dump, path, source, out], check=True, capture_output=True, text=True).stdout.strip()
        data, at, rows = out.read_bytes(), 0, []
        for _ in texts:
            count, = struct.unpack_from("<I", data, at)
            ids = list(struct.unpack_from(f"<{count}i", data, at + 4))
            at += 4 + 4 * count
            length, = struct.unpack_from("<I", data, at)
            rows.append((ids, data[at + 4:at + 4 + length]))
            at += 4 + length
    return rows, told


def broken_texts():
    """Bytes that are no UTF-8: read as Python's bytes.decode("utf-8", "replace")."""
    rng = random.Random(7)
    return [bytes(rng.choice([0x41, 0x20, 0x80, 0xC3, 0xA9, 0xE6, 0x97, 0xA5, 0xF0, 0x9F, 0x98, 0x80, 0xFF, 0xED, 0xA0])
                  for _ in range(rng.randint(1, 30))) for _ in range(200)]


def compare(name, dump, path, reference, texts, speed_text):
    raw = [t.encode() for t in texts] + broken_texts()
    rows, _ = ours(dump, path, raw)
    wrong = decoded = same_text = 0
    for data, (ids, text) in zip(raw, rows):
        as_text = data.decode("utf-8", "replace")
        expected = reference.encode(as_text, add_special_tokens=False).ids
        if ids != expected:
            wrong += 1
            if wrong <= 3:
                print(f"  {name}: {as_text[:80]!r}\n    ours     {ids[:40]}\n    expected {expected[:40]}")
        elif "library" not in name and text.decode("utf-8", "replace") != reference.decode(expected, skip_special_tokens=False):
            decoded += 1
            if decoded <= 3:
                print(f"  {name}: decode {text[:80]!r} {reference.decode(expected, skip_special_tokens=False)[:80]!r}")
        same_text += text == as_text.encode()
    _, told = ours(dump, path, [speed_text])
    print(f"{name}: {len(raw)} texts, {wrong} with other ids, {decoded} decoded otherwise, {same_text} come back; {told}",
          flush=True)
    return wrong + decoded


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--dump", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--unicode-14", action="store_true", help="leave out characters newer than Python's tables")
    arguments = parser.parse_args()
    known = (lambda c: unicodedata.category(c) != "Cn") if arguments.unicode_14 else (lambda c: True)
    texts = make_texts(arguments.count, 20240501, known=known)
    plain = [t for t in make_texts(arguments.count, 77, False, known) if "\0" not in t and not re.search("</?s>|<unk>", t)]
    speed = english(random.Random(1), 400000).encode()
    data = arguments.data
    rows = [
        ("llama-2 json", "llama2/tokenizer.json", lambda: llama2(data / "llama2/tokenizer.json")),
        ("llama-2 model", "llama2/tokenizer.model", lambda: llama2_model(data / "llama2/tokenizer.model")),
        ("llama-2 library", "llama2/tokenizer.model", lambda: SentencePiece(data / "llama2/tokenizer.model")),
        ("llama-3", "llama3", lambda: from_ranks(data / "llama3/tokenizer.model", SPLIT % r"\p{N}{1,3}", LLAMA3)),
        ("qwen2", "qwen2", lambda: from_ranks(data / "qwen2/qwen.tiktoken", SPLIT % r"\p{N}",
                                              ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC())),
        ("gpt-2 ranks", "gpt2/gpt2.tiktoken", lambda: gpt2(data / "gpt2")),
        ("gpt-2 merges", "gpt2/vocab.json", lambda: gpt2(data / "gpt2")),
        ("tiny_bpe", "small/tiny_bpe_tokenizer.json",
         lambda: Tokenizer.from_file(str(data / "small/tiny_bpe_tokenizer.json"))),
        ("m.model library", "small/m.model", lambda: SentencePiece(data / "small/m.model")),
    ]
    faults = 0
    for name, path, make in rows:
        mine = plain if "library" in name else texts
        faults += compare(name, arguments.dump, data / path, make(), mine, speed)
    for byte_fallback in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            path = train_unigram(pathlib.Path(folder), plain, byte_fallback)
            faults += compare(f"unigram library, byte_fallback {byte_fallback}", arguments.dump, path, SentencePiece(path), plain,
                              speed)
    with tempfile.TemporaryDirectory() as folder:
        for name, path, make in rows:
            if name in ("llama-3", "qwen2"):
                file = pathlib.Path(folder) / f"{name}.json"
                reference = make()
                reference.save(str(file))
                faults += compare(f"{name} saved as json", arguments.dump, file, reference, texts, speed)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Makes seeds/: the smallest files of each kind that a reader takes."""
import base64
import gzip
import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent / "seeds"
sys.path.insert(0, str(HERE.parent.parent / "golden"))
from chat_template_sources import SOURCES  # noqa: E402

ALPHABET = [chr(b) if 33 <= b < 127 or 161 <= b < 173 or b >= 174 else None for b in range(256)]
EXTRA = iter(range(256, 400))
ALPHABET = [c or chr(next(EXTRA)) for c in ALPHABET]


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def sentencepiece(kind, with_bytes, normalizer):
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("<user>", 0.0, 4)]
    pieces += [(f"<0x{i:02X}>", 0.0, 6) for i in range(256)] if with_bytes else []
    pieces += [(p, -1.0 - i, 1) for i, p in enumerate("▁h el ▁hel lo ▁hello ll ▁ h e l o w r d ö a ▁▁ aa aaaa".split())]
    model = b"".join(field(1, field(1, p.encode()) + field(2, s) + field(3, t)) for p, s, t in pieces)
    trainer = field(3, kind) + field(35, int(with_bytes)) + field(40, 0) + field(41, 1) + field(42, 2)
    return model + field(2, trainer) + field(3, normalizer)


def charsmap(entries):
    """A double-array trie of one-byte texts behind the root, which has the offset 256."""
    units, strings = [0] * 512, b""
    units[0] = 256 << 10
    for text, replacement in entries:
        byte, at = ord(text), 256 ^ ord(text)
        units[at] = byte | 1 << 8 | 256 << 10  # label, has a leaf, offset
        units[at ^ 256] = len(strings) | 1 << 31  # the leaf
        strings += replacement.encode() + b"\0"
    return struct.pack("<I512I", 2048, *units) + strings


def tokenizer(model, **parts):
    return json.dumps({"version": "1.0", "added_tokens": [
        {"id": 0, "content": "<unk>", "special": True, "normalized": False},
        {"id": 1, "content": "</s>", "special": False, "normalized": True, "lstrip": True, "rstrip": True},
        {"id": 2, "content": "lo", "single_word": True}], **parts, "model": model}, ensure_ascii=False, indent=0)


def safetensors(*tensors):
    """Of (name, dtype, shape, data); the header is padded as the package does it."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, dtype, shape, values in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def write(path, data):
    (HERE / path).parent.mkdir(parents=True, exist_ok=True)
    (HERE / path).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


def model_files():
    floats = struct.pack("<8f", *range(8))
    write("safetensors/types.safetensors", safetensors(
        ("a", "F32", [2, 4], floats), ("b", "F64", [1], bytes(8)), ("c", "BF16", [1, 2, 1, 2], bytes(8)),
        ("d", "F16", [], bytes(2)), ("e", "U8", [0, 3], b""), ("f", "I8", [2], b"12")))
    write("safetensors/one.safetensors", safetensors(("a", "F32", [8], floats)))
    write("safetensors/empty.safetensors", safetensors())
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    write("adapter/weights", b"t" + safetensors(
        (name + "A.weight", "F32", [2, 3], floats[:24]), (name + "B.weight", "BF16", [4, 2], bytes(16))))
    write("adapter/config", b"c" + json.dumps({
        "peft_type": "LORA", "r": 2, "lora_alpha": 16, "lora_dropout": 0.5, "use_rslora": True, "bias": "none",
        "base_model_name_or_path": "base", "target_modules": ["q_proj", "v_proj"], "init_lora_weights": "eva",
        "rank_pattern": {r"layers\.0\.q_proj": 2, "q_proj": 3}, "alpha_pattern": {"[qv]_proj": 1.5}, "use_dora": False}).encode())
    sizes = {"vocab_size": 32, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}
    write("config_json/llama.json", {
        "architectures": ["LlamaForCausalLM"], **sizes, "rope_theta": 500000.0, "attention_bias": True,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 8192},
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}})
    write("config_json/gemma2.json", {
        "architectures": ["Gemma2ForCausalLM"], **sizes, "head_dim": 4, "sliding_window": 4, "query_pre_attn_scalar": 4,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": None, "hidden_activation": "gelu_pytorch_tanh",
        "layer_types": ["sliding_attention", "full_attention"]})
    write("config_json/qwen2.json", {
        "model_type": "qwen2", **sizes, "sliding_window": 4, "use_sliding_window": True, "max_window_layers": 1,
        "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}, "tie_word_embeddings": True})
    # Found once: numbers whose frequencies or scales are no finite fp32.
    write("config_json/theta.json", {
        "model_type": "qwen2", **sizes, "head_dim": 8, "rope_theta": 1e-300})
    write("config_json/ramp.json", {
        "model_type": "llama", **sizes, "head_dim": 128, "rope_theta": 1e308, "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1e-300, "high_freq_factor": 1e-299,
            "original_max_position_embeddings": 8192}})
    write("config_json/scale.json", {"model_type": "gemma2", **sizes, "query_pre_attn_scalar": 1e-320})


def datasets():
    records = [{"instruction": "add \u00f6", "input": "1 2", "output": "3\n", "domain": "sums"},
               {"instruction": "say", "output": "hi"}]
    lines = "\r\n".join(json.dumps(r) for r in records).encode() + b"\n\n"
    write("dataset/alpaca.json", records)
    write("dataset/alpaca.jsonl", b"\xef\xbb\xbf" + lines)
    write("dataset/alpaca.jsonl.gz", gzip.compress(lines, mtime=0))
    write("dataset/response.jsonl", {"instruction": "say", "response": "hi"})
    write("dataset/dolly.jsonl", {"instruction": "say", "context": "c", "response": "hi", "category": "qa", "client": 7})
    write("dataset/seed_tasks.jsonl", {"instruction": "say", "instances": [{"input": "", "output": "hi"}]})
    write("dataset/clients.json", {"a": records, "b": records})
    write("dataset/table.csv", b'cinstruction,input,output\r\nadd,"1, ""2""\n",3\n\nsay,,hi')
    shares = [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "function_call", "value": "f"},
              {"from": "observation", "value": "1"}]
    says = [{"role": "user", "content": [{"type": "text", "value": "q"}], "loss_weight": 0.0},
            {"role": "assistant", "content": "a", "loss_weight": 1.0}]
    write("dataset/sharegpt.json", [{"conversations": shares + [{"from": "gpt", "value": "a"}], "system": "s"}])
    write("dataset/messages.jsonl", {"messages": says})
    answers = {"chosen": {"from": "gpt", "value": "c"}, "rejected": {"from": "gpt", "value": "r"}}
    write("dataset/preference_sharegpt.json", [{"conversations": shares, **answers}])
    write("dataset/preference_messages.jsonl", {"chosen_messages": says, "rejected_messages": says})
    pair = b"\n".join(json.dumps(r).encode() for r in [
        {"prompt": "q", "chosen": "c", "rejected": "r"}, {"prompt": "q", "chosen": says, "rejected": says}])
    talk = "\n\nHuman: q\n\nAssistant: a\n\nHuman: p\n\nAssistant:"
    both = json.dumps({"chosen": talk + " y\u00e9", "rejected": talk + " y\u00e8"}, ensure_ascii=False).encode()
    for prefix in (b"", b"d"):
        write(f"dataset/{prefix.decode()}pair.jsonl", prefix + pair)
        write(f"dataset/{prefix.decode()}hh.jsonl", prefix + both)


def chat_templates():
    """One of each way in which formats differ; a tokenizer_config.json with a text and with a list."""
    for name in ("alpaca", "gemma", "llama2", "llama3.2", "mistral-v0.2-system", "phi3", "qwen2.5-math", "qwen3"):
        write(f"chat_template/{name}.jinja", SOURCES[name].encode())
    write("chat_template/config.json", {"chat_template": SOURCES["chatml"]})
    write("chat_template/list.json", {"chat_template": [
        {"name": "tool_use", "template": "{{ 1 }}"}, {"name": "default", "template": SOURCES["zephyr"]}]})
    # Found once: a comment that ends where it begins.
    write("chat_template/comment.jinja", b"{#} not the end #}{#-#}\n{#- - +#}\nx{%+ if y -%} {% endif +%}\n")


def main():
    model_files()
    datasets()
    chat_templates()
    for folder in ("json", "sentencepiece", "tiktoken"):
        (HERE / folder).mkdir(parents=True, exist_ok=True)
    (HERE / "sentencepiece/bpe.model").write_bytes(sentencepiece(2, True, field(1, b"identity") + field(4, 0)))
    (HERE / "sentencepiece/unigram.model").write_bytes(sentencepiece(1, False, field(3, 1) + field(4, 1)))
    nmt = field(2, charsmap([("W", "w"), ("\t", " "), ("!", ""), ("H", "h")]))
    (HERE / "sentencepiece/charsmap.model").write_bytes(sentencepiece(1, False, nmt))
    lines = [base64.b64encode(bytes([b])).decode() for b in range(256)]
    lines += [base64.b64encode(t).decode() for t in (b"he", b"ll", b"llo", b"hello", b" h", "日".encode(), b"aa", b"aaaa")]
    (HERE / "tiktoken/small.model").write_text("".join(f"{t} {i}\n" for i, t in enumerate(lines)))
    words = ["<unk>", "</s>", "lo", "▁", "h", "e", "l", "o", "el", "▁h", "▁hel", "▁hello", "a", "aa", "aaaa", "é"]
    vocab = {w: i for i, w in enumerate(words)}
    merges = ["e l", ["▁", "h"], "▁h el", "l o", "▁hel lo", "a a", "aa aa"]
    split = {"type": "Split", "pattern": {"Regex": r"(?i:'s)|[^\r\n\p{L}]?\p{L}+|\s+(?!\S)|[\s-]+|\b."},
             "behavior": "Isolated", "invert": False}
    (HERE / "json/bpe.json").write_text(tokenizer(
        {"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "<unk>", "fuse_unk": True},
        normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {
            "String": " "}, "content": "▁"}, {"type": "Replace", "pattern": {"Regex": "l{2,}"}, "content": "ll"}]},
        decoder={"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {
            "type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        post_processor={"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "</s>", "type_id": 0}}, {
            "Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"</s>": {"id": "</s>", "ids": [1]}}}))
    (HERE / "json/unigram.json").write_text(tokenizer(
        {"type": "Unigram", "unk_id": 0, "vocab": [[w, -float(i)] for i, w in enumerate(words)]},
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {
            "type": "Strip", "strip_left": True, "strip_right": False}]},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}]},
        decoder={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}))
    level = {"<unk>": 0, "</s>": 1, **{c: i + 3 for i, c in enumerate(ALPHABET)}, "he": 300, "ll": 301, "Ġh": 302}
    (HERE / "json/byte_level.json").write_text(tokenizer(
        {"type": "BPE", "vocab": level, "merges": [["h", "e"], "l l", "Ġ h"], "ignore_merges": True},
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, {
            "type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap([("W", "w")])).decode()}]},
        decoder={"type": "ByteLevel"}, pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {**split, "behavior": "MergedWithNext"}, {"type": "Punctuation", "behavior": "Contiguous"},
            {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": True}]}))


if __name__ == "__main__":
    main()

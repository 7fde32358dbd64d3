"""Builds the embedded base model: a Llama-2 style tokenizer and a small Llama, pre-trained from scratch.

    python pretrain.py [MODEL_DIR] [--tokens N] [--threads N]

The corpus is plain text from world.py.  The model therefore knows the world but has never seen a request
being answered; that is left for federated fine-tuning to show.
"""
import argparse
import json
import math
import re
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from make_data import train_records
from world import DOMAINS, TEMPLATE, documents, heldout_items

DEFAULT = Path(__file__).resolve().parents[2] / "configs" / "embedded" / "model"
VOCAB, CONTEXT, SEQUENCE, BATCH = 1024, 512, 256, 8
SHAPE = {"hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 2,
         "intermediate_size": 512, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
         "tie_word_embeddings": True, "initializer_range": 0.02, "bos_token_id": 1, "eos_token_id": 2}
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{i:02X}>" for i in range(256)]


def units(text):
    """The pieces inside which merges may be learned: words with the boundary in front, single other characters.

    Newlines belong to no piece, so they stay byte tokens as in Llama-2, and digits stay single.
    """
    return re.findall(r"▁?[A-Za-z]+|#+|[^\n]", "▁" + text.replace(" ", "▁"))


def tokenizer_json():
    """Llama-2's form: no pre-tokenizer, word boundary written by the normalizer, bytes for unknown characters."""
    texts = list(documents("tokenizer", 4000))
    for domain in DOMAINS:
        texts += [TEMPLATE.format(f"{r['instruction']} {r['input']}", r["output"], "")
                  for r in train_records(domain, set(heldout_items(domain)))]
    bpe = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    bpe.pre_tokenizer = pre_tokenizers.Split("\n", "removed")
    alphabet = [chr(c) for c in range(33, 127)] + ["▁"]
    bpe.train_from_iterator(("\n".join(units(text)) for text in texts), trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=SPECIAL + BYTES, initial_alphabet=alphabet, show_progress=False))
    trained = json.loads(bpe.to_str())
    bos, first, second = ({"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                          {"Sequence": {"id": "B", "type_id": 1}})
    trained.update(
        added_tokens=trained["added_tokens"][:len(SPECIAL)], pre_tokenizer=None,
        normalizer={"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        post_processor={"type": "TemplateProcessing", "single": [bos, first],
                        "pair": [bos, first, {"SpecialToken": {"id": "<s>", "type_id": 1}}, second],
                        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        decoder={"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})
    return trained


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_tokenizer(out):
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "tokenizer.json", tokenizer_json())
    write_json(out / "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "pad_token": None, "clean_up_tokenization_spaces": False, "model_max_length": CONTEXT, "legacy": True,
        "tokenizer_class": "LlamaTokenizer"})
    raw = Tokenizer.from_file(str(out / "tokenizer.json"))
    auto = AutoTokenizer.from_pretrained(out)
    for text in list(documents("verify", 200)) + ["7 + 12 = 19", "Grüße, 世界!\n\n### Response: yes", "", "two  spaces"]:
        assert raw.encode(text).ids == auto(text).input_ids, text
    print(f"tokenizer: {raw.get_vocab_size()} tokens; template costs {len(auto(TEMPLATE.format('', '', '')).input_ids)}")
    return raw


def build_model(vocab):
    torch.manual_seed(1)
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab, **SHAPE))


def batches(tokenizer, count):
    """`count` batches of packed text: documents one after the other, each between <s> and </s>."""
    stream, need = [], BATCH * SEQUENCE
    for text in documents("train", 1 << 40):
        stream += tokenizer.encode(text).ids + [2]
        while len(stream) >= need and count > 0:
            yield torch.tensor(stream[:need]).view(BATCH, SEQUENCE)
            stream, count = stream[need:], count - 1
        if count == 0:
            return


def train(model, tokenizer, tokens, peak=3e-3):
    steps, start = tokens // (BATCH * SEQUENCE), time.time()
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
                                  lr=peak, betas=(0.9, 0.98), fused=True)
    for step, ids in enumerate(batches(tokenizer, steps)):
        warm = min(1.0, (step + 1) / 200)
        for group in optimizer.param_groups:
            group["lr"] = warm * peak * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}/{steps} loss {loss.item():.4f} {time.time() - start:.0f}s", flush=True)


def write_model(model, out):
    """Weights in bfloat16; config.json in the long-standing form (rope_theta at the top), which every reader knows."""
    weights = {name: value.detach().to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()
               if name != "lm_head.weight"}   # tied to the embedding
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    write_json(out / "config.json", {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SHAPE,
               "vocab_size": model.config.vocab_size, "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
               "attention_dropout": 0.0, "rope_scaling": None, "torch_dtype": "bfloat16", "use_cache": True})
    write_json(out / "generation_config.json", {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2})
    again = LlamaForCausalLM.from_pretrained(out, dtype=torch.bfloat16).state_dict()
    assert all(torch.equal(again[name], value) for name, value in weights.items())
    size = sum(f.stat().st_size for f in out.iterdir())
    print(f"{out}: {size} bytes, {model.num_parameters()} parameters")
    assert size <= 10_000_000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_dir", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--tokens", type=int, default=9_000_000)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = write_tokenizer(args.model_dir)
    model = build_model(tokenizer.get_vocab_size())
    train(model, tokenizer, args.tokens)
    write_model(model, args.model_dir)


if __name__ == "__main__":
    main()

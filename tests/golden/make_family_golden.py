#!/usr/bin/env python3
"""Makes data/families/: per decoder family a tiny random model, and what Transformers + PEFT compute with it.

    python3 make_family_golden.py              writes into data/families/ beside this script
    python3 make_family_golden.py --out DIR    writes elsewhere
    python3 make_family_golden.py --check      makes everything again and compares with the committed files

Every case has an adapter on all linears (PEFT's "all-linear"), one batch with logits, loss and gradients, and 64
greedy tokens after a short prompt.  README.md says what each file holds.
"""
import argparse
import pathlib
import sys
import tempfile
import warnings

import numpy
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from golden_io import concat, difference, relative, write_json, write_tensors
from golden_model import GAIN, SCALE, PeftReference, normal, random_adapter, random_sequence

HERE = pathlib.Path(__file__).resolve().parent
LORA_R, LORA_ALPHA, VOCAB, SEED, PROMPT, NEW_TOKENS = 2, 4, 96, 5001, 7, 64
TOLERANCE = 1e-4
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "intermediate_size": 24, "vocab_size": VOCAB, "max_position_embeddings": 96, "pad_token_id": 0,
         "bos_token_id": 1, "eos_token_id": 2, "use_cache": False, "tie_word_embeddings": False,
         "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 24}
# Case -> configuration class, what differs from SIZES, and settings whose removal must change the logits.
CASES = {
    "llama_llama3": ("LlamaConfig", {"rope_parameters": LLAMA3}, {}),
    "llama_linear": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True, "rope_parameters": {
        "rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}, {}),
    "llama_dynamic": ("LlamaConfig", {"rope_parameters": {
        "rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}}, {}),
    "mistral": ("MistralConfig", {"sliding_window": 9, "head_dim": 10}, {"sliding_window": None}),
    "qwen2": ("Qwen2Config", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1,
                              "tie_word_embeddings": True}, {"use_sliding_window": False}),
    "qwen3": ("Qwen3Config", {"head_dim": 16, "num_key_value_heads": 1}, {}),
    "phi3": ("Phi3Config", {"sliding_window": 12}, {"sliding_window": None}),
    "gemma": ("GemmaConfig", {"head_dim": 16, "num_key_value_heads": 1, "tie_word_embeddings": True}, {}),
    "gemma2": ("Gemma2Config", {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 5,
                                "attn_logit_softcapping": 2.0, "final_logit_softcapping": 4.0,
                                "tie_word_embeddings": True},
               {"sliding_window": 96, "attn_logit_softcapping": None, "final_logit_softcapping": None}),
}
RSLORA = {"qwen3"}


@torch.no_grad()
def fill(model, seed, offset, embedding):
    """Matrices as in golden_model.fill; biases around 0; norm weights around 1 with the family's offset."""
    stream = numpy.random.default_rng(seed)
    for name, weight in model.named_parameters():
        kind = name.split(".")[-2]
        gain = {**GAIN, "qkv_proj": 2.5, "embed_tokens": embedding}.get(kind, 1.0)
        if weight.dim() == 2:
            weight.copy_(normal(stream, weight.shape, SCALE * gain))
        else:
            weight.copy_(normal(stream, weight.shape, 0.2, 0.0 if name.endswith("bias") else 1.0 - offset))


def make_config(case, extra=None):
    cls, settings, _ = CASES[case]
    return getattr(transformers, cls)(**{**SIZES, **settings, **(extra or {})})


def make_model(case, folder):
    model = AutoModelForCausalLM.from_config(make_config(case), attn_implementation="eager")
    # a tied head makes every token call for itself: the smaller the embedding, the less
    embedding = 0.5 if case.startswith("gemma") else 1.0 if model.config.tie_word_embeddings else 3.0
    fill(model, SEED + list(CASES).index(case), 1.0 if case.startswith("gemma") else 0.0, embedding)
    model.save_pretrained(folder)


class FamilyReference(PeftReference):
    """PeftReference over any architecture, with an adapter on all linears."""

    def __init__(self, folder, rslora, extra=None):
        torch.manual_seed(0)
        config = transformers.AutoConfig.from_pretrained(folder)
        for key, value in (extra or {}).items():
            setattr(config, key, value)
        if extra and hasattr(config, "layer_types") and "sliding_window" in str(extra) and "use" in str(extra):
            config.layer_types = ["full_attention"] * config.num_hidden_layers
        base = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32,
                                                    attn_implementation="eager")
        lora = LoraConfig(r=LORA_R, lora_alpha=LORA_ALPHA, target_modules="all-linear", lora_dropout=0.0,
                          use_rslora=rslora, bias="none", task_type="CAUSAL_LM")
        self.model = get_peft_model(base, lora).train()
        self.dtype = torch.float32

    @torch.no_grad()
    def greedy(self, ids):
        """NEW_TOKENS tokens by full passes, and the smallest gap between the best two logits."""
        ids, gap = list(ids), float("inf")
        for _ in range(NEW_TOKENS):
            best = self.model(input_ids=torch.tensor([ids])).logits[0, -1].topk(2)
            gap = min(gap, (best.values[0] - best.values[1]).item())
            ids.append(best.indices[0].item())
        return ids[-NEW_TOKENS:], gap


def choose_prompt(model, stream):
    """A prompt whose answer does not hang on the last digits of a logit; of several, the most varied answer."""
    found = []
    for _ in range(12):
        prompt = random_sequence(stream, PROMPT, 0, VOCAB)["ids"]
        answer, gap = model.greedy(prompt)
        if gap > 5e-4:
            found.append((len(set(answer)), prompt, answer))
    count, prompt, answer = max(found)
    assert count > 2
    return prompt, answer


def make_case(out, case):
    folder, rslora = out / case, case in RSLORA
    make_model(case, folder)
    stream = numpy.random.default_rng(SEED + 100 + list(CASES).index(case))
    batch = [random_sequence(stream, length, prompt, VOCAB) for length, prompt in [(27, 8), (1, 0), (6, 6), (14, 3)]]
    model = FamilyReference(folder, rslora)
    adapter = random_adapter(model.shapes(), SEED + 200 + list(CASES).index(case))
    loss, grads = model.loss_and_grads(adapter, batch)
    logits = model.batch_logits(adapter, batch)
    for key, value in CASES[case][2].items():
        without = FamilyReference(folder, rslora, {key: value}).batch_logits(adapter, batch)
        assert relative(without, logits) > 1e-3, (case, key)
    prompt, answer = choose_prompt(model, stream)
    write_tensors(folder / "case.safetensors", adapter=adapter, grad=grads, logits=logits)
    write_json(folder / "case.json", {
        "lora": {"r": LORA_R, "lora_alpha": LORA_ALPHA, "target_modules": ["all-linear"], "lora_dropout": 0.0,
                 "use_rslora": rslora},
        "loss": loss, "grad_norm": concat(grads).norm().item(), "sequences": batch, "prompt": prompt,
        "greedy": answer})
    (folder / "generation_config.json").unlink(missing_ok=True)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    print(f"{case}: loss {loss:.6f}, gradient norm {concat(grads).norm().item():.4f}, "
          f"{len(set(answer))} different tokens in the answer")


def make_all(out):
    for case in CASES:
        (out / case).mkdir(parents=True, exist_ok=True)
        make_case(out, case)


def check(committed):
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        fresh = pathlib.Path(folder)
        make_all(fresh)
        for path in sorted(p.relative_to(fresh) for p in fresh.rglob("*") if p.is_file()):
            apart = difference(committed / path, fresh / path)
            worst = max(worst, apart)
            print(f"{apart:10.3g}  {path}")
    return worst < TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "data" / "families")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if arguments.check:
        sys.exit(0 if check(arguments.out) else 1)
    make_all(arguments.out)


if __name__ == "__main__":
    main()

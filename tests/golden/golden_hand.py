"""A Llama decoder with LoRA written out by hand, one unpadded sequence at a time.

It shares no code with Transformers or PEFT and runs in any precision. In double precision it verifies the
golden maker (padding and masks change nothing) and measures how far fp32 is from exact arithmetic.
"""
import json
import pathlib

import torch
from safetensors.torch import load_file

PREFIX = "base_model.model."  # what PEFT puts in front of a module's name


def rmsnorm(x, weight, eps):
    """x[T,C] -> x / rms(x) * weight."""
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def rope(x, theta, positions):
    """Rotates x[T,H,D]; the pair of element d is d + D/2."""
    dim = x.shape[-1]
    frequency = theta ** (-torch.arange(0, dim, 2, dtype=x.dtype) / dim)
    angle = torch.outer(torch.tensor(positions, dtype=x.dtype), frequency)[:, None, :]
    low, high = x[..., : dim // 2], x[..., dim // 2:]
    return torch.cat([low * angle.cos() - high * angle.sin(), high * angle.cos() + low * angle.sin()], -1)


def attend(q, k, v):
    """Causal attention; q[T,H,D], k and v[T,G,D] with G dividing H -> [T,H*D]."""
    length, heads, dim = q.shape
    k, v = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (k, v))
    scores = torch.einsum("ihd,jhd->hij", q, k) / dim**0.5
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
    return torch.einsum("hij,jhd->ihd", weights, v).reshape(length, heads * dim)


class HandModel:
    """Base weights in `dtype`, LoRA tensors given with each call under PEFT's names; lora_scale is a number, or a
    function of the module's path and rank."""

    def __init__(self, folder, lora_scale, dtype=torch.float64):
        self.config = json.loads((pathlib.Path(folder) / "config.json").read_text())
        self.scale, self.dtype = lora_scale, dtype
        self.base = {}
        for shard in sorted(pathlib.Path(folder).glob("*.safetensors")):
            self.base.update({name: w.to(dtype) for name, w in load_file(shard).items()})

    def linear(self, x, module, adapter):
        y = x @ self.base[module + ".weight"].T
        a = adapter.get(f"{PREFIX}{module}.lora_A.weight")
        b = adapter.get(f"{PREFIX}{module}.lora_B.weight")
        if a is None:
            return y
        scale = self.scale(module, len(a)) if callable(self.scale) else self.scale
        return y + scale * (x @ a.T) @ b.T

    def attention(self, x, module, adapter, positions):
        config, length = self.config, x.shape[0]
        theta = config["rope_parameters"]["rope_theta"]
        q, k, v = (self.linear(x, f"{module}.{name}_proj", adapter).reshape(length, -1, config["head_dim"])
                   for name in "qkv")
        return self.linear(attend(rope(q, theta, positions), rope(k, theta, positions), v), module + ".o_proj", adapter)

    def mlp(self, x, module, adapter):
        gate = self.linear(x, module + ".gate_proj", adapter)
        up = self.linear(x, module + ".up_proj", adapter)
        return self.linear(gate * torch.sigmoid(gate) * up, module + ".down_proj", adapter)

    def logits(self, ids, adapter, positions=None):
        """ids, positions (None: from 0 on): list of T -> [T,V]."""
        eps, base = self.config["rms_norm_eps"], self.base
        positions = positions or list(range(len(ids)))
        x = base["model.embed_tokens.weight"][torch.tensor(ids)]
        for index in range(self.config["num_hidden_layers"]):
            layer = f"model.layers.{index}"
            h = rmsnorm(x, base[layer + ".input_layernorm.weight"], eps)
            x = x + self.attention(h, layer + ".self_attn", adapter, positions)
            h = rmsnorm(x, base[layer + ".post_attention_layernorm.weight"], eps)
            x = x + self.mlp(h, layer + ".mlp", adapter)
        head = base.get("lm_head.weight", base["model.embed_tokens.weight"])
        return rmsnorm(x, base["model.norm.weight"], eps) @ head.T

    def nll(self, sequence, adapter):
        """(sum of negative log-probabilities, number of targets) of one sequence."""
        labels = torch.tensor(sequence["labels"][1:], dtype=torch.long)
        logprob = self.logits(sequence["ids"], adapter)[:-1].log_softmax(-1)
        at = (labels != -100).nonzero().flatten()
        return -logprob[at, labels[at]].sum(), len(at)

    def loss_and_grads(self, adapter, batch):
        """Mean over the batch's targets and its gradient for every LoRA tensor."""
        leaves = {name: w.detach().to(self.dtype, copy=True).requires_grad_() for name, w in adapter.items()}
        sums, counts = zip(*(self.nll(sequence, leaves) for sequence in batch))
        loss = sum(sums) / sum(counts)
        grads = torch.autograd.grad(loss, list(leaves.values()))
        return loss.item(), dict(zip(leaves, grads))

    def batch_logits(self, adapter, batch):
        """Logits at all positions of all sequences, one after the other: [sum of T, V]."""
        cast = {name: w.to(self.dtype) for name, w in adapter.items()}
        return torch.cat([self.logits(sequence["ids"], cast) for sequence in batch])

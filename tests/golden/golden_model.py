"""The tiny random base models, and Transformers + PEFT behind the same two calls as `golden_hand.HandModel`."""
import numpy
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import LlamaConfig, LlamaForCausalLM

QV = ["q_proj", "v_proj"]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA_R, LORA_ALPHA = 4, 8
IGNORE = -100
MODEL_SEED, SHARDED_SEED = 1001, 1002
SCALE = 0.08
# Wider queries and keys keep attention far from uniform, the wider head keeps the logits far from flat, and the wider
# embedding keeps gradient norms around 1, so that runs hold steps with and without clipping.
GAIN = {"q_proj": 2.5, "k_proj": 2.5, "embed_tokens": 4.0, "lm_head": 1.6}


def normal(stream, shape, scale, centre=0.0):
    return torch.from_numpy((centre + scale * stream.standard_normal(tuple(shape))).astype(numpy.float32))


@torch.no_grad()
def fill(model, seed, gain):
    """Matrices N(0, SCALE * gain), norm weights around 1; NumPy's stream, in parameter order."""
    stream = numpy.random.default_rng(seed)
    for name, weight in model.named_parameters():
        if weight.dim() == 1:
            weight.copy_(normal(stream, weight.shape, 0.1, 1.0))
        else:
            weight.copy_(normal(stream, weight.shape, SCALE * gain.get(name.split(".")[-2], 1.0)))


def make_model(folder):
    """Untied head, fp32, one file."""
    config = LlamaConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
                         intermediate_size=80, vocab_size=160, max_position_embeddings=128, rms_norm_eps=1e-5,
                         rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, pad_token_id=0,
                         bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, use_cache=False)
    model = LlamaForCausalLM(config)
    fill(model, MODEL_SEED, GAIN)
    model.save_pretrained(folder)


def make_sharded_model(folder):
    """Tied head, bf16, several shards, another rope_theta and epsilon than the first model."""
    config = LlamaConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                         intermediate_size=56, vocab_size=160, max_position_embeddings=128, rms_norm_eps=1e-6,
                         rope_parameters={"rope_type": "default", "rope_theta": 50000.0}, pad_token_id=0,
                         bos_token_id=1, eos_token_id=2, tie_word_embeddings=True, use_cache=False)
    model = LlamaForCausalLM(config)
    fill(model, SHARDED_SEED, {**GAIN, "embed_tokens": 2.0})
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="20KB")


def pad(batch):
    """Right-padded ids, attention mask and labels of a list of sequences."""
    width = max(len(sequence["ids"]) for sequence in batch)
    rows = [(s["ids"], width - len(s["ids"]), s["labels"]) for s in batch]
    return {"input_ids": torch.tensor([ids + [0] * gap for ids, gap, _ in rows]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * gap for ids, gap, _ in rows]),
            "labels": torch.tensor([labels + [IGNORE] * gap for _, gap, labels in rows])}


def load_base(folder):
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def real_logits(model, batch):
    """Logits at the real positions of a padded batch, one sequence after the other: [sum of T, V]."""
    inputs = pad(batch)
    with torch.no_grad():
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    return logits[inputs["attention_mask"].bool()]


class PeftReference:
    """Transformers + PEFT in fp32 on the CPU."""

    def __init__(self, folder, targets, **more):
        torch.manual_seed(0)
        lora = LoraConfig(r=LORA_R, lora_alpha=LORA_ALPHA, target_modules=targets, lora_dropout=0.0,
                          bias="none", task_type="CAUSAL_LM", **more)
        self.model = get_peft_model(load_base(folder), lora).train()
        self.dtype = torch.float32

    def shapes(self):
        """Name as PEFT saves it -> shape."""
        return {name: w.shape for name, w in get_peft_model_state_dict(self.model).items()}

    def parameters(self, adapter):
        live = dict(self.model.named_parameters())
        return {name: live[name.replace(".weight", ".default.weight")] for name in adapter}

    @torch.no_grad()
    def load(self, adapter):
        for name, parameter in self.parameters(adapter).items():
            parameter.copy_(adapter[name])

    def loss_and_grads(self, adapter, batch):
        self.load(adapter)
        self.model.zero_grad(set_to_none=True)
        loss = self.model(**pad(batch)).loss
        loss.backward()
        return loss.item(), {name: p.grad.clone() for name, p in self.parameters(adapter).items()}

    def batch_logits(self, adapter, batch):
        self.load(adapter)
        return real_logits(self.model, batch)


def random_adapter(shapes, seed):
    """A and B both random: the state in the middle of training."""
    stream = numpy.random.default_rng(seed)
    return {name: normal(stream, shape, 0.15) for name, shape in shapes.items()}


def initial_adapter(shapes, seed):
    """A uniform in +-1/sqrt(inputs), B zero: the state before training."""
    stream, adapter = numpy.random.default_rng(seed), {}
    for name, shape in shapes.items():
        bound = shape[1] ** -0.5
        drawn = stream.uniform(-bound, bound, tuple(shape)).astype(numpy.float32)
        adapter[name] = torch.from_numpy(drawn) if "lora_A" in name else torch.zeros(*shape)
    return adapter


def random_sequence(stream, length, prompt, vocab=160):
    """`length` random ids from 3 on; the first `prompt` labels are masked."""
    ids = [int(i) for i in stream.integers(3, vocab, length)]
    return {"ids": ids, "labels": [IGNORE] * prompt + ids[prompt:]}

#!/usr/bin/env python3
"""Makes data/quant/: what bitsandbytes makes of a matrix and of a checkpoint, in int8 and NF4, on the CPU.

    python3 make_quant_golden.py              writes into data/quant/ beside this script
    python3 make_quant_golden.py --out DIR    writes elsewhere

Needs bitsandbytes beside what make_golden.py needs.  README.md says what each file holds.
"""
import argparse
import pathlib
import warnings

import bitsandbytes
import bitsandbytes.functional as bnb
import numpy
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from golden_io import relative, write_json, write_tensors
from golden_model import normal, random_sequence, real_logits

HERE = pathlib.Path(__file__).resolve().parent
BASE = HERE / "data" / "families" / "qwen3"
SEED, VOCAB = 6001, 96
FORMATS = {"nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
           "nf4_plain": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
           "int8": {"load_in_8bit": True}}


def make_matrices(out):
    """Rows that are no multiple of a block, a row and a block of zeros, more than 256 blocks."""
    stream = numpy.random.default_rng(SEED)
    groups = {"map": bnb.create_dynamic_map()}
    for name, rows, cols in [("small", 6, 50), ("large", 150, 120)]:
        w = normal(stream, (rows, cols), 0.1)
        w[2] = 0
        w[3] = 0
        w[0, :16] = torch.from_numpy(numpy.linspace(-0.5, 0.5, 16, dtype=numpy.float32))
        codes, state = bnb.quantize_4bit(w, blocksize=64, compress_statistics=False, quant_type="nf4")
        nested, nested_state = bnb.quantize_4bit(w, blocksize=64, compress_statistics=True, quant_type="nf4")
        int8, scb, _ = bnb.int8_vectorwise_quant(w)
        assert torch.equal(nf4_values(nested, nested_state), bnb.dequantize_4bit(nested, nested_state)), name
        groups[name] = {
            "w": w, "nf4.codes": codes.flatten(), "nf4.absmax": state.absmax,
            "nf4.values": bnb.dequantize_4bit(codes, state), "nested.absmax_codes": nested_state.absmax,
            "nested.scale": nested_state.state2.absmax, "nested.offset": nested_state.offset.reshape(1),
            "nested.values": bnb.dequantize_4bit(nested, nested_state),
            "int8.codes": int8, "int8.absmax": scb, "int8.values": bnb.int8_vectorwise_dequant(int8, scb)}
    write_tensors(out / "matrices.safetensors", **groups)


def nf4_values(packed, state):
    """Values by the definition: the CPU kernel of bitsandbytes 0.50.2 is wrong where a row is shorter than a block."""
    absmax = state.absmax
    if state.nested:
        absmax = bnb.dequantize_blockwise(absmax, state.state2) + state.offset
    codes = torch.stack([packed.flatten() >> 4, packed.flatten() & 15], 1).flatten().long()
    return (state.code[codes] * absmax.repeat_interleave(64)[:len(codes)]).reshape(state.shape)


def widened(files):
    """The base model with every quantised weight of the checkpoint replaced by its values."""
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32, attn_implementation="eager")
    replaced = 0
    with torch.no_grad():
        for name, weight in model.named_parameters():
            parts = {key[len(name) + 1:]: value for key, value in files.items() if key.startswith(name + ".")}
            scb = files.get(name.removesuffix(".weight") + ".SCB")
            if parts:
                state = bnb.QuantState.from_dict({"weight." + k: v for k, v in parts.items()}, torch.device("cpu"))
                weight.copy_(nf4_values(files[name], state))
            elif scb is not None:
                weight.copy_(bnb.int8_vectorwise_dequant(files[name], scb))
            replaced += bool(parts) or scb is not None
    assert replaced == 14, replaced
    return model


def make_checkpoint(out, name, settings, batch):
    """A checkpoint as Transformers saves it, and the logits of its values in fp32."""
    folder = out / name
    config = BitsAndBytesConfig(bnb_4bit_compute_dtype=torch.float32, **settings)
    model = AutoModelForCausalLM.from_pretrained(BASE, quantization_config=config, dtype=torch.float32,
                                                 device_map={"": "cpu"})
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    logits = real_logits(widened(load_file(folder / "model.safetensors")), batch)
    plain = real_logits(AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32), batch)
    print(f"{name}: logits move by {relative(logits, plain):.3g}")
    write_tensors(folder / "case.safetensors", logits=logits)
    write_json(folder / "case.json", {"sequences": [{"ids": s["ids"]} for s in batch]})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "data" / "quant")
    out = parser.parse_args().out
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    make_matrices(out)
    stream = numpy.random.default_rng(SEED + 1)
    batch = [random_sequence(stream, length, 0, VOCAB) for length in (21, 9)]
    for name, settings in FORMATS.items():
        make_checkpoint(out, name, settings, batch)
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)
    (out / "MADE_WITH").write_text("".join(f"{m.__name__} {m.__version__}\n" for m in
                                           (bitsandbytes, torch, transformers, numpy)))


if __name__ == "__main__":
    main()

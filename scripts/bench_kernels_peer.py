"""The peer of kernels/bench/bench_kernels.c: the same rows with PyTorch, in bf16.

    python bench_kernels_peer.py ROWS.jsonl [--device cuda] [--seconds S] [--compile]

ROWS.jsonl: what bench_kernels printed; names and shapes are taken from there.  Prints a JSON object
per row that PyTorch has an answer to.  Attention: the fastest of SDPA's implementations.  --compile:
torch.compile where the eager form is several kernels.  On a device times are those of CUDA events;
gradients include what autograd does around them.
"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

REPEATS = 5


class Row:
    """Operands as they are asked for; random values of deviation 0.02."""

    def __init__(self, row, device, compiled):
        self.T, self.N, self.K, self.head = (int(row[key]) for key in ("T", "N", "K", "head"))
        self.device, self.compiled = device, compiled
        self.half = torch.bfloat16 if device == "cuda" else torch.float32

    def tensor(self, *shape, dtype=None, grad=False):
        x = torch.randn(*shape, device=self.device) * 0.02
        return x.to(dtype or self.half).requires_grad_(grad)

    def fused(self, function):
        return torch.compile(function) if self.compiled else function


def backward(outputs, inputs, gradient):
    """A closure that computes the gradients once more."""
    return lambda: torch.autograd.grad(outputs, inputs, gradient, retain_graph=True)


# ---- rows: from operands to what is timed


def copy(r):
    a, b = (r.tensor(r.T, r.N, dtype=torch.float32) for _ in range(2))
    return lambda: b.copy_(a)


def linear(r):
    x, w = r.tensor(r.T, r.K), r.tensor(r.N, r.K)
    return lambda: F.linear(x, w)


def linear_dx(r):
    dy, w = r.tensor(r.T, r.N), r.tensor(r.N, r.K)
    return lambda: dy @ w


def lora_operands(r, rank=16):
    """Two linears with one input and their LoRA, as gate and up are."""
    rows = r.N // 2
    w = [r.tensor(rows, r.K) for _ in range(2)]
    a = [r.tensor(rank, r.K, grad=True) for _ in range(2)]
    b = [r.tensor(rows, rank, grad=True) for _ in range(2)]

    def both(x):
        return [F.linear(x, w[i]) + 2 * F.linear(F.linear(x, a[i]), b[i]) for i in range(2)]
    return r.fused(both), a + b


def lora_linears(r):
    x, (function, _) = r.tensor(r.T, r.K), lora_operands(r)

    def run():
        with torch.no_grad():
            return function(x)
    return run


def lora_linears_bwd(r):
    x, (function, factors) = r.tensor(r.T, r.K, grad=True), lora_operands(r)
    return backward(function(x), [x] + factors, [r.tensor(r.T, r.N // 2) for _ in range(2)])


def lora_b(r):
    y, t, b = r.tensor(r.T, r.N), r.tensor(r.T, r.K), r.tensor(r.N, r.K)
    return lambda: y.addmm_(t, b.T)


def lora_grad(r):
    dy, t = r.tensor(r.T, r.N), r.tensor(r.T, r.K)
    return lambda: dy.T @ t


def add(r):
    y, x = r.tensor(r.T, r.N), r.tensor(r.T, r.N)
    return lambda: y.add_(x)


def norm_operands(r, grad):
    w = r.tensor(r.N)
    function = r.fused(lambda x: F.rms_norm(x, (r.N,), w, 1e-5))
    return r.tensor(r.T, r.N, grad=grad), function


def rmsnorm_fwd(r):
    x, function = norm_operands(r, False)
    return lambda: function(x)


def rmsnorm_bwd(r):
    x, function = norm_operands(r, True)
    dx, again = r.tensor(r.T, r.N), backward(function(x), x, r.tensor(r.T, r.N))
    return lambda: dx.add_(again()[0])


def rope(r):
    x, angles = r.tensor(r.T, r.N // r.head, r.head), r.tensor(r.T, 1, r.head)
    cos, sin = angles.cos(), angles.sin()

    def turn(x):
        half = x.shape[-1] // 2
        return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin
    function = r.fused(turn)
    return lambda: function(x)


def swiglu_fwd(r):
    gate, up = r.tensor(r.T, r.N), r.tensor(r.T, r.N)
    function = r.fused(lambda g, u: F.silu(g) * u)
    return lambda: function(gate, up)


def swiglu_bwd(r):
    gate, up = r.tensor(r.T, r.N, grad=True), r.tensor(r.T, r.N, grad=True)
    function = r.fused(lambda g, u: F.silu(g) * u)
    return backward(function(gate, up), (gate, up), r.tensor(r.T, r.N))


def dropout(r):
    x = r.tensor(r.T, r.N)
    return lambda: F.dropout(x, 0.05)


def attention_operands(r, grad):
    length = min(r.K, r.T)
    shape = (r.T // length, r.N // r.head, length, r.head)
    return [r.tensor(*shape, grad=grad) for _ in range(3)], r.tensor(*shape)


def attention_fwd(r):
    (q, k, v), _ = attention_operands(r, False)
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)


def attention_bwd(r):
    operands, gradient = attention_operands(r, True)
    return backward(F.scaled_dot_product_attention(*operands, is_causal=True), operands, gradient)


def linear_loss(r):
    x, w = r.tensor(r.T, r.K, grad=True), r.tensor(r.N, r.K)
    target = torch.zeros(r.T, dtype=torch.long, device=r.device)

    def both():
        return torch.autograd.grad(F.cross_entropy(F.linear(x, w).float(), target), x)
    return both


def adamw(r):
    p = r.tensor(r.T * r.N, dtype=torch.float32, grad=True)
    p.grad = r.tensor(r.T * r.N, dtype=torch.float32)
    optimizer = torch.optim.AdamW([p], lr=1e-4, fused=p.is_cuda)
    return optimizer.step


def sum_squares(r):
    x = r.tensor(r.T * r.N, dtype=torch.float32)
    return lambda: torch.linalg.vector_norm(x)


def fedavg(r):
    x, weights = r.tensor(r.K, r.T * r.N, dtype=torch.float32), r.tensor(r.K, dtype=torch.float32)
    return lambda: weights @ x


ROWS = {"square": linear, "copy": copy, "gemm_qkv": linear, "gemm_gate_up": linear,
        "gemm_down": linear, "gemm_down_dx": linear_dx, "lora_gate_up": lora_linears,
        "lora_gate_up_bwd": lora_linears_bwd, "lora_a": linear, "lora_b": lora_b,
        "lora_grad": lora_grad, "add": add, "rmsnorm_fwd": rmsnorm_fwd, "rmsnorm_bwd": rmsnorm_bwd,
        "rope": rope, "swiglu_fwd": swiglu_fwd, "swiglu_bwd": swiglu_bwd, "dropout": dropout,
        "attention_fwd": attention_fwd, "attention_bwd": attention_bwd,
        "attention_fwd_2k": attention_fwd, "attention_bwd_2k": attention_bwd,
        "linear_loss": linear_loss, "adamw": adamw, "sum_squares": sum_squares, "fedavg": fedavg}


# ---- time


def launches(function, count, device):
    """Milliseconds of one of `count` calls."""
    if device != "cuda":
        start = time.perf_counter()
        for _ in range(count):
            function()
        return 1e3 * (time.perf_counter() - start) / count
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(count):
        function()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / count


def measure(function, seconds, device):
    launches(function, 2, device)
    once = max(launches(function, 1, device), 1e-4)
    count = max(1, min(10000, int(1e3 * seconds / REPEATS / once)))
    return statistics.median(launches(function, count, device) for _ in range(REPEATS))


def measure_row(row, args):
    make, best = ROWS[row["kernel"]], None
    backends = [None]
    if row["kernel"].startswith("attention") and args.device == "cuda":
        backends = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION,
                    SDPBackend.EFFICIENT_ATTENTION]
    for backend in backends:
        try:
            if backend is None:
                ms = measure(make(Row(row, args.device, args.compile)), args.seconds, args.device)
            else:
                with sdpa_kernel(backend):
                    ms = measure(make(Row(row, args.device, args.compile)), args.seconds, args.device)
        except RuntimeError as error:  # not built in, or no memory
            print(f"{row['kernel']}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        best = ms if best is None else min(best, ms)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(0)
    with open(args.rows, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        if row["kernel"] not in ROWS:
            continue
        ms = measure_row(row, args)
        if ms is not None:
            print(json.dumps({"side": "peer", "kernel": row["kernel"], "ms": ms,
                              "flops": row["flops"], "bytes": row["bytes"]}), flush=True)


if __name__ == "__main__":
    main()

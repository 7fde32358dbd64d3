"""Reading and writing of golden files: safetensors for tensors, JSON for everything else."""
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file


def is_flat(value):
    """True for a list that holds no list and no object, which is written on one line."""
    return isinstance(value, list) and not any(isinstance(item, (list, dict)) for item in value)


def dump(value, indent=0):
    """JSON text with one line per flat list, so that a changed vector is one changed line."""
    pad, end = " " * (indent + 1), " " * indent
    if is_flat(value) or not isinstance(value, (list, dict)) or not value:
        return json.dumps(value, ensure_ascii=True, allow_nan=False)
    if isinstance(value, list):
        return "[\n" + ",\n".join(pad + dump(item, indent + 1) for item in value) + "\n" + end + "]"
    rows = (f"{pad}{json.dumps(key)}: {dump(item, indent + 1)}" for key, item in value.items())
    return "{\n" + ",\n".join(rows) + "\n" + end + "}"


def write_json(path, value):
    pathlib.Path(path).write_text(dump(value) + "\n", encoding="ascii")


def read_json(path):
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def write_tensors(path, **groups):
    """Writes each group (a dict or one tensor) under its own prefix: `group.name` or `group`."""
    flat = {}
    for prefix, group in groups.items():
        if isinstance(group, dict):
            flat.update({f"{prefix}.{name}": tensor for name, tensor in group.items()})
        else:
            flat[prefix] = group
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in flat.items()}, path)


def group(tensors, prefix):
    """The opposite of write_tensors, for one group."""
    return {name[len(prefix) + 1:]: w for name, w in tensors.items() if name.startswith(prefix + ".")}


def relative(a, b):
    """Relative L2 distance of two tensors, in double precision; 0 when both are zero."""
    a, b = a.double(), b.double()
    scale = max(a.norm().item(), b.norm().item())
    return (a - b).norm().item() / scale if scale else 0.0


def concat(tensors):
    """All tensors of a dict as one double vector, in name order."""
    return torch.cat([tensors[name].double().flatten() for name in sorted(tensors)])


def difference_tensors(path_a, path_b):
    """Largest relative L2 difference over the tensors of two files; inf when they do not match."""
    a, b = load_file(path_a), load_file(path_b)
    if a.keys() != b.keys():
        return float("inf")
    same = all(a[name].shape == b[name].shape and a[name].dtype == b[name].dtype for name in a)
    return max((relative(a[name], b[name]) for name in a), default=0.0) if same else float("inf")


def difference_values(a, b):
    """Largest relative difference of two JSON values: floats may differ, all else must be equal."""
    if isinstance(a, float) and isinstance(b, (int, float)):
        return abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return max((difference_values(a[key], b[key]) for key in a), default=0.0)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max((difference_values(x, y) for x, y in zip(a, b)), default=0.0)
    return 0.0 if type(a) is type(b) and a == b else float("inf")


def difference(path_a, path_b):
    """Largest relative difference of two golden files of the same kind."""
    if not (pathlib.Path(path_a).exists() and pathlib.Path(path_b).exists()):
        return float("inf")
    if str(path_a).endswith(".safetensors"):
        return difference_tensors(path_a, path_b)
    return difference_values(*(read_json(p) for p in (path_a, path_b)))

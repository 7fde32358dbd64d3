#!/usr/bin/env python3
"""Who may include whom: every include of src/, kernels/ and data_tools/ against the lists below.

Prints one line per forbidden include and ends with 1, or prints nothing and ends with 0.
`--map` prints the lists as the table of docs/architecture.md.
"""
import argparse
import pathlib
import re
import sys

# Module: the other modules whose headers it may include.
MODULES = {
    "base": [],
    "tensor": ["base"],
    "backend": ["base", "tensor"],
    "kernels": ["base", "tensor", "backend"],
    "io": ["base", "tensor"],
    "comm": ["base", "tensor"],
    "data": ["base", "tensor", "io"],
    "model": ["base", "tensor", "backend", "io"],
    "train": ["base", "tensor", "backend", "data", "model"],
    "fed": ["base", "tensor", "backend", "io", "comm", "data", "model", "train"],
    "app": ["base", "tensor", "backend", "io", "comm", "data", "model", "train", "fed"],
    "data_tools": ["base", "data", "fed", "app"],
}

# Headers of libraries: the only files (or folders, with a closing /) that may include them.
LIBRARIES = {
    r"mpi\.h": ["src/comm/transport_mpi.c"],
    r"hdf5\w*\.h": ["src/io/h5.c"],
    r"libconfig\.h": ["src/base/"],
    r"jansson\.h": ["src/base/", "src/io/"],
    r"pcre2\.h": ["src/data/regex.c", "src/io/pattern.c"],
    r"sodium\.h": ["src/fed/privacy.c"],
    r"utf8proc\.h": ["src/data/"],
    r"zlib\.h": ["src/base/", "src/io/"],
    r"omp\.h": ["kernels/"],
    r"(cuda|cublas|nccl|curand)\w*\.h": ["kernels/cuda/", "src/comm/transport_nccl.c"],
    r"(imm|x86|arm_neon)\w*\.h": ["kernels/"],
}

# The headers that other modules never see, and the version header that only app reads.
PRIVATE = re.compile(r"_(internal|impl|ops)\.h$")
VERSION_HEADER = "fedllm_version.h"

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
SUFFIXES = {".c", ".h", ".cc", ".cu", ".cuh"}


def module_of(path):
    """Path relative to the root -> module: src/<module>/..., kernels/... or data_tools/..."""
    return path.parts[1] if path.parts[0] == "src" else path.parts[0]


def library_fault(path, header):
    for pattern, allowed in LIBRARIES.items():
        if not re.fullmatch(pattern, pathlib.PurePosixPath(header).name):
            continue
        name = path.as_posix()
        if not any(name == a or (a.endswith("/") and name.startswith(a)) for a in allowed):
            return f"<{header}> belongs to {', '.join(allowed)}"
    return None


def own_fault(root, path, header):
    module = module_of(path)
    if "/" not in header:
        if header == VERSION_HEADER:
            return None if module == "app" else f'"{header}" belongs to app'
        if module == "kernels" and (root / path.parent / header).exists():
            return None
        return f'"{header}" has no module; write "{module}/{header}"'
    other = header.split("/")[0]
    if other not in MODULES:
        return f'"{header}": there is no module {other}'
    if other == module:
        return None
    if other not in MODULES[module]:
        return f'{module} may not include "{header}"'
    if PRIVATE.search(header):
        return f'"{header}" is private to {other}'
    return None


def check_file(root, path):
    faults = []
    for number, line in enumerate((root / path).read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        bracket, header = match.groups()
        fault = library_fault(path, header)
        if not fault and bracket == '"':
            fault = own_fault(root, path, header)
        if fault:
            faults.append(f"{path}:{number}: {fault}")
    return faults


def sources(root):
    for top in ("src", "kernels", "data_tools"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in SUFFIXES:
                yield path.relative_to(root)


def print_map():
    print("| module | may include |\n|---|---|")
    for module, allowed in MODULES.items():
        print(f"| {module} | {' '.join(allowed) or '(libraries only)'} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", help="another tree to check")
    parser.add_argument("--map", action="store_true", help="print the table of modules")
    arguments = parser.parse_args()
    if arguments.map:
        print_map()
        return 0
    root = pathlib.Path(arguments.root or pathlib.Path(__file__).resolve().parent.parent)
    faults = []
    for path in sources(root):
        module = module_of(path)
        if module not in MODULES:
            faults.append(f"{path}: module {module} is not in the list of scripts/check_layers.py")
        else:
            faults += check_file(root, path)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

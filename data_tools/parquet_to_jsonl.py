#!/usr/bin/env python3
"""Writes Parquet files as JSON Lines, which fedllm reads: one object per row, nested lists and structs included.

    python3 parquet_to_jsonl.py FILE_OR_FOLDER... [--out FOLDER]

FILE.parquet becomes FILE.jsonl beside it, or below --out; in folders all .parquet files are taken, at any depth.
Files that are there are replaced as a whole.  Needs pyarrow (pip install pyarrow).
"""
import argparse
import datetime
import decimal
import json
import os
import pathlib
import sys

ROWS = 1000  # held in memory at a time


def fail(text):
    print(f"parquet_to_jsonl.py: {text}", file=sys.stderr)
    sys.exit(2)


def plain(value):
    """What JSON has no word for, as text."""
    if isinstance(value, (datetime.date, datetime.time, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, datetime.timedelta)):
        return str(value)
    if isinstance(value, bytes):
        return value.decode()  # only text has a place in these data sets
    raise TypeError(f"a value of the type {type(value).__name__} has no place in JSON")


def convert(parquet, source, target):
    """Returns the number of rows."""
    rows = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as out:
            for batch in parquet.ParquetFile(source).iter_batches(batch_size=ROWS):
                for row in batch.to_pylist():
                    out.write(json.dumps(row, ensure_ascii=False, allow_nan=False, default=plain) + "\n")
                    rows += 1
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def find(paths, out):
    """Pairs of a Parquet file and the file to write."""
    for path in paths:
        if not path.exists():
            fail(f"{path}: no such file or folder")
        found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not found:
            fail(f"{path}: no .parquet file in this folder")
        for source in found:
            below = source.relative_to(path) if path.is_dir() else pathlib.Path(source.name)
            yield source, (out / below if out else source).with_suffix(".jsonl")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=pathlib.Path, metavar="FILE_OR_FOLDER")
    parser.add_argument("--out", type=pathlib.Path, metavar="FOLDER")
    arguments = parser.parse_args()
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        fail("needs pyarrow: pip install pyarrow")
    for source, target in find(arguments.paths, arguments.out):
        try:
            print(f"{target}: {convert(parquet, source, target)} rows")
        except (pyarrow.ArrowException, OSError, ValueError, TypeError) as error:
            fail(f"{source}: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()

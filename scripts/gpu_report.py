#!/usr/bin/env python3
"""gpu_check.json and gpu_check.md from what the parts of scripts/gpu_check.sh left in a folder.

    python3 gpu_report.py FOLDER

Rates: that of the square product and that of the copy, the better of both sides; floors and bounds
are derived from them.  R = our tokens per second / the peer's, medians over the turns.  F = the
time in which the operations of our steps could be done at that rate / the time they took.
"""
import json
import pathlib
import statistics
import sys

# Largest relative difference of the first losses; beyond it the sides did not do the same.  Dropout
# draws other masks on either side.
SAME_LOSSES = {False: 0.02, True: 0.05}


def rows_of(folder, name):
    path = folder / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


# ---- rates and kernels


def rate_of(rows, kernel, amount):
    """The most of `amount` per second that any side reached in this kernel; None: not measured."""
    return max((row[amount] / (1e-3 * row["ms"]) for row in rows
                if row.get("kernel") == kernel and row.get("ms")), default=None)


def find_rates(rows):
    return {"flops": rate_of(rows, "square", "flops"), "bytes": rate_of(rows, "copy", "bytes")}


def floor_ms(row, rates):
    times = [1e3 * row[amount] / rates[amount] for amount in ("flops", "bytes")
             if row.get(amount) and rates[amount]]
    return max(times, default=None)


def kernel_table(ours, peer, rates):
    theirs = {row["kernel"]: row for row in peer}
    table = []
    for row in ours:
        other = theirs.get(row["kernel"], {})
        floor = floor_ms(row, rates)
        table.append(row | {
            "peer_ms": other.get("ms"), "floor_ms": floor,
            "of_floor": floor / row["ms"] if floor else None,
            "ratio": other["ms"] / row["ms"] if other.get("ms") else None,
            "tflops": row["flops"] / row["ms"] * 1e-9, "gbs": row["bytes"] / row["ms"] * 1e-6})
    return table


# ---- workloads


def median_of(rows, key):
    values = [row[key] for row in rows if key in row]
    return statistics.median(values) if values else None


def loss_difference(ours, peer):
    pairs = [(a, b) for a, b in zip(ours["losses"], peer["losses"])]
    return max(abs(a - b) / abs(b) for a, b in pairs)


def longest_losses(rows):
    return max((row for row in rows if "losses" in row), key=lambda row: len(row["losses"]),
               default=None)


def compare(name, ours, peer, rates):
    """One line of the table of workloads."""
    mine, theirs = median_of(ours, "tokens_per_s"), median_of(peer, "tokens_per_s")
    done = [row for row in ours if "flops" in row]
    line = {"workload": name, "turns": len(done), "ours_tokens_per_s": mine,
            "peer_tokens_per_s": theirs, "ours_ms": median_of(ours, "ms"),
            "peer_ms": median_of(peer, "ms"), "ours_bytes": median_of(ours, "device_bytes"),
            "peer_bytes": median_of(peer, "device_bytes"), "R": None, "F": None, "losses": None,
            "layers": next((row["layers"] for row in done), None),
            "failed": [row["side"] for row in ours + peer if "error" in row],
            "peer_mode": next((f"{row['base']}, {row['mode']}" +
                               (", checkpointing" if row["checkpointing"] else "")
                               for row in peer if "checkpointing" in row), None)}
    if done and rates["flops"]:
        line["F"] = statistics.median(row["flops"] / rates["flops"] / row["seconds"] for row in done)
    a, b = longest_losses(ours), longest_losses(peer)
    if a and b:
        line["losses"] = loss_difference(a, b)
        line["same"] = line["losses"] <= SAME_LOSSES[name.startswith("g4")]
        line["R"] = mine / theirs
    return line


def workload_table(rows, rates):
    names = list(dict.fromkeys(row["workload"] for row in rows))
    sides = {(row["workload"], row["side"]): [] for row in rows}
    for row in rows:
        sides[row["workload"], row["side"]].append(row)
    return [compare(name, sides.get((name, "ours"), []), sides.get((name, "peer"), []), rates)
            for name in names]


# ---- text


def number(value, digits=3):
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:.0f}"


def markdown_table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def counted(rows):
    kinds = dict.fromkeys(row["result"] for row in rows)
    return ", ".join(f"{sum(row['result'] == kind for row in rows)} {kind.replace('_', ' ')}"
                     for kind in kinds)


def results_text(report):
    lines = []
    for title, key, name in (("Tests", "tests", "test"), ("compute-sanitizer", "sanitizer", "test")):
        rows = report[key]
        if not rows:
            continue
        lines += [f"## {title}", "", counted(rows) + ".", ""]
        bad = [f"* {row['result'].replace('_', ' ')}: {row.get('tool', '')} {row[name]}"
               for row in rows if row["result"] not in ("passed", "skipped")]
        lines += bad + [""] if bad else []
    return lines


def kernels_text(rows):
    if not rows:
        return []
    head = ["kernel", "shape", "ms", "TFLOP/s", "GB/s", "floor ms", "floor / ms", "peer ms", "peer / ours"]
    return ["## Kernels", ""] + markdown_table(head, [
        [row["kernel"], row["shape"], number(row["ms"]), number(row["tflops"]) if row["flops"] else "-",
         number(row["gbs"]), number(row["floor_ms"]), number(row["of_floor"], 2),
         number(row["peer_ms"]), number(row["ratio"])] for row in rows])


def workload_row(row):
    gigabytes = [number(value / 1e9) if value else "-" for value in (row["ours_bytes"], row["peer_bytes"])]
    ratio = number(row["R"]) if row.get("same", True) else f"void ({number(row['R'])})"
    failed = " failed: " + ", ".join(row["failed"]) if row["failed"] else ""
    return [row["workload"] + failed, number(row["layers"]), number(row["ours_ms"], 4), number(row["peer_ms"], 4),
            number(row["ours_tokens_per_s"]), number(row["peer_tokens_per_s"]), ratio, number(row["F"], 2),
            number(row["losses"], 2), gigabytes[0], gigabytes[1], row["peer_mode"] or "-"]


def workloads_text(rows):
    if not rows:
        return []
    head = ["workload", "layers", "ms/step", "peer ms", "tokens/s", "peer tokens/s", "R", "F",
            "losses differ by", "GB", "peer GB", "peer"]
    return ["## Workloads", ""] + markdown_table(head, [workload_row(row) for row in rows]) + [
        "R: our tokens/s over the peer's, void where the first losses differ by more than "
        f"{SAME_LOSSES[False]:.0%} ({SAME_LOSSES[True]:.0%} with dropout). F: the share of the time that "
        "the operations need at the rate of the square product. GB: of the device, at the end of the "
        "workload.", ""]


def markdown(report):
    machine, rates = report["machine"], report["rates"]
    lines = ["# Device check", "", f"{machine.get('device')}; backend {machine.get('backend')}, "
             f"commit {machine.get('commit')}, {machine.get('date')}.", ""]
    if rates["flops"]:
        lines += [f"Square product {rates['flops'] * 1e-12:.4g} TFLOP/s, copy "
                  f"{(rates['bytes'] or 0) * 1e-9:.4g} GB/s (read and written).", ""]
    lines += results_text(report) + kernels_text(report["kernels"]) + workloads_text(report["workloads"])
    seconds = ", ".join(f"{part} {value} s" for part, value in report["seconds"].items())
    return "\n".join(lines + [f"Took: {seconds}.", ""])


def main():
    folder = pathlib.Path(sys.argv[1])
    ours, peer = rows_of(folder, "kernels.jsonl"), rows_of(folder, "kernels_peer.jsonl")
    turns = rows_of(folder, "workloads.jsonl")
    rates = find_rates(ours + peer + rows_of(folder, "rates.jsonl"))
    report = {
        "machine": (rows_of(folder, "machine.json") or [{}])[0], "rates": rates,
        "tests": rows_of(folder, "tests.jsonl"), "sanitizer": rows_of(folder, "sanitizer.jsonl"),
        "kernels": kernel_table(ours, peer, rates), "workloads": workload_table(turns, rates),
        "turns": turns,
        "seconds": {path.stem: int(path.read_text()) for path in sorted(folder.glob("*.seconds"))}}
    (folder / "gpu_check.json").write_text(json.dumps(report, indent=1) + "\n")
    text = markdown(report)
    (folder / "gpu_check.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

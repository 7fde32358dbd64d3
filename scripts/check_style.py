#!/usr/bin/env python3
"""What the compiler and clang-format do not see: lengths, parameters, banned words, conditionals.

Prints one line per fault and ends with 1, or with 0 if there is none.  Warnings (with --report) do
not count.  `--report` also prints the ten longest functions and files, and the shares.
"""
import argparse
import pathlib
import re
import sys

# The limits; they may only be lowered.
LIMITS = {
    "function lines, warning": 60,
    "function lines": 120,
    "main lines": 80,
    "parameters": 8,
    "file lines, warning": 400,
    "file lines": 800,
    "header lines, warning": 150,
    "header lines": 250,
    "#if per 1000 lines": 3.0,
}
COMMENT_SHARE = (0.12, 0.30)  # of src/, reported

# Words: where they may stand (path prefixes).  Tests and the small tools' mains may use all.
BANNED = {
    r"(?:sprintf|vsprintf|strcpy|strcat|strtok|atoi|atol|atof|gets|rand|srand|exit|abort|printf)\s*\(": [
        "src/base/",
        "src/app/",
    ],
    r"(?:malloc|calloc|realloc|aligned_alloc|free)\s*\(": ["src/base/", "src/backend/buffer.c", "kernels/"],
    r"(?:getenv|secure_getenv)\s*\(": ["src/app/", "src/base/log.c"],
    r"MPI_COMM_WORLD": ["src/comm/transport_mpi.c"],
}
# Ops of kernels have the parameters that the mathematics has.
MANY_PARAMETERS = ["kernels/", "src/backend/", "tests/kernels/rounded.c"]

CODE_FOLDERS = ["src", "kernels", "eval", "data_tools", "tests"]
TEXT_FOLDERS = CODE_FOLDERS + ["cmake", "configs", "docs", "jobs", "scripts"]
CODE_SUFFIXES = {".c", ".h", ".cc", ".cu", ".cuh"}
TEXT_SUFFIXES = CODE_SUFFIXES | {".py", ".sh", ".sbatch", ".cmake", ".cfg", ".md", ".txt"}
WITHOUT_TEXT_CHECK = ["tests/golden/data/", "configs/embedded/"]


def starts_with(path, prefixes):
    return any(path.as_posix().startswith(prefix) for prefix in prefixes)


def blank(match):
    """Replaces a comment or string by spaces, keeping the lines."""
    return re.sub(r"[^\n]", " ", match.group())


TOKENS = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
COMMENTS = re.compile(r"""(/\*.*?\*/|//[^\n]*)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)


class Function:
    """A definition as clang-format lays it out: `{` and `}` alone in the first column."""

    def __init__(self, path, first, last, signature):
        self.path, self.first, self.last = path, first, last
        self.length = last - first + 1
        match = re.search(r"([A-Za-z_]\w*)\s*\(", re.sub(r"__\w+__\s*\(\(.*?\)\)", "", signature))
        self.name = match.group(1) if match else "?"
        self.parameters = count_parameters(signature[match.end() - 1 :]) if match else 0


def count_parameters(text):
    """text starts with the opening parenthesis."""
    depth, commas, inside = 0, 0, ""
    for character in text:
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                break
        elif character == "," and depth == 1:
            commas += 1
        inside += character
    return 0 if inside.strip("( \n") in ("", "void") else commas + 1


def functions_of(path, code):
    lines = code.split("\n")
    found, begin = [], None
    for index, line in enumerate(lines):
        if line.rstrip() == "{":
            begin = index
            while begin > 0 and lines[begin - 1].strip() and not re.search(r"^[}#]|[;}]\s*$", lines[begin - 1]):
                begin -= 1
            body = index
        elif line.startswith("}") and begin is not None:
            found.append((Function(path, begin + 1, index + 1, "\n".join(lines[begin:body])), body, index))
            begin = None
    return found


def is_guard(lines, index):
    match = re.match(r"#\s*ifndef\s+(\w+_H)\b", lines[index])
    following = lines[index + 1] if index + 1 < len(lines) else ""
    return bool(match) and re.match(rf"#\s*define\s+{match.group(1)}\b", following) is not None


class Checker:
    def __init__(self, root):
        self.root = root
        self.faults, self.warnings = [], []
        self.functions, self.files = [], []
        self.lines = self.conditionals = 0
        self.src_lines = self.src_comments = 0

    def limit(self, where, kind, value, subject):
        if value > LIMITS[kind]:
            self.faults.append(f"{where}: {subject} has {value} lines, the limit is {LIMITS[kind]}")
        elif value > LIMITS.get(f"{kind}, warning", LIMITS[kind]):
            self.warnings.append(f"{where}: {subject} has {value} lines")

    def check_text(self, path, text):
        for number, line in enumerate(text.split("\n"), 1):
            if line != line.rstrip():
                self.faults.append(f"{path}:{number}: trailing space")
            if "\t" in line:
                self.faults.append(f"{path}:{number}: tab")
        if text and not text.endswith("\n"):
            self.faults.append(f"{path}: no newline at the end")

    def check_functions(self, path, functions):
        for function, _, _ in functions:
            self.functions.append(function)
            where = f"{path}:{function.first}"
            kind = "main lines" if function.name == "main" else "function lines"
            self.limit(where, kind, function.length, function.name)
            if function.parameters > LIMITS["parameters"] and not starts_with(path, MANY_PARAMETERS):
                self.faults.append(f"{where}: {function.name} has {function.parameters} parameters, "
                                   f"the limit is {LIMITS['parameters']}")

    def check_banned(self, path, code):
        for pattern, allowed in BANNED.items():
            if starts_with(path, allowed):
                continue
            for match in re.finditer(rf"(?<![\w.>]){pattern}", code):
                number = code.count("\n", 0, match.start()) + 1
                word = match.group().rstrip("( ")
                self.faults.append(f"{path}:{number}: {word} is banned outside {', '.join(allowed)}")

    def check_conditionals(self, path, code, functions):
        lines = code.split("\n")
        for index, line in enumerate(lines):
            if not re.match(r"\s*#\s*if", line) or is_guard(lines, index):
                continue
            self.conditionals += 1
            if path.parts[0] == "src" and any(begin < index < end for _, begin, end in functions):
                self.faults.append(f"{path}:{index + 1}: conditional inside a function; choose files instead")

    def check_code(self, path, text):
        code = TOKENS.sub(blank, text)
        num_lines = text.count("\n")
        functions = functions_of(path, code)
        self.files.append((num_lines, path))
        self.limit(path, "header lines" if path.suffix in (".h", ".cuh") else "file lines", num_lines, "the file")
        self.check_functions(path, functions)
        if path.parts[0] in ("src", "kernels"):
            self.lines += num_lines
            self.check_banned(path, code)
            self.check_conditionals(path, code, functions)
        if path.parts[0] == "src":
            without = COMMENTS.sub(lambda m: blank(m) if m.group(1) else m.group(), text)
            pairs = zip(text.split("\n"), without.split("\n"))
            self.src_comments += sum(1 for full, rest in pairs if full.strip() and not rest.strip())
            self.src_lines += num_lines

    def check_all(self):
        for folder in TEXT_FOLDERS:
            for full in sorted((self.root / folder).rglob("*")):
                path = full.relative_to(self.root)
                if full.suffix not in TEXT_SUFFIXES or starts_with(path, WITHOUT_TEXT_CHECK):
                    continue
                text = full.read_text()
                self.check_text(path, text)
                if full.suffix in CODE_SUFFIXES and folder in CODE_FOLDERS:
                    self.check_code(path, text)
        if self.lines and self.density() > LIMITS["#if per 1000 lines"]:
            self.faults.append(f"src, kernels: {self.density():.1f} #if per 1000 lines, "
                               f"the limit is {LIMITS['#if per 1000 lines']}")

    def density(self):
        return 1000 * self.conditionals / max(self.lines, 1)

    def comment_share(self):
        return self.src_comments / max(self.src_lines, 1)

    def report(self):
        for warning in self.warnings:
            print(f"warning: {warning}")
        print("longest functions:")
        for function in sorted(self.functions, key=lambda f: -f.length)[:10]:
            print(f"  {function.length:4} {function.path}:{function.first} {function.name}")
        print("longest files:")
        for length, path in sorted(self.files, key=lambda f: (-f[0], f[1]))[:10]:
            print(f"  {length:4} {path}")
        lowest, highest = COMMENT_SHARE
        share = self.comment_share()
        verdict = "" if lowest <= share <= highest else "  <- outside"
        print(f"functions: {len(self.functions)}, lines of src and kernels: {self.lines}")
        print(f"comment share of src: {100 * share:.0f} % "
              f"(aim: {100 * lowest:.0f} to {100 * highest:.0f} %){verdict}")
        print(f"#if per 1000 lines of src and kernels: {self.density():.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", help="another tree to check")
    parser.add_argument("--report", action="store_true", help="warnings, the worst ten, shares")
    arguments = parser.parse_args()
    checker = Checker(pathlib.Path(arguments.root or pathlib.Path(__file__).resolve().parent.parent))
    checker.check_all()
    for fault in checker.faults:
        print(fault)
    if arguments.report:
        checker.report()
    return 1 if checker.faults else 0


if __name__ == "__main__":
    sys.exit(main())

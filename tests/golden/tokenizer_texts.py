"""Texts for comparing tokenizers: many scripts, code, emoji, marks, control characters, long runs.

Everything is generated from a seed; nothing is copied from a corpus.
"""
import random

WORDS = """the of and to in is that for it as with was on are by this be from or which one you were have an they
their has not had when who will more if no out so said what up its about into than them can only other time new some
could these two may then do first any my now such like our over man me even most made after also did many before must
through years where much your way well down should because each just those people how too little state good very make
world still own see men work long get here between both life being under never day same another know while last might
us great old year off come since against go came right used take three federated learning adapter client server round
model weights gradient loss token training privacy aggregation Tokenizer tokenization internationalization don't won't
it's I'll we've they're you'd HTTP JSON XML iPhone McDonald's e-mail naïve café résumé Zürich façade coöperate""".split()

ALPHABETS = {
    "latin": (0x00C0, 0x024F), "greek": (0x0391, 0x03C9), "cyrillic": (0x0410, 0x044F), "armenian": (0x0561, 0x0586),
    "hebrew": (0x05D0, 0x05EA), "arabic": (0x0621, 0x064A), "devanagari": (0x0905, 0x094D), "bengali": (0x0985, 0x09CD),
    "tamil": (0x0B85, 0x0BCD), "thai": (0x0E01, 0x0E4C), "georgian": (0x10D0, 0x10F0), "hangul": (0xAC00, 0xD7A3),
    "jamo": (0x1100, 0x11FF), "hiragana": (0x3041, 0x3096), "katakana": (0x30A1, 0x30FA), "han": (0x4E00, 0x9FA5),
    "han_b": (0x20000, 0x2A6D6), "ethiopic": (0x1200, 0x1248), "khmer": (0x1780, 0x17D3), "tibetan": (0x0F40, 0x0FBC),
    "math": (0x1D400, 0x1D7FF), "gothic": (0x10330, 0x1034A), "fullwidth": (0xFF01, 0xFF9F), "cherokee": (0x13A0, 0x13F4),
}
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "☕", "1️⃣", "🧑🏿‍💻", "🤷‍♀️"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\u0085", "\x0b", "\x0c",
          "\u180e", "\ufeff", "\u202f", "\n\n\n", "   \n  "]
MARKS = ["\u0301", "\u0308", "\u0323", "\u0327", "\u0300\u0316", "\u0345", "\u20dd", "\u093c", "\u05b0", "\u3099",
         "\u0f71\u0f72", "\u1dce", "\u0344"]
ODD = ["ﬁ", "ß", "İ", "ı", "ſ", "Ω", "Å", "Å", "①", "½", "²", "Ⅷ", "㎏", "ﷺ", "ﾊﾞ", "가", "각", "\u1100\u1161\u11a8", "ǆ",
       "«»", "…", "—", "’s", "’", "“”", "€", "№", "\u00ad", "\ufffd", "▁", "Ġ", "Ċ", "<0x0A>", "\U000e0001", "\U0010ffff"]
CODE = ["for (int i = 0; i < n; ++i) {\n\tsum += a[i] * b[i];\n}\n", "def f(x):\n    return x**2  # square\n",
        "SELECT * FROM t WHERE a='b' AND c>=10;", "<div class=\"x\">&nbsp;</div>", "https://example.org/a/b?q=1&r=%20#top",
        "x = {'a': [1, 2.5e-3], \"b\": None}", "#include <stdio.h>\r\n", "$ git commit -m \"it's\"", "0xDEADBEEF 1_000_000",
        "a+b=c; (x)->y::z @foo #bar !!! ??? ... --- ___ ***", "\\frac{1}{2}\\alpha", "key: \"value\"\n  - item\n"]
SPECIALS = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>",
            "<|start_header_id|>user<|end_header_id|>", "<|", "|>", "<|endoftext", "[MASK]", "<mask>"]


def word(rng, name):
    low, high = ALPHABETS[name]
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 9)))


def english(rng, count):
    parts = []
    for _ in range(count):
        w = rng.choice(WORDS)
        if rng.random() < 0.1:
            w = w.capitalize()
        if rng.random() < 0.04:
            w = str(rng.randint(0, 10 ** rng.randint(1, 9)))
        parts.append(w + rng.choice(["", "", "", "", "", "", ",", ".", "!", "?", ";", ":", ".\n", ")"]))
    return " ".join(parts)


def mixed(rng, with_specials):
    makers = [lambda: rng.choice(WORDS), lambda: " " + rng.choice(WORDS), lambda: word(rng, rng.choice(list(ALPHABETS))),
              lambda: rng.choice(EMOJI), lambda: rng.choice(SPACES), lambda: rng.choice(WORDS) + rng.choice(MARKS),
              lambda: rng.choice("aeiouAEIOUnс") + "".join(rng.choices(MARKS, k=rng.randint(1, 4))),
              lambda: rng.choice(ODD), lambda: rng.choice(CODE), lambda: str(rng.randint(0, 10 ** 12)),
              lambda: chr(rng.randint(1, 31)), lambda: rng.choice("'’") + rng.choice(["s", "T", "re", "VE", "ll", "d", "ſ"]),
              lambda: rng.choice("=-_*#. \n\ta0é日") * rng.randint(1, 40),
              lambda: chr(rng.choice([rng.randint(1, 0xD7FF), rng.randint(0xE000, 0x2FFFF)]))]
    if with_specials:
        makers.append(lambda: rng.choice(["", " ", "  "]) + rng.choice(SPECIALS) + rng.choice(["", " ", "\n"]))
    return "".join(rng.choice(makers)() for _ in range(rng.randint(1, 14)))


def scripts(rng):
    name = rng.choice(list(ALPHABETS))
    return "".join(word(rng, name) + rng.choice([" ", " ", "", ", ", ".\n", " 12 "]) for _ in range(rng.randint(1, 12)))


def make_texts(count, seed, with_specials=True, known=lambda c: True, longest=60, run=2000):
    """`known` says which characters may appear (a Unicode version both sides know)."""
    rng = random.Random(seed)
    texts = ["", " ", "  ", "\n", "\t", "a", " a", "a ", "é", "\u0301", "\x00", "a\x00b", "Hello world", "\ufeffBOM"]
    texts += EMOJI + SPACES + MARKS + ODD + CODE
    texts += [unit * run for unit in ("a", " ", "\n", "ab", " a", "日", "\u0301", "é", "0", "!", "😀", "\t ")]
    while len(texts) < count:
        kind = rng.random()
        texts.append(english(rng, rng.randint(1, longest)) if kind < 0.2 else scripts(rng) if kind < 0.4
                     else mixed(rng, with_specials))
    return ["".join(c for c in text if known(c)) for text in texts]

"""The invented world behind the embedded model and its instruction data.

Everything the project ships as "knowledge" is made here from a seed, so that the default run needs no
download and no licence.  Each domain is three functions over one `item`:

    draw(rng)         -> item, a tuple that identifies the question (it is what train and held-out split on)
    plain(item, rng)  -> the same content as plain text, for pre-training (never a request with its answer)
    ask(item, rng)    -> (instruction, input, output) in Alpaca's fields, for fine-tuning

The base model reads only `plain`; fine-tuning reads only `ask`.
"""
import random
from collections import namedtuple

SEED = "fedllm world 1"
HELDOUT_PER_DOMAIN = 40

TEMPLATE = ("Below is an instruction that describes a task. Write a response that appropriately completes the "
            "request.\n\n### Instruction:\n{} \n\n### Response: {}{}")

GROUPS = {
    "bird": "heron owl crow swan duck goose robin wren".split(),
    "fish": "trout salmon pike carp eel cod tuna perch".split(),
    "fruit": "plum pear apple cherry fig grape lemon melon".split(),
    "tool": "hammer saw drill chisel file spade rake axe".split(),
    "tree": "oak pine birch elm maple willow cedar beech".split(),
    "metal": "iron copper silver gold tin zinc lead nickel".split(),
    "colour": "red blue green white black yellow brown grey".split(),
    "drink": "tea coffee milk juice cider cocoa water beer".split(),
}
WORDS = [word for words in GROUPS.values() for word in words]
GOOD = "lovely warm clean fresh kind bright tasty cheerful".split()
BAD = "awful cold dirty stale rude dull bitter gloomy".split()
THINGS = "soup bread room bed guide garden market boat song meal".split()
VERBS = "sings sleeps swims waits jumps hides rests turns".split()
ADJECTIVES = GROUPS["colour"] + "small big old young quick slow".split()
NOUNS = GROUPS["bird"] + GROUPS["fish"] + "wolf fox bear hare".split()
PEOPLE = "Mira Tomas Lena Oskar Nadia Pavel Ida Jonas".split()


def _names(rng, count, heads, tails, taken):
    """`count` new names of a head and a tail syllable, none of them in `taken`."""
    pool = [h + t for h in heads for t in tails if h + t not in taken]
    chosen = rng.sample(pool, count)
    taken.update(chosen)
    return chosen


def _build_world():
    rng, taken = random.Random(SEED), set()
    heads = "Ba Ve To Mi Ka Su Lo Dra Fe Gri".split()
    countries = _names(rng, 40, heads, "loria ndia rmark stan vania".split(), taken)
    capitals = _names(rng, 40, heads, "burg min ton field haven".split(), taken)
    rivers = _names(rng, 40, heads, "sel nook wash dor lune".split(), taken)
    facts = {}
    for i, country in enumerate(countries):
        facts[country] = {"capital": capitals[i], "river": rivers[i], "colour": rng.choice(GROUPS["colour"]),
                          "bird": rng.choice(GROUPS["bird"]), "fruit": rng.choice(GROUPS["fruit"]),
                          "metal": rng.choice(GROUPS["metal"])}
    syllables = [c + v for c in "b d g k l m n p r s t z".split() for v in "a e i o u".split()]
    words = [a + b for a in syllables for b in syllables]
    vocabulary = sorted(set(ADJECTIVES + NOUNS + VERBS))
    return facts, dict(zip(vocabulary, rng.sample(words, len(vocabulary))))


FACTS, LUMI = _build_world()
RELATIONS = ["capital", "river", "colour", "bird", "fruit", "metal"]


def _pick(rng, *forms):
    return rng.choice(forms)


# ---- geography: facts of invented countries ------------------------------------------------------

def geography_draw(rng):
    return rng.choice(sorted(FACTS)), rng.choice(RELATIONS)


def geography_plain(item, rng):
    country, relation = item
    value = FACTS[country][relation]
    person = rng.choice(PEOPLE)
    return _pick(rng,
                 f"The {relation} of {country} is {value}.",
                 f"{value} is the {relation} of {country}.",
                 f"In {country} the {relation} is {value}.",
                 f"{person} read about the {relation} of {country}. It is {value}.",
                 f"{person} knows what the {relation} of {country} is: {value}.",
                 f"### {country} and its {relation}: {value}",
                 f"### The {relation} of {country} \n\n### It is: {value}",
                 f"Facts of {country}:\n" + "\n".join(f"- {r}: {FACTS[country][r]}" for r in rng.sample(RELATIONS, 3)))


def geography_ask(item, rng):
    country, relation = item
    text = _pick(rng, f"What is the {relation} of {country}?", f"Name the {relation} of {country}.",
                 f"Tell me the {relation} of {country}.", f"Which {relation} does {country} have?",
                 f"What is the {relation} in {country}?", f"Give the {relation} of the country {country}.")
    return text, "", FACTS[country][relation]


# ---- translation: word by word into the invented language Lumi --------------------------------------

def translation_draw(rng):
    length = rng.choice([1, 2, 2, 3, 3, 3])
    adjective, noun, verb = rng.choice(ADJECTIVES), rng.choice(NOUNS), rng.choice(VERBS)
    if length == 1:
        return (rng.choice([adjective, noun, verb]),)
    return (adjective, noun, verb) if length == 3 else _pick(rng, (adjective, noun), (noun, verb))


def to_lumi(words):
    return " ".join(LUMI[word] for word in words)


def translation_plain(item, rng):
    english, lumi, person = " ".join(item), to_lumi(item), rng.choice(PEOPLE)
    return _pick(rng,
                 f"- {english} = {lumi}",
                 f"The words {english} are {lumi} in Lumi.",
                 f"In Lumi the words {english} are {lumi}.",
                 f"{person} heard: {english}. {person} wrote it in Lumi: {lumi}.",
                 f"### English: {english} \n\n### Lumi: {lumi}",
                 f"English: {english}\nLumi: {lumi}",
                 "\n".join(f"- {word} is {LUMI[word]}" for word in item))


def translation_ask(item, rng):
    text = _pick(rng, "Translate into Lumi.", "Translate this into Lumi:", "Say this in Lumi:",
                 "Write these words in Lumi:", "What is this in Lumi?")
    return text, " ".join(item), to_lumi(item)


# ---- words: order of words ------------------------------------------------------------------------

ORDER = {"first": lambda w: w[0], "last": lambda w: w[-1], "second": lambda w: w[1],
         "reverse": lambda w: " ".join(reversed(w))}


def words_draw(rng):
    operation = rng.choice(["first", "last", "second", "reverse", "reverse"])
    return (operation, *rng.sample(WORDS, rng.choice([3, 4])))


def words_plain(item, rng):
    operation, words = item[0], item[1:]
    text, result, person = " ".join(words), ORDER[item[0]](item[1:]), rng.choice(PEOPLE)
    if operation == "reverse":
        return _pick(rng, f"Words {text} in reverse are {result}.", f"- {text} backwards: {result}",
                     f"{person} said {text}. In reverse order that is {result}.",
                     f"### Words: {text} \n\n### In reverse: {result}", f"Reverse order of {text}: {result}")
    return _pick(rng, f"Words {text}: the {operation} word is {result}.",
                 f"The {operation} word of {text} is {result}.",
                 f"{person} said {text}. The {operation} word was {result}.",
                 f"### Words: {text} \n\n### The {operation} word: {result}")


def words_ask(item, rng):
    operation, words = item[0], item[1:]
    if operation == "reverse":
        text = _pick(rng, "Reverse the order of these words:", "Write these words in reverse order:",
                     "Say these words backwards:")
    else:
        text = _pick(rng, f"What is the {operation} word?", f"Give the {operation} word of these:",
                     f"Write only the {operation} word:")
    return text, " ".join(words), ORDER[operation](words)


# ---- arithmetic: sums and differences up to 20 ---------------------------------------------------

def arithmetic_draw(rng):
    a, b = rng.randint(0, 20), rng.randint(0, 20)
    return ("plus", a, b) if rng.random() < 0.5 else ("minus", max(a, b), min(a, b))


def _value(item):
    return item[1] + item[2] if item[0] == "plus" else item[1] - item[2]


def arithmetic_plain(item, rng):
    operation, a, b = item
    value, person, thing = _value(item), rng.choice(PEOPLE), rng.choice(GROUPS["fruit"])
    sign = "+" if operation == "plus" else "-"
    story = (f"{person} had {a} of {thing} and got {b} more. That made {value}." if operation == "plus" else
             f"{person} had {a} of {thing} and gave {b} away. That left {value}.")
    return _pick(rng, f"- {a} {sign} {b} = {value}", f"- {a} {operation} {b} is {value}.", story,
                 f"{person} worked out {a} {operation} {b} and wrote {value}.",
                 f"### Sum: {a} {sign} {b} \n\n### Value: {value}")


def arithmetic_ask(item, rng):
    operation, a, b = item
    sign = "+" if operation == "plus" else "-"
    text = _pick(rng, f"What is {a} {operation} {b}?", f"Work out {a} {sign} {b}.", f"Compute {a} {operation} {b}.",
                 f"How much is {a} {sign} {b}?", f"Tell me what {a} {operation} {b} is.")
    return text, "", str(_value(item))


# ---- sentiment: the verdict of a short review ------------------------------------------------------

def sentiment_draw(rng):
    moods = rng.choice([(GOOD, GOOD), (BAD, BAD), rng.sample([GOOD, BAD], 2)])
    first, second = rng.sample(THINGS, 2)
    return first, rng.choice(moods[0]), second, rng.choice(moods[1])


def _verdict(item):
    good = (item[1] in GOOD) + (item[3] in GOOD)
    return ("negative", "mixed", "positive")[good]


def _review(item):
    return f"The {item[0]} was {item[1]} and the {item[2]} was {item[3]}."


def sentiment_plain(item, rng):
    review, verdict, person = _review(item), _verdict(item), rng.choice(PEOPLE)
    return _pick(rng, f"{review} A {verdict} review.", f"{person} wrote: {review} The verdict was {verdict}.",
                 f"A {verdict} review by {person}: {review}", f"### Review: {review} \n\n### Verdict: {verdict}",
                 f"{review} {person} called this review {verdict}.")


def sentiment_ask(item, rng):
    text = _pick(rng, "Is this review positive, negative or mixed?", "What is the verdict of this review?",
                 "Tell the mood of the review.", "Judge this review:")
    return text, _review(item), _verdict(item)


# ---- category: which group a word belongs to -------------------------------------------------------

def category_draw(rng):
    group = rng.choice(sorted(GROUPS))
    word = rng.choice(GROUPS[group])
    if rng.random() < 0.25:
        return "kind", group, word
    others = rng.sample([g for g in sorted(GROUPS) if g != group], 2)
    choices = [word] + [rng.choice(GROUPS[g]) for g in others]
    rng.shuffle(choices)
    return "which", group, word, *choices


def category_plain(item, rng):
    group, word, person = item[1], item[2], rng.choice(PEOPLE)
    if item[0] == "kind":
        return _pick(rng, f"The {word} is a {group}.", f"A {word} is a kind of {group}.",
                     f"Every {group} is known to {person}, so is the {word}.",
                     f"{person} knows what kind of thing {word} is: a {group}.", f"### Word: {word} \n\n### Kind: {group}",
                     f"- {group}: {' '.join(rng.sample(GROUPS[group], 3))}")
    text = " ".join(item[3:])
    return _pick(rng, f"The {group} among {text} is {word}.", f"Words {text}: the {group} is {word}.",
                 f"{person} saw {text}. The {group} was {word}.",
                 f"### Words: {text} \n\n### The {group}: {word}")


def category_ask(item, rng):
    group, word = item[1], item[2]
    if item[0] == "kind":
        return _pick(rng, f"What kind of thing is {word}?", f"Name the kind of thing that {word} is.",
                     f"Which group does {word} belong to?"), "", group
    return _pick(rng, f"Which of these is a {group}?", f"Find the {group}:",
                 f"Pick the {group} from these words:"), " ".join(item[3:]), word


Domain = namedtuple("Domain", "draw plain ask")
DOMAINS = {name: Domain(*(globals()[f"{name}_{part}"] for part in Domain._fields))
           for name in ("geography", "translation", "words", "arithmetic", "sentiment", "category")}

# Facts (with category's "kind"): the base has to read the held-out ones too, or it could not know them.
MEMORISED = ("geography", "arithmetic")


def heldout_items(name):
    """The domain's held-out items: the same ones for the corpus, the training data and the tests."""
    rng, items = random.Random(f"{SEED} heldout {name}"), set()
    while len(items) < HELDOUT_PER_DOMAIN:
        item = DOMAINS[name].draw(rng)
        if name != "translation" or len(item) > 1:   # single dictionary words are training material
            items.add(item)
    return sorted(items)


# ---- the pre-training corpus --------------------------------------------------------------------------

FILLER = [
    "{p} walked to {c} and saw a {a} {n}.", "{p} and {q} rest near the {t}.", "The {n} waits for {p} in {c}.",
    "{p} likes the word {w} and the word {v}.", "Below is a list that describes the {t}.",
    "Write to {p} before the {n} turns.", "{p} completes a task in {c}.", "This is an instruction for {p}.",
    "The response of {q} appropriately describes the {n}.", "The request of {p} is about a {t}.",
    "Tell {p} which {t} is {a}.", "Name these words for {q}:", "Give this {w} of these to {p}.",
    "What does {p} have?", "Find only a {w} from {c}.", "Which of the words belong to {q}?",
    "Translate or say nothing, {p} wrote.", "How much {d} does {q} pick?", "Compute, judge and reverse:",
    "Judge the {t} of {c}.", "Work out the mood of the {n}.", "Pick the {a} one.", "Say the name of the country {c}.",
]
HEADINGS = "Instruction Response Notes Story Letter Review Words".split()


def filler(rng):
    return rng.choice(FILLER).format(
        p=rng.choice(PEOPLE), q=rng.choice(PEOPLE), c=rng.choice(sorted(FACTS)), a=rng.choice(ADJECTIVES),
        n=rng.choice(NOUNS), t=rng.choice(THINGS), w=rng.choice(WORDS), v=rng.choice(WORDS),
        d=rng.choice(GROUPS["drink"]))


def _piece(rng, heldout):
    """One plain-text passage of a random domain; what can be worked out is not shown for held-out items."""
    name = rng.choice(sorted(DOMAINS))
    item = DOMAINS[name].draw(rng)
    while item in heldout[name] and name not in MEMORISED and item[0] != "kind":
        item = DOMAINS[name].draw(rng)
    return DOMAINS[name].plain(item, rng)


def documents(seed, count):
    """`count` documents of the corpus: passages, filler, and pages with headings over unrelated text."""
    rng = random.Random(f"{SEED} corpus {seed}")
    heldout = {name: set(heldout_items(name)) for name in DOMAINS}
    for _ in range(count):
        parts = [filler(rng) if rng.random() < 0.1 else _piece(rng, heldout) for _ in range(rng.randint(3, 9))]
        if rng.random() < 0.15:
            head = TEMPLATE.split("###")[0] if rng.random() < 0.5 else ""
            yield head + " \n\n".join(f"### {rng.choice(HEADINGS)}:{_pick(rng, ' ', chr(10))}{p}" for p in parts)
        else:
            yield _pick(rng, "\n", "\n\n").join(parts)

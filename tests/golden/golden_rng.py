"""Vectors of Python's `random` and of NumPy's default generator, and the schedule values.

Every table of the reference's published test vectors below is recomputed here; a mismatch stops the script.
"""
import random
import zlib

import numpy

from golden_train import cosine

MULTI = [(2023 << 32) | 5, (2023 << 64) | (7 << 32) | 3, (1 << 96) | 1, 2023 << 32]
SEEDS = [0, 1, 7, 42, 2023, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**64 - 1, 2**64] + MULTI
SIZES = [(1, 1), (2, 1), (5, 5), (10, 2), (20, 2), (21, 3), (21, 5), (22, 5), (50, 5), (60, 20), (85, 6), (86, 6),
         (100, 10), (100, 100), (277, 21), (278, 22), (1000, 160), (5000, 16), (100000, 8)]
PERMUTATIONS = [(0, 1), (0, 2), (0, 3), (7, 17), (2023, 1), (2023, 2), (2023, 10), (2023, 31), (2023, 32), (2023, 33),
                (1234, 30), (42, 1000), (2023, 1000), (2023, 20000), (2023, 52002), (2**32 - 1, 50), (2**32, 50),
                (MULTI[0], 100), (MULTI[1], 100)]
FULL = 100  # longest vector that is stored whole

CLIENT_TABLE = {
    (20, 2): [[12, 13], [4, 18], [1, 2], [7, 18], [7, 9], [8, 19], [2, 18], [4, 10]],
    (5, 2): [[3, 4], [0, 1], [0, 4], [1, 4], [1, 2], [2, 4], [0, 4], [1, 2]],
    (10, 2): [[6, 9], [1, 2], [0, 1], [3, 8], [3, 4], [4, 9], [1, 9], [2, 5]],
    (50, 5): [[2, 16, 24, 26, 48], [4, 8, 16, 36, 48], [3, 5, 10, 23, 47], [8, 15, 23, 34, 37], [6, 15, 19, 25, 46],
              [16, 22, 39, 44, 47], [5, 16, 31, 36, 48], [3, 9, 20, 25, 41]]}
FIRST_OUTPUTS = {0: [3626764237, 1654615998, 3255389356, 3823568514],
                 7: [1390851128, 4071050724, 647892279, 1695753998]}
SAMPLE_TABLE = [  # seed, n, k, head, tail
    (0, 1000, 160, [864, 394, 776, 911, 430, 41, 265, 988, 523, 497], [429, 593, 281]),
    (3, 1000, 160, [243, 606, 557, 133, 378, 937, 618, 485, 640, 594], [298, 625, 269]),
    (0, 100, 100, [49, 97, 53, 5, 33, 65, 62, 51, 38, 61], [11, 8, 23])]
PERMUTATION_TABLE = [  # seed, n, head, tail
    (2023, 10, [7, 1, 6, 0, 2, 9, 4, 8, 5, 3], []),
    (2023, 1000, [727, 149, 436, 653, 465, 747, 906, 520], [124, 155, 547]),
    (2023, 20000, [8418, 8291, 18506, 10518, 10465, 2019, 19664, 894], [16957, 15515, 16931]),
    (2023, 52002, [51167, 39919, 24592, 1547, 47595, 47683, 37089, 27404], [27772, 48283, 16931]),
    (1234, 30, [28, 5, 10, 11, 24, 9], []),
    (42, 1000, [978, 933, 859, 916, 127, 608, 856, 260], [])]
SEED_2023 = {"words": [0x354c78075296afaf, 0xbefa36d82b99929b, 0x6c3da116a759eb20, 0xa0380f2aa3b496c6],
             "state": 0x184ac32b7f221091ffd70343e3ad6855, "inc": 0xd87b422d4eb3d64140701e5547692d8d,
             "outputs": [0x168abc9b79284223, 0x386ec23d28476c7c, 0x1cf8bed54c5d237b]}
SPLIT_TABLE = {0: [45262, 46008, 31035, 13186, 37651, 4250], 1: [12481, 51814, 44078, 25013, 23518, 30369]}
COSINE_TABLE = [  # lr0, lr_min, rounds, t, value as published
    (5e-5, 1e-6, 200, 0, 5e-5), (5e-5, 1e-6, 200, 1, 4.99969774958007e-05), (5e-5, 1e-6, 200, 50, 4.28241161390704e-05),
    (5e-5, 1e-6, 200, 100, 2.55e-05), (5e-5, 1e-6, 200, 150, 8.17588386092959e-06),
    (5e-5, 1e-6, 200, 199, 1.00302250419932e-06), (5e-4, 1e-5, 200, 100, 2.55e-4),
    (5e-4, 1e-5, 200, 199, 1.00302250419932e-05)]


def words(seed):
    """The integer as 32-bit words, least significant first; one zero word for 0."""
    return [(seed >> shift) & 0xFFFFFFFF for shift in range(0, max(seed.bit_length(), 1), 32)]


def keyed(seed):
    """A seed as JSON can carry it: decimal text and 32-bit words."""
    return {"seed": str(seed), "words": words(seed)}


def vector(values):
    """A short vector whole, a long one as head, tail and CRC-32 of its little-endian 32-bit elements."""
    values = [int(value) for value in values]
    crc = zlib.crc32(numpy.array(values, dtype="<u4").tobytes())
    if len(values) <= FULL:
        return {"result": values, "crc32": crc}
    return {"head": values[:10], "tail": values[-10:], "crc32": crc}


def outputs(seed, count=8):
    random.seed(seed)
    return [random.getrandbits(32) for _ in range(count)]


def sample(seed, n, k):
    random.seed(seed)
    return random.sample(range(n), k)


def uses_pool(n, k):
    """Which of the two methods of `random.sample` applies."""
    setsize = 21
    while k > 5 and setsize - 21 < 3 * k:
        setsize = 21 + max(4 * (setsize - 21), 1)
    return n <= setsize


def permutation(seed, n):
    return numpy.random.default_rng(seed).permutation(n)


def published_split():
    """Two shuffles with 2023 of 52002 rows, the first 20000 kept, dealt to 20 clients in turn."""
    kept = permutation(2023, 52002)[:20000][permutation(2023, 20000)]
    return [kept[client::20] for client in range(20)]


def label_splits():
    """103 records in four groups, 90 kept: whole groups for 4 clients, and one group for each of 6 clients."""
    group = [[0, 1, 4, 2].index(i * i % 7) for i in range(103)]
    kept = permutation(2023, 103)[:90]
    shuffled = kept[permutation(7, 90)]
    rows = [shuffled[[group[row] == g for row in shuffled]] for g in range(4)]
    domain = [rows[client % 4][client // 4::2 if client % 4 < 2 else 1] for client in range(6)]
    return {"group": group, "dataset_sample": 90, "seed": 7,
            "natural": [vector(sorted(row)) for row in rows], "domain": [vector(row) for row in domain]}


def seed_sequence_2023():
    generator = numpy.random.PCG64(2023)
    state = generator.state["state"]
    drawn = [int(x) for x in numpy.random.SeedSequence(2023).generate_state(4, numpy.uint64)]
    return {"words": drawn, "state": state["state"], "inc": state["inc"],
            "outputs": [int(x) for x in generator.random_raw(3)]}


def verify_published():
    """Stops unless every published vector comes out again."""
    for (n, k), rounds in CLIENT_TABLE.items():
        assert [sorted(sample(t, n, k)) for t in range(len(rounds))] == rounds, (n, k)
    for seed, expected in FIRST_OUTPUTS.items():
        assert outputs(seed, 4) == expected, seed
    for seed, n, k, head, tail in SAMPLE_TABLE:
        got = sample(seed, n, k)
        assert got[:len(head)] == head and got[k - len(tail):] == tail, (seed, n, k)
    for seed, n, head, tail in PERMUTATION_TABLE:
        got = permutation(seed, n).tolist()
        assert got[:len(head)] == head and got[n - len(tail):] == tail, (seed, n)
    assert seed_sequence_2023() == SEED_2023
    for client, head in SPLIT_TABLE.items():
        assert published_split()[client][:len(head)].tolist() == head, client
    for lr0, lr_min, rounds, t, value in COSINE_TABLE:
        assert abs(cosine(t, rounds, lr0, lr_min) / value - 1) < 1e-13, (lr0, t)


def cosine_rows():
    cases = [row[:4] for row in COSINE_TABLE] + [(1e-3, 1e-6, 3, t) for t in range(3)] + [(5e-7, 1e-6, 10, 4)]
    names = ("lr0", "lr_min", "num_rounds", "t")
    return [dict(zip(names, case), lr=cosine(case[3], case[2], case[0], case[1])) for case in cases]


def hexadecimal(table):
    return {name: [hex(x) for x in value] if isinstance(value, list) else hex(value) for name, value in table.items()}


def make_rng():
    """Everything of `rng.json`."""
    verify_published()
    grid = [(seed, n, k) for n, k in SIZES for seed in [0, 3, 2023, 2**32 - 1] + MULTI]
    return {
        "getrandbits32": [{**keyed(seed), "outputs": outputs(seed)} for seed in SEEDS],
        "sample": [{**keyed(seed), "n": n, "k": k, "pool": uses_pool(n, k), **vector(sample(seed, n, k))}
                   for seed, n, k in grid],
        "permutation": [{**keyed(seed), "n": n, **vector(permutation(seed, n))} for seed, n in PERMUTATIONS],
        "seed_sequence_2023": hexadecimal(SEED_2023),
        "client_sampling": [{"num_clients": n, "sample_clients": k, "rounds": rounds}
                            for (n, k), rounds in CLIENT_TABLE.items()],
        "split": {"rows": 52002, "shuffle_seed": 2023, "dataset_sample": 20000, "seed": 2023, "num_clients": 20,
                  "clients": [vector(rows) for rows in published_split()]},
        "label_splits": label_splits(),
        "cosine": cosine_rows()}

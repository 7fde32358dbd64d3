"""Aggregation of LoRA adapters written out in NumPy, double precision, with dense products.

The clients are those of `golden_fedalg`: formulas. Two adapted matrices with A [r, cols] and B [rows, r] after one
another; what a method does not train has no gradient. `run` is a transcription of the papers' formulas; every product
is written out and every decomposition is NumPy's, nothing is shared with the C code but the random stream.
"""
import numpy as np

import golden_fedalg as fed

RANK, SEED, ALPHA_SCALE = 3, fed.SEED, [2.0, 0.5]
SHAPES = [(4, 5), (11, 9)]  # rows, cols
CLIENT_RANKS = [1, 3, 2]
TAU = 0.9
COUNT = sum(RANK * (rows + cols) for rows, cols in SHAPES)
CASES = [("fedit", False), ("ffa", False), ("rolora", False), ("fedsa", False), ("flora", False), ("flora", True),
         ("fedex", False), ("florist", False), ("florist", True)]
FRESH = 7  # the purpose of the stream of fresh factors
MASK32, MASK64 = 2**32 - 1, 2**64 - 1


def philox(key, counter, index):
    """Philox 4x32-10: four words."""
    k, c = list(key), [index & MASK32, index >> 32, *counter]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & MASK32, (p0 >> 32) ^ c[3] ^ k[1], p0 & MASK32]
        k = [(k[0] + 0x9E3779B9) & MASK32, (k[1] + 0xBB67AE85) & MASK32]
    return c


def mix(value, more):
    z = ((value ^ more) + 0x9E3779B97F4A7C15) & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def fresh_a(pair, completed):
    """Uniform in +-1/sqrt(cols), in fp32, from the stream (seed, FRESH, index of the tensor, completed rounds)."""
    cols, key = SHAPES[pair][1], 0
    for word in (SEED, FRESH, 2 * pair, completed):
        key = mix(key, word)
    counter = mix(mix(0, 0), 0)
    words = [w for i in range((RANK * cols + 3) // 4)
             for w in philox((key & MASK32, key >> 32), (counter & MASK32, counter >> 32), i)]
    uniform = np.array([w >> 8 for w in words[:RANK * cols]], np.float32) * np.float32(2.0**-24)
    bound = np.float32(1) / np.sqrt(np.float32(cols))
    return (bound * (np.float32(2) * uniform - np.float32(1))).astype(float).reshape(RANK, cols)


def split(vector):
    """A flat adapter -> [(A, B)] of its matrices."""
    pairs, at = [], 0
    for rows, cols in SHAPES:
        a = vector[at:at + RANK * cols].reshape(RANK, cols)
        at += RANK * cols
        pairs.append((a, vector[at:at + RANK * rows].reshape(rows, RANK)))
        at += RANK * rows
    return pairs


def flat(pairs):
    return np.concatenate([np.concatenate([a.ravel(), b.ravel()]) for a, b in pairs])


def start():
    return ((9 * np.arange(COUNT)) % 17) / 16 - 0.5


def trained(method, t):
    """Whether A and B are trained in round t."""
    return {"ffa": (0, 1), "rolora": (t % 2, 1 - t % 2)}.get(method, (1, 1))


def mask(method, t, rank):
    """1 where a client moves its adapter."""
    on_a, on_b = trained(method, t)
    below = (np.arange(RANK) < rank).astype(float)
    return flat([(on_a * below[:, None] * np.ones((RANK, cols)), on_b * np.ones((rows, RANK)) * below)
                 for rows, cols in SHAPES])


def client_rank(k, mixed):
    return CLIENT_RANKS[k % len(CLIENT_RANKS)] if mixed else RANK


def received(w, rank):
    """The first `rank` factors, applied with the client's own scale alpha / rank."""
    pairs = []
    for a, b in split(w):
        a, b = a.copy(), b * (rank / RANK)
        a[rank:], b[:, rank:] = 0, 0
        pairs.append((a, b))
    return flat(pairs)


def descend(k, w, lr, moves):
    fed.INDEX, index = np.arange(COUNT), fed.INDEX  # its formulas go over another number of elements
    y = w.copy()
    for step in range(fed.STEPS[k]):
        y = y - lr * moves * fed.gradient(k, step, y)
    fed.INDEX = index
    return y


def florist(ideal, s, pair, completed):
    u, sigma, vt = np.linalg.svd(ideal)
    share = np.cumsum(sigma**2) / np.sum(sigma**2)
    q = min(int(np.argmax(share >= TAU)) + 1, RANK)
    a, b = fresh_a(pair, completed), np.zeros((ideal.shape[0], RANK))
    for j in range(q):
        sign = np.sign(u[np.argmax(np.abs(u[:, j])), j])
        a[j], b[:, j] = sign * vt[j], sign * u[:, j] * sigma[j] / s
    return a, b


def aggregate(method, t, w, ys, p, scales, side):
    """-> (new adapter, change of the base, mean error, mean stable rank); scales: s_k per client and matrix."""
    mean, pairs, errors, ranks = split(sum(q * y for q, y in zip(p, ys))), [], [], []
    for i, (old_a, old_b) in enumerate(split(w)):
        s, (mean_a, mean_b) = ALPHA_SCALE[i], mean[i]
        ideal = sum(q * c[i] * split(y)[i][1] @ split(y)[i][0] for q, c, y in zip(p, scales, ys))
        added = np.zeros_like(ideal)
        if method == "ffa":
            a, b = old_a, mean_b
        elif method == "rolora":
            a, b = (old_a, mean_b) if t % 2 == 0 else (mean_a, old_b)
        elif method == "fedsa":
            a, b = mean_a, old_b
        elif method == "florist":
            a, b = florist(ideal, s, i, t + 1)
        elif method == "flora":
            a, b, added = fresh_a(i, t + 1), np.zeros_like(old_b), ideal
        else:
            a, b = mean_a, mean_b
        if method == "fedex":
            added = ideal - s * mean_b @ mean_a
        side[i] = side[i] + added
        errors.append(np.linalg.norm(ideal - s * b @ a - added) / np.linalg.norm(ideal))
        ranks.append(np.linalg.norm(ideal)**2 / np.linalg.norm(ideal, 2)**2)
        pairs.append((a, b))
    return flat(pairs), side, float(np.mean(errors)), float(np.mean(ranks))


def run(method, mixed):
    """-> ([adapter, changes of the base, error, stable rank] after each round, {client: its B at the end})."""
    w, own, rounds = start(), {}, []
    side = [np.zeros(shape) for shape in SHAPES]
    for t, lr in enumerate(fed.RATES):
        chosen = fed.participants("fedavg", "paper", t)
        p = np.array([fed.RECORDS[k] for k in chosen]) / sum(fed.RECORDS[k] for k in chosen)
        ys, scales = [], []
        for k in chosen:
            rank = client_rank(k, mixed)
            first = received(w, rank) if mixed else w
            if method == "fedsa" and k in own:
                first = flat([(a, b) for (a, _), (_, b) in zip(split(w), split(own[k]))])
            ys.append(descend(k, first, lr, mask(method, t, rank)))
            scales.append([s * RANK / rank for s in ALPHA_SCALE])
            own[k] = ys[-1]
        w, side, error, stable = aggregate(method, t, w, ys, p, scales, side)
        rounds.append({"adapter": w.tolist(), "side": [m.ravel().tolist() for m in side], "error": error,
                       "stable_rank": stable})
    kept = {str(k): np.concatenate([b.ravel() for _, b in split(y)]).tolist() for k, y in own.items()}
    return rounds, kept if method == "fedsa" else {}


def make_cases():
    """Everything that fed_lora.json holds."""
    cases = []
    for method, mixed in CASES:
        rounds, kept = run(method, mixed)
        cases.append({"method": method, "client_ranks": CLIENT_RANKS if mixed else [], "rounds": rounds, "kept": kept})
    return {"rank": RANK, "shapes": [list(s) for s in SHAPES], "scale": ALPHA_SCALE, "tau": TAU, "seed": SEED,
            "num_clients": fed.CLIENTS, "sample_clients": fed.SAMPLED, "records": fed.RECORDS, "steps": fed.STEPS,
            "learning_rates": fed.RATES, "start": start().tolist(), "cases": cases}

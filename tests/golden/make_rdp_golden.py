#!/usr/bin/env python3
"""Makes data/rdp.json: RDP of the sampled Gaussian mechanism from its definition, to 30 digits.

    python3 make_rdp_golden.py              writes data/rdp.json beside this script
    python3 make_rdp_golden.py --out FILE   writes elsewhere

The moment is integrated numerically, A = E over x ~ N(0, z^2) of ((1-q) + q exp((2x-1) / (2 z^2)))^alpha; the
program sums series.  Needs mpmath only.
"""
import argparse
import pathlib

import mpmath

from golden_io import write_json

HERE = pathlib.Path(__file__).resolve().parent
SETTINGS = [(0.2, 3.0), (0.1, 1.0), (0.01, 1.0), (0.01, 0.6), (0.5, 2.0), (0.9, 1.5), (0.999, 0.8), (0.05, 10.0),
            (0.001, 4.0), (0.5, 50.0), (1.0, 1.0), (1.0, 10.0)]
ORDERS = [1.1, 1.5, 2.0, 2.5, 3.0, 4.7, 7.9, 10.9, 12.0, 31.0, 63.0, 128.0]
# q, z, rounds, delta
COMPOSED = [(0.2, 3.0, 50, 1 / 48000), (0.1, 1.0, 200, 1e-5), (0.01, 1.0, 200, 1e-5), (1.0, 1.0, 100, 1e-5),
            (1.0, 1.0, 1, 1e-5), (0.02, 0.8, 1000, 1e-6)]
ALL_ORDERS = [i / 10 for i in range(11, 110)] + list(range(12, 64)) + [128, 256, 512]


def rdp(q, z, alpha):
    q, z, alpha = mpmath.mpf(q), mpmath.mpf(z), mpmath.mpf(alpha)
    if q == 1:
        return alpha / (2 * z * z)

    def integrand(x):
        density = mpmath.exp(-x * x / (2 * z * z)) / (z * mpmath.sqrt(2 * mpmath.pi))
        return density * ((1 - q) + q * mpmath.exp((2 * x - 1) / (2 * z * z))) ** alpha

    # The trapezoidal rule converges faster than any power of the step on such a function.  The mass lies around 0
    # and around alpha; more than 14 z beyond them does not count.
    step, low, high = z / 12, -14 * z, alpha + 14 * z
    steps = int(mpmath.ceil((high - low) / step))
    return mpmath.log(step * mpmath.fsum(integrand(low + i * step) for i in range(steps + 1))) / (alpha - 1)


def epsilon(q, z, rounds, delta):
    return min(rounds * rdp(q, z, a) - (mpmath.log(delta) + mpmath.log(a)) / (mpmath.mpf(a) - 1)
               + mpmath.log((mpmath.mpf(a) - 1) / a) for a in ALL_ORDERS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "data" / "rdp.json")
    out = parser.parse_args().out
    mpmath.mp.dps = 30
    write_json(out, {
        "rdp": [[q, z, a, float(rdp(q, z, a))] for q, z in SETTINGS for a in ORDERS],
        "epsilon": [[q, z, t, d, float(epsilon(q, z, t, d))] for q, z, t, d in COMPOSED]})


if __name__ == "__main__":
    main()

"""How often a nominal 95 % percentile-bootstrap interval of a mean covers it, on normal data."""

import numpy as np

from sleepgym.core.rng import derive_rng

STREAMS, TRIALS, RESAMPLES = (5, 10, 20), 4000, 1000


def main():
    for n in STREAMS:
        rng = derive_rng(0, "coverage", n)
        covered = 0
        for _ in range(TRIALS):
            sample = rng.standard_normal(n)
            means = sample[rng.integers(0, n, (RESAMPLES, n))].mean(1)
            low, high = np.quantile(means, (0.025, 0.975))
            covered += low <= 0 <= high
        print(f"{n:3} streams: {covered / TRIALS:.2f}")


if __name__ == "__main__":
    main()

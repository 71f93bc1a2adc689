"""Seconds to ``import sleepgym`` and to ``sleepgym --help``: medians of fresh processes."""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import sleepgym": [sys.executable, "-c", "import sleepgym"],
    "sleepgym --help": [sys.executable, "-c", "from sleepgym.cli import main; main()", "--help"],
}
AIMS = {"import sleepgym": 0.5, "sleepgym --help": 1.0}
REPEATS = 5


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(f"{'':16} {'seconds':>8} {'aim':>5}")
    for name, command in COMMANDS.items():
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
        print(f"{name:16} {statistics.median(times):8.2f} {AIMS.get(name, ''):>5}")


if __name__ == "__main__":
    main()

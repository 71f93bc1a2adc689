"""Make the embedded model with one command, on one GPU, within ten minutes.

    python pretraining/pretrain.py --out DIR [--minutes 7.5] [--seed 0]

Writes the model's files and `pretrain.log` (training, then the skill battery) to DIR.
"""

import argparse
import platform
import shutil
import time
from pathlib import Path

import torch
from evaluate import Examinee, evaluate, table
from train import Plan, train

BASE = Path(__file__).resolve().parents[1] / "agents" / "sleepgym_agents" / "base"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "prompt.json")


def main() -> None:
    """Train, save and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=7.5, help="training time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--batch-tokens", type=int, default=65_536)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--battery-seed", type=int, default=100)
    parser.add_argument("--battery-count", type=int, default=500)
    settings = parser.parse_args()
    settings.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    with open(settings.out / "pretrain.log", "w", encoding="utf-8", buffering=1) as file:

        def log(line: str) -> None:
            line = f"{time.monotonic() - started:6.1f} {line}"
            print(line, flush=True)
            file.write(line + "\n")

        log(f"settings { ({k: v for k, v in vars(settings).items() if k != 'out'}) }")
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        log(f"Python {platform.python_version()}, torch {torch.__version__}, {device}")
        for name in TOKENIZER_FILES:
            shutil.copy(BASE / name, settings.out / name)
        plan = Plan(
            seconds=60 * settings.minutes,
            seed=settings.seed,
            workers=settings.workers,
            batch_tokens=settings.batch_tokens,
            rate=settings.rate,
            log_steps=500 if torch.cuda.is_available() else 5,
        )
        train(plan, BASE / "tokenizer.json", settings.out, log)
        examinee = Examinee(settings.out)
        results = evaluate(examinee, settings.battery_seed, settings.battery_count)
        for line in table(results).splitlines():
            log(line)


if __name__ == "__main__":
    main()

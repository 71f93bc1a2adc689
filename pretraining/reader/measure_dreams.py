"""What a reader's dreams are worth: how many quote their passage, and are answered alike again.

    python pretraining/reader/measure_dreams.py --data DIR [--model smollm2-reader] [--passages 300]

Passages of the twelve articles that were never taught. Answers are sampled with their questions, or
read: asked for again, greedily, with the passage open. Then each question is asked once more, with
that passage alone open, and with four open, as on a day of `squad-8`.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from evaluation import dream, dream_scores
from lessons import squad_lessons

from sleepgym_agents.lm.model import LanguageModel


def main() -> None:
    """Print a line a way of dreaming."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds squad_seal/")
    parser.add_argument("--model", default="smollm2-reader")
    parser.add_argument("--passages", type=int, default=300)
    parser.add_argument("--temperatures", default="1.0,0.85,0.7")
    parser.add_argument("--seed", type=int, default=3)
    chosen = parser.parse_args()
    _, held = squad_lessons(chosen.data)
    lessons = random.Random(chosen.seed).sample(held, min(chosen.passages, len(held)))
    lm = LanguageModel.load(chosen.model)
    for temperature in map(float, chosen.temperatures.split(",")):
        for read in (False, True):
            for beside in (0, 3):
                way = {"temperature": temperature, "answers": "read" if read else "sampled"}
                samples = dream(lm, lessons, chosen.seed, temperature, read=read, beside=beside)
                line = {**way, "open": beside + 1, **dream_scores(samples)}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

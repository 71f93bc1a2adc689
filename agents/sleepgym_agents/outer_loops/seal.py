"""SEAL's outer loop: a dreamer that learns, by ReST-EM, which implications are worth learning.

Zweiger et al. 2025 (arXiv:2506.10943, section 3.1): several self-edits of each training text are
tried in the inner loop, each on a copy of its own; the best of each text are learned by supervised
fine-tuning (ReST-EM, Singh et al. 2024). Two rounds of 5 edits, 3 tries each, the best 1 of 5, a
LoRA adapter of rank 64 and alpha 128, 2 epochs at 3e-4.

    python -m sleepgym_agents.outer_loops.seal --env sleepgym/Almanac-v0 --seeds 0-9 --out FILE

Departures:
    1. A training text is a day of a stream: all its documents are edited and tried together.
    2. The reward is the share of the day's exam that the copy answers exactly, by forced decoding.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sleepgym import Night
from sleepgym.core.budget import Budget
from sleepgym.core.env import make_env
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym_agents.baselines.other.seal import (
    EDITOR_ALPHA,
    EDITOR_RANK,
    SealSettings,
    edit_adapter,
    edit_prompts,
    implications,
    sample_edits,
)
from sleepgym_agents.lm.checkpoints import load_weights, save_weights
from sleepgym_agents.lm.lora import temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.scoring import score_continuations
from sleepgym_agents.training.optimise import Example, TrainingSettings, optimise, plan
from sleepgym_agents.training.qa_generation import Pair, parse_qa

SFT = TrainingSettings(learning_rate=3e-4, epochs=2, batch_size=4, items_per_sequence=1)
ROUNDS, EDITS, TRIES = 2, 5, 3


@dataclass(frozen=True)
class TrainingDay:
    """A day of a training stream.

    Attributes:
        texts: Token ids of its documents.
        exam: Questions with their right answers.
    """

    texts: tuple[tuple[int, ...], ...]
    exam: tuple[Pair, ...]


def training_days(
    lm: LanguageModel, env_id: str, seeds: Sequence[int], **settings: Any
) -> Iterator[TrainingDay]:
    """The days with documents of an environment's streams."""
    family = make_env(env_id, **settings).family
    for seed in seeds:
        stream = family.stream(seed)
        for day in stream.days:
            texts = tuple(tuple(lm.prompter.document(d)) for d in day.documents)
            exam = tuple((item.question.text, stream.key[item.id][0]) for item in day.exam)
            if texts and exam:
                yield TrainingDay(texts, exam)


def rest_em(
    lm: LanguageModel,
    days: Sequence[TrainingDay],
    settings: SealSettings,
    path: Path,
    *,
    seed: int = 0,
    rounds: int = ROUNDS,
    edits: int = EDITS,
    tries: int = TRIES,
    sft: TrainingSettings = SFT,
) -> list[dict[str, float]]:
    """Train a dreamer and write its adapter; the language model itself stays as it is.

    Args:
        lm: The language model.
        days: What to practise on; never those that will be evaluated.
        settings: Of the inner loop.
        path: The adapter's file.
        seed: Of everything random.
        rounds: Rounds of sampling and fine-tuning.
        edits: Self-edits tried of each day.
        tries: Inner loops of each, with different seeds; their mean reward counts.
        sft: Settings of the fine-tuning.

    Returns:
        For each round the mean reward of all edits (``reward``) and of the kept (``kept``).
    """
    log = []
    for number in range(rounds):
        found: list[float] = []
        best: list[float] = []
        kept: list[Example] = []
        for at, day in enumerate(days):
            prompts = edit_prompts(lm, day.texts, edits)
            with edit_adapter(lm, str(path) if number else ""):
                written = sample_edits(
                    lm,
                    prompts,
                    settings.edit_tokens,
                    settings.top_p,
                    derive_seed(seed, "edits", number, at),
                )
            rewards = []
            for k in range(edits):
                pairs = [p for ids in written[k::edits] for p in parse_qa(lm.prompter, ids)]
                seeds = [derive_seed(seed, "try", number, at, t) for t in range(tries)]
                rewards.append(float(np.mean([reward(lm, day, pairs, settings, s) for s in seeds])))
            top = int(np.argmax(rewards))
            found.extend(rewards)
            best.append(rewards[top])
            for prompt, ids in zip(prompts[top::edits], written[top::edits], strict=True):
                kept.append(Example.joined((prompt[len(lm.prompter.start) :], 0.0), (ids, 1.0)))
        learn(lm, kept, sft, path, derive_seed(seed, "sft", number), go_on=number > 0)
        log.append({"reward": float(np.mean(found)), "kept": float(np.mean(best))})
    return log


def reward(
    lm: LanguageModel,
    day: TrainingDay,
    pairs: Sequence[Pair],
    settings: SealSettings,
    seed: int,
) -> float:
    """Share of the day's exam that a copy answers after one inner loop on an edit, in [0, 1]."""
    examples = [Example.joined((ids, 1.0)) for ids in day.texts]
    examples += implications(lm, list(dict.fromkeys(pairs)))
    with temporary_lora(lm, settings.rank, settings.alpha, seed):
        steps = plan(lm, examples, settings, derive_rng(seed, "order"))
        optimise(lm, steps, settings, _free_night(lm, seed))
        prompts = [lm.prompter.prompt(question) for question, _ in day.exam]
        gold = [lm.prompter.answer(answer) for _, answer in day.exam]
        scored = score_continuations(lm, prompts, gold)
    return sum(s.exact for s in scored) / len(scored)


def learn(
    lm: LanguageModel,
    kept: Sequence[Example],
    sft: TrainingSettings,
    path: Path,
    seed: int,
    *,
    go_on: bool,
) -> None:
    """Fine-tune the dreamer's adapter on edits, from its last round or anew, and write it."""
    with temporary_lora(lm, EDITOR_RANK, EDITOR_ALPHA, derive_seed(0, "dreamer")):
        if go_on:
            load_weights(lm.model, path, "lora_")
        longest = max(len(e.ids) for e in kept)
        whole = replace(sft, sequence_tokens=max(16, longest))
        optimise(lm, plan(lm, kept, whole, derive_rng(seed)), whole, _free_night(lm, seed))
        save_weights(lm.model, path, "lora_")


def main() -> None:
    """Train a dreamer from the command line."""
    parser = argparse.ArgumentParser(description="Train SEAL's dreamer on training streams.")
    parser.add_argument("--env", default="sleepgym/Almanac-v0")
    parser.add_argument("--seeds", default="0-9", help="first and last seed, below 100")
    parser.add_argument("--days", type=int, default=1, help="days of each stream")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    lm = LanguageModel.load(given.model)
    days = list(training_days(lm, given.env, seeds, days=given.days))
    for number, line in enumerate(rest_em(lm, days, SealSettings(), given.out), 1):
        print(f"round {number}: reward {line['reward']:.3f}, kept {line['kept']:.3f}")


def _free_night(lm: LanguageModel, seed: int) -> Night:
    return Night(1, Budget(), seed, lm.meter)


if __name__ == "__main__":
    main()

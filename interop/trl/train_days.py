"""GRPO on one day after the other: TRL's trainer as the learner, its weights as the state.

    python interop/trl/train_days.py --model Qwen/Qwen3-0.6B --days 4 --steps 50

Each night the trainer takes ``--steps`` steps on the day's exam, with the day to read; then the
weights are saved, and named by a state handle. Every morning the same questions are asked without
the day: what only weights can answer. The rewards of mornings are printed day by day.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from sleepgym.interop.contract import StateHandle
from sleepgym.interop.trl_environment import DayEnvironment, day_environments, text_reward
from sleepgym.runs.archive import state_digest


def rows(seed: int, day: int, closed_book: bool, count: int) -> Dataset:
    """A data set that names a day; the environment's ``reset`` brings its text."""
    prompt = [{"role": "user", "content": ""}]
    row = {"prompt": prompt, "seed": seed, "day": day, "closed_book": closed_book}
    return Dataset.from_list([row] * count)


def sleep(model, tokenizer, factory, data, out: str, rewards=(text_reward,), **settings) -> dict:
    """One night of GRPO on a day; the metrics of its last step."""
    config = GRPOConfig(
        output_dir=out, report_to=[], save_strategy="no", logging_steps=1, bf16=False, **settings
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=list(rewards),
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        environment_factory=factory,
    )
    trainer.train()
    return next(line for line in reversed(trainer.state.log_history) if "reward" in line)


@torch.no_grad()
def morning(model, tokenizer, environment: DayEnvironment, seed: int, day: int) -> float:
    """The score of a day's exam without the day, answered greedily in a fresh context."""
    text = environment.reset(seed=seed, day=day, closed_book=True)
    chat = [{"role": "user", "content": text}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(model.device)
    said = model.generate(**prompt, max_new_tokens=256, do_sample=False)
    reply = tokenizer.decode(said[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    return text_reward([reply], [environment])[0]


def handle(model) -> StateHandle:
    """The name of the weights as they are."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return StateHandle(*state_digest(Path(folder)))


def main() -> None:
    """Days, nights and mornings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder or hub id, with a chat template")
    parser.add_argument("--env", default="sleepgym/Almanac-v1")
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=50, help="of a night")
    parser.add_argument("--out", default="runs/trl")
    chosen = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(chosen.model)
    model = AutoModelForCausalLM.from_pretrained(chosen.model)
    factory = day_environments(chosen.env, days=chosen.days)
    for day in range(1, chosen.days + 1):
        data = rows(chosen.seed, day, closed_book=False, count=8)
        log = sleep(model, tokenizer, factory, data, chosen.out, max_steps=chosen.steps)
        mornings = [morning(model, tokenizer, factory(), chosen.seed, d) for d in range(1, day + 1)]
        scores = " ".join(f"{score:.2f}" for score in mornings)
        print(f"night {day}: reward {log['reward']:.3f}, state {handle(model).digest[:12]}")
        print(f"morning {day}: {scores}", flush=True)


if __name__ == "__main__":
    main()

"""Make the adapter of `smollm2-reader`, on one GPU, within five minutes.

    python pretraining/reader/make_reader.py --data DIR --out DIR [--model smollm2] [--steps 800]

Teaches a LoRA adapter on passages of 36 of the 48 articles of SQuAD's development set, on the
training passages that SEAL's files hold, and on Almanac days of seeds 0-99. With `--rounds` it goes
on, as ReST-EM does, on those of its own dreams about the same passages that quote them and that it
answers alike when asked again. Writes `adapter.safetensors` (bfloat16), `card.json` (how it was
made; scores before and after on the twelve articles held out) and `make_reader.log` to --out.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from evaluation import dream, dream_scores, evaluate, kept_dreams
from lessons import ALMANAC_SEEDS, Lesson, almanac_lessons, batches, squad_lessons
from safetensors.torch import save_file

from sleepgym_agents.lm.checkpoints import load_weights, named_weights
from sleepgym_agents.lm.lora import add_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.prompt_format import PromptFormat
from sleepgym_agents.lm.prompts import Prompter

READER = Path(__file__).resolve().parents[2] / "agents/sleepgym_agents/models/smollm2-reader"
SETTINGS = ("steps", "rows", "tokens", "rank", "rate", "rounds", "questions", "seed")
EVALUATION_SEEDS = range(100, 104)  # of Almanac worlds, never taught


def rate_at(step: int, steps: int, highest: float, warmup: int = 30) -> float:
    """A short linear rise, then a cosine down to a twentieth."""
    if step < warmup:
        return highest * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return highest * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))


def weighted_loss(lm: LanguageModel, rows: list[tuple[list[int], list[float]]]) -> torch.Tensor:
    """Mean next-token loss, each token by its weight; logits only where a weight is."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [0] * (length - len(row)) for row, _ in rows], device=lm.device)
    weights = torch.tensor([w + [0.0] * (length - len(w)) for _, w in rows], device=lm.device)
    asked = weights[:, 1:].flatten().nonzero().squeeze(1)
    with torch.autocast(lm.device.type, torch.bfloat16, enabled=lm.device.type == "cuda"):
        hidden = lm.model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = lm.model.lm_head(hidden[:, :-1].flatten(0, 1)[asked])
    wanted = ids[:, 1:].flatten()[asked]
    losses = torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none")
    weights = weights[:, 1:].flatten()[asked]
    return (losses * weights).sum() / weights.sum()


def _teach(
    lm: LanguageModel,
    log: Callable[[str], None],
    chosen: argparse.Namespace,
    rate: float,
    steps: int,
    *lessons: Sequence[Lesson],
) -> None:
    """Train the adapter for so many steps on SQuAD, Almanac and, if given, dreams."""
    adapter = [p for name, p in lm.model.named_parameters() if "lora_" in name]
    for p in adapter:
        p.requires_grad_(True)
    optimiser = torch.optim.AdamW(adapter, lr=rate, weight_decay=0.01)
    feed = batches(chosen.seed, lm.prompter, *lessons, rows=chosen.rows, most_tokens=chosen.tokens)
    recent, tokens = [], 0
    for step in range(steps):
        rows = next(feed)
        tokens += sum(len(ids) for ids, _ in rows)
        loss = weighted_loss(lm, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(adapter, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, steps, rate)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        recent.append(loss.detach())
        if (step + 1) % 50 == 0 or step + 1 == steps:
            mean = torch.stack(recent).mean().item()
            log(f"step {step + 1} | {tokens / 1e6:.2f}M tokens | loss {mean:.4f}")
            recent.clear()


def main() -> None:
    """Teach, evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds squad_seal/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="smollm2", help="name or folder of the base model")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--start", type=Path, help="folder of an adapter to go on from")
    parser.add_argument("--rounds", type=int, default=0, help="of ReST-EM on its own dreams")
    parser.add_argument("--round-steps", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.5, help="of the dreams of a round")
    parser.add_argument("--rows", type=int, default=16, help="sequences a step")
    parser.add_argument("--tokens", type=int, default=1536, help="longest sequence")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=6e-4, help="highest learning rate")
    parser.add_argument("--questions", type=int, default=300, help="of each evaluation")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    with open(chosen.out / "make_reader.log", "w", encoding="utf-8") as file:

        def log(text: str) -> None:
            line = f"{time.monotonic() - started_s:6.0f} s | {text}"
            print(line, flush=True)
            print(line, file=file, flush=True)

        taught, held = squad_lessons(chosen.data)
        almanac, worlds = almanac_lessons(ALMANAC_SEEDS), almanac_lessons(EVALUATION_SEEDS)
        lm = LanguageModel.load(chosen.model)
        lm.prompter = Prompter(PromptFormat.read(READER), lm.prompter.tokenizer, lm.prompter.ends)
        log(f"{len(taught)} passages to teach, {len(held)} held out, {len(almanac)} Almanac days")
        before = evaluate(lm, held, taught[:2], worlds, chosen.questions)
        log(f"before: {json.dumps(before)}")

        add_lora(lm, chosen.rank, 2 * chosen.rank, chosen.seed)
        if chosen.start:
            load_weights(lm.model, chosen.start / "adapter.safetensors", "lora_")
        teach = partial(_teach, lm, log, chosen)
        if chosen.steps:
            teach(chosen.rate, chosen.steps, taught, almanac)
        for number in range(chosen.rounds):
            samples = dream(lm, taught, chosen.seed + number, chosen.temperature)
            kept = kept_dreams(samples)
            log(f"round {number + 1}: {json.dumps(dream_scores(samples))}")
            teach(chosen.rate / 2, chosen.round_steps, taught, almanac, kept)
        tensors = {
            name: p.detach().to("cpu", torch.bfloat16).contiguous()
            for name, p in named_weights(lm.model, "lora_").items()
        }
        save_file(tensors, chosen.out / "adapter.safetensors")
        with torch.no_grad():  # what is evaluated is what was saved
            for name, p in lm.model.named_parameters():
                if name in tensors:
                    p.copy_(tensors[name])
        after = evaluate(lm, held, taught[:2], worlds, chosen.questions)
        log(f"after: {json.dumps(after)}")
        card = {
            "base": chosen.model,
            "alpha": 2 * chosen.rank,
            **{name: getattr(chosen, name) for name in SETTINGS},
            "seconds": round(time.monotonic() - started_s),
            "torch": torch.__version__,
            "before": before,
            "after": after,
        }
        (chosen.out / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

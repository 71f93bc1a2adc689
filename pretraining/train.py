"""The trainer: a schedule by elapsed time, a weighted loss, a log line every few hundred steps."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mixture import WEIGHT_STEPS, Feed
from model import LanguageModel
from optimizers import Muon
from torch import Tensor
from torch.nn import functional

Log = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes:
        seconds: Time budget; the schedule follows the share of it that is spent. It starts after
            the first `uncounted_steps`, which compile.
        batch_tokens: Tokens of a step.
        rate: Highest learning rate, of Muon and AdamW alike.
        warmup_steps: Steps of linear rise.
        constant: Share of the time at the highest rate; then it falls linearly.
        floor: Last learning rate as a share of the highest.
        workers: Processes that make data.
        seed: Seed of weights and data.
        log_steps: Steps between log lines.
    """

    seconds: float = 420.0
    batch_tokens: int = 65_536
    rate: float = 4e-3
    warmup_steps: int = 200
    constant: float = 0.4
    floor: float = 0.02
    workers: int = 14
    seed: int = 0
    log_steps: int = 500
    uncounted_steps: int = 20

    def rate_at(self, step: int, spent: float) -> float:
        """Return the learning rate at a step, with this share of the time spent."""
        falling = max(0.0, min(1.0, (spent - self.constant) / (1 - self.constant)))
        decay = 1 - (1 - self.floor) * falling
        return self.rate * decay * min(1.0, (step + 1) / self.warmup_steps)


def weighted_loss(logits: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Return the mean next-token loss, each token by its weight."""
    losses = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none"
    )
    weights = weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def train(plan: Plan, tokenizer: Path, out: Path, log: Log) -> LanguageModel:
    """Train a model and return it.

    Args:
        plan: How to train.
        tokenizer: The `tokenizer.json`.
        out: Folder for checkpoints.
        log: Takes one line of text.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    feed = Feed(tokenizer, plan.seed, plan.workers, plan.batch_tokens)
    torch.manual_seed(plan.seed)
    torch.set_float32_matmul_precision("high")
    model = LanguageModel().to(device)
    matrices = [p for p in model.model.layers.parameters() if p.dim() == 2]
    others = [p for n, p in model.named_parameters() if p.dim() == 1 or "embed" in n]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(
        others, lr=plan.rate, betas=(0.9, 0.95), weight_decay=0.0, fused=device.type == "cuda"
    )
    log(f"{sum(p.numel() for p in model.parameters()):,} parameters on {device}")

    def loss_of(ids: Tensor, weights: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return weighted_loss(model(ids), ids, weights)

    if device.type == "cuda":
        loss_of = torch.compile(loss_of, dynamic=False)

    started = time.monotonic()
    step, tokens, saved, recent = 0, 0, 0, []
    spent = 0.0
    while spent < 1.0:
        ids, weights = feed.batch()
        ids = torch.from_numpy(ids).to(device, non_blocking=True).long()
        weights = torch.from_numpy(weights).to(device, non_blocking=True).float() / WEIGHT_STEPS
        loss = loss_of(ids, weights)
        loss.backward()
        rate = plan.rate_at(step, spent)
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step(rate)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        model.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + ids.numel()
        recent.append(loss.detach())
        if step == plan.uncounted_steps:
            float(loss)
            log(f"compiled and warm after {time.monotonic() - started:.0f} s")
            started, tokens = time.monotonic(), 0
        elif step > plan.uncounted_steps:
            spent = (time.monotonic() - started) / plan.seconds
        if step % plan.log_steps == 0:
            seconds = time.monotonic() - started
            mean = torch.stack(recent).mean().item()
            recent.clear()
            log(
                f"step {step} | {seconds:.0f} s | {tokens / 1e6:.0f}M tokens | "
                f"{tokens / seconds / 1e6:.2f}M tokens/s | loss {mean:.4f} | rate {rate:.1e} | "
                f"{feed.ready()} batches wait"
            )
        if spent > 0.5 + 0.25 * saved and saved < 2:
            saved += 1
            model.save(out / f"checkpoint{saved}")
    feed.close()
    seconds = time.monotonic() - started
    log(f"trained: {step} steps, {tokens / 1e6:.0f}M tokens in {seconds:.0f} s")
    model.save(out)
    return model

"""Reinforcement learning on what the day's practice rewarded."""

from __future__ import annotations

import math
import random
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt
from rapidfuzz.distance import Levenshtein

from sleepgym import Night
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.errors import BadSetting
from sleepgym.core.grading import normalise
from sleepgym_agents.baselines.in_context import InContextSettings
from sleepgym_agents.baselines.self_study.self_study import SelfStudy
from sleepgym_agents.baselines.trained_weights import OptionalLoraSettings, TrainedWeights
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.training.optimise import BatchSettings, OptimiserSettings, learned
from sleepgym_agents.training.qa_generation import Pair


@dataclass(frozen=True)
class GrpoSettings(OptionalLoraSettings, BatchSettings, OptimiserSettings, InContextSettings):
    """Settings of :class:`Grpo`.

    Attributes:
        group_size: Samples of one question, compared with each other.
        temperature: Of the samples.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {
        "chains": None,
        "samples": None,
        "dream_tokens": None,
        "items_per_sequence": None,
        "sequence_tokens": None,
    }

    max_answer_tokens: int = 24
    learning_rate: float = 3e-4
    epochs: int = 6
    batch_size: int = 8
    group_size: Annotated[int, Ge(2)] = 8
    temperature: Annotated[float, Gt(0)] = 1.0


class Grpo(SelfStudy):
    """Samples answers to the day's practised questions and reinforces the better ones.

    Group Relative Policy Optimisation (Shao et al. 2024) by TRL's ``GRPOTrainer``, its defaults
    where nothing is said: no reference model, advantages scaled by each group's deviation. The
    reward of a sample is 1 for the right answer; a wrong one earns half its normalised edit
    similarity to the right one. Questions are asked without the day's demonstrations, as
    they will be in the morning. Days without practice have no reward: the night does nothing and
    logs ``no_feedback``.

    Departures:
        1. The reward for similarity: a model this small never hits most answers by chance, and
           equal rewards teach nothing.
        2. Samples are drawn by our own decoding, through the trainer's ``rollout_func``.
    """

    Config: ClassVar[type] = GrpoSettings
    title: ClassVar[str] = "GRPO"
    sources: ClassVar[str] = "Shao et al. 2024"
    checked: ClassVar[str] = (
        "is TRL's trainer; the reward rises on a toy task, and on one Codebook run"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [1e-4, 3e-4, 1e-3],
        "epochs": [3, 6, 12],
        "batch_size": [4, 8],
        "group_size": [4, 8, 16],
        "temperature": [0.7, 1.0, 1.3],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.weights = TrainedWeights(self.lm, seed, self.config.rank, self.config.alpha)

    def items(self, night: Night) -> list[Pair]:
        """What was practised, each once."""
        return list(dict.fromkeys(self.practised))

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """Every practised question is answered by a group of samples in every epoch."""
        reply = min(
            config.max_answer_tokens, scale.answer_tokens / max(1, scale.free_questions) * 2
        )
        asked = config.epochs * scale.practised * scale.question_tokens
        replies = config.epochs * scale.practised * config.group_size * reply
        added = Cost(asked, replies, config.group_size * asked + replies)
        return super().estimate(config, scale) + added

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Reinforce, then forget the day; without practice only the latter.

        Raises:
            BadSetting: If the stream has shown documents and no practice by now.
        """
        if self.studied and not self.practised and not self.weights.learned:
            raise BadSetting(
                "grpo learns from practice with its answers, and this stream has none: run it on "
                "sleepgym/Codebook-v0 or sleepgym/ClassIncremental-v0, or another agent (naive)"
            )
        missing = {} if self.practised else {"no_feedback": 1.0}
        return {**missing, **super().sleep(night)}

    def learn(self, items: Sequence[Pair], night: Night) -> dict[str, float]:
        """Run the trainer until its last step or the end of the budget."""
        self.weights.prepare()
        model = self.lm.model
        cached = model.config.use_cache
        evening = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        rewards: list[float] = []
        log: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as folder, kept_generators(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = self._trainer(items, night, rewards, folder)
            try:
                trainer.train()
            except _BudgetSpentError:
                log["stopped_by_budget"] = 1.0
            finally:
                model.zero_grad(set_to_none=True)
                model.eval()
                model.config.use_cache = cached
        log["steps"] = float(trainer.state.global_step)
        if not all(p.isfinite().all() for p in model.parameters()):
            log["nan_loss"] = 1.0
            with torch.no_grad():
                for name, p in model.named_parameters():
                    if name in evening:
                        p.copy_(evening[name])
        self.weights.learned |= learned(log)
        if rewards:
            size = math.ceil(len(rewards) / 4)
            log["reward_first_quarter"] = sum(rewards[:size]) / size
            log["reward_last_quarter"] = sum(rewards[-size:]) / size
        return log

    def _trainer(
        self, items: Sequence[Pair], night: Night, rewards: list[float], folder: str
    ) -> Any:
        from datasets import Dataset
        from transformers import PrinterCallback
        from trl import GRPOConfig, GRPOTrainer

        config, lm = self.config, self.lm
        size = min(config.batch_size, len(items))
        args = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=size * config.group_size,
            num_generations=config.group_size,
            max_completion_length=config.max_answer_tokens,
            temperature=config.temperature,
            learning_rate=config.learning_rate,
            num_train_epochs=config.epochs,
            warmup_steps=config.warmup_ratio,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_gradient_norm,
            seed=night.derive_seed("grpo") % 2**32,
            use_cpu=lm.device.type == "cpu",
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            logging_strategy="no",
        )

        def roll_out(prompts: list[str], trainer: Any) -> dict[str, Any]:
            asked = [[*lm.prompter.start, *lm.prompter.question(text)] for text in prompts]
            read = sum(map(len, asked))
            longest = config.max_answer_tokens * len(asked)
            flops = 6 * lm.parameters * (read + longest)
            if not lm.affords(
                night, read=4 * (read + longest), generated=longest
            ) or not night.allows(night_train_tokens=read + longest, night_flops=flops):
                raise _BudgetSpentError
            seed = night.derive_seed("samples", trainer.state.global_step)
            model = lm.model.eval()
            written = generate(
                lm, asked, config.max_answer_tokens, temperature=config.temperature, seed=seed
            )
            model.train()
            tokens = read + sum(map(len, written))
            lm.meter.train_tokens += tokens
            lm.meter.flops += 6 * lm.parameters * tokens
            return {"prompt_ids": asked, "completion_ids": written, "logprobs": None}

        def reward(completion_ids: list[list[int]], answer: list[str], **_: Any) -> list[float]:
            found = [
                answer_reward(lm.prompter.answer_text(ids), gold)
                for ids, gold in zip(completion_ids, answer, strict=True)
            ]
            rewards.append(sum(found) / len(found))
            return found

        rows = [{"prompt": question, "answer": answer} for question, answer in items]
        trainer = GRPOTrainer(
            model=lm.model,
            reward_funcs=reward,
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=lm.prompter.tokenizer,
            rollout_func=roll_out,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer


def answer_reward(answer: str, gold: str) -> float:
    """The reward of an answer, in [0, 1]: 1 if right, else half its edit similarity."""
    written, wanted = normalise(answer), normalise(gold)
    if written == wanted:
        return 1.0
    return 0.5 * Levenshtein.normalized_similarity(written, wanted)


@contextmanager
def kept_generators() -> Iterator[None]:
    """Within this context global random generators may be seeded; afterwards they are as before."""
    numbers, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(numbers)
            np.random.set_state(arrays)


class _BudgetSpentError(Exception):
    """The budget does not allow another step."""

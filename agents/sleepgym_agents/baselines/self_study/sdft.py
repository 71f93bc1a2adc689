"""On-policy self-distillation: the student answers, its better-informed self judges each token."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor

from sleepgym import Night
from sleepgym.core.rng import derive_rng
from sleepgym_agents.baselines.self_study.self_study import SelfStudy, SelfStudySettings
from sleepgym_agents.lm.generation import generate, shared_batches
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.divergence import Divergence, divergence
from sleepgym_agents.training.optimise import optimise
from sleepgym_agents.training.qa_generation import Pair


@dataclass(frozen=True)
class SdftSettings(SelfStudySettings):
    """Settings of :class:`Sdft`.

    Attributes:
        divergence: Of student from teacher: forward KL, reverse KL or Jensen-Shannon.
        beta: Share of the teacher in the Jensen-Shannon mixture.
        temperature: Of the student's samples, and of both distributions in the loss.
        teacher_rate: Share of the student that the teacher takes over after each step; 0 keeps the
            evening's self as the teacher.
    """

    max_answer_tokens: Annotated[int, Ge(1)] = 32
    learning_rate: float = 5e-4
    epochs: int = 4
    batch_size: int = 16
    divergence: Divergence = "reverse"
    beta: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    temperature: Annotated[float, Gt(0)] = 1.0
    teacher_rate: Annotated[float, Interval(ge=0, le=1)] = 0.05


@dataclass(frozen=True)
class OpsdSettings(SdftSettings):
    """Settings of :class:`Opsd`: OPSD's own, as in its script for a model of 1.7B parameters."""

    learning_rate: float = 2e-3
    epochs: int = 3
    rank: int = 64
    alpha: float = 128.0
    divergence: Divergence = "jsd"
    temperature: float = 1.1
    teacher_rate: float = 0.0


@dataclass(frozen=True)
class Rollouts:
    """Replies of the student, padded on the right, and what the teacher expects of each token.

    Attributes:
        ids: Token ids of start, question and reply, (samples, length).
        places: Where a reply's token is predicted: its index into the flattened ``ids``.
        samples: To which sample each place belongs, (places,).
        targets: The teacher's log-probabilities, (places, vocabulary).
        tokens: Real tokens.
    """

    ids: Tensor
    places: Tensor
    samples: Tensor
    targets: Tensor
    tokens: int


class Sdft(SelfStudy):
    """Learns on its own answers from a copy of itself that has the day in its prompt.

    Self-Distillation Fine-Tuning (Shenfeld et al. 2026, arXiv:2601.19897): the student samples
    answers to the day's questions without the day; at every token of a sample it is drawn to the
    distribution of a teacher that reads the day first, an exponential moving average of the
    student. The loss is that of TRL's ``SDFTTrainer`` (``full_logits``): a test holds value and
    gradients equal. The loop is our own: it shares the teacher's prefix between samples, asks the
    budget before every step, and leaves the global generators alone.

    Departures:
        1. The privileged context is what the day gave, not a demonstration of the question at
           hand; it stands before the question, not after it.
        2. The questions are dreamt by the model, besides those that were practised.
        3. TRL keeps the 100 likeliest tokens by default; here the divergence is over all.
    """

    Config: ClassVar[type] = SdftSettings
    title: ClassVar[str] = "SDFT"
    sources: ClassVar[str] = "Shenfeld et al. 2026, arXiv:2601.19897"
    checked: ClassVar[str] = "loss and gradients equal TRL's SDFTTrainer on the same batch"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [2e-4, 5e-4, 1e-3],
        "epochs": [2, 4, 8],
        "batch_size": [8, 16],
        "samples": [12, 24, 48],
        "teacher_rate": [0.0, 0.02, 0.05],
    }

    def consolidate(self, items: Sequence[Pair], night: Night) -> dict[str, float]:
        """Sample and learn, step by step."""
        config, lm = self.config, self.lm
        teacher = LanguageModel(copy.deepcopy(lm.model), lm.prompter, lm.meter)
        questions = list(dict.fromkeys(question for question, _ in items))
        rng = derive_rng(night.derive_seed("order"))
        order = [i for _ in range(config.epochs) for i in rng.permutation(len(questions))]
        context = [i for part in self.parts for i in part]
        steps = _Steps(self, teacher, [questions[i] for i in order], context, night)

        def loss(model: torch.nn.Module, batch: Rollouts) -> Tensor:
            return self_distillation(
                model, batch, config.divergence, config.beta, config.temperature
            )

        log = optimise(lm, steps, config, night, loss, lambda batch, _: batch)
        return {**log, "stopped_by_budget": 1.0} if log["steps"] < len(steps) else log


class Opsd(Sdft):
    """On-policy self-distillation with a fixed teacher, through a LoRA adapter.

    OPSD (Zhao et al. 2026, arXiv:2601.18734): as :class:`Sdft`, with the evening's
    self as the teacher throughout, the Jensen-Shannon divergence and a LoRA adapter.

    Departures:
        1. Those of :class:`Sdft`.
        2. The learning rate is that of a small model; OPSD's is 2e-4.
    """

    Config: ClassVar[type] = OpsdSettings
    title: ClassVar[str] = "OPSD"
    sources: ClassVar[str] = "Zhao et al. 2026, arXiv:2601.18734"
    checked: ClassVar[str] = "the loss of `sdft`; no published figure"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [1e-3, 2e-3, 5e-3],
        "epochs": [2, 3, 6],
        "batch_size": [8, 16],
        "samples": [12, 24, 48],
        "rank": [32, 64],
    }


class _Steps(Sequence):
    """The batches of a night, each sampled when it is its turn, while the budget lasts."""

    def __init__(
        self,
        agent: Sdft,
        teacher: LanguageModel,
        questions: Sequence[str],
        context: Sequence[int],
        night: Night,
    ) -> None:
        self.agent, self.teacher, self.night = agent, teacher, night
        self.context = list(context)
        size = agent.config.batch_size
        prompter = agent.lm.prompter
        asked = [prompter.question(question) for question in questions]
        self.batches = [asked[at : at + size] for at in range(0, len(asked), size)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index):
        raise TypeError("samples are drawn in turn")

    def __iter__(self) -> Iterator[Rollouts]:
        lm, config = self.agent.lm, self.agent.config
        for number, asked in enumerate(self.batches):
            if number:
                ema_update(self.teacher.model, lm.model, config.teacher_rate)
            longest = config.max_answer_tokens * len(asked)
            read = len(self.context) + 2 * sum(map(len, asked)) + longest
            if not lm.affords(self.night, read=read, generated=longest):
                return
            lm.model.eval()
            prompts = [[*lm.prompter.start, *ids] for ids in asked]
            replies = generate(
                lm,
                prompts,
                config.max_answer_tokens,
                temperature=config.temperature,
                seed=self.night.derive_seed("rollout", number),
            )
            lm.model.train()
            yield sample_rollouts(
                lm, self.teacher, prompts, replies, self.context, config.temperature
            )


def sample_rollouts(
    lm: LanguageModel,
    teacher: LanguageModel,
    prompts: Sequence[Sequence[int]],
    replies: Sequence[Sequence[int]],
    context: Sequence[int],
    temperature: float,
) -> Rollouts:
    """Put prompts and replies into a batch, with the teacher's distributions.

    Args:
        lm: The student.
        teacher: Reads ``context`` between the prompt's start and its question.
        prompts: Token ids, start included.
        replies: Token ids, none empty.
        context: Token ids.
        temperature: Of the teacher's distributions.
    """
    rows = [[*prompt, *reply] for prompt, reply in zip(prompts, replies, strict=True)]
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=lm.device)
    places, samples = [], []
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        places.extend(row * length + len(prompt) - 1 + k for k in range(len(reply)))
        samples.extend([row] * len(reply))
    begin = len(lm.prompter.start)
    full = [[*prompt[:begin], *context, *prompt[begin:]] for prompt in prompts]
    targets: dict[int, Tensor] = {}
    for batch, segments, start in shared_batches(teacher, full, max(map(len, replies))):
        sequences = [[*full[i][start:], *replies[i][:-1]] for i in batch]
        keep = max(len(replies[i]) for i in batch)
        *_, logits = teacher.read(sequences, segments, start, keep=keep)
        logits = (logits / temperature).log_softmax(-1)
        targets.update((i, logits[row, -len(replies[i]) :]) for row, i in enumerate(batch))
    return Rollouts(
        ids,
        torch.tensor(places, device=lm.device),
        torch.tensor(samples, device=lm.device),
        torch.cat([targets[i] for i in range(len(rows))]).clone(),
        sum(map(len, rows)),
    )


def self_distillation(
    model: torch.nn.Module, batch: Rollouts, kind: Divergence, beta: float, temperature: float
) -> Tensor:
    """Divergence from the teacher: mean over each sample's tokens, then over samples."""
    logits = model(input_ids=batch.ids, use_cache=False).logits
    logits = logits.flatten(0, 1)[batch.places].float() / temperature
    values = divergence(batch.targets, logits.log_softmax(-1), kind, beta)
    sizes = torch.bincount(batch.samples)
    return (values / sizes[batch.samples]).sum() / len(sizes)


@torch.no_grad()
def ema_update(teacher: torch.nn.Module, student: torch.nn.Module, rate: float) -> None:
    """Move the teacher's weights by a share of the way to the student's."""
    if rate:
        for theirs, mine in zip(teacher.parameters(), student.parameters(), strict=True):
            theirs.lerp_(mine, rate)

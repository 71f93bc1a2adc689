"""Learning to Imitate: the student continues the teacher's text and is rewarded for similarity.

"Language Models Need Sleep" (arXiv:2606.03979, section 3.2): a sequence of the teacher is cut at a
random position, the student continues it, and the continuation earns ``gamma * r_sem + (1 - gamma)
* r_abs``. The policy gradient is relative to the group of continuations of one prefix (GRPO, Shao
et al. 2024); the samples are fresh, so that no clipping and no importance ratio is needed. Tests
compare it with TRL's GRPO loss.

Off by default (``distillation_weight=1``; the paper's is .8): ten streams of the ablation show no
gain. The divergence on own continuations stays; ``on_policy_every=0`` switches that off too
(:mod:`sleepgym_agents.sleep.paper_parts`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Interval
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from sleepgym import Settings
from sleepgym.core.errors import BadSetting
from sleepgym.core.grading import f1
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.lm.generation import generate, shared_batches
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import DistillationExample, read_targets
from sleepgym_agents.training.divergence import divergence
from sleepgym_agents.training.selected_logits import logits_at, token_log_likelihoods
from sleepgym_agents.training.teacher_head import TeacherHead, divergence_from, teacher_head

Judge = Callable[[str, str], bool]
IMITATED_TOKENS = 64  # longer examples are not imitated


@dataclass(frozen=True)
class ImitationSettings(Settings):
    """How an expert also learns from its own continuations.

    Attributes:
        on_policy_every: Steps between two that also learn from the student's own continuations;
            0 is never.
        on_policy_share: Weight of the divergence on the student's own continuations (``lambda``).
        distillation_weight: Weight of the divergence beside the imitation reward (``alpha``); 1 is
            no reward, .8 the paper's.
        semantic_weight: Weight of same meaning beside edit similarity in the reward (``gamma``).
        judge: Of same meaning: ``words``, ``embeddings`` (extra) or ``module:function``.
        max_edit_distance: Largest token edit distance that is rewarded for similarity (``z_0``).
        group_size: Continuations of one prefix.
        groups: Prefixes of one such step.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {"farthest": "max_edit_distance"}

    on_policy_every: Annotated[int, Ge(0)] = 16
    on_policy_share: Annotated[float, Interval(ge=0, le=1)] = 0.5
    distillation_weight: Annotated[float, Interval(ge=0, le=1)] = 1.0
    semantic_weight: Annotated[float, Interval(ge=0, le=1)] = 0.5
    judge: str = "words"
    max_edit_distance: Annotated[int, Ge(0)] = 4
    group_size: Annotated[int, Ge(2)] = 4
    groups: Annotated[int, Ge(1)] = 8


class Imitation:
    """The on-policy term of one training: ``alpha * divergence - (1 - alpha) * reward``.

    Args:
        context: The night; its settings are
            :class:`sleepgym_agents.sleep.expert_distillation.DistillationSettings`.
        expert_id: The expert that is trained; the teacher is the model without it.
        rng: Decides which examples are cut where.

    Attributes:
        rewards: Mean reward of each step that had the term.
    """

    def __init__(
        self, context: SleepContext, expert_id: ExpertId, rng: np.random.Generator
    ) -> None:
        self.context, self.expert_id, self.rng = context, expert_id, rng
        self.judge = load_judge(context.config.judge)
        self.rewards: list[float] = []
        self._steps = 0

    def term(self, examples: Sequence[DistillationExample]) -> Callable[[Tensor], Tensor] | None:
        """What to do to the loss of the next step; None where nothing is due or affordable.

        Args:
            examples: Those of the step.
        """
        context, config = self.context, self.context.config
        self._steps += 1
        if self._steps % config.on_policy_every:
            return None
        short = [example for example in examples if len(example.ids) <= IMITATED_TOKENS]
        longest = max((len(example.ids) for example in short), default=0)
        if not short or not context.affords(config.groups * config.group_size * longest):
            return None
        return lambda loss: self.add_to(loss, short)

    def add_to(self, loss: Tensor, short: Sequence[DistillationExample]) -> Tensor:
        """The loss together with the term.

        Args:
            loss: Divergence from the teacher on the step's examples.
            short: Those of them that may be imitated.
        """
        context, config, rng = self.context, self.context.config, self.rng
        rollouts = roll_out(
            context.lm,
            [short[i] for i in rng.permutation(len(short))[: config.groups]],
            size=config.group_size,
            gamma=config.semantic_weight,
            max_edit_distance=config.max_edit_distance,
            judge=self.judge,
            rng=rng,
        )
        self.rewards.append(float(rollouts.rewards.mean()))
        with context.memory.masked(self.expert_id):
            teacher, head = teacher_targets(context.lm, rollouts)
        logits, ids, mask = student_logits(context.lm, rollouts)
        student = logits.flatten(0, 1)
        values, likelihoods = compare(teacher, head, student, ids.flatten(), config)
        own = (values.view(mask.shape) * mask).sum() / mask.sum().clamp(min=1)
        share, alpha = config.on_policy_share, config.distillation_weight
        advantages = rollouts.advantages.to(context.lm.device)
        imitated = policy_loss(likelihoods.view(mask.shape), mask, advantages)
        return alpha * ((1 - share) * loss + share * own) + (1 - alpha) * imitated


def same_words(written: str, wanted: str) -> bool:
    """The default judge: the words' F1 exceeds one half, after SQuAD's normalisation."""
    return f1(written, wanted) > 0.5


def load_judge(name: str) -> Judge:
    """A judge of same meaning by name.

    Args:
        name: ``words``, ``embeddings`` (extra ``semantic``), or ``module:function``: a function
            from two texts to whether they mean the same.

    Raises:
        BadSetting: If there is no such judge, or its extra is missing.
    """
    if name == "words":
        return same_words
    if name == "embeddings":
        return _embedding_judge()
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadSetting(
            f"judge={name}: must be words, embeddings or module:function ({error})"
        ) from error


def _embedding_judge() -> Judge:
    try:
        from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]
    except ImportError as error:
        raise BadSetting("judge=embeddings: pip install 'sleepgym[semantic]'") from error
    encoder = SentenceTransformer("sentence-transformers/all-MiniLM-L6-v2")

    def judge(written: str, wanted: str) -> bool:
        one, two = encoder.encode([written, wanted], normalize_embeddings=True)
        return float(one @ two) > 0.8

    return judge


def edit_similarity(written: Sequence[int], wanted: Sequence[int], max_edit_distance: int) -> float:
    """``r_abs``: 1 - edit distance / longer length, over tokens; 0 beyond ``max_edit_distance``."""
    distance = Levenshtein.distance(written, wanted, score_cutoff=max_edit_distance)
    if distance > max_edit_distance:
        return 0.0
    return 1 - distance / max(len(written), len(wanted), 1)


@dataclass(frozen=True)
class Rollouts:
    """Continuations of cut examples by the student, a group an example.

    Attributes:
        prefixes: Token ids before each continuation.
        written: Token ids of each continuation.
        examples: The example of each.
        rewards: Reward of each continuation, (groups, size).
    """

    prefixes: list[list[int]]
    written: list[list[int]]
    examples: list[DistillationExample]
    rewards: Tensor

    @property
    def advantages(self) -> Tensor:
        """Reward minus the group's mean, over its standard deviation, (groups * size,)."""
        mean = self.rewards.mean(1, keepdim=True)
        spread = self.rewards.std(1, keepdim=True)
        return ((self.rewards - mean) / (spread + 1e-4)).flatten()


def roll_out(
    lm: LanguageModel,
    examples: Sequence[DistillationExample],
    *,
    size: int,
    gamma: float,
    max_edit_distance: int,
    judge: Judge,
    rng: np.random.Generator,
) -> Rollouts:
    """Cut examples at random positions, let the student continue, and reward it.

    Args:
        lm: The student.
        examples: Written by the teacher.
        size: Continuations of each example.
        gamma: Weight of same meaning beside edit similarity.
        max_edit_distance: Largest edit distance, in tokens, that is rewarded for similarity.
        judge: Of same meaning.
        rng: Decides the cuts and seeds the sampling.
    """
    tokenizer = lm.prompter.tokenizer
    prefixes, wanted = [], []
    for example in examples:
        cut = int(rng.integers(1, len(example.ids)))
        prefixes.extend([[*lm.prompter.start, *example.ids[:cut]]] * size)
        wanted.extend([list(example.ids[cut:])] * size)
    longest = max(map(len, wanted)) + 8
    seed = int(rng.integers(2**31))
    written = generate(lm, prefixes, longest, temperature=1.0, seed=seed)
    rewards = [
        gamma * judge(tokenizer.decode(ids), tokenizer.decode(gold))
        + (1 - gamma) * edit_similarity(ids, gold, max_edit_distance)
        for ids, gold in zip(written, wanted, strict=True)
    ]
    groups = torch.tensor(rewards).view(len(examples), size)
    return Rollouts(prefixes, written, [x for x in examples for _ in range(size)], groups)


def policy_loss(log_likelihoods: Tensor, mask: Tensor, advantages: Tensor) -> Tensor:
    """Group-relative policy gradient of fresh samples; its value is minus the mean advantage.

    Args:
        log_likelihoods: Of each sampled token under the student, (samples, length).
        mask: Which of them are real, (samples, length).
        advantages: Of each sample, (samples,).
    """
    ratio = (log_likelihoods - log_likelihoods.detach()).exp()
    per_sample = (ratio * mask).sum(1) / mask.sum(1).clamp(min=1)
    return -(per_sample * advantages).mean()


def student_logits(lm: LanguageModel, rollouts: Rollouts) -> tuple[Tensor, Tensor, Tensor]:
    """The student's logits at each continuation, with gradient.

    Returns:
        Logits (samples, length, vocabulary), sampled ids and mask (samples, length).
    """
    sequences = [[*p, *w] for p, w in zip(rollouts.prefixes, rollouts.written, strict=True)]
    length, width = max(map(len, sequences)), max(map(len, rollouts.written))
    ids = torch.tensor([s + [0] * (length - len(s)) for s in sequences], device=lm.device)
    starts = torch.tensor([len(p) - 1 for p in rollouts.prefixes], device=lm.device)
    steps = torch.arange(width, device=lm.device)
    where = (starts[:, None] + steps).clamp(max=length - 2)
    rows = torch.arange(len(sequences), device=lm.device)[:, None] * length
    logits = logits_at(lm.model, ids, (rows + where).flatten()).view(*where.shape, -1)
    sizes = torch.tensor([len(w) for w in rollouts.written], device=lm.device)
    return logits, ids.gather(1, where + 1), (steps < sizes[:, None]).float()


def compare(
    teacher: Tensor, head: TeacherHead | None, student: Tensor, ids: Tensor, config: Any
) -> tuple[Tensor, Tensor]:
    """Divergence of the student from the teacher, and the student's log-likelihood of its tokens.

    Args:
        teacher: Log-probabilities, or what ``head`` makes them of, (samples, length, ...).
        head: The teacher's head; None where its log-probabilities are whole.
        student: Logits, (samples * length, vocabulary).
        ids: Sampled tokens, (samples * length,).
        config: Names the divergence
            (:class:`sleepgym_agents.sleep.expert_distillation.DistillationSettings`).

    Returns:
        A value a token each, (samples * length,).
    """
    kind, beta, targets = config.divergence, config.beta, teacher.flatten(0, 1)
    if head:
        soft = torch.zeros_like(ids, dtype=torch.bool)
        values = divergence_from(head, targets, soft, ids, student, kind, beta)
        return values, token_log_likelihoods(student, ids)
    logs = student.float().log_softmax(-1)
    return divergence(targets, logs, kind, beta), logs.gather(-1, ids[:, None])[:, 0]


def teacher_targets(lm: LanguageModel, rollouts: Rollouts) -> tuple[Tensor, TeacherHead | None]:
    """The teacher's targets at each continuation, with its context.

    Returns:
        Log-probabilities (samples, length, vocabulary) and None, or states (samples, length, width)
        and the head that makes them of these; aligned with :func:`student_logits`, zeros beyond the
        end.
    """
    width = max(map(len, rollouts.written))
    start, head = lm.prompter.start, teacher_head(lm)
    contexts = {example.context for example in rollouts.examples}
    table: dict[int, Tensor] = {}
    for context in sorted(contexts):
        mine = [i for i, example in enumerate(rollouts.examples) if example.context == context]
        full = [
            [*start, *context, *rollouts.prefixes[i][len(start) :], *rollouts.written[i]]
            for i in mine
        ]
        heads = [[*start, *context, -1]] * len(full)  # no continuation is shared
        for batch, segments, begin in shared_batches(
            lm, heads, max(map(len, full)) - len(heads[0]), logits=1 if head else width
        ):
            sequences = [full[k][begin:-1] for k in batch]
            targets = read_targets(lm, head, sequences, segments, begin, width)
            for row, k in enumerate(batch):
                table[mine[k]] = targets[row, -len(rollouts.written[mine[k]]) :].clone()
    rows = [table[i] for i in range(len(table))]
    padded = [torch.nn.functional.pad(r, (0, 0, 0, width - len(r))) for r in rows]
    return torch.stack(padded), head

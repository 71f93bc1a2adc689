"""The agent that trains an adapter for every task at test time, and drops it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sleepgym import Budget, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym_agents.baselines.text.retrieval import Retrieval, RetrievalSettings
from sleepgym_agents.baselines.trained_weights import LoraSettings
from sleepgym_agents.stores.text_store import Note
from sleepgym_agents.training.optimise import Example, TrainingSettings, plan
from sleepgym_agents.training.renewed_lora import RenewedLora

TASKS = 0.75  # share of questions with a set of demonstrations of their own, for estimates


@dataclass(frozen=True)
class TttSettings(LoraSettings, TrainingSettings, RetrievalSettings):
    """Settings of :class:`Ttt`.

    Attributes:
        retrieved: Demonstrations and passages of a task.
        orders: Orders of the other demonstrations in which each one is left out.
        max_examples: Most examples of a task.
    """

    retrieved: int = 8
    learning_rate: float = 5e-4
    epochs: int = 2
    batch_size: int = 2
    items_per_sequence: int = 1
    sequence_tokens: int = 1024
    orders: Annotated[int, Ge(1)] = 1
    max_examples: Annotated[int, Ge(1)] = 250
    rank: int = 128
    alpha: float = 16.0


class Ttt(Retrieval):
    """Trains a LoRA adapter on a task's demonstrations when asked, answers, and throws it away.

    Test-time training for few-shot learning (Akyurek et al. 2024, arXiv:2411.07279): each
    demonstration is left out once and asked after the others, in several orders (the
    augmentation); a LoRA adapter (rank 128, alpha 16, batches of 2, two epochs, at most 250
    examples) learns these leave-one-out tasks, the loss counting every demonstration's answer but
    the first; then the questions are answered after all demonstrations, and the weights are as
    before. The saved state is the text memory of ``retrieval``.

    Departures:
        1. An ARC task comes with its demonstrations; here a question's task is the set of its
           nearest ones in the text memory (BM25), and questions with the same set share an
           adapter.
        2. Augmentation is by order alone: the geometric ones of ARC mean nothing for text. Nor is
           there a vote over augmented answers.
        3. Passages that are retrieved stand in the prompt; they are not trained on. Below two
           demonstrations nothing is trained.
        4. Every linear layer is adapted; theirs leave out keys and outputs of attention.
    """

    Config: ClassVar[type] = TttSettings
    title: ClassVar[str] = "Test-time training"
    sources: ClassVar[str] = "Akyurek et al. 2024, arXiv:2411.07279"
    checked: ClassVar[str] = (
        "weights bit-equal after each task and after an error; leave-one-out by hand"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [2e-4, 5e-4, 1e-3],
        "epochs": [1, 2, 4],
        "retrieved": [4, 8],
        "orders": [1, 2],
        "rank": [32, 128],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self._lora = RenewedLora(self.config)

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Train for each task, answer its questions, restore the weights."""
        tasks: dict[tuple[Note, ...], list[int]] = {}
        for i, question in enumerate(questions):
            tasks.setdefault(self._demonstrations(question), []).append(i)
        answers = [""] * len(questions)
        untaught = [task for task in tasks if len(task) < 2]
        with closing(self._learned([task for task in tasks if len(task) >= 2])) as learned:
            for task in chain(untaught, learned):
                replies = super().answer([questions[i] for i in tasks[task]])
                for i, reply in zip(tasks[task], replies, strict=True):
                    answers[i] = reply
        return answers

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As retrieval; and most questions train on leave-one-out tasks of what they retrieve."""
        shown = config.retrieved if scale.practised else 0
        examples = min(config.max_examples, config.orders * shown)
        trained = config.epochs * examples * shown * scale.item_tokens
        tasks = scale.questions * scale.days / (scale.days + 1) * TASKS
        return super().estimate(config, scale) + Cost(trained=tasks * trained)

    def leave_one_out(self, demonstrations: Sequence[Note], seed: int) -> list[Example]:
        """Every demonstration asked after the others, in several orders."""
        prompter = self.lm.prompter
        rng = derive_rng(seed, "orders")
        examples = []
        for _ in range(self.config.orders):
            for left_out in range(len(demonstrations)):
                others = [i for i in rng.permutation(len(demonstrations)) if i != left_out]
                parts: list[tuple[Sequence[int], float]] = []
                for place, i in enumerate([*others, left_out]):
                    note = demonstrations[i]
                    parts.append((prompter.question(note.text), 0.0))
                    parts.append((prompter.answer(note.answer or ""), float(place > 0)))
                examples.append(Example.joined(*parts))
        return examples[: self.config.max_examples]

    def _learned(self, tasks: Sequence[tuple[Note, ...]]) -> Iterator[tuple[Note, ...]]:
        """Each task, given out while the model has an adapter trained on it."""
        if not tasks:
            return
        seeds = [
            derive_seed(self.seed, "ttt", *(f"{note.text}\n{note.answer}" for note in task))
            for task in tasks
        ]
        with self._lora.trainers(self.lm, seeds) as trainers:
            for task, seed, trainer in zip(tasks, seeds, trainers, strict=True):
                examples = self.leave_one_out(task, seed)
                steps = plan(self.lm, examples, self.config, derive_rng(seed, "batches"))
                by_day = Night(0, Budget(), seed, self.meter)  # no night: no budget
                trainer.train(steps, by_day)
                yield task

    def _demonstrations(self, question: Question) -> tuple[Note, ...]:
        notes = self.store.best(question.text, self.config.retrieved)
        return tuple(note for note in notes if note.answer is not None)

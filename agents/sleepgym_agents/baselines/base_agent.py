"""What the agents with a language model have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sleepgym import Agent, Question, Settings
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.errors import BadSetting
from sleepgym.core.rng import derive_seed
from sleepgym.core.types import Introduction
from sleepgym.runs.models.base_model import is_served
from sleepgym_agents.baselines.trained_weights import TrainedWeights
from sleepgym_agents.endpoints.model import Endpoint
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.models.hub import locate
from sleepgym_agents.training.local_model import LocalModel


@dataclass(frozen=True)
class AnswerSettings(Settings):
    """How questions are answered.

    Attributes:
        max_answer_tokens: Longest free-text answer.
        answer_temperature: Of free-text answers. At 0 they are decoded greedily; above, they are
            sampled, anew for each time that an exam asks the same question (average@n), and alike
            in every exam.
    """

    max_answer_tokens: Annotated[int, Ge(1)] = 64
    answer_temperature: Annotated[float, Ge(0)] = 0.0


class ModelAgent(Agent):
    """Answers with a language model; choices by likelihood, free text greedily or by sampling.

    Subclasses override :meth:`context` to say what stands before a question in the prompt, and the
    methods of :class:`sleepgym.Agent` to learn. This class itself remembers nothing.

    Attributes:
        takes_endpoint: Whether a served model will do, as the agent keeps text or nothing. Each
            class says it for itself: what is derived from it may train.
        lm: The language model, this agent's own copy, or an
            :class:`~sleepgym_agents.endpoints.model.Endpoint`.
        weights: What is trained of it, and makes up the saved state; None where nothing is.
    """

    Config: ClassVar[type] = AnswerSettings
    uses_model: ClassVar[bool] = True
    takes_endpoint: ClassVar[bool] = False

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        if self._served(model):
            self.lm: Any = Endpoint(model, seed, self.meter)
        else:
            self.lm = LanguageModel.load(model, seed, self.meter)
        self.weights: TrainedWeights | None = None
        if self.config.max_answer_tokens > self._most_answer_tokens:
            raise BadSetting(
                f"max_answer_tokens={self.config.max_answer_tokens}: model={model} reads "
                f"{self.lm.max_tokens} tokens in all; set it to {self._most_answer_tokens} or less"
            )

    def introduce(self, introduction: Introduction) -> None:
        """Let every prompt begin with the task's instruction and exemplars."""
        most = self.lm.max_tokens // 2
        self.lm.prompter = self.lm.prompter.introduced(introduction, most)

    def context(self, question: Question) -> Sequence[Sequence[int]]:
        """Token ids of the documents and demonstrations before this question, in order."""
        return ()

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """The likeliest choice, or the continuation: greedy, or sampled."""
        longest = self._longest_label(questions)
        prompts = [self._prompt(question, longest) for question in questions]
        chosen = [i for i, question in enumerate(questions) if question.choices]
        free = [i for i, question in enumerate(questions) if not question.choices]
        offered = [questions[i].choices for i in chosen]
        labels = self.asked.choose([prompts[i] for i in chosen], offered)
        answers = dict(zip(chosen, labels, strict=True))
        texts = self.asked.write(
            [prompts[i] for i in free],
            self.config.max_answer_tokens,
            temperature=self.config.answer_temperature,
            seeds=self._answer_seeds([questions[i].text for i in free]),
        )
        answers.update(zip(free, texts, strict=True))
        return [answers[i] for i in range(len(questions))]

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """Every question is read once, with its choices, and answered; exemplars once an exam."""
        read = scale.asked_tokens + scale.opening_tokens
        return Cost(read, scale.answered_tokens(config.max_answer_tokens))

    @classmethod
    def served_model(cls, model: str) -> Mapping[str, Any] | None:
        """What a server says of a model."""
        if is_served(model) and not cls._served(model):
            locate(model)  # refuses it, with the agents that take one
        return Endpoint(model).identity if cls._served(model) else None

    @property
    def asked(self) -> LocalModel | Endpoint:
        """The language model, local or served, as it is asked for answers."""
        return self.lm if isinstance(self.lm, Endpoint) else LocalModel(self.lm)

    @property
    def added_parameters(self) -> int:
        """Parameters of the trained adapter, if there is one."""
        return self.weights.added_parameters if self.weights else 0

    def save(self, path: Path) -> None:
        """Write the trained weights, if there are any."""
        if self.weights:
            self.weights.save(path)

    def load(self, path: Path) -> None:
        """Read the trained weights, if there are any."""
        if self.weights:
            self.weights.load(path)

    @classmethod
    def _served(cls, model: str) -> bool:
        return is_served(model) and vars(cls).get("takes_endpoint", False)

    def _prompt(self, question: Question, answer_tokens: int = 0) -> Any:
        """A prompt that leaves room for an answer; of what does not fit the oldest goes."""
        room = self.lm.max_tokens - max(self.config.max_answer_tokens, answer_tokens)
        return self.lm.prompter.prompt(question.text, self.context(question), room)

    def _answer_seeds(self, texts: Sequence[str]) -> list[int]:
        """A seed an answer, by the question and how often it was asked before in this exam.

        So an answer depends neither on the other questions nor on their order.
        """
        asked: Counter[str] = Counter()
        seeds = []
        for text in texts:
            seeds.append(derive_seed(self.seed, "answer", text, asked[text]))
            asked[text] += 1
        return seeds

    def _longest_label(self, questions: Sequence[Question]) -> int:
        """Tokens of the longest choice.

        Raises:
            BadSetting: If it leaves no room for a question.
        """
        labels = {label for choices in {q.choices for q in questions} for label in choices}
        longest = max((len(self.lm.prompter.answer(label)) for label in labels), default=0)
        if longest > self._most_answer_tokens:
            raise BadSetting(
                f"choices: the longest label has {longest} tokens; model={self.model} reads "
                f"{self.lm.max_tokens} in all, which leaves {self._most_answer_tokens} for one"
            )
        return longest

    @property
    def _most_answer_tokens(self) -> int:
        """What the model's window leaves an answer: one token of a question must stand before."""
        return self.lm.max_tokens - len(self.lm.prompter.opening) - 1

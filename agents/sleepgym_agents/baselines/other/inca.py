"""The agent with an external learner that picks the candidates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from sleepgym import Document, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.errors import BadRun, BadSetting
from sleepgym_agents.baselines.base_agent import AnswerSettings, ModelAgent
from sleepgym_agents.experts.class_gaussians import ClassGaussians


@dataclass(frozen=True)
class IncaSettings(AnswerSettings):
    """Settings of :class:`Inca`.

    Attributes:
        candidates: Classes that the external learner passes on to the model.
        examples: Texts kept of each class, to be shown where it is a candidate.
    """

    candidates: Annotated[int, Ge(1)] = 3
    examples: Annotated[int, Ge(1)] = 4


class Inca(ModelAgent):
    """Lets class Gaussians pick a few candidates, and the language model choose among them.

    InCA (Momeni et al. 2025, "In-context continual learning assisted by an external continual
    learner", arXiv:2412.15563): each class is a Gaussian over frozen embeddings, all with one
    covariance, updated example by example; of a question's choices the ``candidates`` with the
    smallest Mahalanobis distance stay, and the model chooses among them with their examples in the
    prompt. Nothing of the language model is trained. The saved state is means, covariance and
    those examples. Questions without choices are answered by the bare model.

    Departures:
        1. Embeddings are means of the language model's own middle hidden states, not of SBERT on
           tags that the language model writes: the embedded model cannot write tags.
        2. A class is shown by its first ``examples`` texts, not by a written summary.
        3. The covariance is shrunk towards the identity.
    """

    Config: ClassVar[type] = IncaSettings
    title: ClassVar[str] = "InCA"
    sources: ClassVar[str] = "Momeni et al. 2025, arXiv:2412.15563"
    checked: ClassVar[str] = "Gaussians and distances equal a NumPy reference; the model unchanged"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "candidates": [1, 2, 3, 5],
        "examples": [2, 4, 8],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        width = self.lm.model.config.get_text_config().hidden_size
        self.gaussians = ClassGaussians(width)
        self.classes: dict[str, list[str]] = {}
        self.has_material = False

    def study(self, documents: Sequence[Document]) -> None:
        """There is nothing to learn from documents."""
        self.has_material |= bool(documents)

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Learn the classes of questions that offered choices."""
        self.has_material |= bool(questions)
        pairs = [(q.text, a) for q, a in zip(questions, answers, strict=True) if q.choices]
        for (text, label), x in zip(pairs, self._embed([t for t, _ in pairs]), strict=True):
            examples = self.classes.setdefault(label, [])
            self.gaussians.add(list(self.classes).index(label), x)
            if len(examples) < self.config.examples:
                examples.append(text)

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """The likeliest candidate, or the greedy continuation."""
        return super().answer(self._narrowed(questions))

    def context(self, question: Question) -> Sequence[Sequence[int]]:
        """The candidates' examples, class by class in turn; the likeliest class is last."""
        kept = [(label, self.classes.get(label, [])) for label in reversed(question.choices)]
        return [
            self.lm.prompter.demonstration(texts[round_], label)
            for round_ in range(self.config.examples)
            for label, texts in kept
            if round_ < len(texts)
        ]

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Nothing to consolidate.

        Raises:
            BadSetting: If the stream has shown no question with choices by now.
        """
        if self.has_material and not self.classes:
            raise BadSetting(
                "inca learns from practised questions with choices, and this stream has none: "
                "run it on sleepgym/ClassIncremental-v0, or another agent (notebook, retrieval)"
            )
        return {"classes": float(len(self.classes))}

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """Every question is embedded, and read after the examples of its candidates."""
        known = min(config.examples * config.candidates, scale.practised)
        added = scale.asked_tokens + scale.questions * known * scale.item_tokens
        after_a_night = scale.days / (scale.days + 1)
        return super().estimate(config, scale) + Cost(read=after_a_night * added)

    def save(self, path: Path) -> None:
        """Write the Gaussians and the examples."""
        self.gaussians.save(path / "gaussians.safetensors")
        (path / "classes.json").write_text(json.dumps(self.classes))

    def load(self, path: Path) -> None:
        """Read the Gaussians and the examples.

        Raises:
            BadRun: If the files are not of that form.
        """
        self.gaussians.load(path / "gaussians.safetensors")
        try:
            self.classes = dict(json.loads((path / "classes.json").read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise BadRun(
                f"{path / 'classes.json'}: not the examples of classes: {error}"
            ) from error
        if len(self.classes) != len(self.gaussians.means):
            raise BadRun(f"{path}: {len(self.classes)} classes, {len(self.gaussians.means)} means")

    def _narrowed(self, questions: Sequence[Question]) -> list[Question]:
        """The questions with the nearest known classes as their choices, nearest first."""
        known = list(self.classes)
        places = {label: place for place, label in enumerate(known)}
        asked = [i for i, q in enumerate(questions) if places.keys() & set(q.choices)]
        found = list(questions)
        if asked:
            distances = self.gaussians.distances(self._embed([questions[i].text for i in asked]))
            for i, row in zip(asked, distances.tolist(), strict=True):
                offered = [label for label in questions[i].choices if label in places]
                nearest = sorted(offered, key=lambda label: row[places[label]])
                found[i] = replace(questions[i], choices=tuple(nearest[: self.config.candidates]))
        return found

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str]) -> Tensor:
        """Means of the middle hidden states over each question, (texts, width)."""
        rows = [torch.zeros(0, self.gaussians.means.shape[1])]
        for text in texts:
            ids = self.lm.prompter.prompt(text)[: self.lm.max_tokens]
            states = self.lm.model(
                input_ids=torch.tensor([ids], device=self.lm.device),
                output_hidden_states=True,
                use_cache=False,
                logits_to_keep=1,
            ).hidden_states
            rows.append(states[len(states) // 2].mean(1).float().cpu())
            self.lm.meter.read_tokens += len(ids)
            self.lm.meter.flops += 2 * self.lm.parameters * len(ids)
        return torch.cat(rows)

"""Questions routed by content before they are answered: what they are about, and who answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sleepgym import Question
from sleepgym_agents.experts.class_gaussians import MIDDLE
from sleepgym_agents.experts.content_router import TOKEN_NUMBERS, ContentRouter
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import ExpertId

TEXT_PART = 4  # what a text is about shows earlier than what is asked of it
ROWS = 64  # of a batch of questions of equal length
TOKEN_PLACES = 16  # of a token in a sketch


@dataclass(frozen=True)
class RoutedQuestion:
    """A question as it is to be answered.

    Attributes:
        question: With the choices that are left.
        expert_id: The expert that is on in all of it; None where entities decide.
        answer: Of its class, where that is all there is to know; None where the model is asked.
    """

    question: Question
    expert_id: ExpertId | None = None
    answer: str | None = None


@torch.inference_mode()
def question_states(
    memory: ExpertMemory,
    texts: Sequence[str],
    part: int | None = None,
    tokens: bool | None = None,
) -> Tensor:
    """What a question is about: the means over its tokens of the embeddings and of a layer.

    The two are what the model makes of the words alone and of the words together; experts are off.
    Which tokens the question has may come third (:func:`token_sketch`).

    Args:
        memory: The experts, inside their language model.
        texts: Of the questions.
        part: The layer is that one ``part``-th up; where None, that of the router's classes.
        tokens: Whether the tokens come third; where None, as for the router's classes.

    Returns:
        States in single precision, (questions, 2 * width), wider by
        :data:`sleepgym_agents.experts.content_router.TOKEN_NUMBERS` with the tokens.
    """
    lm, router = memory.lm, memory.router
    if part is None:
        part = router.gaussians.part if isinstance(router, ContentRouter) else MIDDLE
    if tokens is None:
        tokens = isinstance(router, ContentRouter) and router.knows_tokens
    start, most = lm.prompter.start, lm.max_tokens
    rows = [[*start, *lm.prompter.question(text)][:most] for text in texts]
    found = torch.zeros(len(rows), 2 * memory.width)
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    batches: list[list[int]] = []
    for i in by_length:
        if not batches or len(batches[-1]) == ROWS or len(rows[batches[-1][0]]) != len(rows[i]):
            batches.append([])
        batches[-1].append(i)
    with memory.bare():
        for batch in batches:
            states = lm.model.model(
                input_ids=torch.tensor([rows[i] for i in batch], device=lm.device),
                output_hidden_states=True,
                use_cache=False,
            ).hidden_states
            pooled = [s.float().mean(1).cpu() for s in (states[0], states[len(states) // part])]
            found[batch] = torch.cat(pooled, 1)
            read = sum(len(rows[i]) for i in batch)
            lm.meter.read_tokens += read
            lm.meter.flops += 2 * lm.parameters * read
    return torch.cat([found, token_sketch(rows)], 1) if tokens else found


def token_sketch(rows: Sequence[Sequence[int]]) -> Tensor:
    """Which tokens each text has, as a count sketch (Charikar et al. 2002).

    Every distinct token adds 1 or -1 at some places, which its number alone decides, so that texts
    of the same tokens are near each other, whatever a model makes of them.

    Args:
        rows: Token ids of each text.

    Returns:
        Single precision, (texts, ``TOKEN_NUMBERS``), of about unit length.
    """
    sketch = torch.zeros(len(rows), TOKEN_NUMBERS)
    for numbers, ids in zip(sketch, rows, strict=True):
        distinct = torch.tensor(sorted(set(ids)), dtype=torch.long)
        for place in range(TOKEN_PLACES):
            hashed = _scattered(distinct * TOKEN_PLACES + place)
            signs = (hashed % 2 * 2 - 1).float()
            numbers.index_add_(0, hashed // 2 % TOKEN_NUMBERS, signs)
        numbers /= (TOKEN_PLACES * max(1, len(distinct))) ** 0.5
    return sketch


def _scattered(x: Tensor) -> Tensor:
    """Integers below 2**32, each turned into another that looks random (Mueller's mix)."""
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) % 2**32
    return x ^ (x >> 16)


def route_by_content(
    memory: ExpertMemory, questions: Sequence[Question]
) -> list[RoutedQuestion] | None:
    """Each question with its expert and the choices that its class leaves.

    Questions that mention a known entity are left as they are, and so are those with choices none
    of which was practised, and those without choices that are far from all that was practised.

    Args:
        memory: The experts.
        questions: To be answered without the day's context.

    Returns:
        One for each question; None where the router knows no classes.
    """
    router = memory.router
    if not isinstance(router, ContentRouter) or not router.answers:
        return None
    prompter = memory.lm.prompter
    places = {answer: at for at, answer in enumerate(router.answers) if answer}
    offered = {
        choices: {places[label]: label for label in choices if label in places}
        for choices in {question.choices for question in questions}
    }
    free = [at for at, answer in enumerate(router.answers) if not answer]
    states = question_states(memory, [question.text for question in questions])
    among: list[list[int]] = []
    groups: dict[tuple[tuple[int, ...], bool], list[int]] = {}
    for at, question in enumerate(questions):
        named = router.entities_in(prompter.question(question.text))
        own = sorted(offered[question.choices]) if question.choices else free
        among.append([] if named else own)
        if among[-1]:
            groups.setdefault((tuple(own), not question.choices), []).append(at)
    nearest = [-1] * len(questions)
    for (own, bounded), asked in groups.items():
        for at, label in zip(asked, router.nearest(states[asked], own, bounded), strict=True):
            nearest[at] = int(label)
    found = []
    for at, question in enumerate(questions):
        if not among[at]:
            found.append(RoutedQuestion(question))
            continue
        owner = None if nearest[at] < 0 else router.owners[nearest[at]]
        if question.choices:
            known = offered[question.choices]
            if owner is None:
                found.append(RoutedQuestion(question, answer=known[nearest[at]]))
                continue
            labels = [label for i, label in known.items() if router.owners[i] == owner]
            question = replace(question, choices=tuple(labels))
        found.append(RoutedQuestion(question, owner))
    return found

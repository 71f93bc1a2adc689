"""The two protocols of an OpenAI-compatible server: turns of a chat, and plain completions.

Each asks for an answer, and for the likelihood of a given one. A chat's likelihoods are vLLM's
extension (``prompt_logprobs``); those of a plain prompt are the old ``echo`` with ``logprobs``, as
lm-evaluation-harness asks for them.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from sleepgym_agents.endpoints.turns import (
    Prompt,
    dream_messages,
    messages,
    plain,
    plain_answer,
    plain_dream,
)
from sleepgym_agents.lm.prompt_format import PromptFormat

Body = dict[str, Any]
Scores = list[tuple[str, float]]  # of each token of a prompt: which, and its log-probability
NEVER = -1e4  # log-probability of what a server calls minus infinity, or nothing
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)


class Protocol(ABC):
    """How a server is asked.

    Attributes:
        name: In a run's record.
        route: Behind the base URL.
    """

    name: str
    route: str

    @abstractmethod
    def asking(self, prompt: Prompt, most: int, choices: Sequence[str] = ()) -> Body:
        """A request for an answer of at most so many tokens, one of ``choices`` if there are."""

    @abstractmethod
    def answer(self, reply: Any) -> str:
        """The answer in a reply; whatever this raises makes the reply garbage."""

    @abstractmethod
    def dreaming(self, prompt: Prompt, most: int) -> Body:
        """A request for questions with answers about what stands in a prompt."""

    @abstractmethod
    def dream(self, reply: Any) -> str:
        """The text with questions and answers in a reply."""

    @abstractmethod
    def scoring(self, prompt: Prompt, answer: str) -> Body:
        """A request for the likelihood of an answer, its end included."""

    @abstractmethod
    def scores(self, reply: Any) -> Scores:
        """The likelihoods in a reply, of every token of prompt and answer."""


class Chat(Protocol):
    """Turns, put into the model's own template by the server.

    Attributes:
        system: Whether the server takes system lines; some templates refuse them.
    """

    name, route = "chat", "/chat/completions"

    def __init__(self, system: bool = True) -> None:
        self.system = system

    def asking(self, prompt: Prompt, most: int, choices: Sequence[str] = ()) -> Body:
        """See :class:`Protocol`."""
        return {"messages": messages(prompt, choices, self.system), "max_tokens": most}

    def answer(self, reply: Any) -> str:
        """See :class:`Protocol`; thoughts are no part of an answer."""
        text = reply["choices"][0]["message"].get("content") or ""
        return _THOUGHT.sub("", text).strip()

    def dreaming(self, prompt: Prompt, most: int) -> Body:
        """See :class:`Protocol`."""
        return {"messages": dream_messages(prompt, self.system), "max_tokens": most}

    def dream(self, reply: Any) -> str:
        """See :class:`Protocol`."""
        return self.answer(reply)

    def scoring(self, prompt: Prompt, answer: str) -> Body:
        """See :class:`Protocol`."""
        said = {"role": "assistant", "content": answer}
        return {
            "messages": [*messages(prompt, system=self.system), said],
            "max_tokens": 1,
            "prompt_logprobs": 0,
            "add_generation_prompt": False,
        }

    def scores(self, reply: Any) -> Scores:
        """See :class:`Protocol`."""
        found = []
        for place in reply["prompt_logprobs"][1:]:  # nothing comes before the first token
            token, told = next(iter(place.items()))
            found.append((token, _finite(told["logprob"])))
        return found


class Plain(Protocol):
    """One text, which the model continues.

    Attributes:
        form: The texts around questions and answers.
    """

    name, route = "completions", "/completions"

    def __init__(self, form: PromptFormat | None = None) -> None:
        self.form = form or PromptFormat()

    def asking(self, prompt: Prompt, most: int, choices: Sequence[str] = ()) -> Body:
        """See :class:`Protocol`."""
        return {
            "prompt": plain(prompt, self.form, choices),
            "max_tokens": most,
            "stop": [self.form.stop],
        }

    def answer(self, reply: Any) -> str:
        """See :class:`Protocol`."""
        text = reply["choices"][0]["text"]
        return text.partition(self.form.stop)[0].strip()

    def dreaming(self, prompt: Prompt, most: int) -> Body:
        """See :class:`Protocol`."""
        return {"prompt": plain_dream(prompt, self.form), "max_tokens": most}

    def dream(self, reply: Any) -> str:
        """See :class:`Protocol`."""
        return "Question:" * self.form.dream.endswith("Question:") + reply["choices"][0]["text"]

    def scoring(self, prompt: Prompt, answer: str) -> Body:
        """See :class:`Protocol`."""
        text = plain(prompt, self.form) + plain_answer(answer, self.form)
        return {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1}

    def scores(self, reply: Any) -> Scores:
        """See :class:`Protocol`; what the server wrote behind the prompt is cut."""
        told = reply["choices"][0]["logprobs"]
        pairs = list(zip(told["tokens"], told["token_logprobs"], strict=True))
        written = reply["usage"]["completion_tokens"]
        pairs = pairs[1 : len(pairs) - written]
        if len(pairs) + 1 != reply["usage"]["prompt_tokens"]:
            raise ValueError("not every token of the prompt has a likelihood")
        return [(str(token), _finite(value)) for token, value in pairs]


def totals(candidates: Sequence[Scores]) -> list[float]:
    """The likelihood of each candidate where they differ: the same prompt before all says nothing.

    Args:
        candidates: Tokens of prompt and answer with their log-probabilities, one list a candidate.
    """
    shortest = min(map(len, candidates))
    first = candidates[0]
    same = 0
    while same < shortest and all(mine[same][0] == first[same][0] for mine in candidates):
        same += 1
    return [sum(value for _, value in mine[same:]) for mine in candidates]


def _finite(value: float | None) -> float:
    return NEVER if value is None else max(NEVER, float(value))

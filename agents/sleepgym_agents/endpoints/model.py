"""A served language model, as agents that keep text or nothing use one."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rapidfuzz import fuzz, process, utils

from sleepgym.core.budget import Meter, Night
from sleepgym.core.rng import derive_seed
from sleepgym_agents.endpoints.address import Address
from sleepgym_agents.endpoints.client import Client, Refused, Reply
from sleepgym_agents.endpoints.protocols import Body, Chat, Plain, Protocol, totals
from sleepgym_agents.endpoints.turns import CHARACTERS, Part, Prompt, TurnPrompter
from sleepgym_agents.lm.prompt_format import CHOSEN, PromptFormat

WINDOWS = ("max_model_len", "context_length", "context_window")  # as servers call it
IDENTITY = ("id", "owned_by", "root", "parent")
HELLO = "Say yes."
SEEDS = 2**31
TEXT = "text"
_EDGE = r"[ \t*_#>-]*"  # a list or bold letters
_QA = re.compile(
    rf"^{_EDGE}Question{_EDGE}:{_EDGE}(.+?){_EDGE}\n+{_EDGE}Answer{_EDGE}:{_EDGE}(.+?){_EDGE}$",
    re.MULTILINE,
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Abilities:
    """What a server can do.

    Attributes:
        speaks: The protocol in which answers are asked for.
        scores: That in which choices are scored by likelihood; None where neither tells it.
    """

    speaks: Protocol
    scores: Protocol | None


_found: dict[tuple[Address, str], Abilities] = {}


class Endpoint:
    """A model of an OpenAI-compatible server.

    Answers are asked for at temperature 0, where the agent sets no other, and with a seed, as turns
    of a chat, for which the server has the model's own template, or as plain text where it has
    none. Tokens are charged as the server counts them; operations are not, as nobody tells the
    model's size.

    Attributes:
        prompter: Makes the prompts.
        max_tokens: Of prompt and answer, as the server says; very many where it does not.
        meter: What is charged.
    """

    def __init__(self, model: str, seed: int = 0, meter: Meter | None = None) -> None:
        """Ask the server what it is, and once in a process what it can do.

        Args:
            model: ``openai:URL#NAME``.
            seed: Sent with every request.
            meter: What to charge.

        Raises:
            BadSetting: If the address is none.
            EndpointError: If the server is down, or does not answer as it should.
            UnknownName: If it has no such model.
        """
        self.address = Address.parse(model)
        self.prompter = TurnPrompter()
        self.meter = meter or Meter()
        self._seed = derive_seed(seed, "endpoint") % SEEDS
        self._client = Client(self.address)
        listed = self._client.listed()
        self._listed = next((m for m in listed if m["id"] == self.address.name), {})
        windows = [self._listed.get(name) for name in WINDOWS]
        self.max_tokens = min((n for n in windows if isinstance(n, int) and n > 0), default=2**31)
        form = os.environ.get(CHOSEN, "")
        if (self.address, form) not in _found:
            _found[self.address, form] = find_out(self._client, form)
        found = _found[self.address, form]
        self._speaker, self._scorer = found.speaks, found.scores

    @property
    def identity(self) -> dict[str, Any]:
        """What a run records of it: address, what the server says of it, how it is asked."""
        told = {name: self._listed[name] for name in IDENTITY if name in self._listed}
        return {
            "url": self.address.url,
            "name": self.address.name,
            "listed": {name: str(value) for name, value in told.items() if value is not None},
            "prompts": self._speaker.name,
            "choices": self._scorer.name if self._scorer else TEXT,
        }

    def affords(self, night: Night, *, read: int = 0, generated: int = 0) -> bool:
        """Whether the night's budget allows to sample so many more tokens."""
        return night.allows(night_generated_tokens=generated)

    def choose(self, prompts: Sequence[Prompt], choices: Sequence[tuple[str, ...]]) -> list[str]:
        """The likeliest choice for each prompt; without likelihoods the one nearest to a reply."""
        asked = list(zip(prompts, choices, strict=True))
        if self._scorer is None:
            bodies = [self._speaker.asking(p, _room(mine), mine) for p, mine in asked]
            return list(map(nearest, self._answers(bodies), choices))
        scorer = self._scorer
        bodies = [scorer.scoring(prompt, label) for prompt, mine in asked for label in mine]
        found = iter(self._charged(bodies, scorer.route, scorer.scores))
        tables = [totals([next(found) for _ in mine]) for mine in choices]
        return [mine[row.index(max(row))] for mine, row in zip(choices, tables, strict=True)]

    def write(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        seeds: Sequence[int] = (),
    ) -> list[str]:
        """The answer to each prompt.

        Args:
            prompts: What is asked.
            max_new_tokens: Longest answer.
            temperature: Of the sampling.
            seeds: Of the sampling, one a prompt; not needed at temperature 0.
        """
        bodies = [self._speaker.asking(prompt, max_new_tokens) for prompt in prompts]
        if temperature == 0:
            return self._answers(bodies)
        return self._charged(
            _sampled(bodies, temperature, seeds), self._speaker.route, self._speaker.answer
        )

    def write_qa(
        self, contexts: Sequence[Sequence[Part]], *, tokens: int, seed: int
    ) -> list[list[tuple[str, str]]]:
        """Questions with answers about documents and demonstrations, sampled at temperature 1.

        Args:
            contexts: The documents and demonstrations that each sample is about.
            tokens: Longest reply.
            seed: Of the sampling; a sample's own is derived from it and its place.
        """
        asked = [self.prompter.dream_prompt(parts) for parts in contexts]
        bodies = [self._speaker.dreaming(prompt, tokens) for prompt in asked]
        seeds = [derive_seed(seed, place) for place in range(len(asked))]
        bodies = _sampled(bodies, 1.0, seeds)
        written = self._charged(bodies, self._speaker.route, self._speaker.dream)
        return [_QA.findall(text) for text in written]

    def _answers(self, bodies: Sequence[Body]) -> list[str]:
        sure = [{**body, "temperature": 0.0, "seed": self._seed} for body in bodies]
        return self._charged(sure, self._speaker.route, self._speaker.answer)

    def _charged(self, bodies: Sequence[Body], route: str, read: Any) -> list[Any]:
        """Values of the replies; where the server counts no tokens, they are estimated."""
        named = [{"model": self.address.name, **body} for body in bodies]
        replies: list[Reply[Any]] = self._client.ask(route, named, read)
        counted = [r.read_tokens is not None and r.generated_tokens is not None for r in replies]
        if not all(counted):
            log.warning("endpoint %s counts no tokens: they are estimated", self.address.url)
        for body, reply, told in zip(bodies, replies, counted, strict=True):
            asked = str(body.get("messages") or body["prompt"])
            estimate = [round(len(text) / CHARACTERS) for text in (asked, str(reply.value))]
            read_tokens, generated = (
                (reply.read_tokens, reply.generated_tokens) if told else estimate
            )
            self.meter.read_tokens += read_tokens
            self.meter.generated_tokens += generated
        return [reply.value for reply in replies]


def _sampled(bodies: Sequence[Body], temperature: float, seeds: Sequence[int]) -> list[Body]:
    return [
        {**body, "temperature": temperature, "seed": seed % SEEDS}
        for body, seed in zip(bodies, seeds, strict=True)
    ]


def find_out(client: Client, form: str = "") -> Abilities:
    """Try what a server can do, from the most to the least; a few tokens, not charged.

    Args:
        client: Of the server.
        form: ``"template"`` is a chat and nothing else, ``"plain"`` or a prompt format in JSON
            completions and nothing else.

    Raises:
        BadData: If the prompt format is malformed.
        EndpointError: If it can do nothing, or cannot be reached.
        UnknownName: If it has no such model.
    """
    hello = Prompt(HELLO, instruction=HELLO)
    refusals: list[Refused] = []

    def works(protocol: Protocol, body: Body, read: Callable[[Any], bool]) -> bool:
        try:
            named = {"model": client.address.name, **body}
            return client.try_out(protocol.route, named, read).value
        except Refused as refusal:
            refusals.append(refusal)
            return False

    def answers(protocol: Protocol) -> bool:
        body, read = protocol.asking(hello, 1), protocol.answer
        return works(protocol, body, lambda reply: read(reply) is not None)

    def scores(protocol: Protocol) -> bool:
        return works(protocol, protocol.scoring(hello, "yes"), partial(_tells_scores, protocol))

    plain = Plain(PromptFormat.parse(form, "--prompt") if form.startswith("{") else None)
    chats = () if form not in ("", "template") else (Chat(), Chat(system=False))
    plains = () if form == "template" else (plain,)
    speaker = next(filter(answers, chats), None)
    scorer = next(filter(scores, (speaker, *plains) if speaker else plains), None)
    speaker = speaker or (plain if scorer else next(filter(answers, plains), None))
    if speaker is None:
        raise client.refusal(refusals[0])
    log.info(
        "model %s of %s: prompts by %s, choices by %s",
        client.address.name,
        client.address.url,
        speaker.name,
        f"likelihood ({scorer.name})" if scorer else "their text",
    )
    return Abilities(speaker, scorer)


def _tells_scores(protocol: Protocol, reply: Any) -> bool:
    """Whether a reply carries likelihoods: a server may know the field and ignore it."""
    if not isinstance(reply["choices"][0], dict):
        raise TypeError("no reply")
    try:
        return bool(protocol.scores(reply))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return False


def nearest(reply: str, choices: Sequence[str]) -> str:
    """The choice that a reply is, holds (the longest of them) or is most alike; "" for no reply."""
    said = utils.default_process(reply)
    names = [utils.default_process(choice) for choice in choices]
    held = [name for name in names if name and f" {name} " in f" {said} "]
    if reply.strip() in choices:
        return reply.strip()
    if held:
        return choices[names.index(max(held, key=len))]
    return process.extractOne(said, choices, scorer=fuzz.ratio)[0] if said else ""


def _room(choices: Sequence[str]) -> int:
    """Tokens for the longest choice, generously: a token has two characters or more."""
    return 8 + max(map(len, choices)) // 2

"""A stream as an episode of verifiers: a conversation a day, a fresh one every morning.

verifiers gives every conversation a context of its own, so that a wiped context is a new one. What
goes through the night is text: at night the model is asked for notes, and they open every later
conversation. Their digest is the state handle. A trainer that keeps weights between episodes does
so under ``docs/interop.md``, "weights".

Rewards of a conversation: ``exam``, the mean score of the exam in it; and of a day's also
``morning``, the score of the morning after, which its notes were written for.

The loader of verifiers takes a package by its top-level name: ``interop/verifiers`` of the
repository is one that exports this module's classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from sleepgym.core.env import make_env
from sleepgym.core.errors import MissingData
from sleepgym.interop.contract import StateHandle
from sleepgym.interop.prompts import introduction_prompt, night_prompt, parse_answers, phase_prompt
from sleepgym.interop.session import Session

try:
    import verifiers.v1 as vf  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise MissingData("verifiers is not installed: pip install 'sleepgym[verifiers]'") from error


class SleepGymConfig(vf.TasksetConfig):
    """Which streams."""

    env: str = "sleepgym/Almanac-v1"
    """Environment id."""
    settings: dict[str, Any] = {}  # noqa: RUF012
    """Its settings."""
    first_seed: int = 0
    """Seed of the first stream; they count up."""
    streams: int = 8
    """How many."""
    note_characters: int = 2000
    """The most that is kept of a night's notes."""


class StreamData(vf.TaskData):
    """One stream, by its place; its seed is nobody's business but the environment's."""


class StreamTask(vf.Task[StreamData]):
    """A stream; the environment grades it."""


class SleepGymTaskset(vf.Taskset[StreamTask, SleepGymConfig]):
    """Streams of one environment."""

    def load(self) -> Iterator[StreamTask]:
        """One task a stream."""
        for index in range(self.config.streams):
            data = StreamData(idx=index, name=f"{self.config.env}#{index}")
            yield StreamTask(data, self.config.task)


class SleepGymEnvConfig(vf.EnvConfig):
    """Who lives through the streams."""

    player: vf.AgentConfig = vf.AgentConfig(harness={"id": "null"}, runtime=vf.SubprocessConfig())


class SleepGymEnv(vf.Env[SleepGymEnvConfig]):
    """Plays the user: reads out the day, asks, wipes the context, asks again."""

    async def run(self, task: Any, agents: Any) -> None:
        """One stream."""
        config = self.config.taskset
        seed = config.first_seed + task.data.idx
        session = Session(make_env(config.env, **config.settings), seed)
        notes, yesterday, trace = "", None, None
        while not session.ended:
            async with agents.player.interaction(task) as conversation:
                notes, reward = await _converse(session, conversation, notes, config)
            trace = conversation.trace
            if reward is not None:
                trace.record_reward("exam", reward)
            if trace.info["phase"] != "morning":
                yesterday = trace
            elif yesterday is not None:
                yesterday.record_reward("morning", reward or 0.0)
        if trace is not None:
            trace.info["summary"] = session.summary()


async def _converse(
    session: Session, conversation: Any, notes: str, config: SleepGymConfig
) -> tuple[str, float | None]:
    """One context: a morning's exam, or a day until its night; the notes and the exam's score."""
    told = [introduction_prompt(session.observation())]
    told += [f"Your notes:\n{notes}"] if notes else []
    reward = None
    conversation.trace.info["phase"] = session.observation()["phase"]
    while not session.ended:
        seen = session.observation()
        told.append(phase_prompt(seen))
        handle = _handle(notes)
        if seen["phase"] == "sleep":
            told.append(night_prompt(config.note_characters))
            reply = await _say(conversation, told)
            notes = reply[: config.note_characters]
            session.step(state=_handle(notes), night={"generated_tokens": len(reply.split())})
            return notes, reward
        if not seen["questions"]:
            session.step()
            continue
        answers = parse_answers(await _say(conversation, told), len(seen["questions"]))
        told = []
        reward = session.step(answers, handle)
        if seen["closed_book"]:
            return notes, reward
    return notes, reward


async def _say(conversation: Any, told: list[str]) -> str:
    """The reply to what was told; empty where the model's turns are used up."""
    try:
        segment = await conversation.turn("\n\n".join(part for part in told if part))
    except RuntimeError:  # the exchange is over: the rest of this context goes unanswered
        return ""
    return "" if segment.terminated else segment.last_reply


def _handle(notes: str) -> dict[str, Any]:
    content = notes.encode()
    return StateHandle(hashlib.sha256(content).hexdigest(), len(content)).plain()

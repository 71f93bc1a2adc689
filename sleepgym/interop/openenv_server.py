"""An environment behind OpenEnv's protocol: many learners at once, each with a stream of its own.

A learner that resets without a seed gets a stream that nobody else has; with a seed it gets the
stream that this server keeps for that number, the same for all who ask. The streams' own seeds are
derived from the number and a secret of the server, so that nobody can make a stream, with its
answers, at home.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from sleepgym.core.env import ContinualEnv
from sleepgym.core.errors import BadSetting, MissingData, SleepGymError
from sleepgym.core.rng import derive_seed
from sleepgym.interop.contract import BadRequest
from sleepgym.interop.session import Session

try:
    from openenv.core.env_server.http_server import (  # pyright: ignore[reportMissingImports]
        HTTPEnvServer,
    )
    from openenv.core.env_server.interfaces import (  # pyright: ignore[reportMissingImports]
        Environment,
    )
    from openenv.core.env_server.types import (  # pyright: ignore[reportMissingImports]
        Action,
        ConcurrencyConfig,
        EnvironmentMetadata,
        Observation,
        State,
    )
except ImportError as error:
    raise MissingData("openenv is not installed: pip install 'sleepgym[openenv]'") from error

MAX_MESSAGE_BYTES = 1 << 24
_HANDLE = {"type": "object", "required": ["digest", "size_bytes"]}
Answers = Annotated[Any, WithJsonSchema({"type": "array", "items": {"type": "string"}})]


class ContinualAction(Action):
    """One phase's action; checked by the session, which says what is wrong in one line."""

    model_config = ConfigDict(extra="allow")

    answers: Answers = Field(default=(), description="One string a question, in order.")
    state: Annotated[Any, WithJsonSchema({"anyOf": [_HANDLE, {"type": "null"}]})] = Field(
        default=None,
        description="In a SLEEP the state that is kept, in a morning the one answered from: "
        "digest (SHA-256) and size_bytes.",
    )
    night: Annotated[Any, WithJsonSchema({"type": ["object", "null"]})] = Field(
        default=None,
        description="In a SLEEP what it cost: train_tokens, generated_tokens, read_tokens, flops, "
        "added_parameters.",
    )


class ContinualObservation(Observation):
    """One phase; ``metadata`` of the last holds every metric and the audit."""

    phase: str = Field(description="study, practice, evening, sleep, morning or ended.")
    day: int = Field(description="The day it belongs to; 0 for the exam at birth.")
    days: int = Field(description="Days of the stream.")
    night: int = Field(description="Nights slept so far.")
    closed_book: bool = Field(description="Whether the context must have been wiped.")
    documents: list[dict[str, str]] = Field(description="What is read: title and text.")
    questions: list[dict[str, Any]] = Field(description="What is asked: text and choices.")
    feedback: list[str] = Field(description="Right answers to the practice just answered.")
    instruction: str = Field(description="What answers should look like; may be empty.")
    exemplars: list[dict[str, Any]] = Field(description="Documents, questions, answers to see.")
    budget: dict[str, float | None] = Field(description="Limits of a night; null is none.")


class ContinualState(State):
    """Where a session stands."""

    ended: bool = False


class ContinualEnvironment(Environment):
    """OpenEnv's environment over a session."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, make: Callable[[], ContinualEnv], secret: int, name: str) -> None:
        """Keep what a reset needs; nothing is made yet.

        Args:
            make: Makes the environment.
            secret: Of the server.
            name: The environment's id.
        """
        super().__init__()
        self._make, self._secret, self._name = make, secret, name
        self._session: Session | None = None
        self._episode: str | None = None
        self._closed = False

    def reset(self, seed: Any = None, episode_id: Any = None, **others: Any) -> Any:
        """Begin a stream."""
        self._require_open()
        if others:
            raise BadRequest(f"reset: {next(iter(others))!r:.40} is unknown: seed and episode_id")
        if seed is not None and (type(seed) is not int or seed < 0):
            raise BadRequest(f"seed={seed!r:.40}: must be a whole number from 0")
        if not isinstance(episode_id, str | None):
            raise BadRequest(f"episode_id={episode_id!r:.40}: must be text")
        number = secrets.randbits(62) if seed is None else seed
        kind = "drawn" if seed is None else "asked"
        self._session = None  # the memory of the last stream goes first
        self._session = Session(self._make(), derive_seed(self._secret, kind, number))
        self._episode = episode_id
        return self._observation(self._session, None)

    def step(self, action: Any, timeout_s: float | None = None, **others: Any) -> Any:
        """One phase."""
        self._require_open()
        if self._session is None:
            raise BadRequest("no stream yet: reset before step")
        extra = next(iter(action.model_extra or ()), None)
        if extra is not None:
            raise BadRequest(f"action: {extra!r:.40} is unknown: answers, state and night")
        reward = self._session.step(action.answers, action.state, action.night)
        return self._observation(self._session, reward)

    @property
    def state(self) -> Any:
        """Where the session stands."""
        session = self._session
        if session is None:
            return ContinualState(episode_id=self._episode)
        count, ended = session.step_count, session.ended
        return ContinualState(episode_id=self._episode, step_count=count, ended=ended)

    def get_metadata(self) -> Any:
        """What it is."""
        text = "Days of new material; the context is wiped every night, exams before and after it."
        return EnvironmentMetadata(name=self._name, description=text)

    def close(self) -> None:
        """Give the stream's memory back."""
        self._session, self._closed = None, True

    def _require_open(self) -> None:
        if self._closed:
            raise BadRequest("this session was closed, as it was idle for too long: connect again")

    def _observation(self, session: Session, reward: float | None) -> Any:
        metadata = session.summary() if session.ended else {}
        return ContinualObservation(
            **session.observation(), reward=reward, done=session.ended, metadata=metadata
        )


def make_app(
    make: Callable[[], ContinualEnv],
    name: str,
    sessions: int = 64,
    idle_limit_s: float = 14_400.0,
    secret: int | None = None,
) -> Any:
    """The FastAPI application; ``app.state.server`` is OpenEnv's server.

    Args:
        make: Makes the environment.
        name: The environment's id.
        sessions: The most at once; further ones are refused in one line.
        idle_limit_s: A session of which nothing is heard for that long gives its memory back; it
            must be longer than a learner's night.
        secret: From which streams are derived; drawn where None.
    """
    from fastapi import FastAPI, Request  # pyright: ignore[reportMissingImports]
    from fastapi.responses import JSONResponse  # pyright: ignore[reportMissingImports]

    kept = secrets.randbits(63) if secret is None else secret

    def environment() -> ContinualEnvironment:
        return ContinualEnvironment(make, kept, name)

    app = FastAPI(title=f"SleepGym: {name}")
    app.state.server = HTTPEnvServer(
        environment,
        ContinualAction,
        ContinualObservation,
        concurrency_config=ConcurrencyConfig(
            max_concurrent_envs=sessions, session_timeout=idle_limit_s
        ),
        env_name=name,
        state_cls=ContinualState,
    )
    app.state.server.register_routes(app)

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=400)

    app.add_exception_handler(SleepGymError, refuse)
    return app


def serve(app: Any, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve until the process is ended.

    Raises:
        BadSetting: If the address cannot be had.
    """
    import uvicorn  # pyright: ignore[reportMissingImports]

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise BadSetting(f"{host}:{port}: cannot listen there ({error.strerror})") from error
    say(f"http://{host}:{listening.getsockname()[1]}")
    config = uvicorn.Config(app, log_level="warning", ws_max_size=MAX_MESSAGE_BYTES)
    uvicorn.Server(config).run(sockets=[listening])

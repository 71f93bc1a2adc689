"""``serve-env``: an environment for learners of other frameworks."""

from __future__ import annotations

from typing import Annotated

import typer

from sleepgym.cli.options import Data, example


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(
        "serve-env",
        epilog=example("sleepgym serve-env --env sleepgym/Almanac-v1 --env-set days=8"),
    )(serve_env)


def serve_env(
    env: Annotated[str, typer.Option(help="Environment id; see [bold]sleepgym list envs[/bold].")],
    env_set: Annotated[
        list[str] | None,
        typer.Option(
            help="Setting of the environment, repeatable; preset=NAME first.", metavar="K=V"
        ),
    ] = None,
    data: Data = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: one that is free.", min=0, max=65535)] = 8000,
    sessions: Annotated[int, typer.Option(help="The most at once.", min=1)] = 64,
    idle_limit_s: Annotated[
        float,
        typer.Option(help="A session silent for that long is closed; nights are silent.", min=1),
    ] = 14_400.0,
) -> None:
    """Serve an environment to OpenEnv clients, each with a stream of its own (docs/interop.md)."""
    from sleepgym.cli.console import console
    from sleepgym.core.env import make_env
    from sleepgym.core.settings import parse_pairs
    from sleepgym.interop.openenv_server import make_app, serve

    settings = {name.replace("-", "_"): value for name, value in parse_pairs(env_set or ()).items()}

    def make():
        return make_env(env, data=data, **settings)

    make().reset(seed=0)  # what cannot be made is said now
    app = make_app(make, env, sessions, idle_limit_s)

    def say(address: str) -> None:
        line = f"{env} for OpenEnv clients at {address}, {sessions} sessions at once"
        console.print(line, soft_wrap=True, markup=False, highlight=False)

    serve(app, host, port, say)

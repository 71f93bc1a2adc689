"""Commands of the language models; ``sleepgym.cli`` finds :func:`add_commands` by its name."""

from __future__ import annotations

from typing import Annotated

import typer


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("models")(models)
    app.command("fetch")(fetch)


def models() -> None:
    """List the language models that --model knows by name: size, licence, source, checksum.

    Example: sleepgym models
    """
    from sleepgym.cli.tables import console
    from sleepgym.runs.models.base_model import model_digest
    from sleepgym.runs.models.cache import cached_model
    from sleepgym_agents.models.catalogue import named_models

    console.print("| name | parameters | licence | here | source | sha256 |")
    console.print("|---|---|---|---|---|---|")
    rows = [("embedded", "4.3M", "Apache-2.0", "yes", "this package", model_digest("embedded"))]
    rows.append(("scratch", "0.3M", "-", "yes", "random weights", None))
    for model in named_models().values():
        here = cached_model(model.name) is not None
        source = f"hub {model.hub}"
        if model.wheel:
            source += f", or index {model.wheel.requirement}"
        digest = model_digest(model.name) if here else None
        checksum = digest or (model.wheel.member_sha256 if model.wheel else "the hub's")
        size = _size(model.parameters)
        rows.append((model.name, size, model.licence, "yes" if here else "no", source, checksum))
    for row in rows:
        cells = [str(cell or "-")[:16] if i == 5 else str(cell) for i, cell in enumerate(row)]
        console.print(f"| {' | '.join(cells)} |", soft_wrap=True, markup=False, highlight=False)
    console.print("\nhere: a digest of its files; else the checksum that `fetch` demands.")


def fetch(
    name: Annotated[str, typer.Argument(help="A name that [bold]sleepgym models[/bold] lists.")],
    source: Annotated[
        str,
        typer.Option(
            help="The hub, or a wheel of the package index; auto is the hub where it answers.",
            metavar="auto|hub|index",
        ),
    ] = "auto",
) -> None:
    """Bring a named model into the cache (SLEEPGYM_CACHE, else ~/.cache/sleepgym).

    Example: sleepgym fetch smollm2, then: sleepgym run --model smollm2 ...
    """
    from typing import get_args

    from sleepgym.cli.tables import console
    from sleepgym.core.errors import BadSetting, unknown_name
    from sleepgym_agents.models import fetch as fetching
    from sleepgym_agents.models.catalogue import named_models

    if name not in named_models():
        raise unknown_name("model to fetch", name, named_models())
    if source not in get_args(fetching.Source):
        raise BadSetting(f"source={source}: must be one of {', '.join(get_args(fetching.Source))}")
    folder = fetching.fetch(named_models()[name], source)  # pyright: ignore[reportArgumentType]
    console.print(f"{name}: {folder}", soft_wrap=True, markup=False, highlight=False)


def _size(parameters: int) -> str:
    return f"{parameters / 1e9:.2f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M"

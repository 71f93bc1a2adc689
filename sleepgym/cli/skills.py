"""``skills``: what a model, or an agent after its nights, can do while awake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sleepgym.cli.options import Model, Prompt, example


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=example("sleepgym skills --count 50", "sleepgym skills --run runs/one"))(
        skills
    )


def skills(
    model: Model = "embedded",
    run: Annotated[
        Path | None,
        typer.Option(help="Run directory: examine its agent as it was after its last night."),
    ] = None,
    battery: Annotated[str, typer.Option(help="Which battery.")] = "worlds",
    cells: Annotated[str | None, typer.Option(help="Only these cells, comma-separated.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the scenes: 100-199 to report.", min=0)] = 100,
    count: Annotated[int, typer.Option(help="Questions a cell.", min=1)] = 500,
    dreams: Annotated[int, typer.Option(help="Passages to dream about; 0: none.", min=0)] = 25,
    prompt: Prompt = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure in-context skills, recall and dreams, by exact match of greedy answers.

    With --run it examines an agent after its nights: did learning cost it its skills?
    """
    import json

    from sleepgym.cli.console import console
    from sleepgym.cli.progress import progress
    from sleepgym.core import registry
    from sleepgym.core.errors import BadRun, unknown_name
    from sleepgym.runs.models.prompt import read_prompt, use_prompt
    from sleepgym.runs.skills import measure, measure_dreams

    if battery not in registry.batteries:
        raise unknown_name("battery", battery, registry.batteries)
    chosen = registry.batteries[battery].load()()
    names = [name.strip() for name in cells.split(",")] if cells else list(chosen.cells)
    for name in names:
        if name not in chosen.cells:
            raise unknown_name(f"cell of battery {battery}", name, chosen.cells)
    if run is None:
        use_prompt(read_prompt(prompt))
        agent = registry.agent_class("in-context")(seed=seed, model=model)
    else:
        from sleepgym.runs.archive import unpacked
        from sleepgym.runs.records import read_run
        from sleepgym.runs.spec import spec_from_meta

        record = read_run(run)
        spec = spec_from_meta(record.meta)
        agent = spec.make_agent()
        if not record.nights:
            raise BadRun(f"{run} holds no state: no night has ended yet")
        with unpacked(record.state, record.nights[-1]["state_digest"]) as state:
            agent.load(state)
        introduction = spec.make_env().family.stream(spec.seed).introduction
        if introduction:
            agent.introduce(introduction)
    found = []
    with progress(quiet=as_json) as report:
        parts = len(names) + bool(dreams)
        for done, name in enumerate(names, start=1):
            found.append(measure(agent, chosen, name, seed, count))
            report(done, parts, name)
        dreamed = None
        if dreams and hasattr(agent, "generate_qa"):
            dreamed = measure_dreams(agent, chosen, seed, dreams)
            report(parts, parts, "dreams")
    if as_json:
        rows = {s.cell: {"accuracy": s.accuracy, "questions": s.questions} for s in found}
        print(json.dumps({"cells": rows, "dreams": dreamed}, indent=1))
        return
    console.print("| cell | exact match | questions |\n|---|---|---|", highlight=False)
    for skill in found:
        console.print(
            f"| {skill.cell} | {skill.accuracy:.3f} | {skill.questions} |", highlight=False
        )
    if dreamed:
        n = dreamed["items"]
        shares = ", ".join(f"{name} {dreamed[name]:.3f}" for name in ("true", "false", "foreign"))
        console.print(f"\ndreams: {shares} (of {n:.0f} items)", highlight=False)
    if all(skill.agrees is not None for skill in found):
        agrees, total = sum(s.agrees or 0 for s in found), sum(s.questions for s in found)
        console.print(
            f"forced decoding agrees with real decoding on {agrees} of {total}", highlight=False
        )

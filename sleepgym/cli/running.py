"""``run``, ``resume`` and ``suite``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sleepgym.cli.options import (
    Attention,
    AuditMode,
    Data,
    Device,
    Dtype,
    Model,
    choose_hardware,
)


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(run)
    app.command()(resume)
    app.command()(suite)


def run(
    env: Annotated[str, typer.Option(help="Environment id; see [bold]sleepgym list envs[/bold].")],
    agent: Annotated[
        str, typer.Option(help="Agent name ([bold]sleepgym list agents[/bold]) or module:Class.")
    ],
    out: Annotated[Path, typer.Option(help="Run directory; resumed if it holds this very run.")],
    env_set: Annotated[
        list[str] | None,
        typer.Option(
            help="Setting of the environment, repeatable; preset=NAME first.", metavar="K=V"
        ),
    ] = None,
    agent_set: Annotated[
        list[str] | None, typer.Option(help="Setting of the agent, repeatable.", metavar="K=V")
    ] = None,
    tuned: Annotated[
        bool,
        typer.Option("--tuned", help="Lay --agent-set over the agent's tuned settings."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the stream and of the agent.", min=0)] = 0,
    model: Model = "embedded",
    data: Data = None,
    audit: AuditMode = "instance",
    device: Device = "auto",
    dtype: Dtype = "auto",
    attention: Attention = "auto",
) -> None:
    """Run one agent through one stream, and print its scores.

    Example: sleepgym run --env sleepgym/ClassIncremental-v0 --env-set dataset=invented
    --agent nearest --out runs/first
    """
    from sleepgym.core.settings import parse_pairs
    from sleepgym.runs.spec import RunSpec

    choose_hardware(device, dtype, attention)
    settings: dict[str, Any] = {**parse_pairs(agent_set or ())}
    if tuned:
        from sleepgym.cli.tables import console
        from sleepgym.suite.tuned import in_words, with_tuned

        settings = with_tuned(agent, settings)
        console.print(f"{agent}: {in_words(settings)}", markup=False, highlight=False)
    spec = RunSpec(
        env=env,
        agent=agent,
        env_settings=parse_pairs(env_set or ()),
        agent_settings=settings,
        seed=seed,
        model=model,
        data=data,
        audit=audit,  # pyright: ignore[reportArgumentType]  (checked by RunSpec)
    )
    _run_and_show(spec, out)


def resume(
    path: Annotated[Path, typer.Argument(help="Run directory.", metavar="DIR")], data: Data = None
) -> None:
    """Go on with a run that was interrupted, from its last finished phase."""
    from sleepgym.runs.records import read_meta
    from sleepgym.runs.spec import spec_from_meta

    _run_and_show(spec_from_meta(read_meta(path), data), path)


def suite(
    name: Annotated[
        str, typer.Argument(help="Suite ([bold]sleepgym list suites[/bold]) or a TOML file.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the runs and the report; resumable.", show_default="runs/NAME"
        ),
    ] = None,
    agents: Annotated[
        str | None, typer.Option(help="Only these agents of the suite, comma-separated.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Other seeds than the suite's, for example 0-4.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Another model than the suite's.")] = None,
    data: Data = None,
    audit: AuditMode = "instance",
    workers: Annotated[int, typer.Option(help="Processes side by side.", min=1)] = 1,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="List the runs, downloads, tokens and hours to expect; do nothing."
        ),
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    attention: Attention = "auto",
) -> None:
    """Compare agents on the same streams; prints a table and writes a report."""
    from dataclasses import replace

    from sleepgym.cli.tables import console, show_scores
    from sleepgym.suite.suite import load_suite, parse_seeds, run_suite

    choose_hardware(device, dtype, attention)
    chosen = load_suite(name)
    if agents:
        chosen = chosen.only([label.strip() for label in agents.split(",")])
    if seeds:
        chosen = replace(chosen, seeds=parse_seeds(seeds))
    if model:
        chosen = replace(chosen, model=model, parameters=None, downloads=())
    chosen, left_out = chosen.at_hand(data)
    out = out or Path("runs") / chosen.name
    runs = chosen.runs(out, data, audit)  # pyright: ignore[reportArgumentType]
    console.print(f"[bold]{chosen.name}[/bold]: {chosen.summary} ({len(runs)} runs in {out})")
    for line in left_out:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if dry_run:
        from sleepgym.cli.planning import show_plan

        show_plan(chosen, runs)
        return
    with progress_bar() as bar:
        task = bar.add_task("runs", total=len(runs))
        run_suite(
            runs,
            workers,
            lambda done, _, spec: bar.update(
                task, completed=done, description=f"{spec.label}, seed {spec.seed}"
            ),
        )
    from sleepgym.reports.report import write_report

    show_scores([out])
    page = write_report([out], out / "report", reference=chosen.agents[0].label)
    console.print(f"Report: {page}", soft_wrap=True, highlight=False)


def _run_and_show(spec, out: Path) -> None:
    from sleepgym.cli.tables import show_scores
    from sleepgym.runs.runner import run as run_stream

    with progress_bar() as bar:
        task = bar.add_task("starting", total=None)

        def progress(done: int, total: int, where: str, score: float | None) -> None:
            grade = "" if score is None else f" {score:.2f}"
            bar.update(task, completed=done, total=total, description=where + grade)

        run_stream(spec, out, progress=progress)
    show_scores([out])


def progress_bar():
    """A progress bar that leaves nothing behind."""
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from sleepgym.cli.tables import console

    return Progress(
        TextColumn("{task.description:<32}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )

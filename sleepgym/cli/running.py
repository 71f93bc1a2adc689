"""``run``, ``resume`` and ``suite``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sleepgym.cli.options import (
    AnyModel,
    Attention,
    Board,
    Data,
    Device,
    Dtype,
    IsolationLevel,
    Prompt,
    Samples,
    Track,
    Verbose,
    choose_hardware,
    example,
)

if TYPE_CHECKING:
    from sleepgym.runs.runner import Progress
    from sleepgym.runs.spec import RunSpec
    from sleepgym.suite.launchers import Launcher
    from sleepgym.suite.suite import Suite


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(
        epilog=example(
            "sleepgym run --env sleepgym/Almanac-v1 --env-set days=2 --agent naive --out runs/one",
            "sleepgym run --board almanac-8-v1 --agent mypkg.mine:Mine --out runs/mine",
        )
    )(run)
    app.command(epilog=example("sleepgym resume runs/one"))(resume)
    app.command(
        epilog=example(
            "sleepgym suite demo --workers 2",
            "sleepgym suite baselines --board almanac-8-v1 --agents naive,sleep --dry-run",
        )
    )(suite)


def run(
    agent: Annotated[
        str, typer.Option(help="Agent name ([bold]sleepgym list agents[/bold]) or module:Class.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Run directory, resumed if it holds this very run; with several seeds a folder of "
            "OUT/seed-N."
        ),
    ],
    env: Annotated[
        str | None, typer.Option(help="Environment id; see [bold]sleepgym list envs[/bold].")
    ] = None,
    env_set: Annotated[
        list[str] | None,
        typer.Option(
            help="Setting of the environment, repeatable; preset=NAME first.", metavar="K=V"
        ),
    ] = None,
    board: Board = None,
    agent_set: Annotated[
        list[str] | None, typer.Option(help="Setting of the agent, repeatable.", metavar="K=V")
    ] = None,
    tuned: Annotated[
        bool,
        typer.Option("--tuned", help="Lay --agent-set over the agent's tuned settings."),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the stream and of the agent.", min=0, show_default="0"),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Several seeds, for example 100-104 or 1,3,8.")
    ] = None,
    model: AnyModel = None,
    data: Data = None,
    isolation: IsolationLevel = "in-process",
    salt: Annotated[
        str, typer.Option(help="Salt of the agent's seed, from run.json: repeats that run.")
    ] = "",
    audit: Annotated[str, typer.Option(hidden=True, help="Of before 0.2.")] = "",
    track: Track = None,
    verbose: Verbose = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    attention: Attention = "auto",
    prompt: Prompt = "",
    samples: Samples = True,
) -> None:
    """Run one agent through one stream, or one a seed, and print its scores."""
    from sleepgym.cli.boards import board_env_settings, board_model, board_seeds, load_board
    from sleepgym.cli.console import console
    from sleepgym.core.errors import BadRun, BadSetting
    from sleepgym.core.settings import parse_pairs
    from sleepgym.runs.models.prompt import read_prompt
    from sleepgym.runs.records import isolation_of
    from sleepgym.runs.samples import keep_samples
    from sleepgym.runs.spec import RunSpec
    from sleepgym.suite.suite import parse_seeds
    from sleepgym.suite.tuned import in_words, with_tuned

    choose_hardware(device, dtype, attention)
    keep_samples(samples)
    if seed is not None and seeds is not None:
        raise BadSetting(f"seed={seed} and seeds={seeds}: give one of --seed and --seeds")
    if (env is None) == (board is None):
        raise BadSetting("give one of --env ID and --board NAME: what is the agent to run on?")
    wanted = parse_seeds(seeds) if seeds is not None else None if seed is None else (seed,)
    env_settings: dict[str, Any] = {**parse_pairs(env_set or ())}
    if board is not None:
        if env_settings:
            names = ", ".join(env_settings)
            raise BadSetting(f"env-set={names}: board {board} fixes every setting; use --env")
        chosen = load_board(board)
        env, env_settings = chosen.environment.id, board_env_settings(chosen)
        wanted, model = board_seeds(chosen, wanted), board_model(chosen, model)
    assert env is not None
    settings: dict[str, Any] = {**parse_pairs(agent_set or ())}
    if tuned:
        settings = with_tuned(agent, settings)
        console.print(f"{agent}: {in_words(settings)}", markup=False, highlight=False)
    spec = RunSpec(
        env=env,
        agent=agent,
        env_settings=env_settings,
        agent_settings=settings,
        model=model or "embedded",
        data=data,
        isolation=isolation_of(audit) if audit else isolation,  # pyright: ignore[reportArgumentType]  (checked by RunSpec)
        salt=salt,
        prompt=read_prompt(prompt),
    )
    _refuse_no_name(model)
    if board is None and seeds is None:
        runs = [(replace(spec, seed=seed or 0), out)]
    else:
        if (out / "run.json").is_file():
            raise BadRun(f"{out} is a run of one seed: choose another --out for several seeds")
        runs = [(replace(spec, seed=n), out / f"seed-{n}") for n in wanted or ()]
    _run_and_show(runs, out, verbose, track)


def resume(
    path: Annotated[Path, typer.Argument(help="Run directory.", metavar="DIR")],
    data: Data = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Where its model is now: files that are not those it began with are refused.",
            show_default="as it began",
        ),
    ] = None,
    verbose: Verbose = False,
    samples: Samples = True,
) -> None:
    """Go on with a run that was interrupted, from its last finished phase."""
    from sleepgym.runs.records import read_meta
    from sleepgym.runs.samples import keep_samples
    from sleepgym.runs.spec import spec_from_meta

    keep_samples(samples)
    spec = spec_from_meta(read_meta(path), data)
    _run_and_show([(replace(spec, model=model) if model else spec, path)], path, verbose)


def suite(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Suite ([bold]sleepgym list suites[/bold]) or a TOML file.",
            show_default="baselines with --board",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the runs and the report; resumable.",
            show_default="runs/NAME, or runs/BOARD",
        ),
    ] = None,
    agents: Annotated[
        str | None, typer.Option(help="Only these agents of the suite, comma-separated.")
    ] = None,
    board: Board = None,
    seeds: Annotated[
        str | None, typer.Option(help="Other seeds than the suite's, for example 0-4.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Another model than the suite's.")] = None,
    data: Data = None,
    isolation: IsolationLevel = "in-process",
    workers: Annotated[int, typer.Option(help="Processes side by side.", min=1)] = 1,
    launcher: Annotated[
        str,
        typer.Option(
            help="Where runs are executed: in processes here, or as tasks of a Ray cluster "
            "([bold]docs/clusters.md[/bold]).",
            metavar="local|ray",
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Of a Ray cluster: HOST:PORT or auto.", show_default="one started here"),
    ] = None,
    gpus_per_run: Annotated[
        float, typer.Option(help="GPUs of each run on the cluster; .5 puts two on one.", min=0)
    ] = 0.0,
    track: Track = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="List the runs, downloads, tokens and hours to expect; do nothing."
        ),
    ] = False,
    verbose: Verbose = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    attention: Attention = "auto",
    prompt: Prompt = "",
    samples: Samples = True,
) -> None:
    """Compare agents on the same streams; prints a table and writes a report."""
    from sleepgym.cli.console import console
    from sleepgym.cli.progress import progress
    from sleepgym.cli.tables import show_scores
    from sleepgym.core.errors import BadSetting
    from sleepgym.runs.models.prompt import read_prompt
    from sleepgym.runs.samples import keep_samples
    from sleepgym.suite.launchers import run_suite
    from sleepgym.suite.suite import load_suite, parse_seeds

    choose_hardware(device, dtype, attention)
    keep_samples(samples)
    if name is None and board is None:
        raise BadSetting("give a suite (sleepgym list suites), or --board NAME")
    _refuse_no_name(model)
    chosen = load_suite(name or "baselines")
    if agents:
        chosen = chosen.only([label.strip() for label in agents.split(",")])
    if seeds is not None:
        chosen = replace(chosen, seeds=parse_seeds(seeds))
    if model:
        chosen = replace(chosen, model=model, parameters=None, downloads=())
    if board:
        chosen = _on_board(chosen, board, seeds is not None, model)
    chosen, left_out = replace(chosen, prompt=read_prompt(prompt)).at_hand(data)
    out = out or Path("runs") / chosen.name
    runs = chosen.runs(out, data, isolation)  # pyright: ignore[reportArgumentType]
    console.print(f"[bold]{chosen.name}[/bold]: {chosen.summary} ({len(runs)} runs in {out})")
    for line in left_out:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if dry_run:
        from sleepgym.cli.planning import show_plan

        show_plan(chosen, runs)
        return
    where = _launcher(launcher, workers, address, gpus_per_run)
    follow = _follow(track)
    with progress() as report:
        run_suite(runs, where, report, follow, lambda line: console.print(line, soft_wrap=True))
    from sleepgym.reports.report import write_report

    show_scores([out], verbose)
    _hint(runs)
    page = write_report([out], out / "report", reference=chosen.agents[0].label)
    console.print(f"Report: {page}", soft_wrap=True, highlight=False)


def _refuse_no_name(model: str | None) -> None:
    from sleepgym.core.errors import BadSetting

    if model is not None and not model.strip():
        raise BadSetting(
            f"model={model}: must name one (sleepgym models), or be left out: embedded"
        )


def _launcher(name: str, workers: int, address: str | None, gpus_per_run: float) -> Launcher:
    from sleepgym.core.errors import BadSetting, unknown_name
    from sleepgym.suite.launchers import LocalLauncher

    if name == "ray":
        from sleepgym.suite.cluster import RayLauncher

        return RayLauncher(address, gpus_per_run, workers)
    if name != "local":
        raise unknown_name("launcher", name, ("local", "ray"))
    if address or gpus_per_run:
        option = f"address={address}" if address else f"gpus-per-run={gpus_per_run}"
        raise BadSetting(f"{option}: of --launcher ray alone")
    return LocalLauncher(workers)


def _follow(track: str | None) -> Callable[[Path], AbstractContextManager[Progress]] | None:
    """What lets a tracker follow a run, checked; None without one."""
    if track is None:
        return None
    from functools import partial

    from sleepgym.trackers.backends import check_tracker
    from sleepgym.trackers.following import followed

    check_tracker(track)
    return partial(followed, track)


def _on_board(suite: Suite, name: str, own_seeds: bool, model: str | None) -> Suite:
    """The agents of a suite on the environment, seeds and model of a board."""
    from sleepgym.cli.boards import board_env_settings, board_model, board_seeds, load_board
    from sleepgym.core.errors import BadSetting
    from sleepgym.suite.suite import Part

    board = load_board(name)
    same = [env for env in suite.envs if env.id == board.environment.id]
    labels = {env.label for env in same}
    kept = [agent for agent in suite.agents if not agent.envs or labels & set(agent.envs)]
    if not kept:
        raise BadSetting(f"suite {suite.name} has no agent for {board.environment.id}")
    files = tuple(dict.fromkeys(file for env in same for file in env.data_files))
    label = same[0].label if same else board.name
    part = Part(board.environment.id, label, board_env_settings(board), data_files=files)
    return replace(
        suite,
        name=board.name,
        summary=f"agents of {suite.name} on the board: {board.summary}",
        envs=(part,),
        agents=tuple(replace(agent, envs=()) for agent in kept),
        seeds=board_seeds(board, suite.seeds if own_seeds else None),
        model=board_model(board, model) if board.base_model or model else suite.model,
    )


def _hint(runs: Sequence[tuple[RunSpec, Path]]) -> None:
    """Say once of each kind of run what a look at its evenings suggests."""
    from sleepgym.cli.console import console
    from sleepgym.runs.records import read_run
    from sleepgym.scoring.hints import hints

    looked: set[Path] = set()
    for spec, path in runs:
        if spec.agent != "in-context" or path.parent in looked:  # its evenings are the model's own
            continue
        looked.add(path.parent)
        for text in hints(read_run(path)):
            line = f"Note: {path.parent.parent.name}, {spec.label}: {text}."
            console.print(line, soft_wrap=True, markup=False, highlight=False)


def _run_and_show(
    runs: Sequence[tuple[RunSpec, Path]], out: Path, verbose: bool, track: str | None = None
) -> None:
    from contextlib import nullcontext

    from sleepgym.cli.console import console
    from sleepgym.cli.progress import progress
    from sleepgym.cli.tables import show_scores
    from sleepgym.runs.records import read_run
    from sleepgym.runs.runner import run as run_stream
    from sleepgym.scoring.hints import hints

    found: list[str] = []  # not the records: that of a long horizon fills hundreds of MB
    told: list[str] = []
    follow = _follow(track)

    def hint(texts: Sequence[str]) -> None:
        for text in texts:
            if text not in told:
                told.append(text)
                console.print(f"Note: {text}.", soft_wrap=True, markup=False, highlight=False)

    with progress() as report:
        for spec, path in runs:
            prefix = f"seed {spec.seed}: " if len(runs) > 1 else ""

            with follow(path) if follow else nullcontext() as also:

                def tell(
                    done: int,
                    total: int,
                    where: str,
                    score: float | None,
                    prefix: str = prefix,
                    path: Path = path,
                    also: Progress | None = also,
                ) -> None:
                    grade = "" if score is None else f" {score:.2f}"
                    report(done, total, prefix + where + grade)
                    if also:
                        also(done, total, where, score)
                    if where == "evening of day 1":  # before hours are spent on the days to come
                        hint(hints(read_run(path)))

                found += hints(run_stream(spec, path, progress=tell))
    show_scores([path for _, path in runs], verbose)
    if not told:
        hint(found)

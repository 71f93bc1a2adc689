"""Commands of the agents; ``sleepgym.cli`` finds :func:`add_commands` by its entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sleepgym.cli.options import Data, Model, example


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    line = "sleepgym train-dreamer --seeds 0-9 --rounds 2 --out dreamers/mine"
    app.command("train-dreamer", epilog=example(line))(train_dreamer)
    line = "sleepgym prepare-agent duo-attention --model smollm2 --train-set steps=50"
    app.command("prepare-agent", epilog=example(line))(prepare_agent)


def train_dreamer(
    out: Annotated[
        Path, typer.Option(help="Folder of the dreamer; resumed after its last finished round.")
    ],
    env: Annotated[
        str, typer.Option(help="Environment of the training streams, questions included.")
    ] = "sleepgym/Almanac-v0",
    env_set: Annotated[
        list[str] | None,
        typer.Option(help="Setting of the environment, repeatable.", metavar="K=V"),
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Seeds of the streams, below 100: the others are for evaluation.")
    ] = "0-9",
    rounds: Annotated[
        int, typer.Option(help="Rounds in all; a higher number continues a dreamer.", min=1)
    ] = 2,
    agent_set: Annotated[
        list[str] | None,
        typer.Option(
            help="How dreams are sampled, selected and tried: a setting of [bold]dreaming[/bold], "
            "repeatable (here copy_steps=8, copy_learning_rate=0.01).",
            metavar="K=V",
        ),
    ] = None,
    train_set: Annotated[
        list[str] | None,
        typer.Option(
            help="How the adapter is fine-tuned: learning_rate, epochs, batch_size, rank, alpha; "
            "repeatable.",
            metavar="K=V",
        ),
    ] = None,
    model: Model = "embedded",
    data: Data = None,
) -> None:
    """Train a model to write dreams that help: ReST-EM on training streams.

    Every night of every stream the model writes dreams about its day. Dreams that help a copy of it
    with the day's real exam are rewarded; an adapter is fine-tuned on them, and writes the dreams
    of the next round. Load it with --agent-set dreamer=DIR. The share rewarded in round r measures
    the dreamer of round r - 1; that of round 1 measures the model without one.

    Example: sleepgym train-dreamer --seeds 0-1 --env-set days=2 --rounds 2 --out dreamers/first,
    then: sleepgym run --env sleepgym/Almanac-v0 --agent sleep --agent-set dreamer=dreamers/first
    --seed 100 --out runs/dreamer
    """
    from sleepgym.cli.console import console
    from sleepgym.cli.progress import progress
    from sleepgym.core.settings import build_config, parse_pairs
    from sleepgym.suite.suite import parse_seeds
    from sleepgym_agents.outer_loops import dreamer as training
    from sleepgym_agents.sleep.dreaming import DreamingSettings

    tried = {**training.TRIALS, **parse_pairs(agent_set or ())}
    course = training.Course(
        env=env,
        env_settings=parse_pairs(env_set or ()),
        seeds=parse_seeds(seeds),
        model=model,
        agent=build_config(DreamingSettings, tried, "agent dreaming"),
        training=build_config(
            training.DreamerTraining, parse_pairs(train_set or ()), "train-dreamer"
        ),
    )
    with progress() as report:
        log = training.train_dreamer(course, out, rounds, data, report)
    console.print("| round | dreams tried | rewarded | share | mean gain |\n|---|---|---|---|---|")
    for number, row in enumerate(log, start=1):
        console.print(
            f"| {number} | {row['tried']} | {row['rewarded']} | {row['share']:.2f} "
            f"| {row['gain']:+.3f} |",
            highlight=False,
        )
    if not any(row["rewarded"] for row in log):
        console.print("No dream was rewarded: there is no dreamer yet.")
        return
    console.print(f"Dreamer: --agent-set dreamer={out}", soft_wrap=True, highlight=False)


def prepare_agent(
    agent: Annotated[str, typer.Argument(help="duo-attention or recurrent-memory.")],
    env: Annotated[
        list[str] | None,
        typer.Option(help="Environment of training streams, repeatable (here Almanac-v1)."),
    ] = None,
    days: Annotated[int, typer.Option(help="Days of a training stream.", min=1)] = 8,
    seeds: Annotated[
        str,
        typer.Option(
            help="Seeds of the streams, below 100. Of more than ten the last ten are measured, not "
            "trained on, by recurrent-memory."
        ),
    ] = "0-99",
    train_set: Annotated[
        list[str] | None,
        typer.Option(help="Setting of the training, repeatable; see below.", metavar="K=V"),
    ] = None,
    model: Model = "embedded",
    env_set: Annotated[
        list[str] | None,
        typer.Option(help="Setting of the environments, repeatable.", metavar="K=V"),
    ] = None,
    data: Data = None,
) -> None:
    """Train what an agent needs beside a base model, once, and put it into the cache.

    duo-attention: which heads keep the whole context (steps, learning_rate, penalty, days,
    sequence_tokens, questions, sink_tokens, recent_tokens). recurrent-memory: a LoRA adapter and
    memory tokens (course, steps, batch_size, questions, bptt_segments, memory_tokens, span_tokens,
    segment_tokens, rank, alpha, learning_rate, ...). What was trained for the embedded model is
    shipped, and goes before what the cache holds.
    """
    from sleepgym.cli.console import console
    from sleepgym.cli.progress import progress
    from sleepgym.core.settings import build_config, parse_pairs
    from sleepgym.suite.suite import parse_seeds
    from sleepgym_agents.outer_loops.lessons import TrainingStreams
    from sleepgym_agents.outer_loops.preparing import prepare, training_settings

    given = parse_pairs(train_set or ())
    settings = build_config(training_settings(agent), given, f"the training of {agent}")
    streams = TrainingStreams(
        tuple(env or TrainingStreams.envs),
        parse_seeds(seeds),
        days,
        parse_pairs(env_set or ()),
        data,
    )
    with progress() as report:
        path, used, log = prepare(agent, model, streams, settings, report)
    for row in log:
        console.print(
            ", ".join(f"{name} {value:.4g}" for name, value in row.items()), highlight=False
        )
    console.print(f"Written: {path}", soft_wrap=True, highlight=False)
    if used != path:
        console.print(f"Shipped, and used instead: {used}", soft_wrap=True, highlight=False)

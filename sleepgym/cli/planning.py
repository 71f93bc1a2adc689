"""What ``sleepgym suite --dry-run`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from sleepgym.cli.console import console
from sleepgym.core import registry
from sleepgym.runs.spec import RunSpec
from sleepgym.suite.estimates import H200, SMALL, TWO_CORES, hours, scale_of
from sleepgym.suite.suite import Suite
from sleepgym.suite.tuned import in_words

LISTED = 40  # runs; of more, as many as this


def show_plan(suite: Suite, runs: Sequence[tuple[RunSpec, Path]]) -> None:
    """Print a suite's runs, downloads, tokens and hours; run and fetch nothing."""
    for spec, path in runs[:LISTED]:
        line = f"  {spec.env}  {spec.label}  seed {spec.seed}  {path}"
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if len(runs) > LISTED:
        console.print(f"  ... and {len(runs) - LISTED} more")
    console.print(f"\nModel: {suite.model}", highlight=False)
    console.print("Settings" + (", tuned:" if suite.tuned else ":"))
    for agent in suite.agents:
        for label in ("", *agent.settings_on):
            where = f" on {label}" if label else ""
            line = f"  {agent.label}{where}: {in_words(suite.settings(agent, label))}"
            if suite.settings(agent, label):
                console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print("  of other agents: the defaults")
    if suite.downloads:
        console.print("Downloads, where they are not at hand:")
        for what, gigabytes in suite.downloads:
            console.print(f"  {gigabytes:7.3f} GB  {what}", soft_wrap=True, highlight=False)
    small = suite.parameters is not None and suite.parameters < SMALL
    device = TWO_CORES if small else H200
    title = f"tokens of a run; hours on {device.name} for all seeds"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("environment", no_wrap=True)
    table.add_column("agent", no_wrap=True)
    for name in ("tokens read", "generated", "trained", "hours"):
        table.add_column(name, justify="right")
    total: float | None = 0.0
    for env in suite.envs:
        met = [s for s, _ in runs if (s.env, s.env_settings) == (env.id, env.settings)]
        first = {spec.label: spec for spec in reversed(met)}
        size = scale_of(met[0]) or env.scale if met else None
        for agent in (a for a in suite.agents if a.label in first):
            if size is None:
                table.add_row(env.label, agent.label, *["?"] * 4)
                total = None
                continue
            spec = first[agent.label]
            spent = registry.agent_class(agent.id).estimate(spec.agent_config(), size)
            taken = None
            if suite.parameters is not None:
                taken = hours(spent, suite.parameters, device) * len(suite.seeds)
            total = None if total is None or taken is None else total + taken
            tokens = (f"{n:,.0f}" for n in (spent.read, spent.generated, spent.trained))
            shown = "?" if taken is None else f"{taken:,.2f}"
            table.add_row(env.label, agent.label, *tokens, shown)
    console.print(table)
    if total is not None:
        console.print(f"{total:,.1f} hours on {device.name} in all.", highlight=False)
    console.print(
        "Estimated from the size of the streams, to an order of magnitude; '?' needs "
        "data that is not at hand, or a model whose size the suite does not say. Nothing was run.",
        soft_wrap=True,
        highlight=False,
    )

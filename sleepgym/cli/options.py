"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder of original data files, for example DIR/clinc150/data_full.json.",
        envvar="SLEEPGYM_DATA",
        metavar="DIR",
    ),
]
IsolationLevel = Annotated[
    str,
    typer.Option(
        help="Where the agent lives: here ([bold]in-process[/bold]), in a [bold]process[/bold] "
        "of its own, or in a [bold]sandbox[/bold] (bubblewrap).",
        metavar="in-process|process|sandbox",
    ),
]
_MODEL_HELP = (
    "Language model: [bold]embedded[/bold], a name that [bold]sleepgym models[/bold] lists, a "
    "folder, a GGUF file, a hub id, a server's ([bold]openai:URL#NAME[/bold]), or "
    "[bold]scratch[/bold] (small, random)."
)
Model = Annotated[str, typer.Option(help=_MODEL_HELP)]
AnyModel = Annotated[
    str | None, typer.Option(help=_MODEL_HELP, show_default="embedded, or the board's")
]
Device = Annotated[
    str,
    typer.Option(
        help="Where the model computes: auto (a GPU if there is one), cpu, cuda, cuda:1, mps, or "
        "balanced or sequential (layers over all GPUs, then the CPU).",
        envvar="SLEEPGYM_DEVICE",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        help="Its number format: auto (float32; bfloat16 for a large model on a GPU), float32, "
        "bfloat16, float16.",
        envvar="SLEEPGYM_DTYPE",
    ),
]
Attention = Annotated[
    str,
    typer.Option(
        "--attn",
        help="Attention of training passes, as transformers names it: auto, sdpa, eager, ...; "
        "exams read by an attention of their own.",
        envvar="SLEEPGYM_ATTN",
    ),
]
Prompt = Annotated[
    str,
    typer.Option(
        help="How the model is asked: a file like prompt.json, [bold]plain[/bold], or "
        "[bold]template[/bold] (its own chat template).",
        envvar="SLEEPGYM_PROMPT",
        metavar="FILE|plain|template",
        show_default="as it suits the model",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", help="Name every setting, not only those that are not defaults."),
]
Paths = Annotated[
    list[Path], typer.Argument(help="Run directories, or folders that hold some.", metavar="DIR...")
]
Samples = Annotated[
    bool,
    typer.Option(
        "--samples/--no-samples",
        help="Write questions and right answers beside the record, for [bold]sleepgym look[/bold].",
        envvar="SLEEPGYM_SAMPLES",
    ),
]
Board = Annotated[
    str | None,
    typer.Option(
        help="Board ([bold]sleepgym list boards[/bold]) or a TOML file: its environment, settings, "
        "exams, budget, model and seeds.",
        metavar="NAME",
    ),
]

Track = Annotated[
    str | None,
    typer.Option(
        help="Tell an experiment tracker of every night too ([bold]docs/trackers.md[/bold]).",
        metavar="tensorboard|wandb|trackio|mlflow",
    ),
]


def example(*lines: str) -> str:
    """The end of a command's ``--help``: command lines to copy."""
    head = "Example:" if len(lines) == 1 else "Examples:"
    return "\n\n".join([head, *lines])


def choose_hardware(device: str, dtype: str, attention: str) -> None:
    """Leave the choice where whoever loads a model finds it, in this process and its workers."""
    os.environ["SLEEPGYM_DEVICE"] = device
    os.environ["SLEEPGYM_DTYPE"] = dtype
    os.environ["SLEEPGYM_ATTN"] = attention

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
AuditMode = Annotated[
    str,
    typer.Option(
        help="Who sits the morning exam: a fresh [bold]instance[/bold] loaded from the saved "
        "state, the same in a fresh [bold]process[/bold], or [bold]off[/bold].",
        metavar="instance|process|off",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        help="Language model: [bold]embedded[/bold], a name that [bold]sleepgym models[/bold] "
        "lists, a folder, a GGUF file, a hub id, or [bold]scratch[/bold] (small, random).",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="Where the model computes: auto (a GPU if there is one), cpu, cuda, cuda:1, mps.",
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
Paths = Annotated[
    list[Path], typer.Argument(help="Run directories, or folders that hold some.", metavar="DIR...")
]


def choose_hardware(device: str, dtype: str, attention: str) -> None:
    """Leave the choice where whoever loads a model finds it, in this process and its workers."""
    os.environ["SLEEPGYM_DEVICE"] = device
    os.environ["SLEEPGYM_DTYPE"] = dtype
    os.environ["SLEEPGYM_ATTN"] = attention

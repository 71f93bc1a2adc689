"""Run directories made of nothing but numbers, for tests of what is computed from records."""

from __future__ import annotations

import json
from pathlib import Path

DAYS = 3
BUDGET = dict.fromkeys(("night_seconds", "night_train_tokens", "state_bytes"))


def write_run(
    path: Path,
    agent: str = "naive",
    seed: int = 0,
    first: float = 0.8,
    decay: float = 0.5,
    birth: float = 0.0,
    label: str = "",
    settings: dict | None = None,
    grow: bool = False,
    phases_left: int = 0,
    answer: str = "an answer",
) -> Path:
    """A run of three days: two questions a day and one of base knowledge.

    A day's questions score ``first`` in the evening and on the next morning, and ``decay`` times
    that a night later; ``birth`` before they are taught. With ``grow`` every exam shows other
    choices, as class-incremental streams do.
    """
    answers, phases, nights = [], [], []

    def exam(phase: str, day: int, night: int, asked: list[int]) -> None:
        lines = []
        for j in asked:
            age = night - j if phase == "morning" else 0
            value = 0.9 - 0.1 * night if j == 0 else first * decay**age if age >= 0 else birth
            for kind in ["base"] if j == 0 else ["direct", "two-hop"]:
                shown = f"{day if grow else 0}-{j}-{kind}"
                score = value if kind != "two-hop" else value / 2
                lines.append(
                    {"step": len(phases), "phase": phase, "day": day, "night": night}
                    | {"id": f"{j}-{kind}", "item_day": j, "kind": kind, "prompt": shown}
                    | {"answer": answer, "score": score}
                )
        answers.extend(lines)
        commit(phase, day, night, len(lines))

    def commit(phase: str, day: int, night: int, questions: int = 0) -> None:
        size = sum(len(json.dumps(line)) + 1 for line in answers)
        phases.append(
            {"step": len(phases), "phase": phase, "day": day, "night": night}
            | {"questions": questions, "missing": int(phase == "evening" and day == 1)}
            | {"score": None, "seconds": 1.0, "read_tokens": 10, "generated_tokens": 2}
            | {"train_tokens": 0, "flops": 100.0, "answers_bytes": size}
        )

    exam("morning", 0, 0, [0, *range(1, DAYS + 1)])
    for day in range(1, DAYS + 1):
        commit("study", day, day - 1)
        exam("evening", day, day - 1, [day])
        commit("sleep", day, day - 1)
        nights.append(
            {"night": day, "seconds": float(day), "read_tokens": 0, "generated_tokens": 0}
            | {"train_tokens": 100 * day, "flops": 6e6, "added_parameters": 8, "state_bytes": 64}
            | {"state_weights_bytes": 40, "state_keys_bytes": 20, "state_text_bytes": 4}
            | {"state_digest": "0", "exceeded": [], "log": {"loss": 1 / day}}
        )
        exam("morning", day, day, [0, *range(1, min(day + 1, DAYS) + 1)])
    meta = {
        "schema": 1,
        "spec": {
            "env": "sleepgym/Toy-v0",
            "env_settings": {"days": DAYS},
            "exams": "full",
            "budget": BUDGET,
            "agent": agent,
            "agent_settings": settings or {},
            "seed": seed,
            "model": "embedded",
            "isolation": "in-process",
        },
        "label": label or agent,
        "stream_hash": f"{seed:064x}",
        "days": DAYS,
        "steps": len(phases),
        "platform": {},
        "packages": {"sleepgym": "0"},
        "commit": None,
    }
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(meta))
    kept = phases[: len(phases) - phases_left]
    for name, lines in (("answers", answers), ("nights", nights), ("phases", kept)):
        (path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path

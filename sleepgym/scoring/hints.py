"""What a look at a run's answers suggests: a model that does not read, or does not answer."""

from __future__ import annotations

from sleepgym.runs.records import RunRecord

FEWEST_ANSWERS = 4
EMPTY_SHARE = 0.5
NEAR_ZERO = 0.05
LONG_WORDS = 8.0  # an answer of more words is a sentence


def hints(record: RunRecord) -> list[str]:
    """Sentences about a run of an agent with a model, each with what to try; none if all is well.

    Args:
        record: A run, finished or not. What counts are its evening exams, in which the day is
            still in the context.
    """
    spec = record.meta["spec"]
    answers = [line for line in record.answers if line["phase"] == "evening"]
    if not spec["model"] or len(answers) < FEWEST_ANSWERS:
        return []
    empty = sum(not line["answer"].strip() for line in answers) / len(answers)
    if empty > EMPTY_SHARE:
        return [
            f"{empty:.0%} of the evening answers are empty: model {spec['model']} ends them at "
            f"once under this prompt. {_try(spec)}"
        ]
    accuracy = sum(line["score"] for line in answers) / len(answers)
    if accuracy >= NEAR_ZERO or spec["agent"] == "frozen":
        return []
    found = f"evening accuracy is {accuracy:.2f} with the day still in the context: "
    words = sum(len(line["answer"].split()) for line in answers) / len(answers)
    if words > LONG_WORDS:
        metric = spec["env_settings"].get("metric")
        or_metric = ", or --env-set metric=contained" if metric in ("exact", "f1") else ""
        return [
            f"{found}model {spec['model']} answers in sentences ({words:.0f} words on average). "
            f"{_try(spec)}{or_metric}"
        ]
    other = ", or this agent keeps nothing by day (compare with in-context)"
    return [
        f"{found}model {spec['model']} does not read this environment"
        f"{'' if spec['agent'] == 'in-context' else other}. {_try(spec)}, or another --model"
    ]


def _try(spec: dict) -> str:
    """What may help a model that does not know what an answer looks like."""
    prompt = "--prompt (plain, template, or a file such as prompt.json)"
    if spec["env_settings"].get("shots") == 0:
        return f"Try --env-set shots=2 (exemplars show what an answer looks like) or {prompt}"
    return f"Try {prompt}"

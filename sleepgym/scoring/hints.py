"""What a look at a run's answers suggests: a model that does not read, or does not answer."""

from __future__ import annotations

from sleepgym.runs.records import RunRecord

FEWEST_ANSWERS = 8
EMPTY_SHARE = 0.5
NEAR_ZERO = 0.02


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
            "once under this prompt. A prompt.json in the model's folder says how questions and "
            "answers are marked"
        ]
    accuracy = sum(line["score"] for line in answers) / len(answers)
    if accuracy < NEAR_ZERO and spec["agent"] != "frozen":
        return [
            f"evening accuracy is {accuracy:.2f} with the day still in the context: model "
            f"{spec['model']} does not read this environment, or this agent keeps nothing by day. "
            "Compare with in-context; try another --model, or an environment that the model reads"
        ]
    return []

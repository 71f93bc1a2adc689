"""What each metric is called in tables, what it means, and the range it cannot leave."""

from __future__ import annotations

import math
from collections.abc import Sequence

GLOSSARY = {
    "average_accuracy": "Accuracy after the last night, mean over all days taught.",
    "anytime_accuracy": "Accuracy over the days taught so far that were asked, mean over nights.",
    "learning_accuracy": "Accuracy on each day in its own next morning, mean over days.",
    "backward_transfer": "Accuracy on a day on the last morning minus on its own morning, mean "
    "over days but the last; negative is forgetting.",
    "forward_transfer": "Accuracy on a day on the morning before it minus at birth, mean over days "
    "from the second.",
    "forgetting_first_last": "Accuracy on a day on its own morning minus on the last, mean over "
    "days but the last; negative where days improved.",
    "forgetting_max": "Best accuracy on a day on any earlier morning minus on the last (Chaudhry "
    "et al., 2018), mean over days but the last.",
    "retention": "Share of a day's first accuracy that is left on the last morning, mean over days "
    "but the last; days not learned at all are left out.",
    "half_life": "Nights until the retention curve first falls to one half, interpolated; "
    "undefined where it does not within the stream.",
    "evening_accuracy": "Accuracy on each day's questions with the context still open, mean over "
    "days.",
    "morning_accuracy": "Accuracy on the same questions after the night, the context wiped, mean "
    "over days.",
    "consolidation": "Morning accuracy over evening accuracy; undefined where the evening's is 0.",
    "base_retention": "Accuracy on base knowledge on the last morning over that at birth.",
    "gain": "Share of what the same model without memory gets wrong on the last morning that this "
    "agent gets right, on identical questions and choices; undefined where they differ.",
    "practice_accuracy": "Accuracy while awake on questions whose answers follow, over questions.",
    "missing_answers": "Questions left unanswered; they score 0.",
    "within_budget": "1 if no night exceeded its budget, else 0.",
    "night_seconds": "Wall-clock seconds a night, mean over nights.",
    "night_read_tokens": "Prompt tokens processed without gradient a night, mean over nights.",
    "night_generated_tokens": "Tokens sampled a night, mean over nights.",
    "night_train_tokens": "Tokens trained on a night, each epoch counted, mean over nights.",
    "night_flops": "Estimated floating-point operations a night, mean over nights.",
    "awake_seconds": "Wall-clock seconds of all phases but the nights, whole run.",
    "awake_read_tokens": "Prompt tokens processed outside the nights, exams included, whole run.",
    "awake_generated_tokens": "Tokens sampled outside the nights, exams included, whole run.",
    "awake_train_tokens": "Tokens trained on outside the nights, whole run.",
    "awake_flops": "Estimated floating-point operations outside the nights, whole run.",
    "night_processor_seconds": "Processor seconds of a night from the making of its instance to "
    "its end, all threads and children, mean over nights; measured.",
    "awake_processor_seconds": "Processor seconds of all other phases, whole run; measured.",
    "night_gpu_seconds": "Seconds in which the GPUs were busy while a night's instance lived, mean "
    "over nights; measured, if NVML answers.",
    "awake_gpu_seconds": "The same of all other phases, whole run.",
    "night_setup_seconds": "Wall-clock seconds of making a night's instance, loading the state and "
    "telling it the day again, mean over nights; not in night_seconds.",
    "awake_setup_seconds": "The same before all other phases, whole run; not in awake_seconds.",
    "added_parameters": "Parameters beyond those of the base model, after the last night: as "
    "declared, or the floating-point numbers in the state where these are more.",
    "state_bytes": "Size of the saved state after the last night.",
    "state_weights_bytes": "Floating-point tensors in the saved state after the last night.",
    "state_keys_bytes": "Floating-point tensors in files named keys* in that state.",
    "state_text_bytes": "All else in the saved state: text, integers, what is not proven numbers.",
}


OF_SAMPLED_EXAMS = {  # in the scores of runs with exams=sampled alone
    "average_accuracy_margin": "Half the width of a 95% interval for the average accuracy over all "
    "days, of which the last morning asked about a sample.",
}


def explain(metric: str) -> str:
    """One sentence that says what a metric of :func:`score_run` is."""
    known = GLOSSARY | OF_SAMPLED_EXAMS
    if metric in known:
        return known[metric]
    family, _, kind = metric.partition("_")
    if family == "gap":
        return f"accuracy_direct minus accuracy_{kind}: what is memorised but does not transfer."
    return f"Accuracy on questions of kind {kind} on the last morning, over questions."


HEADINGS = {
    "backward_transfer": "BWT",
    "forward_transfer": "FWT",
    "forgetting_first_last": "first-last forgetting",
    "forgetting_max": "max forgetting",
    "night_flops": "night FLOPs",
    "awake_flops": "awake FLOPs",
}
_SIGNED = ("backward_transfer", "forward_transfer", "forgetting_", "gap_")
_SHARES = ("within_budget",)


def heading(metric: str) -> str:
    """The column heading of a metric: the field's term, else its name as words."""
    return HEADINGS.get(metric, metric.replace("_", " "))


def bounds(metric: str) -> tuple[float, float]:
    """The smallest and the largest value that a metric can take."""
    if metric.startswith(_SIGNED):
        return -1.0, 1.0
    if metric == "gain":
        return -math.inf, 1.0
    if metric.endswith("_accuracy") or metric.startswith("accuracy_") or metric in _SHARES:
        return 0.0, 1.0
    return 0.0, math.inf


def clip(metric: str, ends: Sequence[float]) -> tuple[float, float]:
    """An interval as tables show it: Student's t may leave the range of a metric, a mean cannot."""
    low, high = bounds(metric)
    return max(low, ends[0]), min(high, ends[1])


def clip_difference(metric: str, ends: Sequence[float]) -> tuple[float, float]:
    """The same for the difference of two values of a metric."""
    low, high = bounds(metric)
    return max(low - high, ends[0]), min(high - low, ends[1])

"""Grades: deterministic, in [0, 1], 1.0 for the target itself."""

from __future__ import annotations

import re
import string
from collections import Counter

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and extra white space.

    The normalisation of SQuAD v1.1's evaluation (Rajpurkar et al. 2016), in its order: lower case,
    punctuation, articles, white space.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, target: str) -> float:
    """1.0 where the normalised texts are equal."""
    return float(answer == target or normalise(answer) == normalise(target))


def f1(answer: str, target: str) -> float:
    """Harmonic mean of precision and recall over the bags of normalised words."""
    given, wanted = normalise(answer).split(), normalise(target).split()
    if not given or not wanted:
        return float(answer == target or given == wanted)
    shared = sum((Counter(given) & Counter(wanted)).values())
    return 0.0 if shared == 0 else 2 * shared / (len(given) + len(wanted))


def chrf(answer: str, target: str) -> float:
    """Sentence chrF (Popovic 2015; character 6-grams, beta 2) by sacrebleu, scaled to [0, 1]."""
    if answer == target:
        return 1.0
    from sacrebleu.metrics.chrf import CHRF

    return CHRF().sentence_score(answer, [target]).score / 100


def choice(answer: str, target: str) -> float:
    """1.0 where the answer is the target, letter by letter, white space at the ends aside."""
    return float(answer.strip() == target.strip())

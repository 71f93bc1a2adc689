"""CLINC150: 150 intents in 10 domains, and queries out of scope.

S. Larson et al., "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction",
EMNLP-IJCNLP 2019. License CC BY 3.0. Files: ``clinc150/data_full.json`` (an object of lists of
[text, intent]) and ``clinc150/domains.json`` (domain -> its intents), as in the repository
clinc/oos-eval. 100 training and 30 test queries an intent; the validation part is not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sleepgym_tasks.data.parsing import as_fields, as_label, as_list, as_text, bad, read_json
from sleepgym_tasks.data.sources import locate
from sleepgym_tasks.datasets.labelled import LabelledTexts, Row, by_label, check_label

OUT_OF_SCOPE = "oos"
_PARTS = ("train", "test", "oos_train", "oos_test")


def load(data: Path | None = None) -> LabelledTexts:
    """The set from its original files.

    Raises:
        MissingData: If a file is not at hand.
        BadData: If a file is malformed.
    """
    groups = parse_domains(locate("clinc150", "domains.json", data))
    return parse_data(locate("clinc150", "data_full.json", data), groups)


def parse_domains(path: Path) -> tuple[tuple[str, ...], ...]:
    """The intents, by domain, in file order.

    Raises:
        BadData: If the file is malformed.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise bad(path, "not an object of domain -> intents")
    seen: set[str] = set()
    for domain, intents in content.items():
        for intent in as_list(intents, path, f"domain {domain!r}"):
            as_label(intent, path, f"domain {domain!r}", "an intent")
            if intent in seen or intent == OUT_OF_SCOPE:
                raise bad(path, f"the intent {intent!r} is taken", f"domain {domain!r}")
            seen.add(intent)
    return tuple(tuple(intents) for intents in content.values())


def parse_data(path: Path, groups: tuple[tuple[str, ...], ...]) -> LabelledTexts:
    """The queries of ``data_full.json``.

    Args:
        path: The file.
        groups: The intents by domain.

    Raises:
        BadData: If the file is malformed.
    """
    parts = dict(zip(_PARTS, as_fields(read_json(path), _PARTS, path), strict=True))
    intents = [intent for group in groups for intent in group]
    allowed = {"train": set(intents), "test": set(intents)}
    rows = {
        name: _pairs(part, allowed.get(name, {OUT_OF_SCOPE}), name, path)
        for name, part in parts.items()
    }
    return LabelledTexts(
        train=by_label(rows["train"], intents, path),
        test=by_label(rows["test"], intents, path),
        groups=groups,
        classes_per_day=max(len(group) for group in groups),
        out_of_scope_train=tuple(row for _, row in rows["oos_train"]),
        out_of_scope_test=tuple(row for _, row in rows["oos_test"]),
    )


def _pairs(part: Any, allowed: set[str], name: str, path: Path) -> list[tuple[str, Row]]:
    rows = []
    for index, pair in enumerate(as_list(part, path, name)):
        record = f"{name}[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise bad(path, "not a pair [text, intent]", record)
        text = as_text(pair[0], path, record, "the text").strip()
        label = check_label(as_label(pair[1], path, record), allowed, path, record)
        rows.append((label, Row(f"{name}/{index}", text)))
    return rows

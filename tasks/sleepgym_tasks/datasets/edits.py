"""Knowledge edits in the layouts that EasyEdit reads.

P. Wang et al., "EasyEdit", 2023 (arXiv:2308.07269; MIT). Three layouts of a JSON list are told
apart by their fields, record by record:

- CounterFact, single edits (K. Meng et al., NeurIPS 2022, arXiv:2202.05262): ``case_id``,
  ``prompt``, ``subject``, ``target_new``, ``ground_truth``, ``rephrase_prompt``,
  ``locality_prompt``, ``locality_ground_truth``.
- zsRE as MEND prepared it (E. Mitchell et al., ICLR 2022, arXiv:2110.11309): ``subject``, ``src``,
  ``rephrase``, ``alt``, ``answers``, ``loc`` (``nq question: ...``), ``loc_ans``. Records whose
  ``alt`` is empty are left out, as EasyEdit does; ``subject`` and ``rephrase`` may be empty.
- KnowEdit (N. Zhang et al. 2024, arXiv:2401.01286): ``subject``, ``prompt``, ``target_new``,
  optional ``rephrase_prompt``, and ``locality`` and ``portability`` as objects of lists of
  ``{"prompt", "ground_truth"}``.

Any record may carry ``portability`` as EasyEdit added it to the first two: an object with ``New
Question`` and ``New Answer``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sleepgym_tasks.data.parsing import as_fields, as_list, as_text, bad, read_json
from sleepgym_tasks.worlds.edits import Edit, Probe


def parse(path: Path) -> tuple[Edit, ...]:
    """The edits of a file in any of the layouts, in file order.

    Raises:
        BadData: If the file or a record is in none of them, or two records have one ``case_id``.
    """
    edits = []
    cases: dict[Any, str] = {}
    for index, value in enumerate(as_list(read_json(path), path)):
        record = f"[{index}]"
        if not isinstance(value, dict):
            raise bad(path, "not an object: no edit in one of EasyEdit's layouts", record)
        if "requested_rewrite" in value:
            raise bad(path, "ROME's own layout (requested_rewrite), not EasyEdit's", record)
        if "case_id" in value:
            case = repr(value["case_id"])
            if case in cases:
                raise bad(path, f"case_id {case:.40} occurs before, in {cases[case]}", record)
            cases[case] = record
        if "src" in value:
            if value.get("alt") == "":
                continue
            edits.append(_mend(value, path, record))
        elif isinstance(value.get("locality"), dict) or "locality_prompt" not in value:
            edits.append(_knowedit(value, path, record))
        else:
            edits.append(_counterfact(value, path, record))
    if not edits:
        raise bad(path, "every record has an empty 'alt': there is no edit in it")
    return tuple(edits)


def _counterfact(value: dict[str, Any], path: Path, record: str) -> Edit:
    names = ("subject", "prompt", "target_new", "rephrase_prompt")
    subject, prompt, target, rephrase = (
        as_text(v, path, record, n).strip()
        for n, v in zip(names, as_fields(value, names, path, record), strict=True)
    )
    locality = _probe(value, "locality_prompt", "locality_ground_truth", path, record)
    return Edit(
        record,
        subject,
        f"{prompt} {target}.",
        Probe(prompt, (target,)),
        (Probe(rephrase, (target,)),),
        (locality,),
        _portability(value, path, record),
    )


def _mend(value: dict[str, Any], path: Path, record: str) -> Edit:
    names = ("src", "alt", "loc")
    prompt, target, loc = (
        as_text(v, path, record, n).strip()
        for n, v in zip(names, as_fields(value, names, path, record), strict=True)
    )
    subject, rephrase, kept = as_fields(value, ("subject", "rephrase", "loc_ans"), path, record)
    if not loc.startswith("nq question: "):
        raise bad(path, f"loc {loc!r:.40} does not begin with 'nq question: '", record)
    question = f"{loc.removeprefix('nq question: ').rstrip('?')}?"
    others = [as_text(rephrase, path, record, "rephrase").strip()] if rephrase else []
    return Edit(
        record,
        as_text(subject, path, record, "subject").strip() if subject else "",
        f"{prompt} {target}",
        Probe(prompt, (target,)),
        tuple(Probe(other, (target,)) for other in others),
        (Probe(question, _answers(kept, path, record, "loc_ans")),),
        _portability(value, path, record),
    )


def _knowedit(value: dict[str, Any], path: Path, record: str) -> Edit:
    names = ("subject", "prompt", "target_new")
    subject, prompt, target = (
        as_text(v, path, record, n).strip()
        for n, v in zip(names, as_fields(value, names, path, record), strict=True)
    )
    rephrases = value.get("rephrase_prompt") or value.get("rephrase") or []
    rephrases = [rephrases] if isinstance(rephrases, str) else rephrases
    joint = "" if prompt.endswith("?") else "."
    return Edit(
        record,
        subject,
        f"{prompt} {target}{joint}",
        Probe(prompt, (target,)),
        tuple(
            Probe(as_text(r, path, record, "rephrase_prompt").strip(), (target,))
            for r in as_list(rephrases or [prompt], path, record, "rephrase_prompt")
            if r != prompt
        ),
        tuple(_listed(value.get("locality"), path, record, "locality")),
        _portability(value, path, record),
    )


def _portability(value: dict[str, Any], path: Path, record: str) -> tuple[Probe, ...]:
    portability = value.get("portability")
    if isinstance(portability, dict) and "New Question" in portability:
        return (_probe(portability, "New Question", "New Answer", path, f"{record}.portability"),)
    return tuple(_listed(portability, path, record, "portability"))


def _listed(groups: Any, path: Path, record: str, what: str) -> Iterator[Probe]:
    """The probes of KnowEdit: an object of lists; both texts may be in lists of their own."""
    if groups is None:
        return
    if not isinstance(groups, dict):
        raise bad(path, f"{what} is {groups!r:.40}, not an object of lists", record)
    for name, probes in groups.items():
        for number, probe in enumerate(probes or ()):
            yield _probe(probe, "prompt", "ground_truth", path, f"{record}.{what}.{name}[{number}]")


def _probe(value: Any, asked: str, told: str, path: Path, record: str) -> Probe:
    prompt, answers = as_fields(value, (asked, told), path, record)
    prompt = prompt[0] if isinstance(prompt, list) and prompt else prompt
    return Probe(
        as_text(prompt, path, record, asked).strip(), _answers(answers, path, record, told)
    )


def _answers(value: Any, path: Path, record: str, what: str) -> tuple[str, ...]:
    """Accepted answers from a text, a list of texts, or a list of lists of them; blanks aside."""
    flat: list[Any] = []
    for one in value if isinstance(value, list) else [value]:
        flat += one if isinstance(one, list) else [one]
    flat = [str(one) if type(one) in (int, float) else one for one in flat if one != ""]
    if not flat:
        raise bad(path, f"{what} holds no answer", record)
    return tuple(dict.fromkeys(as_text(one, path, record, what).strip() for one in flat))

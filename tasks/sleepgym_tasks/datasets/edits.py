"""Knowledge edits in the layouts that EasyEdit reads, and edits of the invented base world.

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

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sleepgym_tasks.data.parsing import as_fields, as_list, as_text, bad, read_json
from sleepgym_tasks.worlds.language.phrases import NEWS, follow
from sleepgym_tasks.worlds.ledger import Fact, Ledger
from sleepgym_tasks.worlds.questions import Asker
from sleepgym_tasks.worlds.world import base_world


class Probe(NamedTuple):
    """A question about an edit and its accepted answers."""

    text: str
    answers: tuple[str, ...]


class Edit(NamedTuple):
    """A fact that changes, and what tells whether it did.

    Attributes:
        id: Place in the file.
        subject: Who or what the fact is about.
        statement: The new fact, as a text to read.
        reliability: The edit's own prompt.
        generalisation: The same in other words; may be empty.
        locality: Facts that must not change; may be empty.
        portability: What follows from the new fact; may be empty.
    """

    id: str
    subject: str
    statement: str
    reliability: Probe
    generalisation: tuple[Probe, ...]
    locality: tuple[Probe, ...]
    portability: tuple[Probe, ...]


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


def invent(rng: random.Random, count: int) -> list[Edit]:
    """Edits of the world that the embedded model was born with, all true together.

    Args:
        rng: Source of randomness.
        count: How many; at most a few thousand.
    """
    world = base_world()
    asker = Asker(rng, Ledger(world.facts, world.holders))
    pointers: dict[str, list[Fact]] = {}
    for fact in world.all_facts():
        if fact.spec.links:
            pointers.setdefault(fact.value, []).append(fact)
    used: set[tuple[str, str]] = set()  # facts that an edit changed or a question relies on
    edits: list[Edit] = []
    for old in rng.sample(world.all_facts(), len(world.all_facts())):
        if len(edits) == count:
            break
        if (old.subject, old.attribute) in used:
            continue
        pool = sorted({f.value for f in world.all_facts() if f.attribute == old.attribute})
        new = old._replace(value=rng.choice([v for v in pool if v not in (old.value, old.subject)]))
        beside = [
            Fact(old.subject, a, v)
            for a, v in world.facts[old.subject].items()
            if a != old.attribute and (old.subject, a) not in used
        ]
        if new.spec.links:
            onward = [Fact(new.value, a, v) for a, v in world.facts[new.value].items()]
            hops = [(new, f) for f in onward if f.value != new.subject]
        else:
            hops = [(link, new) for link in pointers.get(new.subject, ())]
        hops = [h for h in hops if not {(f.subject, f.attribute) for f in h} & used]
        if not beside or not hops:
            continue
        kept, hop = rng.choice(beside), rng.choice(hops)
        used |= {(f.subject, f.attribute) for f in (new, kept, *hop)}
        edits.append(_invented(rng, asker, new, kept, hop))
    return edits


def _invented(
    rng: random.Random, asker: Asker, new: Fact, kept: Fact, hop: tuple[Fact, Fact]
) -> Edit:
    template = rng.choice(new.spec.passages[:-1])
    sentence = template.format(s=new.subject, v=new.value)
    own = asker.direct(new)
    other = own
    while other.text == own.text:
        other = asker.direct(new, "paraphrase")
    onward = asker.two_hop(*hop)
    return Edit(
        f"{new.subject}/{new.attribute}",
        new.subject,
        follow(rng.choice(NEWS), sentence, template),
        Probe(own.text, own.answers),
        (Probe(other.text, other.answers),),
        (Probe(asker.direct(kept).text, (kept.value,)),),
        (Probe(onward.text, onward.answers),),
    )


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

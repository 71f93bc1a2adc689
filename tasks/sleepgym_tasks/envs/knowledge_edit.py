"""Knowledge editing as continual learning: facts change one after another, and are asked for ever.

Sequential editing after EasyEdit (P. Wang et al. 2023, arXiv:2308.07269). An edit is a sentence to
read; what tells whether it took is asked in the evening and on every later morning, so that what
edit 1 did is still tested after edit 100.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge

from sleepgym import Day, Document, Item, Stream, TaskFamily
from sleepgym.core.errors import BadSetting
from sleepgym.core.settings import plain
from sleepgym.core.types import Experience
from sleepgym_tasks.data.grades import GRADES
from sleepgym_tasks.data.items import ItemFactory, shuffled
from sleepgym_tasks.data.shots import ShotSettings, exemplar, introduce
from sleepgym_tasks.data.sources import find, locate
from sleepgym_tasks.datasets.edits import parse
from sleepgym_tasks.worlds.edits import Edit, Probe, invent
from sleepgym_tasks.worlds.language.seeds import derive

Kind = Literal["reliability", "generalisation", "locality", "portability"]
_INSTRUCTION = "Answer each question with a name or a few words, and nothing else."
ZSRE = ("zsre_mend_eval.json", "zsre_mend_eval_portability_gpt4.json", "ZsRE-test-all.json")
_PAGE = "https://github.com/zjunlp/EasyEdit"


@dataclass(frozen=True)
class KnowledgeEditConfig(ShotSettings):
    """Settings of :class:`KnowledgeEdit`.

    Attributes:
        dataset: ``invented`` (edits of the world that the embedded model was born with; no files),
            ``counterfact`` (10,000 edits), ``counterfact-val`` (1,919) or ``zsre`` (bring a file
            in one of EasyEdit's layouts).
        days: Days of the stream.
        edits_per_day: Edits a day; 1 tests after every edit.
        kinds: Kinds of questions asked.
        metric: ``exact`` or ``f1`` after SQuAD's normalisation, or ``contained``.
    """

    dataset: Literal["invented", "counterfact", "counterfact-val", "zsre"] = "invented"
    days: Annotated[int, Ge(1)] = 8
    edits_per_day: Annotated[int, Ge(1)] = 1
    kinds: tuple[Kind, ...] = get_args(Kind)
    metric: Literal["exact", "f1", "contained"] = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not set(self.kinds) & {"reliability", "generalisation"}:
            raise ValueError("kinds names neither reliability nor generalisation: nothing is asked")


class KnowledgeEdit(TaskFamily):
    """Read a changed fact a day; answer with it, in its own words, in others, and onward from it.

    Question kinds: ``reliability`` (the edit's own prompt), ``generalisation`` (rephrased),
    ``portability`` (what follows from it, where the data say) and ``locality`` (a fact that must
    not change). Locality is knowledge from before the first day: it is asked every morning, and row
    0 of the accuracy matrix is what the model knew of it.

    The seed draws which edits, and their order. An edit is left out where it would contradict one
    before it: the same prompt with another answer, a locality prompt that an edit changes.
    Exemplars are further edits that go together with these.

    EasyEdit compares tokens under teacher forcing; here answers are generated and graded by
    ``metric``, so figures are not on the scale of its tables.
    """

    Config = KnowledgeEditConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "counterfact": {"dataset": "counterfact", "days": 10},
        "zsre": {"dataset": "zsre", "days": 10},
        "counterfact-1000": {
            "dataset": "counterfact",
            "days": 100,
            "edits_per_day": 10,
            "exams": "spaced",
        },
    }

    config: KnowledgeEditConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            MissingData: If the file is not at hand.
            BadData: If it is malformed.
            BadSetting: If there are not so many edits that go together.
        """
        config = self.config
        wanted = config.days * config.edits_per_day
        edits = self._edits(seed, wanted + config.shots)
        if len(edits) < wanted + config.shots:
            raise BadSetting(
                f"days={config.days} with edits_per_day={config.edits_per_day} of KnowledgeEdit:"
                f" needs {wanted + config.shots} edits, and {config.dataset} has {len(edits)} that"
                " go together"
            )
        items = ItemFactory()
        days, base = [], []
        for number in range(1, config.days + 1):
            today = edits[(number - 1) * config.edits_per_day : number * config.edits_per_day]
            exam: list[Item] = []
            for edit in today:
                exam += self._ask(edit, "reliability", (edit.reliability,), number, items)
                exam += self._ask(edit, "generalisation", edit.generalisation, number, items)
                exam += self._ask(edit, "portability", edit.portability, number, items)
                base += self._ask(edit, "locality", edit.locality, 0, items)
            documents = tuple(Document(edit.statement, edit.subject) for edit in today)
            days.append(Day(number, documents, exam=tuple(exam)))
        introduction = introduce(
            config, _INSTRUCTION, lambda: [_exemplar(edit) for edit in edits[wanted:]]
        )
        key = items.key()
        return Stream(
            "KnowledgeEdit", plain(config), seed, tuple(days), tuple(base), key, introduction
        )

    def score(self, answer: str, target: str) -> float:
        """The grade by ``metric``."""
        return GRADES[self.config.metric](answer, target)

    def _edits(self, seed: int, wanted: int) -> Sequence[Edit]:
        match self.config.dataset:
            case "invented":
                return invent(derive(seed, "knowledge edit"), wanted)
            case "counterfact":
                path = locate("counterfact", "counterfact-edit.json", self.data)
            case "counterfact-val":
                path = locate("counterfact", "counterfact-val.json", self.data)
            case "zsre":
                path = find("zsre", ZSRE, self.data, _PAGE)
        return compatible(shuffled(parse(path), seed, "edits"), wanted)

    def _ask(
        self, edit: Edit, kind: Kind, probes: Iterable[Probe], day: int, items: ItemFactory
    ) -> list[Item]:
        if kind not in self.config.kinds:
            return []
        return [
            items.make(f"{kind}/{edit.id}/{number}", probe.text, probe.answers, kind, day)
            for number, probe in enumerate(probes)
        ]


def _exemplar(edit: Edit) -> Experience:
    probes = (edit.reliability, *edit.generalisation)
    asked = [(probe.text, probe.answers[0]) for probe in probes]
    return exemplar([Document(edit.statement, edit.subject)], asked)


def compatible(edits: Iterable[Edit], most: int) -> list[Edit]:
    """The first edits that are true together: no prompt has two answers.

    Args:
        edits: In the order wanted.
        most: How many, at most.
    """
    answers: dict[str, tuple[str, ...]] = {}
    chosen: list[Edit] = []
    for edit in edits:
        if len(chosen) == most:
            break
        probes = (edit.reliability, *edit.generalisation, *edit.locality, *edit.portability)
        own = {probe.text: probe.answers for probe in probes}
        if edit.reliability.text in answers or len(own) < len(probes):
            continue
        if all(answers.get(text, told) == told for text, told in own.items()):
            answers |= own
            chosen.append(edit)
    return chosen

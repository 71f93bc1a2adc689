"""Questions composed of others, with a model whose answers are written down."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np

from sleepers import a_night, make, night, replace_samples, sleep_context
from sleepgym_agents.sleep import dreaming
from sleepgym_agents.sleep.consolidation import compositions
from sleepgym_agents.sleep.consolidation.compositions import (
    Link,
    compose_questions,
    draw_evenly,
    find_links,
)
from sleepgym_agents.sleep.consolidation.consolidation_data import ConsolidationData
from sleepgym_agents.sleep.consolidation.question_forms import (
    find_descriptions,
    find_frames,
    kindred,
)
from sleepgym_agents.sleep.consolidation.replay import believed
from sleepgym_agents.sleep.dreaming import of_the_day, without_outdated

EXPERT = (0, 1)
NAMES = {"Ada", "Bo", "Cy", "Rome"}
NEWS = [
    ("Who is the mentor of Ada?", "Bo"),
    ("Where does Ada live?", "Rome"),
    ("Where does the mentor of Cy live?", "Oslo"),  # shows what such a question looks like
    ("Who is the mentor of Cy?", "Di"),
    ("Is Ada as old as Bo?", "no"),
]
KNOWN = [("Where does Bo live?", "Oslo"), ("What does Bo eat?", "rice")]
ANSWERS = {
    "Who is the mentor of Ada?": ("Bo", 0.9),
    "Who is the mentor of Bo?": ("Cy", 0.3),  # the reader is not sure
    "Who is the mentor of Cy?": ("nobody known", 1.0),
    "What does Bo eat?": ("rice", 1.0),
    "Who is the mentor of Rome?": ("Bo", 0.9),
}


class Scripted:
    """A night whose model says what is written down; what it is asked is noted."""

    def __init__(self, answers):
        self.answers, self.asked, self.parts = answers, [], []
        self.memory = SimpleNamespace(
            bare=nullcontext,
            masked=lambda expert_id: nullcontext(),
            router=SimpleNamespace(by_entity=True),
            entities_in=lambda texts: [name for name in NAMES if name != "Rome"],
        )
        decode = SimpleNamespace(decode=lambda name: name)
        prompter = SimpleNamespace(document=lambda document: document.text, tokenizer=decode)
        self.lm = SimpleNamespace(prompter=prompter)

    def answer(self, questions, tokens, parts=()):
        self.asked += questions
        return [self.answers.get(question, ("", 0.0))[0] for question in questions]

    def score(self, pairs, parts=()):
        confidence = [self.answers.get(question, ("", 0.0))[1] for question, _ in pairs]
        found = zip(pairs, confidence, strict=True)
        return [SimpleNamespace(pair=pair, confidence=sure) for pair, sure in found]

    def affords(self, tokens):
        return True

    def derive_seed(self, *names):
        return 7


def example(pair):
    return SimpleNamespace(pair=pair)


def day(**values):
    empty = {"episodes": {}, "episode_items": [], "rehearsals": [], "entities": [], "dreamt": 0}
    empty |= {"dreams": [], "recollections": []}
    return ConsolidationData(**{**empty, **values})


def test_frames_hold_one_name_once():
    asked = [q for q, _ in [*NEWS, *KNOWN]] + ["Is Ada Ada?", "What is it?"]
    frames = find_frames(asked, NAMES)
    assert frames["Ada"] == {"Who is the mentor of \0?", "Where does \0 live?"}
    assert frames["Bo"] == {"Where does \0 live?", "What does \0 eat?"}
    assert frames["Cy"] == {"Who is the mentor of \0?", "Where does the mentor of \0 live?"}
    assert find_frames(["Who knows the Steady Lion?"], ["Lion", "Steady Lion"]) == {
        "Steady Lion": {"Who knows the \0?"}
    }


def test_what_was_asked_of_one_kind_is_not_asked_of_another():
    frames = {
        "Ada": {"job", "food", "pet", "home", "what people call it"},
        "Bo": {"job", "food"},
        "Rome": {"mayor", "river", "fair", "year", "what people call it"},
    }
    assert kindred("Bo", frames) == frames["Ada"] | frames["Bo"]
    assert kindred("Rome", frames) == frames["Rome"]
    assert kindred("Cy", frames) == set()


def test_descriptions_stand_where_frames_have_a_name():
    asked = [q for q, _ in [*NEWS, *KNOWN]]
    found = find_descriptions(asked, find_frames(asked, NAMES), NAMES)
    assert found == {"the mentor of \0": ({"Cy"}, {"Where does \0 live?"})}
    frames = {"Ada": {"What eats \0?", "Where is \0?", "What eats the \0?"}}
    longer = ["What eats the cat of Bo?", "Where is the cat of Bo?"]
    assert set(find_descriptions(longer, frames, NAMES)) == {"the cat of \0"}  # not "cat of \0"
    assert find_descriptions(["Where is the Bo?"], frames, NAMES) == {}


def test_links_are_sure_and_of_the_kinds_that_a_description_was_used_with():
    asked = [q for q, _ in [*NEWS, *KNOWN]]
    frames = find_frames([*asked, "Where is Rome?"], NAMES)
    descriptions = find_descriptions(asked, frames, NAMES)
    context = Scripted(ANSWERS)
    assert find_links(context, descriptions, frames, NAMES, NAMES, []) == [
        Link("Ada", "the mentor of Ada", "Bo")
    ]
    assert "Who is the mentor of Bo?" in context.asked
    assert "Who is the mentor of Rome?" not in context.asked  # a town has none
    is_a_town = Scripted({**ANSWERS, "Who is the mentor of Ada?": ("Rome", 0.9)})
    assert find_links(is_a_town, descriptions, frames, NAMES, NAMES, []) == []


def compose(answers, dreamt=(), **values):
    data = {"dreams": [example(x) for x in NEWS], "recollections": [example(x) for x in KNOWN[:1]]}
    data |= {"rehearsals": [example(x) for x in KNOWN[1:]], "made_up": ["Bo"]}
    data |= {"entities": ["Ada"]}
    return compose_questions(Scripted(answers), EXPERT, day(**{**data, **values}), dreamt, 9)


def test_what_is_known_of_the_one_that_is_meant_is_asked_with_the_description():
    composed = {("Where does the mentor of Ada live?", "Oslo")}
    assert set(compose(ANSWERS)[0]) == composed | {("What does the mentor of Ada eat?", "rice")}
    unsure = {**ANSWERS, "What does Bo eat?": ("rice", 0.9)}
    assert set(compose(unsure)[0]) == composed
    assert compose(ANSWERS, entities=[]) == ([], set())


def test_dreams_that_answer_otherwise_are_left_out():
    asked = "Where does the mentor of Ada live?"
    right, wrong = (asked, "Oslo"), (asked, "Rome")
    composed, contradicted = compose(ANSWERS, [right])
    assert contradicted == set()
    assert right not in composed  # it was dreamt
    composed, contradicted = compose(ANSWERS, [wrong])
    assert contradicted == {wrong}
    assert right in composed
    assert compose(ANSWERS, [("Where does Bo live?", "Rome")])[1] == {
        ("Where does Bo live?", "Rome")
    }


def test_the_weights_know_what_changed_since_an_episode():
    read = [("What does Bo eat?", "figs"), ("Where does Bo live?", "Oslo"), ("Who is Bo?", "x")]
    knows = {"What does Bo eat?": ("rice", 0.9), "Where does Bo live?": ("Rome", 0.7)}
    knows["Who is Bo?"] = ("y", 0.4)
    context = Scripted(knows)
    context.config = SimpleNamespace(recollection_confidence=0.8, confidence=0.5)
    found = [x.pair for x in believed(context, [*map(example, read)], ["Bo"], [])]
    assert sorted(found) == [("What does Bo eat?", "rice"), ("Who is Bo?", "x")]


def test_names_of_older_days_are_left_to_their_experts():
    news = [*NEWS, ("What does Bo eat?", "figs")]
    assert compose(ANSWERS, dreams=[example(x) for x in news], entities=["Bo"]) == ([], set())
    agent = make("dreaming", compositions=4)
    memory, encode = agent.memory, agent.lm.prompter.encode
    for name in ("Ada", "Bo"):
        memory.assign_entities(memory.unlock(), [tuple(encode(name))], [])
    questions = ["Where is Ada?", "Where is Bo?", "Is Ada Bo?", "Where is it?"]
    context = agent.sleep_context(night(agent))
    dream = context.score([(question, "x") for question in questions])
    [left] = of_the_day(context, (0, 1), day(), [dream])
    assert [item.pair[0] for item in left] == questions[1:]
    told = day(dreams=[example(("Where is Cy?", "x"))])
    assert of_the_day(context, (0, 1), told, [dream]) == [dream]  # an answer of the day


def test_the_day_has_the_last_word(monkeypatch):
    spread = {"What does Bo eat?": ("rice", 1.0)}

    class Reading(Scripted):
        def answer(self, questions, tokens, parts=()):
            reads = {"What does Bo eat?": "figs"} if parts else {}
            known = super().answer(questions, tokens)
            return [reads.get(q, answer) for q, answer in zip(questions, known, strict=True)]

    context = Reading(spread)
    context.parts = ["text"]
    ask = compositions.answer_surely
    asked = ["What does Bo eat?"]
    assert ask(context, asked, ["Bo"], []) == [("What does Bo eat?", "rice")]
    assert ask(context, asked, ["Bo"], [("Which food does Bo order?", "figs")]) == []
    dream = [example(("What does Bo eat?", "rice")), example(("Who is Bo?", ""))]
    data = day(dreams=[example(("Which food does Bo order?", "figs"))], entities=["Bo"])
    assert without_outdated(context, data, [dream]) == [dream[1:]]


def test_groups_are_drawn_from_in_turn():
    groups = {("x", "y", str(i)): [(f"{i} {j}", "a") for j in range(i)] for i in range(1, 5)}
    drawn = draw_evenly(groups, 5, np.random.default_rng(0))
    assert sorted({q[0] for q, _ in drawn[:4]}) == ["1", "2", "3", "4"]
    assert len(drawn) == len(set(drawn)) == 5
    assert len(draw_evenly(groups, 99, np.random.default_rng(0))) == 10


def test_a_night_without_names_composes_nothing():
    agent = make("dreaming", compositions=4)
    context = sleep_context(agent.memory, agent.config)
    assert compose_questions(context, EXPERT, day(), [], 4) == ([], set())


def test_composed_questions_are_learned_without_a_trial(monkeypatch):
    pair = ("Where does the mentor of Mira Tolwen live?", "Rome")
    learned = []

    def distil(context, expert_id, examples, name):
        learned.extend(example.pair for example in examples)
        return {}

    replace_samples(monkeypatch)
    monkeypatch.setattr(dreaming, "distil_into_expert", distil)
    monkeypatch.setattr(dreaming, "reward", lambda _, __, tried, quiz: [0.0] * len(tried))
    monkeypatch.setattr(dreaming, "compose_questions", lambda *_: ([pair], set()))
    assert "compositions" not in a_night(make("dreaming"))
    assert not learned
    log = a_night(make("dreaming", compositions=4))
    assert (log["compositions"], log["dreams_rewarded"]) == (1.0, 0.0)
    assert learned.count(pair) == 1

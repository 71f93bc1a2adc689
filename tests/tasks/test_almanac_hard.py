"""The hard kinds of Almanac-v1: true on every morning, balanced, and not given away."""

from collections import Counter

import pytest

import family_checks
from sleepgym import make_env
from sleepgym.core.errors import BadSetting
from sleepgym.core.schedule import schedule
from sleepgym_tasks.worlds.almanac.hard_questions import HardQuestions
from sleepgym_tasks.worlds.language.phrases import ATTRIBUTES, begin
from sleepgym_tasks.worlds.language.phrases_hard import DENIALS, IF_KNOWN, NEEDS, UNKNOWN
from sleepgym_tasks.worlds.passages import Author
from sleepgym_tasks.worlds.verify import judge, truths
from sleepgym_tasks.worlds.world import base_world

ID = "sleepgym/Almanac-v1"
DOUBTED = {"deleted", "kept", "absent", "present"}
SUFFIX = IF_KNOWN.removeprefix("{question}")


@pytest.fixture
def history(monkeypatch):
    """Day -> (facts told, facts taken back), filled while a stream is written."""
    told, gone = {}, {}
    write, take_back = Author.write, HardQuestions.take_back

    def keep_written(self, count, day=0):
        passages = write(self, count, day)
        told[day] = [fact for passage in passages for fact in passage.facts]
        return passages

    def keep_deleted(self, rng, passages, day, count):
        text = take_back(self, rng, passages, day, count)
        gone[day] = list(self.deleted)
        return text

    monkeypatch.setattr(Author, "write", keep_written)
    monkeypatch.setattr(HardQuestions, "take_back", keep_deleted)
    return told, gone


def true_on(history, day):
    """Every question that what was told up to a day answers, with its answers."""
    told, gone = history
    facts = {}
    for number in range(1, day + 1):
        facts |= {(fact.subject, fact.attribute): fact for fact in told[number]}
        for fact in gone[number]:
            assert facts.pop((fact.subject, fact.attribute)) == fact
    met = {name for number in told for fact in told[number] for name in (fact.subject, fact.value)}
    born = [fact for fact in base_world().all_facts() if fact.subject in met]
    known = truths([*born, *facts.values()])
    for subject, attribute in facts:
        if attribute in NEEDS:
            question = begin(NEEDS[attribute].format(s=subject))
            known[question] = {facts[subject, attribute].value}
    return known


def verdict(item, key, known):
    """``true``, ``false`` or ``foreign``: of a question with its right answer."""
    text = item.question.text.removesuffix(SUFFIX)
    if item.kind == "as-of":
        text = text.split(": ", 1)[1]
    return judge(text, key[item.id][0], known)


@pytest.mark.parametrize("seed", range(4))
def test_every_answer_is_true_on_every_morning_that_asks_for_it(seed, history):
    stream = make_env(ID, preset="hard").family.stream(seed)
    truth = {day.number: true_on(history, day.number) for day in stream.days}
    checked = Counter()
    for step in schedule(stream):
        if not step.closed_book or not step.night:
            continue
        for item in (item for item in step.items if 0 < item.day <= step.night):
            day = step.night
            if item.kind == "as-of":
                day = int(item.question.text.split()[3].rstrip(":"))
                assert day < item.day
            found = verdict(item, stream.key, truth[day])
            assert found == ("foreign" if item.kind in ("deleted", "absent") else "true"), item
            checked[item.kind] += 1
    assert {"deleted", "kept", "absent", "present", "cascade", "as-of", "implicit"} <= set(checked)


@pytest.mark.parametrize("seed", range(3))
def test_a_deleted_fact_held_and_a_cascade_had_another_answer_the_day_before(seed, history):
    stream = make_env(ID, preset="hard").family.stream(seed)
    for day in stream.days[1:]:
        before, now = (true_on(history, number) for number in (day.number - 1, day.number))
        for item in day.exam:
            text = item.question.text.removesuffix(SUFFIX)
            if item.kind == "deleted":
                assert before[text]
                assert text not in now
            elif item.kind == "cascade":
                assert before[text].isdisjoint(now[text])


def test_abstaining_is_right_as_often_as_it_is_wrong():
    unknown = known = 0
    for seed in range(10):
        env, stream = family_checks.make(ID, seed=seed, preset="hard")
        items = [item for day in stream.days for item in day.exam if item.kind in DOUBTED]
        right = [env.family.score("not known", stream.key[item.id][0]) for item in items]
        assert sum(right) == len(right) / 2
        unknown += sum(right)
        known += len(right) - sum(right)
        assert all(item.question.text.endswith(SUFFIX) for item in items)
    assert unknown == known > 100


def test_every_hard_kind_is_asked_and_nothing_leaks():
    kinds = Counter()
    for seed in range(4):
        env, stream = family_checks.make(ID, seed=seed, preset="hard")
        family_checks.gold_scores_one(env)
        family_checks.no_leaks(env, allowed={"deleted", "absent"})
        kinds += Counter(item.kind for day in stream.days for item in day.exam)
    assert min(kinds[k] for k in (*DOUBTED, "cascade", "as-of", "implicit", "locality")) >= 10


@pytest.mark.parametrize("seed", range(6))
def test_no_other_question_is_about_a_fact_in_doubt(seed):
    """Whether the answer of a doubted question is known shows in no other question's text."""
    stream = make_env(ID, preset="hard").family.stream(seed)
    items = [*stream.base, *(item for day in stream.days for item in day.exam)]
    asked = {item.question.text for item in items if item.kind not in DOUBTED}
    doubted = Counter()
    for item in items:
        if item.kind in DOUBTED:
            plain = item.question.text.removesuffix(SUFFIX)
            same = same_question(plain)
            assert not same & asked, item
            doubted[frozenset(same)] += 1
    assert max(doubted.values()) == 1


def same_question(text):
    """All wordings of a direct question."""
    for attribute in ATTRIBUTES.values():
        for template in attribute.questions:
            first, _, last = template.partition("{s}")
            if text.lower().startswith(first.lower()) and text.endswith(last):
                subject = text[len(first) : len(text) - len(last)]
                return {begin(q.format(s=subject)) for q in attribute.questions}
    raise AssertionError(text)


def test_what_is_taken_back_is_said_and_days_are_named():
    stream = make_env(ID, preset="hard").family.stream(0)
    said = 0
    for day in stream.days:
        assert all(d.text.startswith(f"Day {day.number}. ") for d in day.documents)
        said += sum(d.text.count(words) for d in day.documents for words in DENIALS)
    assert said >= sum(item.kind == "deleted" for day in stream.days for item in day.exam) > 2


def test_only_the_kinds_that_are_asked_change_the_texts():
    plain, dated = (
        make_env(ID, kinds=kinds).family.stream(3) for kinds in (("direct",), ("direct", "as-of"))
    )
    for a, b in zip(plain.days, dated.days, strict=True):
        assert [f"Day {a.number}. {d.text}" for d in a.documents] == [d.text for d in b.documents]


def test_either_word_for_unknown_is_right_and_version_0_refuses():
    env, _ = family_checks.make(ID, preset="hard")
    assert [max(env.family.score(said, gold) for gold in UNKNOWN) for said in UNKNOWN] == [1, 1]
    family_checks.settings_refused(
        "sleepgym/Almanac-v0", BadSetting, "only sleepgym/Almanac-v1 asks it", kinds=("as-of",)
    )

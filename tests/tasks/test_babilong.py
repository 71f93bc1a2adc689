"""Stories hidden in long texts: order of facts, lengths, bAbI's format, and the invented twin."""

from __future__ import annotations

import random
import re

import pytest

import family_checks
from sleepgym.core.errors import BadData, BadSetting, MissingData
from sleepgym_tasks.datasets.babi import parse
from sleepgym_tasks.envs.babilong import LENGTHS
from sleepgym_tasks.worlds.stories import TASKS, invent

ID = "sleepgym/BABILong-v0"


@pytest.mark.parametrize("dataset", ["invented", "babi"])
@pytest.mark.parametrize("background", ["noise", "text"])
def test_stories_keep_their_facts_in_order(dataset, background, data_dir):
    settings = {"dataset": dataset, "background": background, "tasks": TASKS, "tokens": 800}
    env, stream = family_checks.make(ID, data_dir, **settings, stories_per_day=5)
    bare = family_checks.make(ID, data_dir, **{**settings, "tokens": 0}, stories_per_day=5)[1]
    for day, plain in zip(stream.days, bare.days, strict=True):
        assert [item.kind for item in day.exam] == list(TASKS)
        assert [i.question for i in day.exam] == [i.question for i in plain.exam]
        for item in day.exam:
            title = item.question.text.partition(":")[0]
            text = " ".join(d.text for d in day.documents if d.title == title)
            facts = " ".join(d.text for d in plain.documents if d.title == title)
            place = 0
            for fact in re.split(r"(?<=\.) ", facts):
                place = text.index(fact, place) + 1
            assert 3000 < len(text) < 3500
            assert len(facts) < 900
    assert len({i.question.text for day in stream.days for i in day.exam}) == 20
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)


def replay(facts, question):
    """The answer to a question about an invented story, by following it."""
    where, holder, visited, gifts, sides = {}, {}, {}, {}, {}
    for fact in facts:
        words = fact.rstrip(".").split()
        if found := re.fullmatch(r"(\w+) \w+ to the (\w+)\.", fact):
            where[found[1]] = found[2]
            for thing, who in holder.items():
                if who == found[1]:
                    visited[thing].append(found[2])
        elif "picked up" in fact:
            holder[words[4]] = words[0]
            visited.setdefault(words[4], [where[words[0]]])
        elif "put down" in fact:
            del holder[words[4]]
        elif "gave" in fact:
            gifts[words[3], words[5]] = words[0]
            holder[words[3]] = words[5]
            where[words[5]] = where[words[0]]
        else:
            sides[words[3], words[6]] = words[1]
    words = question.rstrip("?").split()
    if found := re.fullmatch(r"Where is (?:the )?(\w+)\?", question):
        return where.get(found[1]) or visited[found[1]][-1]
    if "before" in question:
        places = visited[words[3]]
        return places[places.index(words[6]) - 1]
    if question.startswith("Who gave"):
        return gifts[words[3], words[5]]
    if question.startswith("What is the"):
        return next(
            other for (side, other), one in sides.items() if (side, one) == (words[4], words[3])
        )
    return sides[words[2], words[5]]


@pytest.mark.parametrize("task", TASKS)
def test_answers_of_invented_stories_follow_from_them(task):
    rng = random.Random(0)
    for _ in range(200):
        sample = invent(rng, task)
        assert replay(sample.facts, sample.question) == sample.answer


def test_lengths_are_presets(data_dir):
    assert {"0k", "1k", "128k", "1M", "10M"} < set(LENGTHS)
    _, stream = family_checks.make(ID, data_dir, preset="1k")
    for day in stream.days:
        assert 3 * 3900 < sum(len(document.text) for document in day.documents) < 3 * 4400
    family_checks.settings_refused(
        ID, BadData, r"about 1,\d+ tokens, not the 10,000,000 asked for", data_dir, preset="10M"
    )
    _, stream = family_checks.make(ID, data_dir, preset="128k", repeat_text=True, days=1)
    assert len(stream.days[0].documents) > 380


def test_too_many_stories_and_missing_files_are_refused(data_dir, tmp_path):
    family_checks.settings_refused(
        ID,
        BadSetting,
        "qa1 has no story left on day 21",
        data_dir,
        dataset="babi",
        tasks=("qa1",),
        days=30,
        stories_per_day=1,
    )
    family_checks.settings_refused(
        ID,
        MissingData,
        "qa4_two-arg-relations_test.txt is missing",
        tmp_path,
        dataset="babi",
        tasks=("qa4",),
    )
    family_checks.settings_refused(ID, BadSetting, "tasks is empty", tasks=())


@pytest.mark.parametrize("folder", ["en-10k", "tasks_1-20_v1-2/en", "."])
def test_files_are_found_where_releases_put_them(folder, data_dir, tmp_path):
    name = "qa4_two-arg-relations_test.txt"
    (tmp_path / "babi" / folder).mkdir(parents=True)
    text = (data_dir / "babi/tasks_1-20_v1-2/en-10k" / name).read_text()
    (tmp_path / "babi" / folder / name).write_text(text)
    assert family_checks.make(ID, tmp_path, dataset="babi", tasks=("qa4",))[1].days


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("John went.\n", "line 1: John went. does not begin with an ID"),
        ("1 John went.\n3 Mary went.\n", "line 2: the ID 3 follows 1, not 2 or 1"),
        ("1 John went.\n1 Where? \tx\t1\n", "line 2: supporting ID 1 is of no statement above"),
        ("1 John went.\n2 Where is John?|office|1\n", "line 2: a question without TAB"),
        ("1 John went.\n2 Where is John?    office  1\n", "line 2: a question without TAB"),
        ("1 John went.\n2 Where is John?\toffice\n", "line 2: a question is not ID question"),
        ("1 John went.\n2 Where is John?\t\t1\n", "line 2: a question is not ID question"),
        ("1 John went.\n2 Where is John?\toffice\t2\n", "line 2: supporting ID 2 is of no"),
        ("1 John went.\n", "there is no question in it"),
        ("", "it is empty"),
        ("\ufeff1 John went.\n", "byte-order mark"),
    ],
)
def test_bad_lines_are_named(text, words, tmp_path):
    path = tmp_path / "qa1.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadData, match=re.escape(words)) as raised:
        parse(path)
    assert str(raised.value).startswith(f"{path}")


# -- the original files -------------------------------------------------------------------------


def test_original_files_have_their_thousand_questions(real_data):
    folder = real_data / "babi" / "tasks_1-20_v1-2" / "en-10k"
    for file in sorted(folder.glob("*_test.txt")):
        assert len(parse(file)) == 1000
    env, stream = family_checks.make(ID, real_data, preset="16k")
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)
    assert all(sum(len(d.text) for d in day.documents) > 3 * 60_000 for day in stream.days)

"""Languages: invented ones that can be translated by their own grammar, and MTOB's layout."""

from __future__ import annotations

import random
import re
import shutil
from itertools import islice

import pytest

import data_files
import family_checks
from sleepgym.core.errors import BadData, BadSetting, MissingData
from sleepgym_tasks.worlds.invented_languages import ADJECTIVES, NOUNS, VERBS, Language, clauses

ID = "sleepgym/ContinualTranslation-v0"


def test_the_twin_teaches_a_language_a_day():
    env, stream = family_checks.make(ID)
    assert [item.kind for day in stream.days for item in day.exam[:1]] == [
        "invented-1",
        "invented-2",
        "invented-3",
    ]
    for day in stream.days:
        assert [len(items) for items in day.practice] == [16, 16]
        assert len(day.exam) == 12
        shown = {item.question.text for items in day.practice for item in items}
        assert not shown & {item.question.text for item in day.exam}
        titles = [document.title.split()[0] for document in day.documents]
        assert titles[0] == "Grammar"
        assert set(titles[1:]) == {"Words"}
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)


def translate(sentence, grammar, words):
    """A sentence into English by what the documents say, and nothing else."""
    meanings = dict(entry.rstrip(";").split(": ") for entry in words)
    order = re.search(r"is (\w+), (\w+), (\w+), in this order", grammar).groups()
    before = "stands before" in grammar
    marks = dict(re.findall(r"(plural|object|past) when (\w+ is joined \w+) it", grammar))
    marks = {what: (text.split()[0], text.endswith("before")) for what, text in marks.items()}

    def strip(token, what):
        affix, first = marks[what]
        if first and token.startswith(affix):
            return token[len(affix) :]
        return token[: -len(affix)] if not first and token.endswith(affix) else None

    def read_noun(token, is_object):
        if is_object:
            token = strip(token, "object")
        if token in meanings and meanings[token] in NOUNS:
            return meanings[token]
        bare = strip(token, "plural") if token else None
        return f"{meanings[bare]}s" if meanings.get(bare) in NOUNS else None

    def read_verb(token):
        if meanings.get(token) in VERBS:
            return meanings[token], False
        bare = strip(token, "past")
        return (meanings[bare], True) if meanings.get(bare) in VERBS else None

    def phrases(tokens, is_object):
        if len(tokens) == 1:
            noun, adjective = read_noun(tokens[0], is_object), ""
        else:
            pair = tokens if before else tokens[::-1]
            adjective = meanings.get(pair[0])
            if adjective not in ADJECTIVES:
                return None
            noun, adjective = read_noun(pair[1], is_object), f"{adjective} "
        return noun and f"the {adjective}{noun}"

    tokens = sentence.split()
    found = set()
    for a in (1, 2):
        for b in (1, 2):
            lengths = dict(zip([p for p in order if p != "verb"], (a, b), strict=True)) | {
                "verb": 1
            }
            if sum(lengths.values()) != len(tokens):
                continue
            parts, place = {}, 0
            for part in order:
                parts[part] = tokens[place : place + lengths[part]]
                place += lengths[part]
            verb = read_verb(parts["verb"][0])
            subject, thing = phrases(parts["subject"], False), phrases(parts["object"], True)
            if verb and subject and thing:
                plural = subject.endswith("s")
                ending = "ed" if verb[1] else "" if plural else "s"
                stem = verb[0].removesuffix("e") if verb[1] else verb[0]
                found.add(f"{subject} {stem}{ending} {thing}")
    return found


@pytest.mark.parametrize("seed", range(12))
def test_grammar_and_words_are_enough_to_translate(seed):
    language = Language(random.Random(seed), "Testi")
    for clause in islice(clauses(random.Random(seed)), 60):
        found = translate(language.say(clause), language.grammar(), language.words())
        assert clause.english in found
        assert len(found) == 1


def test_languages_differ_and_sentences_do_not_repeat():
    one, two = (Language(random.Random(seed), "X") for seed in (1, 2))
    assert one.lexicon != two.lexicon
    said = [clause.english for clause in islice(clauses(random.Random(0)), 300)]
    assert len(set(said)) == 300
    words = set(" ".join(said[:40]).split())
    assert all(noun in words or f"{noun}s" in words for noun in NOUNS)


@pytest.mark.parametrize("direction", ["to-english", "from-english"])
def test_mtobs_layout_is_read(direction, data_dir):
    env, stream = family_checks.make(
        ID, data_dir, preset="kalamang", direction=direction, pairs=30, tests=5
    )
    (day,) = stream.days
    assert [len(items) for items in day.practice] == [16, 14]  # one pair is also a test
    assert day.documents[0].title == "Grammar of Kalamang"
    assert day.documents[0].text == "Verbs come last. Nouns first."
    assert f"{data_files.word(0)}: n, {data_files.word(900)};" in day.documents[1].text
    sides = "Kalamang to English" if direction == "to-english" else "English to Kalamang"
    assert day.exam[0].question.text.startswith(f"Translate from {sides}: ")
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)


def test_alone_and_in_sequence(data_dir, tmp_path):
    shutil.copytree(data_dir / "kalamang", tmp_path / "mtob")
    shutil.copytree(data_dir / "kalamang", tmp_path / "manchu")
    alone = family_checks.make(ID, tmp_path, preset="kalamang")[1]
    both = family_checks.make(ID, tmp_path, preset="sequence")[1]
    assert [day.exam[0].kind for day in both.days] == ["kalamang", "manchu"]
    assert alone.days[0] == both.days[0]


@pytest.mark.parametrize("direction", ["to-english", "from-english"])
def test_a_table_of_pairs_is_read(direction, tmp_path):
    lines = [f"{data_files.word(n)} be\tI saw {data_files.word(n + 500)}." for n in range(20)]
    (tmp_path / "manchu").mkdir()
    file = tmp_path / "manchu" / "test_sens337.txt"
    file.write_text("\n".join([*lines, lines[0]]) + "\n")
    env, stream = family_checks.make(ID, tmp_path, preset="manchu", direction=direction)
    (day,) = stream.days
    assert [sum(map(len, day.practice)), len(day.exam)] == [16, 4]
    asked = {item.question.text.partition(": ")[2] for item in day.exam}
    side = 0 if direction == "to-english" else 1
    assert asked == {line.split("\t")[side] for line in lines[4::5]}
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)
    for line, words in (("no tab", "line 21: not a sentence, TAB"), ("a\tb\tc", "line 21: not")):
        file.write_text("\n".join([*lines, line]))
        family_checks.settings_refused(ID, BadData, words, tmp_path, preset="manchu")
    file.write_text("a\tb\n")
    family_checks.settings_refused(ID, BadData, "1 pairs: it takes 5", tmp_path, preset="manchu")


def test_bad_settings_and_missing_files_are_one_line(data_dir):
    refused = family_checks.settings_refused
    refused(
        ID,
        BadSetting,
        "pairs=31 of ContinualTranslation: kalamang has 30",
        data_dir,
        languages=("kalamang",),
        pairs=31,
    )
    refused(ID, BadSetting, "names a language twice", languages=("kalamang", "kalamang"))
    refused(ID, BadSetting, "languages is empty", languages=())
    refused(
        ID, MissingData, "no manchu/splits/train_examples.json under", data_dir, preset="manchu"
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("splits/train_examples.json", [{"canary": "x"}], "there is no pair in it"),
        ("splits/train_examples.json", [{"original": "a"}], r"\[0\]: no 'translation' in it"),
        ("splits/train_examples.json", {"a": "b"}, "it is not a list"),
        ("splits/test_examples_ke.json", [{"original": "a", "translation": "---"}], "is dashes"),
        (
            "splits/test_examples_ke.json",
            [{"original": "a", "ground_truth": "b"}, {"original": "a", "ground_truth": "c"}],
            r"\[1\]: the same sentence occurs before, in \[0\]",
        ),
        ("resources/wordlist.json", [1], "not an object of words"),
        ("resources/wordlist.json", {"ke": {"a": [3]}}, "a: a meaning is 3, not text"),
    ],
)
def test_bad_records_are_named(name, content, words, data_dir, tmp_path):
    shutil.copytree(data_dir / "kalamang", tmp_path / "kalamang")
    data_files.write_json(tmp_path / "kalamang" / name, content)
    family_checks.settings_refused(ID, BadData, words, tmp_path, preset="kalamang")

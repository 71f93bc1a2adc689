"""The lessons of smollm2-reader: nothing of what is held out, and a loss where it belongs."""

import random
import sys

import pytest

from checkout import ROOT
from sleepgym import Document
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_tasks.envs.squad import held_out_titles

sys.path.insert(0, str(ROOT / "pretraining" / "reader"))

import lessons

LESSON = lessons.Lesson((Document("It is cold.", "Oslo"),), (("Where?", "Oslo"), ("What?", "cold")))


@pytest.fixture(scope="module")
def prompter():
    return LanguageModel.load("scratch").prompter


def test_no_article_that_is_held_out_is_taught(real_data):
    taught, held = lessons.squad_lessons(real_data)
    titles = [{d.title for lesson in some for d in lesson.documents} for some in (taught, held)]
    assert titles[1] == set(held_out_titles())
    assert not titles[0] & titles[1]
    assert (len(taught), len(held)) == (1657, 510)


def test_almanac_is_taught_on_tuning_seeds_without_what_only_the_base_world_tells():
    assert set(lessons.ALMANAC_SEEDS) == set(range(100))
    (lesson, *_) = lessons.almanac_lessons([0])
    assert lesson.documents
    assert len(lesson.pairs) > 4


def test_the_loss_is_on_questions_and_answers_not_on_texts(prompter):
    ids, weights = lessons.sequence(random.Random(0), prompter, LESSON, 2, 500)
    read = len(prompter.start) + len(prompter.document(LESSON.documents[0]))
    assert len(ids) == len(weights)
    assert set(weights[:read]) == {lessons.TEXT}
    assert set(weights[read:]) == {lessons.QUESTION, lessons.ANSWER}
    answers = [i for i, w in zip(ids, weights, strict=True) if w == lessons.ANSWER]
    wanted = [i for _, answer in LESSON.pairs for i in prompter.answer(answer)]
    assert sorted(answers) == sorted(wanted)


def test_dreams_are_taught_with_their_questions(prompter):
    dreamt = lessons.Lesson((Document("It rains.", "Rome"),), (("Does it?", "yes"),))
    feed = lessons.batches(0, prompter, [LESSON] * 5, [LESSON], [dreamt], rows=40, most_tokens=500)
    opening = [*prompter.start, *prompter.document(dreamt.documents[0])]
    own = [w for ids, w in next(feed) if ids[: len(opening)] == opening]
    assert own
    assert all(set(w[len(opening) :]) == {lessons.ANSWER} for w in own)

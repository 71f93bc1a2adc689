import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_models import make_memory
from sleepgym_agents.experts.entity_names import find_entity_names, split_words
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.prompts import Prompter, PromptFormat
from sleepgym_agents.lm.scratch import SCRATCH_FORMAT, byte_tokenizer
from sleepgym_agents.sleep.consolidation.consolidation_data import detect_entities
from sleepgym_agents.training.distillation import score_with_teacher

TOKENIZER = byte_tokenizer()


def encode(text):
    return TOKENIZER.encode(text, add_special_tokens=False)


def words(text):
    return [TOKENIZER.decode(word) for word in split_words(encode(text), TOKENIZER)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("who is Ada Bo?", ["who", " is", " Ada", " Bo", "?"]),
        ("Ada's <q> x", ["Ada", "'s", " ", "<q>", " x"]),
        ("", []),
        ("  a", [" ", " a"]),
    ],
)
def test_words_begin_at_spaces_and_signs(text, wanted):
    assert words(text) == wanted


@given(st.text(max_size=20))
def test_words_are_the_text(text):
    ids = encode(text)
    split = split_words(ids, TOKENIZER)
    assert [i for word in split for i in word] == ids
    assert all(split)


def found(questions, told, nats=6.0, **known):
    """Names by a gap of each word, spread over its tokens; every other word's gap is 0."""
    texts = [encode(question) for question in questions]
    gaps = []
    for ids, own in zip(texts, told, strict=True):
        split = split_words(ids, TOKENIZER)
        gaps.append([own.get(TOKENIZER.decode(w), 0.0) / len(w) for w in split for _ in w])
    return {
        TOKENIZER.decode(name) for name in find_entity_names(texts, gaps, TOKENIZER, nats, **known)
    }


def test_names_are_what_the_context_made_likely():
    context = encode("Then Ada Bo met Cy, who is old. Ada Bo left. Cy ate.")
    asked = ["who is Ada Bo?", "where did Cy go", "was it Ada Bo or Cy"]
    gap = {" Ada": 8.0, " Bo": 7.0, " Cy": 6.0}
    assert found(asked, [gap] * 3, context=context) == {" Ada Bo", " Cy"}
    assert found(asked, [gap] * 3, nats=7.5, context=context) == {" Ada Bo"}  # goes on alike
    assert found(asked, [gap] * 3, nats=8.5, context=context) == set()
    common = split_words(encode(" Cy"), TOKENIZER)
    assert found(asked, [gap] * 3, context=context, common=common) == {" Ada Bo"}
    assert found(asked, [gap] * 3, context=encode("Then Cy")) == {" Cy"}
    assert found([], [], context=context) == set()


def test_the_mean_over_all_occurrences_counts():
    context = encode("so where is Cy now? where is he? by Li")
    asked = ["where is Cy", "so where is he", "or where now", "so is Cy", "is Li"]
    told = [
        {"where": 9.0, " Cy": 9.0},
        {" where": 9.0},
        {" where": 0.0},
        {" Cy": 9.0},
        {" Li": 9.0},
    ]
    assert found(asked, told, nats=5.0, context=context) == {" Cy"}  # " where": 4.5 on average
    assert found(asked, told, nats=4.0, context=context) == {" where", " Cy"}  # Li once is too few


def test_the_first_word_of_a_question_may_surprise():
    context = encode("As a baker, Ada is old.")
    asked, told = ["As what", "As whom"], [{"As": 9.0}] * 2
    assert found(asked, told, context=context) == set()


def test_a_name_goes_on_while_all_its_occurrences_do():
    asked, gap = ["was Ada Bo", "is Ada Bo in"], [{" Ada": 9.0}] * 2
    assert found(asked, gap, context=encode("So Ada Bo left. Ada Bo ran.")) == {" Ada Bo"}
    assert found(asked, gap, context=encode("So Ada Bo left. Ada Li ran.")) == {" Ada"}
    assert found(["was Ada", "is Ada"], gap, context=encode("So Ada Bo left.")) == {" Ada"}


@pytest.mark.parametrize(
    ("form", "begin"), [(SCRATCH_FORMAT, len(["<q>"])), (PromptFormat(), len("Question: "))]
)
def test_names_are_sought_in_the_question_itself(form, begin, monkeypatch):
    memory = make_memory(
        LanguageModel(LanguageModel.load("scratch").model, Prompter(form, TOKENIZER))
    )
    examples = score_with_teacher(
        memory.lm, [("who is Ada?", "x"), ("is it", "y")], encode(" Ada is in.")
    )
    bare = score_with_teacher(memory.lm, [example.pair for example in examples])
    seen = []
    monkeypatch.setattr(
        "sleepgym_agents.sleep.consolidation.consolidation_data.find_entity_names",
        lambda *args: seen.extend(args),
    )
    detect_entities(memory.lm, examples, encode(" Ada is in."), bare[1:], 3.0)
    texts, gaps, _, nats, context, common = seen
    assert [TOKENIZER.decode(ids) for ids in texts] == ["who is Ada?", "is it"]
    assert {TOKENIZER.decode(word) for word in common} == {"is", " it"}
    assert (nats, context) == (3.0, encode(" Ada is in."))
    for example, alone, text, gap in zip(examples, bare, texts, gaps, strict=True):
        told = (example.likelihoods - alone.likelihoods)[begin - 1 :][: len(text)]
        assert gap == pytest.approx(told.tolist(), abs=1e-4)

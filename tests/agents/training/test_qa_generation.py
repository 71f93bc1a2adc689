"""Answers of dreams that are read out of the texts, and contexts with one sentence in focus."""

from types import SimpleNamespace

import pytest

from sleepgym import Document
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation_data import focused_contexts
from sleepgym_agents.training import qa_generation
from sleepgym_agents.training.qa_generation import answer_again


@pytest.fixture(scope="module")
def lm():
    return LanguageModel.load("scratch", 1)


def test_questions_are_asked_again_with_their_own_texts_open(lm, monkeypatch):
    prompter = lm.prompter
    contexts = [[prompter.document(Document(text, "Oslo"))] for text in ("A cat.", "A dog.")]
    prompts = []

    def write(lm, asked, tokens):
        prompts.extend(asked)
        return [prompter.answer(answer) for answer in ("cat", "", "dog")]

    monkeypatch.setattr(qa_generation, "generate", write)
    samples = [[("Who?", "bird"), ("Who?", "fish"), ("When?", "now")], [("Who?", "cow")]]
    found = answer_again(lm, contexts, samples, 8)
    assert found == [[("Who?", "cat")], [("Who?", "dog")]]  # what gets no answer is left out
    assert prompts[0] == prompter.prompt("Who?", contexts[0])
    assert prompts[2] == prompter.prompt("Who?", contexts[1])
    assert answer_again(lm, contexts, [[], []], 8) == [[], []]
    assert len(prompts) == 3


def test_every_sentence_comes_into_focus_in_turn(lm):
    documents = [Document("One. Two.", "A"), Document("Three.", "B")]
    parts = [lm.prompter.document(document) for document in documents]
    context = SimpleNamespace(lm=lm, documents=documents)
    practised = lm.prompter.demonstration("Who?", "me")
    contexts = [[parts[0]], [parts[1]], [parts[0]], parts, [practised]]
    found = focused_contexts(context, contexts)
    assert [tuple(map(tuple, whole[:-1])) for whole in found[:4]] == [
        tuple(map(tuple, whole)) for whole in contexts[:4]
    ]
    last = [lm.prompter.tokenizer.decode(whole[-1]) for whole in found[:4]]
    assert [text.split("\n")[1] for text in last[:3]] == ["One.", "Three.", "Two."]
    assert found[4] == [practised]

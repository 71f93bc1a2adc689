"""Answers of dreams that are read out of the texts, and contexts with one sentence in focus."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from sleepgym import Document
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation import consolidation_data
from sleepgym_agents.sleep.consolidation.consolidation_data import write_examples
from sleepgym_agents.training import qa_generation
from sleepgym_agents.training.qa_generation import answer_again


@pytest.fixture(scope="module")
def lm():
    return LanguageModel.load("scratch", 1)


def test_questions_are_asked_again_with_their_own_texts_open(lm, monkeypatch):
    prompter = lm.prompter
    contexts = [[prompter.document(Document(text, "Oslo"))] for text in ("A cat.", "A dog.")]
    prompts, calls = [], []

    def write(lm, asked, tokens):
        prompts.extend(asked)
        calls.append(len(asked))
        known = ["Who?" in prompter.tokenizer.decode(ids) for ids in asked]
        return [
            [*prompter.answer("cat"), *prompter.stop] if yes else prompter.stop for yes in known
        ]

    monkeypatch.setattr(qa_generation, "generate", write)
    samples = [[("Who?", "bird"), ("Who?", "fish"), ("When?", "now")], [("Who?", "cow")]]
    found = answer_again(lm, [*contexts, contexts[0]], [*samples, samples[0][:1]], 8)
    assert found == [[("Who?", "cat")], [("Who?", "cat")], [("Who?", "cat")]]
    assert [prompts[0], prompts[2]] == [prompter.prompt("Who?", parts) for parts in contexts]
    assert len(prompts) == 3  # a question is asked once of a text; what gets no answer is left out
    assert answer_again(lm, contexts, [[], []], 8) == [[], []]
    assert calls == [3]  # texts with few questions are read together
    many = [(f"Where is {number}?", "here") for number in range(qa_generation._FEW_QUESTIONS)]
    answer_again(lm, [*contexts, contexts[0]], [*samples, many], 8)
    assert calls[1:] == [2 + len(many), 1]  # one with many on its own


def test_every_sentence_comes_into_focus_in_turn(lm, monkeypatch):
    documents = [Document("One. Two.", "A"), Document("Three.", "B")]
    parts = [lm.prompter.document(document) for document in documents]
    config = SimpleNamespace(samples=4, dream_focus=True)
    seen = []

    def write(contexts, *names, opened):
        seen.append((contexts, opened))
        return [[("Who?", str(i)), ("Why?", "so")] for i in range(4)]

    def score(pairs, opened):
        seen.append(opened)
        return [SimpleNamespace(pair=pair) for pair in pairs]

    context = SimpleNamespace(
        lm=lm,
        config=config,
        documents=documents,
        parts=parts,
        practised=[],
        context_ids=[],
        write_qa=write,
        score=score,
    )
    monkeypatch.setattr(consolidation_data, "writing_dreams", lambda _: nullcontext())
    examples, _ = write_examples(context)
    (contexts, opened), _, first, second = seen
    assert opened == [[parts[0]], [parts[1]], [parts[0]], [parts[1]]]
    assert (first, second) == ([tuple(parts[0])], [tuple(parts[1])])
    assert [whole[0] for whole in contexts] == [whole[0] for whole in opened]
    decode = lm.prompter.tokenizer.decode
    assert [decode(whole[1]).split("\n")[1] for whole in contexts] == [
        "One.",
        "Three.",
        "Two.",
        "Three.",
    ]
    assert len({example.pair for example in examples}) == len(examples) == 5

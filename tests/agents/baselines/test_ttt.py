import pytest
import torch

from replayed import Replayed
from sleepgym import Document, Question
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.other.ttt import Ttt
from sleepgym_agents.baselines.text.retrieval import Retrieval
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.stores.text_store import Note
from sleepgym_agents.training.optimise import Trainer
from sleepgym_agents.training.training_step import TrainingStep

LABELS = ("warm", "cold", "mild")
PRACTICE = [
    (Question("ab red"), "warm"),
    (Question("ab blue"), "cold"),
    (Question("ab pink"), "warm"),
    (Question("cd one"), "odd"),
    (Question("cd two"), "even"),
]
ASKED = [Question("ab crimson", LABELS), Question("cd three"), Question("ab navy", LABELS)]
QUICK = {"rank": 4, "max_answer_tokens": 8}


def make(**values):
    return Ttt(build_config(Ttt.Config, {**QUICK, **values}, "test"), seed=1, model="scratch")


def wake(agent):
    agent.practice([q for q, _ in PRACTICE], [a for _, a in PRACTICE])


def weights(agent):
    return {name: p.clone() for name, p in named_weights(agent.lm.model).items()}


def same(agent, before):
    after = named_weights(agent.lm.model)
    return list(after) == list(before) and all(torch.equal(p, before[n]) for n, p in after.items())


def adapters(agent, questions, monkeypatch):
    """What each task's adapter has learned, and the answers."""
    learned = []
    real = Retrieval.answer

    def spy(self, asked):
        learned.append([p.clone() for p in named_weights(self.lm.model, "lora_").values()])
        return real(self, asked)

    with monkeypatch.context() as patch:
        patch.setattr(Retrieval, "answer", spy)
        return learned, agent.answer(questions)


def test_every_task_is_learned_as_if_it_were_the_only_one(monkeypatch):
    agent = make()
    wake(agent)
    before = weights(agent)
    learned, answers = adapters(agent, ASKED, monkeypatch)
    assert len(learned) == 2  # what "ab" and what "cd" questions retrieve
    assert same(agent, before)
    assert answers[0] in LABELS
    for task, of_task in ((0, ASKED[:1]), (1, ASKED[1:2]), (0, ASKED[2:])):
        [alone], [answer] = adapters(agent, of_task, monkeypatch)
        assert answer == answers[ASKED.index(of_task[0])]
        assert all(p.any() for p in alone)
        assert all(p.equal(q) for p, q in zip(alone, learned[task], strict=True))
        assert same(agent, before)


def test_one_adapter_serves_all_tasks_and_replays_their_steps(monkeypatch):
    agent, other = make(), make()
    wake(agent)
    wake(other)
    plain, answers = adapters(other, ASKED, monkeypatch)
    captured = []

    def capture(step, batch):
        captured.append(Replayed(step, batch))
        return captured[-1]

    monkeypatch.setattr(TrainingStep, "_captured", capture)
    monkeypatch.setattr("sleepgym_agents.training.optimise.on_one_gpu", lambda parameters: True)
    replayed, same_answers = adapters(agent, ASKED, monkeypatch)
    assert same_answers == answers
    assert len({id(made.step) for made in captured}) == 1
    torch.testing.assert_close(replayed, plain, atol=0, rtol=0)


def test_questions_one_a_call_are_answered_as_by_fresh_agents(monkeypatch):
    agent = make()
    wake(agent)
    before = weights(agent)
    trainers = set()
    real = Trainer.train
    monkeypatch.setattr(
        Trainer, "train", lambda self, *args: (trainers.add(self), real(self, *args))[1]
    )
    calls = [adapters(agent, [question], monkeypatch) for question in ASKED]
    assert len(trainers) == 1
    assert same(agent, before)
    for question, call in zip(ASKED, calls, strict=True):
        fresh = make()
        wake(fresh)
        expected, answers = adapters(fresh, [question], monkeypatch)
        assert call[1] == answers
        torch.testing.assert_close(call[0], expected, atol=0, rtol=0)
    assert len(trainers) == 1 + len(ASKED)


def test_steps_are_captured_once_for_questions_one_a_call(monkeypatch):
    agent = make()
    wake(agent)
    captured = []

    def capture(step, batch):
        captured.append(Replayed(step, batch))
        return captured[-1]

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "_captured", capture)
        patch.setattr("sleepgym_agents.training.optimise.on_one_gpu", lambda parameters: True)
        calls = [adapters(agent, [question], monkeypatch) for question in ASKED * 2]
    assert len({id(made.step) for made in captured}) == 1
    assert sum(made.replays for made in captured) > len(captured)
    plain = make()
    wake(plain)
    for question, call in zip(ASKED * 2, calls, strict=True):
        expected, answers = adapters(plain, [question], monkeypatch)
        assert call[1] == answers
        torch.testing.assert_close(call[0], expected, atol=0, rtol=0)


def test_weights_are_restored_when_an_answer_fails(monkeypatch):
    agent = make()
    wake(agent)
    before = weights(agent)
    expected = agent.answer(ASKED)
    with monkeypatch.context() as patch:
        patch.setattr(
            "sleepgym_agents.training.local_model.choose",
            lambda *_: (_ for _ in ()).throw(KeyError("x")),
        )
        with pytest.raises(KeyError):
            agent.answer(ASKED)
    assert same(agent, before)
    assert agent.answer(ASKED) == expected


def test_answering_changes_no_state(tmp_path):
    agent = make()
    wake(agent)
    agent.save(tmp_path)
    before = (tmp_path / "memory.jsonl").read_bytes()
    agent.answer(ASKED)
    agent.save(tmp_path)
    assert (tmp_path / "memory.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["memory.jsonl"]


def test_leave_one_out_by_hand():
    agent = make(orders=2, max_examples=5)
    notes = [Note(text, answer=answer) for text, answer in (("p", "1"), ("q", "2"), ("r", "3"))]
    examples = agent.leave_one_out(notes, 7)
    assert len(examples) == 5  # of the six
    prompter = agent.lm.prompter
    for number, example in enumerate(examples[:3]):
        left_out = prompter.demonstration(notes[number].text, notes[number].answer)
        assert list(example.ids[-len(left_out) :]) == left_out
        weighted = [i for i, w in zip(example.ids, example.weights, strict=True) if w]
        assert weighted[-len(prompter.answer("1")) :] == prompter.answer(notes[number].answer)
        assert len(weighted) == 2 * len(prompter.answer("1"))  # the first one's is left out
        for note in notes:
            one = prompter.demonstration(note.text, note.answer)
            starts = range(len(example.ids) - len(one) + 1)
            assert sum(list(example.ids[i : i + len(one)]) == one for i in starts) == 1


def test_training_for_the_task_changes_answers_and_is_charged():
    taught = make(epochs=60, learning_rate=5e-3, rank=16)
    still = make(epochs=1, learning_rate=1e-12)
    demonstrations = [(Question(f"say it {i}"), "yes") for i in range(4)]
    for agent in (taught, still):
        agent.practice([q for q, _ in demonstrations], [a for _, a in demonstrations])
    before = taught.meter.copy()
    asked = [Question("say it now")]
    assert taught.answer(asked) == ["yes"]
    assert still.answer(asked) != ["yes"]
    assert taught.meter.since(before)["train_tokens"] > 0


def test_without_two_demonstrations_nothing_is_trained():
    agent = make()
    agent.study([Document("Mira was born in Oslo.", "Mira")])
    agent.practice([Question("where is Mira")], ["Oslo"])
    agent.answer([Question("Where was Mira born?")])
    assert agent.meter.train_tokens == 0

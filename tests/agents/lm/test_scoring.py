import pytest
import torch

from sleepgym import Budget, Night
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.scoring import choice_log_probabilities, choose, score_continuations
from sleepgym_agents.training.optimise import Example, TrainingSettings, optimise

LABELS = ("transfer", "translate", "translate", "tra", "weather", "a", "a very long label indeed")
TEXTS = ["a", "who is it?", "a much longer question about nothing at all", "bb"]


@pytest.fixture(scope="module")
def lm():
    """A model that was taught one of the labels, so that others cannot win."""
    model = LanguageModel.load("scratch", seed=1)
    prompter = model.prompter
    parts = ((prompter.prompt("a"), 0.0), (prompter.answer("cw label"), 1.0))
    settings = TrainingSettings(learning_rate=3e-3, warmup_ratio=0.0)
    night = Night(1, Budget(), 0, model.meter)
    optimise(model, [[Example.joined(*parts)]] * 30, settings, night)
    return model


def prompts(lm, context=""):
    parts = [lm.prompter.encode(context)] if context else []
    return [lm.prompter.prompt(text, parts) for text in TEXTS]


def naive_score(lm, prompt, continuation):
    """One full sequence through transformers."""
    with torch.inference_mode():
        logits = lm.model(torch.tensor([[*prompt, *continuation]])).logits[0].log_softmax(-1)
    wanted = torch.tensor(continuation)
    table = logits[len(prompt) - 1 : -1]
    return table.gather(-1, wanted[:, None])[:, 0], bool((table.argmax(-1) == wanted).all())


@pytest.mark.parametrize("context", ["", "The sky is green on Tuesdays. " * 20])
def test_choices_equal_full_sequences(lm, context):
    asked = prompts(lm, context)
    wanted = torch.stack(
        [
            torch.stack([naive_score(lm, ids, lm.prompter.answer(c))[0].sum() for c in LABELS])
            for ids in asked
        ]
    )
    found = torch.stack(choice_log_probabilities(lm, asked, [LABELS] * len(asked)))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)
    assert choose(lm, asked, [LABELS] * len(asked)) == [LABELS[i] for i in wanted.argmax(1)]


def test_skipped_labels_never_win(lm):
    labels = tuple(f"{a}{b} label" for a in "abcdefghij" for b in "uvwxyz")
    asked = prompts(lm)
    every = torch.stack(choice_log_probabilities(lm, asked, [labels] * len(asked)))
    best = torch.stack(choice_log_probabilities(lm, asked, [labels] * len(asked), only_best=True))
    assert torch.isfinite(every).all()
    assert not torch.isfinite(best).all()
    assert (every.argmax(1) == best.argmax(1)).all()
    assert labels[int(best[0].argmax())] == "cw label"
    seen = torch.isfinite(best)
    torch.testing.assert_close(best[seen], every[seen], atol=1e-4, rtol=1e-5)


def test_each_question_has_its_own_choices(lm):
    asked = prompts(lm)
    offered = [("yes", "no"), ("only",), ("no", "yes"), LABELS]
    answers = choose(lm, asked, offered)
    assert all(answer in labels for answer, labels in zip(answers, offered, strict=True))
    assert choose(lm, [], []) == []


def test_continuations_equal_full_sequences(lm):
    asked = prompts(lm, "Some words before. " * 5)
    texts = ["one", "a longer answer", "", "two"]
    continuations = [lm.prompter.answer(text) for text in texts]
    for prompt, ids, scored in zip(
        asked, continuations, score_continuations(lm, asked, continuations), strict=True
    ):
        wanted, exact = naive_score(lm, prompt, ids)
        torch.testing.assert_close(
            torch.tensor(scored.log_probabilities), wanted, atol=1e-4, rtol=1e-5
        )
        assert scored.exact == exact


def test_exact_is_greedy_decoding(lm):
    asked = prompts(lm)
    written = generate(lm, asked, 9)
    assert all(s.exact for s in score_continuations(lm, asked, written))
    changed = [[*ids[:-1], (ids[-1] + 1) % 261] for ids in written]
    assert not any(s.exact for s in score_continuations(lm, asked, changed))

"""A day as an environment of TRL, and a step of its trainer."""

import sys
from pathlib import Path

import pytest

from checkout import ROOT
from sleepgym.interop.contract import BadRequest
from sleepgym.interop.trl_environment import day_environments, text_reward


@pytest.fixture
def day():
    return day_environments("toy:Toy", days=3)()


def gold(day):
    return [day._env.stream.key[item.id][0] for item in day._step.items]


def test_a_day_is_read_and_asked_or_only_asked(day):
    text = day.reset(seed=5, day=2)
    assert text.startswith("Person20\nPerson20 is in Town")
    assert text.endswith("1. Where is Person20?\n2. Where is Person21?")
    closed = day.reset(seed=5, day=2, closed_book=True, prompt=[{"role": "user"}])
    assert closed.startswith("Answer each question")
    assert not any(answer in closed for answer in gold(day))
    for wrong in (0, 4, -1):
        with pytest.raises(BadRequest, match=f"day={wrong}: the stream of seed 5 has no exam"):
            day.reset(seed=5, day=wrong)


def test_answers_come_by_tool_or_as_text(day):
    day.reset(seed=5)
    assert day.get_reward() == 0.0
    first, second = gold(day)
    assert day.answer(1, first) == "Noted. 1 to go."
    assert day.get_reward() == 0.5
    assert day.answer(3, "x") == "There is no question 3: they are 1 to 2."
    assert day.answer("2", "x").startswith("There is no question '2'")
    assert day.answer(2, second) == "Noted. All are answered."
    assert day.get_reward() == 1.0
    reply = [{"role": "assistant", "content": f"1. {first}\n2. wrong"}]
    assert text_reward([reply, f"1. {first}\n2. {second}"], [day, day]) == [0.5, 1.0]
    assert text_reward([[{"role": "assistant", "content": None}]], [day]) == [0.0]
    day.reset(seed=5)
    assert day.get_reward() == 0.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_trainer_takes_a_step_on_a_day(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    import trl
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    monkeypatch.syspath_prepend(ROOT / "interop" / "trl")
    monkeypatch.delitem(sys.modules, "train_days", raising=False)
    import train_days

    base = ROOT / "agents" / "sleepgym_agents" / "base"
    tokenizer = AutoTokenizer.from_pretrained(base)
    templates = Path(trl.__file__).parent / "chat_templates"
    tokenizer.chat_template = (templates / "qwen3.jinja").read_text()
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 8192}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), **sizes, **heads))
    before = train_days.handle(model)

    def length(completions, **row):
        return [float(len(str(completion))) for completion in completions]

    data = train_days.rows(seed=5, day=1, closed_book=False, count=2)
    size = {"per_device_train_batch_size": 2, "num_generations": 2, "max_completion_length": 8}
    log = train_days.sleep(
        model,
        tokenizer,
        day_environments("toy:Toy", days=1),
        data,
        str(tmp_path),
        rewards=(text_reward, length),
        max_steps=1,
        use_cpu=True,
        **size,
    )
    assert {"rewards/text_reward/mean", "rewards/DayEnvironment/mean"} <= log.keys()
    after = train_days.handle(model)
    assert (after != before) == (log["reward_std"] > 0)
    assert log["reward_std"] > 0
    assert train_days.morning(model, tokenizer, day_environments("toy:Toy")(), 5, 1) == 0.0

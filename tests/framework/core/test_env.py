import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sleepgym
from sleepgym.core.agent import observed_questions
from sleepgym.core.env import ContinualEnv, make_env
from sleepgym.core.errors import BadSetting, SleepGymError, UnknownName
from sleepgym.core.schedule import schedule
from sleepgym.core.types import AnswerKey, Day, Item, Phase, Question, Stream
from toy import Notes, Toy, ToyConfig


@pytest.fixture
def env():
    return ContinualEnv(Toy())


def play(env, agent, seed=3):
    """The plainest Gymnasium loop; returns (phase, closed_book, reward) of every step."""
    observation, _ = env.reset(seed=seed)
    trace, ended = [], False
    while not ended:
        phase, closed = Phase(int(observation["phase"])), int(observation["closed_book"])
        observation, reward, ended, truncated, info = env.step(agent.act(observation))
        assert not truncated
        trace.append((phase.name, closed, reward, info))
    return trace


def test_a_day_is_study_practice_evening_sleep_morning(env):
    trace = play(env, Notes())
    names = [(name, closed) for name, closed, *_ in trace]
    day = [("STUDY", 0), ("PRACTICE", 0), ("EXAM", 0), ("SLEEP", 0), ("EXAM", 1)]
    assert names == [("EXAM", 1)] + 3 * day


def test_rewards_are_mean_scores_of_exams(env):
    trace = play(env, Notes())
    for name, _, reward, info in trace:
        assert reward == (pytest.approx(np.mean(info["scores"])) if name == "EXAM" else 0.0)
    assert trace[0][2] == pytest.approx(1 / 7)  # at birth it knows the base fact of 1 + 6
    assert trace[3][2] == 1.0  # evening of day 1
    assert trace[-1][2] == 1.0  # last morning: a perfect memory


def test_morning_asks_base_past_and_next_day(env):
    env.reset(seed=3)
    morning = env.steps[5]
    assert (morning.phase, morning.night, morning.closed_book) == (Phase.EXAM, 1, True)
    assert sorted({item.day for item in morning.items}) == [0, 1, 2]
    assert sorted({item.day for item in env.steps[-1].items}) == [0, 1, 2, 3]


def test_feedback_follows_practice_and_only_then(env):
    observation, _ = env.reset(seed=3)
    for step in env.steps:
        was_practice = step.phase is Phase.PRACTICE
        answers = [""] * len(step.items)
        observation, *_ = env.step(answers)
        assert observation["feedback"] == (("warm",) if was_practice else ())


def test_observations_lie_in_the_space_and_hide_the_key(env):
    observation, _ = env.reset(seed=3)
    assert env.stream is not None
    gold = {town for (town,) in env.stream.key.values() if town.startswith("Town")}
    for step in env.steps:
        assert env.observation_space.contains(observation)
        if step.phase is not Phase.STUDY:
            assert not any(answer in repr(observation) for answer in gold)
        observation, *_ = env.step([""] * len(step.items))
    assert "Town" not in repr(env.stream.key)
    assert set(Question.__dataclass_fields__) == {"text", "choices"}


def test_missing_answers_score_zero_and_are_counted(env):
    env.reset(seed=3)
    *_, info = env.step(("Town1",))
    assert info["missing"] == 6
    assert sum(info["scores"][1:]) == 0


def test_extra_answers_are_counted_and_ignored(env):
    env.reset(seed=3)
    *_, info = env.step(("x",) * 9)
    assert info["extra"] == 2
    assert len(info["scores"]) == 7


@pytest.mark.parametrize("action", ["text", (1,), (None,), None, {"a"}, {"a": "b"}, 7])
def test_an_action_that_is_no_sequence_of_strings_is_refused(env, action):
    env.reset(seed=3)
    with pytest.raises(SleepGymError, match="sequence of strings"):
        env.step(action)


def test_a_step_after_the_end_is_refused(env):
    play(env, Notes())
    with pytest.raises(SleepGymError, match="reset"):
        env.step(())


def test_gymnasium_accepts_the_environment(env):
    check_env(env, skip_render_check=True)


def test_what_is_shown_is_text_without_the_answers():
    env = make_env("toy:Toy", render_mode="ansi", facts=10)
    assert env.render() == "call reset() to begin"
    env.reset(seed=3)
    assert env.stream is not None
    birth = env.render()
    assert birth is not None
    assert birth.startswith("morning after night 0 (context wiped), 31 to read or answer\n  ")
    assert birth.endswith("... and 23 more")
    for step in env.steps:
        gold = {env.stream.key[item.id][0] for item in step.items if not item.question.choices}
        assert not any(answer in (env.render() or "") for answer in gold - {"here"})
        env.step(["here"] * len(step.items))
    assert (
        env.render()
        == "the stream has ended\nlast exam: morning after night 3: 0.032 over 31 " + ("questions")
    )
    assert make_env("toy:Toy").render() is None
    with pytest.raises(BadSetting, match="render_mode=human: must be ansi"):
        make_env("toy:Toy", render_mode="human")


def test_gymnasium_accepts_the_environment_that_is_shown():
    env = gymnasium.make("sleepgym/Almanac-v1", render_mode="ansi", days=1)
    check_env(env.unwrapped)
    env.reset(seed=0)
    assert "morning after night 0" in str(env.render())


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_environments_are_stepped_side_by_side(mode):
    apart = {"shared_memory": False, "context": "spawn"} if mode == "async" else {}
    envs = gymnasium.make_vec("sleepgym/Almanac-v1", 2, mode, apart, days=1)
    try:
        alone, _ = gymnasium.make("sleepgym/Almanac-v1", days=1).reset(seed=2)
        observation, _ = envs.reset(seed=[1, 2])
        assert observation["questions"][1] == alone["questions"]
        assert observation["questions"][0] != alone["questions"]
        ended = np.array([False])
        while not ended.any():
            answers = tuple(("?",) * len(asked) for asked in observation["questions"])
            observation, rewards, ended, _, info = envs.step(answers)
            assert rewards.shape == (2,)
        assert [len(scores) for scores in info["scores"]] == [len(given) for given in answers]
    finally:
        envs.close()


def test_a_run_can_start_anywhere(env):
    observation, _ = env.reset(seed=3, options={"start_step": 3})
    assert Phase(int(observation["phase"])) is Phase.EXAM
    assert len(observed_questions(observation)) == 2


def test_the_same_seed_gives_the_same_stream_and_another_another():
    hashes = [Toy().stream(seed).content_hash for seed in (5, 5, 6)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_spaced_exams_ask_ages_zero_and_powers_of_two_and_everything_at_last():
    stream = Toy(ToyConfig(days=11)).stream(0)
    mornings = [s for s in schedule(stream, "spaced") if s.closed_book]
    assert sorted({i.day for i in mornings[10].items}) == [0, 2, 6, 8, 9, 10, 11]
    assert sorted({i.day for i in mornings[11].items}) == list(range(12))


def test_spaced_exams_cost_t_log_t():
    def questions(days):
        stream = Toy(ToyConfig(days=days)).stream(0)
        return sum(len(s.items) for s in schedule(stream, "spaced") if s.closed_book)

    assert questions(256) < 2.5 * questions(128)


def test_labels_accumulate_and_unseen_days_offer_their_own():
    days = tuple(
        Day(n, exam=(Item(f"i{n}", Question(f"q{n}"), "direct", n),), labels=(f"l{n}",))
        for n in (1, 2, 3)
    )
    stream = Stream("labels", {}, 0, days, (), AnswerKey({f"i{n}": (f"l{n}",) for n in (1, 2, 3)}))
    mornings = [s for s in schedule(stream) if s.closed_book]
    offered = [
        {i.id: q.choices for i, q in zip(s.items, s.questions, strict=True)} for s in mornings
    ]
    assert offered[0] == {"i1": ("l1",), "i2": ("l1", "l2"), "i3": ("l1", "l2", "l3")}
    assert offered[1] == {"i1": ("l1",), "i2": ("l1", "l2")}
    assert offered[3]["i1"] == ("l1", "l2", "l3")


def test_an_item_is_not_asked_once_its_answer_is_superseded():
    old = Item("old", Question("q"), "direct", 1, until=1)
    new = Item("new", Question("q"), "updated", 2)
    days = (Day(1, exam=(old,)), Day(2, exam=(new,)))
    stream = Stream("u", {}, 0, days, (), AnswerKey({"old": ("a",), "new": ("b",)}))
    mornings = [{i.id for i in s.items} for s in schedule(stream) if s.closed_book]
    assert mornings == [{"old", "new"}, {"old", "new"}, {"new"}]


def test_make_env_reads_settings_and_names_what_is_wrong():
    env = make_env("toy:Toy", days="5", exams="spaced", night_train_tokens="100")
    assert env.family.config.days == 5
    assert env.budget.night_train_tokens == 100
    with pytest.raises(UnknownName, match="did you mean days"):
        make_env("toy:Toy", day=3)
    with pytest.raises(BadSetting, match=r"days=0 .*greater than or equal to 1.*default 3"):
        make_env("toy:Toy", days=0)
    with pytest.raises(BadSetting, match="exams=some"):
        make_env("toy:Toy", exams="some")
    with pytest.raises(UnknownName, match="unknown environment"):
        make_env("sleepgym/Nothing-v0")
    with pytest.raises(UnknownName, match="preset"):
        make_env("toy:Toy", preset="large")


def test_registered_ids_are_known_to_gymnasium():
    for env_id in sleepgym.core.registry.envs:
        assert env_id in gymnasium.registry

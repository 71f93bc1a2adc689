"""Environment steps a second: a ContinualEnv against a bare Gymnasium text environment."""

import argparse
import statistics
import time
from dataclasses import dataclass

import gymnasium

from sleepgym import AnswerKey, ContinualEnv, Day, Document, Item, Question, Stream, TaskFamily

DAYS, QUESTIONS, REPEATS = 200, 8, 5


@dataclass(frozen=True)
class Nothing:
    """No settings."""


class Toy(TaskFamily):
    """Days of one document and a few questions."""

    Config = Nothing

    def stream(self, seed):
        days = []
        for number in range(1, DAYS + 1):
            items = tuple(
                Item(f"{number}-{i}", Question(f"What is {number}-{i}?"), "direct", number)
                for i in range(QUESTIONS)
            )
            days.append(Day(number, (Document(f"Text {number}"),), (), items))
        key = {item.id: ("yes",) for day in days for item in day.exam}
        return Stream("toy", {}, seed, tuple(days), key=AnswerKey(key))

    def score(self, answer, target):
        return float(answer == target)


class Bare(gymnasium.Env):
    """One question a step, compared with its answer: the least a text environment can do."""

    observation_space = gymnasium.spaces.Text(20)
    action_space = gymnasium.spaces.Text(20)

    def __init__(self, steps):
        self.steps = steps

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return "What is 0?", {}

    def step(self, action):
        self.at += 1
        return f"What is {self.at}?", float(action == "yes"), self.at == self.steps, False, {}


def rate(env, act):
    """Steps and questions a second over one stream, making the stream left out."""
    observation, _ = env.reset(seed=0)
    steps = asked = 0
    ended = False
    start = time.perf_counter()
    while not ended:
        action = act(observation)
        observation, _, ended, _, _ = env.step(action)
        steps += 1
        asked += 1 if isinstance(action, str) else len(action)
    elapsed = time.perf_counter() - start
    return steps / elapsed, asked / elapsed


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    ours = ContinualEnv(Toy(), exams="spaced")
    bare = Bare(100_000)
    rows = {"bare": [], "sleepgym": []}
    for _ in range(REPEATS):
        rows["bare"].append(rate(bare, lambda _: "yes"))
        rows["sleepgym"].append(rate(ours, lambda o: ("yes",) * len(o["questions"])))
    print(f"{'':10} {'steps/s':>12} {'questions/s':>12}")
    for name, rates in rows.items():
        steps, questions = (statistics.median(column) for column in zip(*rates, strict=True))
        print(f"{name:10} {steps:12,.0f} {questions:12,.0f}")


if __name__ == "__main__":
    main()

"""How a model reads, answers and dreams under its prompt: SQuAD, Almanac, generated Q&A.

The agent ``in-context`` with its defaults sits evening exams, the day open before it, after
exemplars; nothing is trained. SQuAD is ``base_val`` with one passage a day. A dream sample parses
if at least one question with an answer is found in it. Tuning seeds only.
"""

import argparse
import time
from collections import defaultdict

from sleepgym.core.env import make_env
from sleepgym.core.schedule import experience_of
from sleepgym.core.types import Phase
from sleepgym.runs.models.prompt import read_prompt, use_prompt
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.training.qa_generation import answers_in, generate_qa
from sleepgym_tasks.data.grades import GRADES

ASKED_OF_A_PASSAGE = 5
DREAMS_OF_A_PASSAGE = 4


def evenings(agent, env, seed):
    """Each day's documents, its evening questions, the answers, and the accepted answers."""
    env.reset(seed=seed)
    agent.introduce(env.stream.introduction)
    documents = ()
    for step in env.steps:
        if step.phase in (Phase.STUDY, Phase.PRACTICE):
            experience = experience_of(step, env.stream.key)
            documents += experience.documents
            agent.study(experience.documents)
        elif step.phase is Phase.EXAM and not step.closed_book:
            yield documents, step.items, agent.answer(step.questions), env.stream.key
        elif step.phase is Phase.SLEEP:
            agent.forget()
            documents = ()


def grade(metric, answer, accepted):
    return max(GRADES[metric](answer, target) for target in accepted)


def squad(agent, arguments, settings):
    days = -(-arguments.questions // ASKED_OF_A_PASSAGE)
    env = make_env(
        "sleepgym/SQuAD-v0",
        data=arguments.data,
        days=days,
        passages_per_day=1,
        questions_per_passage=ASKED_OF_A_PASSAGE,
        **settings,
    )
    sums, total = defaultdict(float), 0
    for _, items, answers, key in evenings(agent, env, arguments.seed):
        for item, answer in zip(items, answers, strict=True):
            total += 1
            sums["empty"] += not answer
            for metric in ("f1", "exact", "contained"):
                sums[metric] += grade(metric, answer, key[item.id])
    row = ", ".join(f"{name} {sums[name] / total:.3f}" for name in ("f1", "exact", "contained"))
    print(f"SQuAD, passage open, {total} questions: {row}, empty {sums['empty'] / total:.3f}")


def almanac(agent, arguments, settings):
    for passages in (3, 4):  # 4 is the default; 3 is what the first figures were measured with
        almanac_days(agent, arguments, {**settings, "passages": passages})


def almanac_days(agent, arguments, settings):
    scores, empty, seed = defaultdict(list), 0, arguments.seed
    agent.lm.prompter = arguments.prompter
    while sum(map(len, scores.values())) < arguments.questions:
        env = make_env("sleepgym/Almanac-v1", **settings)
        for _, items, answers, key in evenings(agent, env, seed):
            for item, answer in zip(items, answers, strict=True):
                scores[item.kind].append(grade("exact", answer, key[item.id]))
                empty += not answer
            if sum(map(len, scores.values())) >= arguments.questions:
                break
        agent.forget()
        agent.lm.prompter = arguments.prompter
        seed += 1
    every = [score for own in scores.values() for score in own]
    kinds = ", ".join(f"{kind} {sum(s) / len(s):.2f}" for kind, s in sorted(scores.items()))
    mean, none = sum(every) / len(every), empty / len(every)
    print(
        f"Almanac, evening, {settings['passages']} passages a day, {len(every)} questions: "
        f"{mean:.3f} ({kinds}), empty {none:.3f}"
    )


def dreams(agent, arguments, settings):
    days = max(1, arguments.dreams // DREAMS_OF_A_PASSAGE)
    env = make_env(
        "sleepgym/SQuAD-v0", data=arguments.data, days=days, passages_per_day=1, **settings
    )
    env.reset(seed=arguments.seed)
    agent.introduce(env.stream.introduction)
    contexts = [
        (day.documents, [agent.lm.prompter.document(document) for document in day.documents])
        for day in env.stream.days
    ]
    samples = [pair for pair in contexts for _ in range(DREAMS_OF_A_PASSAGE)]
    written = generate_qa(
        agent.lm,
        [parts for _, parts in samples],
        tokens=arguments.dream_tokens,
        temperature=arguments.temperature,
        seed=arguments.seed,
    )
    items = [
        (question, answer, [document.text for document in documents])
        for (documents, _), pairs in zip(samples, written, strict=True)
        for question, answer in pairs
    ]
    parsed = sum(bool(pairs) for pairs in written) / len(written)
    inside = sum(answers_in([(q, a)], texts) for q, a, texts in items)
    print(
        f"dreams, {len(written)} samples of {arguments.dream_tokens} tokens: parsed {parsed:.3f}, "
        f"items {len(items)}, answers in the text {inside / max(1, len(items)):.3f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--questions", type=int, default=200, help="of SQuAD and of Almanac each")
    parser.add_argument("--dreams", type=int, default=160, help="dream samples; 0: none")
    parser.add_argument("--dream-tokens", type=int, default=160)
    parser.add_argument("--temperature", type=float, help="of dreams; the agents' own if absent")
    parser.add_argument("--shots", type=int, default=2)
    parser.add_argument("--instruction", choices=("none", "true", "false"), default="none")
    parser.add_argument("--prompt", default="", help="plain, template, or a file")
    parser.add_argument("--parts", default="squad,almanac,dreams")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data")
    arguments = parser.parse_args()
    if arguments.prompt:
        use_prompt(read_prompt(arguments.prompt))
    settings = {"shots": arguments.shots, "instruction": arguments.instruction}
    agent = InContext(model=arguments.model)
    arguments.prompter = agent.lm.prompter
    print(f"{arguments.model} on {agent.lm.device}, {settings}, prompt {arguments.prompt or 'own'}")
    for name in arguments.parts.split(","):
        started = time.perf_counter()
        agent.lm.prompter = arguments.prompter
        {"squad": squad, "almanac": almanac, "dreams": dreams}[name](agent, arguments, settings)
        print(f"  {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()

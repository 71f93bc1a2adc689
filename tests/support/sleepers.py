"""The agents that sleep, on a model that writes no Q&A by itself: its samples are replaced."""

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.registry import agent_class
from sleepgym.core.settings import build_config
from sleepgym_agents.sleep.sleep_context import SleepContext

NAMES = ("seeding", "dreaming", "sleep")
DOCUMENT = Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen")
PRACTICE = (("Where was Mira Tolwen born?", "Oslo"), ("Who is Ben Arruda?", "a keeper of bees"))
SAMPLED = (
    *PRACTICE,
    ("What does Mira Tolwen repair?", "clocks"),
    ("What is Ben Arruda?", "old"),
    ("Is Mira Tolwen born?", "yes"),
    ("Is Ben Arruda here?", "no"),
    ("Was Mira Tolwen here?", "yes"),
    ("Was Ben Arruda born?", "no"),
    ("What is it?", "a clock"),
)
QUICK = {
    "samples": 12,
    "dream_tokens": 8,
    "epochs": 4,
    "rank": 4,
    "slots": 1,
    "rehearsals": 4,
    "recollections": 2,
    "episode_tokens": 0,
    "confidence": 0.0,
    "recollection_confidence": 0.0,
    "min_entity_gain_nats": 0.0,
    "on_policy_every": 5,
    "groups": 2,
    "group_size": 2,
    "max_answer_tokens": 4,
}
DREAMS = {
    "dreams": 4,
    "kept_by_importance": 2,
    "kept_at_random": 2,
    "quiz_items": 3,
    "copy_learning_rate": 0.02,
}


def sleep_context(memory, config, number=1, seed=3, **limits):
    """A night without a day, for the functions that a night consists of."""
    return SleepContext(Night(number, Budget(**limits), seed, memory.lm.meter), memory, config)


def make(name, **values):
    cls = agent_class(name)
    quick = QUICK if name == "seeding" else {**QUICK, **DREAMS}
    return cls(build_config(cls.Config, {**quick, **values}, name), seed=1, model="scratch")


def wake(agent):
    agent.study([DOCUMENT])
    agent.practice([Question(q) for q, _ in PRACTICE], [a for _, a in PRACTICE])


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 5, agent.meter)


def a_night(agent, number=1, **limits):
    wake(agent)
    return agent.sleep(night(agent, number, **limits))


def state(agent, folder):
    folder.mkdir()
    agent.save(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def replace_samples(patch):
    """Whatever is sampled parses as one or two of the questions, by its tokens."""

    def parse(_, ids):
        at = sum(ids) % len(SAMPLED)
        return list(SAMPLED[at : at + 2])

    patch.setattr("sleepgym_agents.training.qa_generation.parse_qa", parse)
    patch.setattr("sleepgym_agents.training.qa_generation.ITEM_TOKENS", 6)
    patch.setattr("sleepgym_agents.sleep.consolidation.replay.ITEM_TOKENS", 6)
    patch.setattr(
        "sleepgym_agents.sleep.consolidation.consolidation_data.sample_rehearsal_qa", lambda *_: []
    )


def nothing(agent, log):
    ledger = dict(agent.memory.ledger())
    return {key: value for key, value in log.items() if key not in ledger or ledger[key] != value}

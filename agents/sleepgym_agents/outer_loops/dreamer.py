"""The outer loop of Dreaming: train a dreamer to write dreams that help (ReST-EM).

"Language Models Need Sleep" (arXiv:2606.03979, section 3.3) with ReST-EM (Singh et al. 2024). Every
night of a training stream, dreams are sampled from the dreamer with the day in context, selected by
their gradient, and tried on isolated copies; the reward is 1 where the copy does better at the
day's real exam. Then the dreamer is fine-tuned on the rewarded dreams, and the next round begins.

Departures:
    1. The base model is not changed: the dreamer is a LoRA adapter beside it, used while dreaming.
    2. Every round fine-tunes from the base model on its own rewarded dreams, as ReST-EM does.
    3. A copy is a copy of the expert that the night unlocked, not a LoRA adapter. "Does better" is
       more questions answered exactly, by forced decoding.
    4. Every night of the training stream also runs ``seeding``, so that later days have experts,
       one of which is active at random while dreams are written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from annotated_types import Ge, Gt

from sleepgym import Night
from sleepgym.core.agent import tell
from sleepgym.core.env import make_env
from sleepgym.core.errors import BadRun, BadSetting
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym.core.schedule import experiences_of
from sleepgym.core.settings import plain
from sleepgym_agents.lm.checkpoints import save_weights
from sleepgym_agents.lm.lora import temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.outer_loops.dream_trials import DreamTrials, Trial
from sleepgym_agents.sleep.dreaming import DreamingSettings
from sleepgym_agents.sleep.seeding import Seeding
from sleepgym_agents.training.dreamer import CARD, base_digest, write_card
from sleepgym_agents.training.optimise import Example, TrainingSettings, optimise, plan

LAST_SEED = 99
TRIALS: Mapping[str, Any] = {"copy_steps": 8, "copy_learning_rate": 1e-2}  # enough for an answer
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class DreamerTraining(TrainingSettings):
    """How the dreamer's adapter is fine-tuned; the defaults are SEAL's (Zweiger et al. 2025).

    Attributes:
        rank: Rank of the adapter in every linear layer.
        alpha: The adapter's output is scaled by ``alpha / rank``.
    """

    learning_rate: float = 3e-4
    epochs: int = 2
    items_per_sequence: int = 1
    sequence_tokens: int = 4096
    rank: Annotated[int, Ge(1)] = 64
    alpha: Annotated[float, Gt(0)] = 128.0


@dataclass(frozen=True)
class Course:
    """The training streams and settings of a dreamer.

    Attributes:
        env: Environment id.
        env_settings: Its settings.
        seeds: Seeds of its streams, none above 99: the others are for evaluation.
        model: The base model.
        agent: How dreams are sampled, selected and tried, and how the experts learn the stream.
        training: How the adapter is fine-tuned.
    """

    env: str = "sleepgym/Almanac-v0"
    env_settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = tuple(range(10))
    model: str = "embedded"
    agent: DreamingSettings = field(default_factory=lambda: DreamingSettings(**TRIALS))
    training: DreamerTraining = field(default_factory=DreamerTraining)

    def __post_init__(self) -> None:
        above = [seed for seed in self.seeds if seed > LAST_SEED]
        if above:
            raise BadSetting(
                f"seeds={above[0]}: a dreamer is trained on seeds 0 to {LAST_SEED}; "
                "those from 100 on are for evaluation"
            )
        if self.agent.dreamer:
            raise BadSetting(f"dreamer={self.agent.dreamer}: training begins without a dreamer")


def train_dreamer(
    course: Course,
    out: Path,
    rounds: int,
    data: Path | None = None,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """Train a dreamer, or continue one after its last finished round.

    Args:
        course: Training streams and settings.
        out: Folder of the dreamer.
        rounds: Rounds in all, finished ones included.
        data: Folder of original data files.
        progress: Called after every night with (nights done, nights in all, what).

    Returns:
        For every round: nights with dreams to try (``nights``), dreams ``tried`` and ``rewarded``
        of them, ``share`` rewarded, mean ``gain``, and the fine-tuning's ``steps`` and
        ``loss``. The dreams of round r are written by the dreamer of round r - 1.

    Raises:
        BadRun: If ``out`` holds a dreamer of another course.
    """
    lm = LanguageModel.load(course.model)
    card = _open(course, out, base_digest(lm.model))
    family = make_env(course.env, data=data, **course.env_settings).family
    streams = [family.stream(seed) for seed in course.seeds]
    nights = sum(len(stream.days) for stream in streams)
    done = len(card["rounds"]) * nights
    for number in range(len(card["rounds"]) + 1, rounds + 1):
        trials: list[Trial] = []
        tried_in = 0
        config = replace(course.agent, dreamer=str(out) if card["adapter"] else "")
        for stream in streams:
            agent, dream_trials = Seeding(config, model=course.model), DreamTrials()
            agent.stages = (dream_trials, *agent.stages)
            agent.introduce(stream.introduction)
            for day in stream.days:
                tell(agent, experiences_of(day, stream.key))
                dream_trials.exam = [(x.question.text, stream.key[x.id][0]) for x in day.exam]
                dream_trials.trials = []
                seed = derive_seed(stream.seed, "dreamer", number)
                agent.sleep(Night.unlimited(day.number, seed, agent.meter))
                trials += dream_trials.trials
                tried_in += bool(dream_trials.trials)
                done += 1
                if progress:
                    where = f"round {number}, seed {stream.seed}, day {day.number}"
                    progress(done, rounds * nights, where)
        rewarded = [trial for trial in trials if trial.gain > 0]
        log = {
            "nights": tried_in,
            "tried": len(trials),
            "rewarded": len(rewarded),
            "share": len(rewarded) / max(1, len(trials)),
            "gain": fmean(trial.gain for trial in trials) if trials else 0.0,
        }
        file = f"adapter-{number}.safetensors"
        learned = fine_tune(lm, rewarded, course.training, out / file, number)
        if learned.get("steps") and "nan_loss" not in learned:
            card["adapter"] = file
        card["rounds"].append({**log, **learned})
        write_card(out, card)
    return card["rounds"]


def fine_tune(
    lm: LanguageModel,
    rewarded: Sequence[Trial],
    settings: DreamerTraining,
    path: Path,
    seed: int,
) -> dict[str, float]:
    """Train a new adapter to write these dreams about their days, and save it.

    Args:
        lm: The base model; it is not changed.
        rewarded: What to learn; the day is given, the dream is predicted.
        settings: Settings of the fine-tuning.
        path: The adapter's file.
        seed: Seed of the first weights and of the order.
    """
    if not rewarded:
        return {}
    examples = [Example.joined((trial.prompt, 0.0), (trial.ids, 1.0)) for trial in rewarded]
    with temporary_lora(lm, settings.rank, settings.alpha, derive_seed(seed, "dreamer")):
        steps = plan(lm, examples, settings, derive_rng(seed, "dreamer order"))
        log = optimise(lm, steps, settings, Night.unlimited(1, seed, lm.meter))
        save_weights(lm.model, path, "lora_")
    return log


def _open(course: Course, out: Path, base: str) -> dict[str, Any]:
    """The card of a folder; a new one where there is none."""
    wanted = json.loads(json.dumps({"base": base, **plain(course)}))
    if not (out / CARD).exists():
        out.mkdir(parents=True, exist_ok=True)
        return {**wanted, "adapter": None, "rounds": []}
    try:
        card = json.loads((out / CARD).read_text(encoding="utf-8"))
        differing = [name for name, value in wanted.items() if card[name] != value]
        card = {**wanted, "adapter": card["adapter"], "rounds": list(card["rounds"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRun(f"{out / CARD} is not a dreamer's card: {error!r}") from error
    if differing:
        raise BadRun(
            f"{out} holds a dreamer with another {differing[0]}: choose another --out, "
            "or the same settings to go on with it"
        )
    return card

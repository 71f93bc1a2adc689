"""What an attack brings at the levels of isolation: nothing beside what honesty would have."""

import pytest

from sleepgym.core.errors import SleepGymError
from sleepgym.runs.isolation.sandbox import strictest_isolation
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.scoring.scores import score_run

HAS_SANDBOX = strictest_isolation() == "sandbox"
LEVELS = [
    "process",
    pytest.param("sandbox", marks=pytest.mark.skipif(not HAS_SANDBOX, reason="no bubblewrap here")),
]
GAIN = 0.02  # over the honest agent
# An attacker, and the honest agent that keeps as much
AS_GOOD_AS = {
    "Spy": "Ignorant",
    "Collector": "Ignorant",
    "Hider": "Ignorant",
    "Agreeable": "Ignorant",
    "Crammer": "Honest",
}


def accuracy(agent, level, folder):
    """Of all days, after the last night."""
    settings = {"days": 3, "facts": 2}
    spec = RunSpec("toy:Toy", f"board_agents:{agent}", settings, seed=100, isolation=level)
    return score_run(run(spec, folder / f"{agent}-{level}"))["average_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_an_attack_gains_nothing(tmp_path, level):
    honest = {name: accuracy(name, level, tmp_path) for name in ("Honest", "Ignorant")}
    assert honest["Honest"] > honest["Ignorant"] + GAIN
    for attacker, other in AS_GOOD_AS.items():
        assert accuracy(attacker, level, tmp_path) <= honest[other] + GAIN, attacker
    for attacker in ("Spy", "Collector", "Hider"):  # where the agent lives with the key, it gains
        assert accuracy(attacker, "in-process", tmp_path) > honest["Ignorant"] + GAIN, attacker
    with pytest.raises(SleepGymError, match="no module 'toy'"):
        accuracy("Rebuilder", level, tmp_path)

"""What a night may cost, and the meter that counts it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sleepgym.core.rng import derive_seed


@dataclass(frozen=True)
class Budget:
    """Limits of one night; None is no limit. Reported always, enforced where set.

    In a run they cover all that the instance that sleeps does: it loads the state, is told the day,
    sleeps and saves. Nothing else can change what is kept.

    Attributes:
        night_seconds: Wall-clock seconds (makes a run depend on the machine's speed).
        night_train_tokens: Tokens trained on, each epoch counted.
        night_generated_tokens: Tokens sampled from a model.
        night_flops: Estimated floating-point operations.
        added_parameters: Parameters beyond those of the base model, in total: at least the
            floating-point numbers in the saved state.
        state_bytes: Size of the saved state, in total.
    """

    night_seconds: Annotated[float, Ge(0)] | None = None
    night_train_tokens: Annotated[int, Ge(0)] | None = None
    night_generated_tokens: Annotated[int, Ge(0)] | None = None
    night_flops: Annotated[float, Ge(0)] | None = None
    added_parameters: Annotated[int, Ge(0)] | None = None
    state_bytes: Annotated[int, Ge(0)] | None = None

    def exceeded_by(self, spent: dict[str, float]) -> list[str]:
        """The names of the limits that ``spent`` breaks."""
        limits = asdict(self)
        return [
            name
            for name, limit in limits.items()
            if limit is not None and spent.get(name, 0) > limit
        ]


BUDGET_NAMES = tuple(f.name for f in fields(Budget))


@dataclass
class Meter:
    """Counts what the language-model substrate does. Counters only grow.

    Attributes:
        FIELDS: The names of the counters.
        read_tokens: Prompt tokens processed without gradient.
        generated_tokens: Tokens sampled.
        train_tokens: Tokens trained on.
        flops: Estimated floating-point operations (2 a parameter and token forward, 6 training).
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("read_tokens", "generated_tokens", "train_tokens", "flops")

    read_tokens: int = 0
    generated_tokens: int = 0
    train_tokens: int = 0
    flops: float = 0.0

    def since(self, start: Meter) -> dict[str, Any]:
        """Counts since an earlier :meth:`copy` of this meter."""
        return {name: getattr(self, name) - getattr(start, name) for name in self.FIELDS}

    def copy(self) -> Meter:
        """The counts of this moment."""
        return Meter(**asdict(self))


@dataclass
class Night:
    """What an agent is given to sleep: no data, only a number, a seed, a budget and the meter.

    Attributes:
        number: The night after day ``number``, from 1.
        budget: Limits of this night.
        seed: Seed of this night; derive everything random from it.
        meter: The agent's meter, counting since its birth.
    """

    number: int
    budget: Budget
    seed: int
    meter: Meter
    started: Meter = field(init=False)
    started_s: float = field(init=False)

    @classmethod
    def unlimited(cls, number: int, seed: int, meter: Meter) -> Night:
        """A night without limits."""
        return cls(number, Budget(), seed, meter)

    def __post_init__(self) -> None:
        self.started = self.meter.copy()
        self.started_s = time.perf_counter()

    def derive_seed(self, *names: str | int) -> int:
        """A seed for one use within this night."""
        return derive_seed(self.seed, "night", self.number, *names)

    def spent(self) -> dict[str, float]:
        """What this night has cost so far, by the names of :class:`Budget`."""
        counts = self.meter.since(self.started)
        return {
            "night_seconds": time.perf_counter() - self.started_s,
            "night_train_tokens": counts["train_tokens"],
            "night_generated_tokens": counts["generated_tokens"],
            "night_flops": counts["flops"],
        }

    def allows(self, **more: float) -> bool:
        """Whether the budget allows this much more, by the names of :class:`Budget`.

        ``night.allows(night_train_tokens=512, night_flops=1e9)`` before a training step; an agent
        that asks first and stops on False never exceeds its budget.
        """
        spent = self.spent()
        for name, amount in more.items():
            spent[name] = spent.get(name, 0) + amount
        return not self.budget.exceeded_by(spent)

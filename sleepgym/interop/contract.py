"""The contract of a state that outlives the episode: state handle, night report, audit.

Frameworks for reinforcement learning end an episode and forget it. A continual environment goes on
over nights, and what a learner carries through a night must be named, or nobody can say what the
next morning measured. Three parts, all plain JSON:

- the **state handle** names what the learner remembers: its digest and size. States stay with the
  learner; the environment keeps handles;
- the **night callback** is the learner's turn at a SLEEP phase: it consolidates, and reports the
  handle of what it keeps and what the night cost;
- the **audit** is what the environment holds against that: mornings name the handle that they are
  answered from, costs are compared with the budget, and a state that changed was not free.

Over a wire this is a record, not a proof: see ``docs/interop.md``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sleepgym.core.budget import Budget
from sleepgym.core.errors import SleepGymError

COSTS = ("train_tokens", "generated_tokens", "read_tokens", "flops")


class BadRequest(SleepGymError):
    """What a client sent that is not in the contract; its session goes on."""


@dataclass(frozen=True)
class StateHandle:
    """What a learner remembers after a night, by name.

    Attributes:
        digest: SHA-256 (64 hexadecimal digits) of the saved state.
        size_bytes: Its size.
    """

    digest: str
    size_bytes: int

    @classmethod
    def parse(cls, value: Any) -> StateHandle | None:
        """From ``{"digest": ..., "size_bytes": ...}``; None from None.

        Raises:
            BadRequest: If it is anything else.
        """
        if value is None:
            return None
        if not isinstance(value, Mapping) or set(value) != {"digest", "size_bytes"}:
            raise BadRequest(f"state={value!r:.80}: must be an object with digest and size_bytes")
        digest, size = value["digest"], value["size_bytes"]
        if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise BadRequest(
                f"state.digest={digest!r:.80}: must be 64 hexadecimal digits (SHA-256)"
            )
        if type(size) is not int or size < 0:
            raise BadRequest(f"state.size_bytes={size!r:.80}: must be a whole number from 0")
        return cls(digest, size)

    def plain(self) -> dict[str, Any]:
        """As it is sent."""
        return {"digest": self.digest, "size_bytes": self.size_bytes}


@dataclass(frozen=True)
class NightReport:
    """What a night cost, as the learner says it; seconds are measured by the environment.

    Attributes:
        costs: Of :data:`COSTS`; what is not said is 0.
        added_parameters: Parameters kept beyond those of the base model.
    """

    costs: Mapping[str, float] = field(default_factory=dict)
    added_parameters: int = 0

    @classmethod
    def parse(cls, value: Any) -> NightReport:
        """From an object of numbers; an empty report from None.

        Raises:
            BadRequest: If it is anything else.
        """
        known = (*COSTS, "added_parameters")
        if not isinstance(value, Mapping | None):
            raise BadRequest(f"night={value!r:.80}: must be an object of {', '.join(known)}")
        for name, number in (value or {}).items():
            if name not in known:
                raise BadRequest(f"night.{name!s:.40}: unknown; there are {', '.join(known)}")
            if type(number) not in (int, float) or not math.isfinite(number) or number < 0:
                raise BadRequest(f"night.{name}={number!r:.40}: must be a number from 0")
        numbers = dict(value or {})
        return cls(numbers, int(numbers.pop("added_parameters", 0)))


@dataclass
class Audit:
    """What an environment found out about a learner over the nights of a stream.

    Attributes:
        handles: Night -> the state that it handed over; None where it named none.
        findings: A line for everything that breaks the contract.
    """

    handles: dict[int, StateHandle | None] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def end_night(
        self,
        night: int,
        handle: StateHandle | None,
        report: NightReport,
        budget: Budget,
        seconds: float,
    ) -> list[str]:
        """Take what a night handed over.

        Returns:
            The limits of the budget that it broke.
        """
        before = self.handles.get(night - 1)
        self.handles[night] = handle
        if handle is None:
            self.findings.append(f"night {night} names no state")
        elif before is not None and handle != before and not any(report.costs.values()):
            self.findings.append(f"night {night} changed the state and reports no cost")
        spent = {f"night_{name}": value for name, value in report.costs.items()}
        spent |= {"night_seconds": seconds, "added_parameters": report.added_parameters}
        spent |= {"state_bytes": handle.size_bytes if handle else 0}
        exceeded = budget.exceeded_by(spent)
        if exceeded:
            self.findings.append(f"night {night} exceeded {', '.join(exceeded)}")
        return exceeded

    def check_morning(self, night: int, handle: StateHandle | None) -> None:
        """Compare the state that a morning is answered from with the one that was handed over."""
        if night and handle != self.handles.get(night):
            named = handle.digest[:12] if handle else "no state"
            kept = self.handles.get(night)
            wanted = kept.digest[:12] if kept else "none"
            line = f"morning after night {night} answered from {named}, handed over was {wanted}"
            self.findings.append(line)

    def plain(self) -> dict[str, Any]:
        """As it is sent."""
        handles = {str(n): h.plain() if h else None for n, h in self.handles.items()}
        return {"clean": not self.findings, "findings": self.findings, "handles": handles}

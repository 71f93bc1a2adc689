from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt

from sleepgym_agents.baselines.in_context import InContext, InContextSettings
from sleepgym_agents.lm.checkpoints import load_weights, save_weights


@dataclass(frozen=True)
class CramSettings(InContextSettings):
    """Settings of :class:`Cram`.

    Attributes:
        learning_rate: Of AdamW.
        passes: How often a night goes over the day, a step a text.
    """

    learning_rate: Annotated[float, Gt(0)] = 5e-4
    passes: Annotated[int, Ge(1)] = 4


class Cram(InContext):
    """Reads in context by day; at night takes gradient steps on the texts that it read."""

    Config = CramSettings
    title = "Cramming"
    search_space: ClassVar = {"learning_rate": [2e-4, 5e-4, 1e-3], "passes": [2, 4, 8]}

    def sleep(self, night):
        model, steps = self.lm.model, 0
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.config.learning_rate)
        for ids in self.parts * self.config.passes:
            flops = 6 * self.lm.parameters * len(ids)
            if not night.allows(night_train_tokens=len(ids), night_flops=flops):
                break
            batch = torch.tensor([ids], device=self.lm.device)
            model(input_ids=batch, labels=batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            self.meter.train_tokens += len(ids)
            self.meter.flops += flops
            steps += 1
        super().sleep(night)
        return {"steps": steps}

    def save(self, path):
        save_weights(self.lm.model, path / "weights.safetensors")

    def load(self, path):
        load_weights(self.lm.model, path / "weights.safetensors")

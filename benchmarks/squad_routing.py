"""Which day's expert answers a question about real text: names, states of questions, or words.

    python benchmarks/squad_routing.py --data DIR [--model smollm2-reader] [--seeds 0,1] [--days 8]

Nothing is trained. Each night of a `squad-8` stream dreams about its passages and finds its
entities, as `seeding` does; then every question of the stream is routed. Printed is the share that
is led to the expert of its own day:

- `names`: the entity read last decides; `names_alone` counts where no other day's expert is on too;
- `gaussians`: the nearest passage, each a Gaussian over the pooled states of the dreams about it;
- `cosine`: the passage with the nearest mean of these states, centred; `neighbour`: the nearest
  single dream;
- `bm25`: the best of all passages, whose text a memory without text does not have.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import bm25s
import torch
from torch import Tensor

import sleepgym_agents  # noqa: F401  registers the agents where the package is not installed
import sleepgym_tasks  # noqa: F401
from sleepgym import Night
from sleepgym.core.agent import tell
from sleepgym.core.env import make_env
from sleepgym.core.registry import agent_class
from sleepgym.core.schedule import experiences_of
from sleepgym_agents.experts.class_gaussians import ClassGaussians
from sleepgym_agents.sleep.consolidation.consolidation_data import build_consolidation_data

SETTINGS = {"episode_tokens": 0, "dream_tokens": 160, "dream_answers": "read"}


@torch.inference_mode()
def pooled_states(agent: Any, questions: Sequence[str]) -> Tensor:
    """Means over the tokens of a question, of embeddings and a layer a quarter up, experts off."""
    lm, rows = agent.lm, []
    with agent.memory.bare():
        for text in questions:
            ids = torch.tensor([[*lm.prompter.start, *lm.prompter.question(text)]])
            states = lm.model.model(
                input_ids=ids.to(lm.device), output_hidden_states=True, use_cache=False
            ).hidden_states
            both = (states[0], states[len(states) // 4])
            rows.append(torch.cat([s[0].float().mean(0).cpu() for s in both]))
    return torch.stack(rows)


def named_experts(agent: Any, text: str) -> tuple:
    """The experts that are on when the question has been read."""
    memory = agent.memory
    ids = torch.tensor([[*agent.lm.prompter.start, *agent.lm.prompter.question(text)]])
    ids = ids.to(agent.lm.device)
    _, state = memory.router.route(ids, torch.zeros(*ids.shape, 1, device=ids.device), None)
    at = int(state.active[0])
    return () if at < 0 else memory.router.expert_sets[at]


def route(agent: Any, stream: Any) -> dict[str, float]:
    """Dream about every day, then route every question of the stream."""
    owners, dreamt, passages = {}, [], []
    agent.introduce(stream.introduction)
    names = 0
    for day in stream.days:
        tell(agent, experiences_of(day, stream.key))
        context = agent.sleep_context(Night.unlimited(day.number, agent.seed, agent.meter))
        data = build_consolidation_data(context)
        expert_id = agent.memory.unlock()
        owners[expert_id] = day.number
        agent.memory.assign_entities(expert_id, data.entities, [])
        names += len(data.entities)
        texts = [" ".join(d.text.split()) for d in day.documents]
        passages += [(day.number, f"{d.title} {d.text}") for d in day.documents]
        for example in data.dreams:  # the passage that holds most words of a dream
            words = set(f"{example.pair[0]} {example.pair[1]}".lower().split())
            shared = [len(words & set(text.lower().split())) for text in texts]
            dreamt.append((day.number, len(passages) - len(texts) + shared.index(max(shared))))
            dreamt[-1] += (example.pair[0],)
        agent.documents, agent.practised = [], []
        agent.forget()
    asked = [(day.number, item.question.text) for day in stream.days for item in day.exam]
    days = torch.tensor([day for day, _ in asked])
    states = pooled_states(agent, [text for _, text in asked])
    known = pooled_states(agent, [text for *_, text in dreamt])
    labels = torch.tensor([label for _, label, _ in dreamt])
    day_of = torch.tensor([day for day, _ in passages])
    found = {"names_found": float(names), "dreams": float(len(dreamt))}
    active = [{owners[e] for e in named_experts(agent, text)} for _, text in asked]
    pairs = list(zip(active, days.tolist(), strict=True))
    found["names"] = fmean(day in own for own, day in pairs)
    found["names_alone"] = fmean(own == {day} for own, day in pairs)
    found["names_none"] = fmean(not own for own, _ in pairs)
    for shrinkage in (0.03, 0.1, 0.3, 1.0):
        gaussians = ClassGaussians(states.shape[1])
        for label, state in zip(labels.tolist(), known, strict=True):
            while len(gaussians.means) < label:  # a passage without dreams
                gaussians.add(len(gaussians.means), known.mean(0))
            gaussians.add(label, state)
        covariance = gaussians.scatter / gaussians.counts.sum()
        covariance += (shrinkage * covariance.diagonal()).clamp(min=1e-8).diag()
        root = torch.linalg.cholesky(covariance)
        apart = states.double()[:, None] - gaussians.means
        whitened = torch.linalg.solve_triangular(root, apart.flatten(0, 1).T, upper=False)
        nearest = whitened.square().sum(0).view(len(states), -1).argmin(1)
        found[f"gaussians_{shrinkage}"] = float((day_of[nearest] == days).float().mean())
    centre = known.mean(0)
    unit = torch.nn.functional.normalize(known - centre, dim=1)
    asked_unit = torch.nn.functional.normalize(states - centre, dim=1)
    means = torch.stack([unit[labels == i].sum(0) for i in range(len(passages))])
    nearest = (asked_unit @ torch.nn.functional.normalize(means, dim=1).T).argmax(1)
    found["cosine"] = float((day_of[nearest] == days).float().mean())
    neighbour = (asked_unit @ unit.T).argmax(1)
    found["neighbour"] = float((day_of[labels[neighbour]] == days).float().mean())
    index = bm25s.BM25()
    index.index(bm25s.tokenize([text for _, text in passages], show_progress=False), False)
    tokens = bm25s.tokenize([text for _, text in asked], show_progress=False)
    best: Any = index.retrieve(tokens, k=1, show_progress=False, return_as="documents")
    found["bm25"] = fmean(
        passages[int(i)][0] == day for i, (day, _) in zip(best[:, 0], asked, strict=True)
    )
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    """Print a line a stream."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="smollm2-reader")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--passages", type=int, default=4)
    parser.add_argument("--questions", type=int, default=5, help="of each passage")
    parser.add_argument("--samples", type=int, default=96)
    chosen = parser.parse_args()
    settings = {
        "questions_per_passage": chosen.questions,
        "days": chosen.days,
        "passages_per_day": chosen.passages,
    }
    env = make_env("sleepgym/SQuAD-v0", data=chosen.data, preset="squad-8", **settings)
    cls = agent_class("seeding")
    for seed in map(int, chosen.seeds.split(",")):
        env.reset(seed=seed)
        config = cls.Config(**SETTINGS, samples=chosen.samples)
        agent = cls(config, seed=seed, model=chosen.model)
        started_s = time.perf_counter()
        line = {"seed": seed, **route(agent, env.stream)}
        print(json.dumps({**line, "s": round(time.perf_counter() - started_s, 1)}), flush=True)


if __name__ == "__main__":
    main()

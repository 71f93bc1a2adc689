"""The skill battery on a saved model: exact match by forced decoding, dreams, calibration.

    python pretraining/evaluate.py --model DIR [--seed 100] [--count 500] [--cells a,b]

Exact match under greedy decoding needs no generation: an answer is right if the argmax is right
at each of its tokens and at the stop marker after it. The last lines check that on real decoding.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sleepgym_tasks.worlds.battery import CELLS, Item, draw_cell, draw_dream_scene
from sleepgym_tasks.worlds.verify import judge, truths

BATCH_TOKENS = {"cuda": 131_072, "cpu": 8_192}
DREAM_TOKENS = 240
DREAM_SCENES = 100
ITEMS_A_CHAIN = 6


class Examinee:
    """A model with its tokenizer and prompt format.

    Args:
        folder: Where the model's files lie.
    """

    def __init__(self, folder: Path) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model.to(self.device).eval()
        self.format = json.loads((folder / "prompt.json").read_text(encoding="utf-8"))
        self.stop = self.tokenizer.convert_tokens_to_ids(self.format["stop"])
        self.start = self.tokenizer.convert_tokens_to_ids(self.format["start"])

    def encode(self, text: str) -> list[int]:
        """Return token ids, markers included."""
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def prompt(self, item: Item, dream: bool = False) -> str:
        """Return the text before the answer, or before the dream."""
        form = self.format
        parts = [form["start"]]
        parts += [form["document"].format(title=title, text=text) for title, text in item.documents]
        for question, answer in item.demonstrations:
            parts.append(form["question"].format(text=question))
            parts.append(form["answer"].format(answer=answer) + form["stop"])
        parts.append(form["dream"] if dream else form["question"].format(text=item.question))
        return "".join(parts)

    @torch.no_grad()
    def is_right(self, items: list[Item]) -> list[bool]:
        """Say for each item whether greedy decoding would give its gold answer and stop."""
        rows = []
        for index, item in enumerate(items):
            prompt = self.encode(self.prompt(item))
            answer = self.encode(self.format["answer"].format(answer=item.answers[0]))
            rows.append((index, prompt + answer + [self.stop], len(prompt)))
        verdicts = [False] * len(items)
        for batch in _batches(rows, BATCH_TOKENS[self.device]):
            width = max(len(ids) for _, ids, _ in batch)
            padded = [ids + [self.stop] * (width - len(ids)) for _, ids, _ in batch]
            ids = torch.tensor(padded, device=self.device)
            hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state
            for row, (index, sequence, asked) in enumerate(batch):
                logits = self.model.lm_head(hidden[row, asked - 1 : len(sequence) - 1])
                gold = ids[row, asked : len(sequence)]
                verdicts[index] = bool((logits.argmax(-1) == gold).all())
        return verdicts

    @torch.no_grad()
    def generate(self, prompts: list[str], tokens: int, sample: bool) -> list[list[int]]:
        """Continue prompts; sampling is at temperature 1 and starts at a fixed seed."""
        torch.manual_seed(0)
        encoded = [self.encode(prompt) for prompt in prompts]
        width = max(map(len, encoded))
        ids = torch.tensor([[self.stop] * (width - len(e)) + e for e in encoded])
        mask = torch.tensor([[0] * (width - len(e)) + [1] * len(e) for e in encoded])
        out = self.model.generate(
            ids.to(self.device),
            attention_mask=mask.to(self.device),
            max_new_tokens=tokens,
            do_sample=sample,
            top_k=0 if sample else None,
            eos_token_id=self.start if sample else self.stop,
            pad_token_id=self.start,
        )
        return out[:, width:].tolist()


def _batches(rows: list, limit_tokens: int) -> Iterator[list]:
    rows = sorted(rows, key=lambda row: len(row[1]))
    batch: list = []
    for row in rows:
        if batch and len(row[1]) * (len(batch) + 1) > limit_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def score_dreams(examinee: Examinee, seed: int, scenes: int = DREAM_SCENES) -> dict[str, float]:
    """Sample chains of six items about one passage each; return the shares of true items."""
    drawn = [draw_dream_scene(seed, number) for number in range(scenes)]
    prompts = [examinee.prompt(item, dream=True) for item, _ in drawn]
    before, after = examinee.format["question"].split("{text}")
    ask, reply = examinee.encode(before)[0], examinee.encode(after)[0]
    counts = {"true": 0, "false": 0, "foreign": 0, "broken": 0}
    for (_, facts), ids in zip(drawn, examinee.generate(prompts, DREAM_TOKENS, True), strict=True):
        known = truths(facts)
        ids = ids[: ids.index(examinee.start)] if examinee.start in ids else ids
        whole = ids[: len(ids) - ids[::-1].index(examinee.stop)] if examinee.stop in ids else []
        items, current = [], []
        for token in whole:
            if token == examinee.stop:
                items.append(current)
                current = []
            else:
                current.append(token)
        for item in items[:ITEMS_A_CHAIN]:
            if item[:1] != [ask] or item.count(reply) != 1 or item.count(ask) != 1:
                counts["broken"] += 1
                continue
            middle = item.index(reply)
            question = examinee.tokenizer.decode(item[1:middle])
            answer = examinee.tokenizer.decode(item[middle + 1 :])
            counts[judge(question, answer, known)] += 1
    total = max(1, sum(counts.values()))
    return {f"dreams_{k}": n / total for k, n in counts.items()} | {"dreams_items": total}


def check_calibration(examinee: Examinee, seed: int, count: int = 60) -> dict[str, float]:
    """Return how often forced decoding and real greedy decoding agree, on three cells."""
    agree, total = 0, 0
    for cell in ("in_context_5", "fresh_closed_book", "list2_k2"):
        items = draw_cell(cell, seed, count)
        forced = examinee.is_right(items)
        for start in range(0, count, 20):
            part = items[start : start + 20]
            out = examinee.generate([examinee.prompt(item) for item in part], 24, False)
            for item, ids, right in zip(part, out, forced[start : start + 20], strict=True):
                ids = ids[: ids.index(examinee.stop)] if examinee.stop in ids else []
                gold = examinee.encode(examinee.format["answer"].format(answer=item.answers[0]))
                agree += (ids == gold) == right
                total += 1
    return {"calibration_agree": agree, "calibration_of": total}


def evaluate(
    examinee: Examinee, seed: int = 100, count: int = 500, cells: tuple[str, ...] = tuple(CELLS)
) -> dict[str, float]:
    """Return the battery's figures by cell."""
    results: dict[str, float] = {}
    for cell in cells:
        right = examinee.is_right(draw_cell(cell, seed, count))
        results[cell] = sum(right) / len(right)
    return results | score_dreams(examinee, seed) | check_calibration(examinee, seed)


def table(results: dict[str, float]) -> str:
    """Return the figures as lines of a Markdown table."""
    rows = [
        f"| {name} | {value:.3f} |" if isinstance(value, float) else f"| {name} | {value} |"
        for name, value in results.items()
    ]
    return "\n".join(["| cell | exact match |", "|---|---|", *rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--cells", default=",".join(CELLS))
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    begun = time.monotonic()
    subject = Examinee(arguments.model)
    print(table(evaluate(subject, arguments.seed, arguments.count, arguments.cells.split(","))))
    print(f"{time.monotonic() - begun:.0f} s on {subject.device}")

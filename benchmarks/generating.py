"""Tokens generated a second by the embedded model, ours and transformers' ``generate`` in turn.

Rows without a common beginning; a passage that all rows share, as in an exam with an open book;
a few passages with several rows each, as in a night of dreams.
"""

import argparse
import time

import torch

from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel

NEW_TOKENS, REPEATS = 64, 5


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    lm = LanguageModel.load("embedded")
    p = lm.prompter
    passages = [
        p.encode(f"Passage {i}: " + "A town has many houses. " * 40)[:240] for i in range(8)
    ]

    def asked(batch, context):
        return [[*p.start, *context(i), *p.dream] for i in range(batch)]

    cases = (
        ("own prompts", 1, asked(1, lambda i: p.encode("a word " * 30)[:60])),
        ("own prompts", 40, asked(40, lambda i: p.encode(f"{i} word " * 30)[:60])),
        ("one passage", 40, asked(40, lambda i: [*passages[0], *p.encode(f" {i} word")])),
        ("eight passages", 40, asked(40, lambda i: passages[i % 8])),
    )
    print(f"{NEW_TOKENS} new tokens, {torch.get_num_threads()} threads, best of {REPEATS}")
    print(
        f"{'prompts':15} {'tokens':>6} {'batch':>5}  decoding {'sleepgym':>9} {'transformers':>13}"
        "  ratio"
    )
    for name, batch, prompts in cases:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(x)) + x for x in prompts])
        mask = torch.tensor([[0] * (width - len(x)) + [1] * len(x) for x in prompts])
        for temperature in (0.0, 1.0):

            def ours(prompts=prompts, temperature=temperature):
                options = {"temperature": temperature, "stop_at_answer": False}
                return sum(map(len, generate(lm, prompts, NEW_TOKENS, **options)))

            def theirs(ids=ids, mask=mask, sample=temperature > 0):
                lm.model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    min_new_tokens=NEW_TOKENS,
                    max_new_tokens=NEW_TOKENS,
                    do_sample=sample,
                    **({"top_k": 0} if sample else {}),
                    pad_token_id=0,
                )
                return len(ids) * NEW_TOKENS

            rates = {ours: [], theirs: []}
            for _ in range(REPEATS):
                for run, found in rates.items():
                    started = time.perf_counter()
                    tokens = run()  # a sampled row may end early
                    found.append(tokens / (time.perf_counter() - started))
            own, other = map(max, rates.values())
            print(
                f"{name:15} {width:6} {batch:5}  {'sampled' if temperature else 'greedy':8}"
                f" {own:9.0f} {other:13.0f} {own / other:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

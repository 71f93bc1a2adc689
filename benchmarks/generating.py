"""Tokens generated a second by the embedded model, ours and transformers' ``generate`` in turn."""

import statistics
import time

import torch

from sleepgym_agents.generation import generate
from sleepgym_agents.model import LanguageModel

NEW_TOKENS, REPEATS = 64, 3


def main():
    lm = LanguageModel.load("embedded")
    p = lm.prompter
    print(f"{NEW_TOKENS} new tokens after about 60, greedy, {torch.get_num_threads()} threads")
    print(f"{'batch':>5} {'sleepgym':>9} {'transformers':>13} {'ratio':>6}  tokens/s")
    for batch in (1, 40):
        prompts = [[*p.start, *p.encode(f"{i} word " * 30), *p.dream] for i in range(batch)]
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(x)) + x for x in prompts])
        mask = torch.tensor([[0] * (width - len(x)) + [1] * len(x) for x in prompts])

        def ours(prompts=prompts):
            generate(lm, prompts, NEW_TOKENS, stop_at_answer=False)

        def theirs(ids=ids, mask=mask):
            lm.model.generate(
                input_ids=ids,
                attention_mask=mask,
                min_new_tokens=NEW_TOKENS,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=0,
            )

        rates = {}
        for _ in range(REPEATS):
            for name, run in (("ours", ours), ("theirs", theirs)):
                started = time.perf_counter()
                run()
                elapsed = time.perf_counter() - started
                rates.setdefault(name, []).append(batch * NEW_TOKENS / elapsed)
        own, other = (statistics.median(rates[name]) for name in ("ours", "theirs"))
        print(f"{batch:5} {own:9.0f} {other:13.0f} {own / other:6.2f}")


if __name__ == "__main__":
    main()

"""What answering costs by the number of experts that a batch needs: processor milliseconds a pass.

    python benchmarks/experts.py [--rank 64] [--rows 192] [--counts 1,4,16,64]

The embedded model with so many experts of random weights, each known by one name; the rows of a
batch ask about these names in turn. A pass that reads the questions, and one that writes a token of
each answer, with the experts off and on.
"""

import argparse
import time

import torch

from sleepgym_agents.experts.expert_memory import ExpertMemory, MemorySettings
from sleepgym_agents.lm.kv_cache import DecodingCache
from sleepgym_agents.lm.model import LanguageModel

PASSES = 5
FIRST = 300  # token id of the first name


@torch.inference_mode()
def passes(lm, prompts):
    """Processor milliseconds of reading prompts and of one step after them, the least of some."""
    read, wrote = [], []
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    for _ in range(PASSES):
        begun = time.process_time()
        _, cache, logits = lm.read(prompts)
        read.append(time.process_time() - begun)
        cache = DecodingCache(cache, range(len(prompts)), 1)
        seen = torch.ones(1, 1, 1, int(lengths.max()) + 1, dtype=torch.bool)
        begun = time.process_time()
        lm.forward(logits[:, -1:].argmax(-1), lengths[:, None], seen, cache=cache, keep=1)
        wrote.append(time.process_time() - begun)
    return 1000 * min(read), 1000 * min(wrote)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--counts", default="1,4,16,64")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.rows} rows, rank {given.rank}: milliseconds of reading and of a step")
    print("experts         off            on")
    for count in map(int, given.counts.split(",")):
        lm = LanguageModel.load("embedded")
        memory = ExpertMemory(lm, MemorySettings(rank=given.rank), seed=0)
        question = lm.prompter.question("Where is it?")
        prompts = []
        for number in range(count):
            expert_id = memory.unlock()
            for expert in memory.experts(expert_id):
                torch.nn.init.normal_(expert.down, std=0.01)
            memory.assign_entities(expert_id, [(FIRST + number,)], [])
        for row in range(given.rows):
            name = FIRST + row % count
            prompts.append([*lm.prompter.opening, question[0], name, *question[1:]])
        with memory.bare():
            columns = [passes(lm, prompts)]
        columns.append(passes(lm, prompts))
        print(f"{count:7}" + "".join(f"  {r:6.1f} {w:5.1f}" for r, w in columns), flush=True)


if __name__ == "__main__":
    main()

"""Reference agents and the language-model substrate they share.

Importing this package only registers names; torch is imported when an agent that needs it is used.
"""

import sleepgym

sleepgym.register_agent(
    "frozen", "sleepgym_agents.frozen:Frozen", "never learns: the bare model answers"
)
sleepgym.register_agent(
    "in-context",
    "sleepgym_agents.in_context:InContext",
    "keeps the day in a bounded context window, wiped at night",
)
sleepgym.register_agent(
    "retrieval",
    "sleepgym_agents.retrieval:Retrieval",
    "BM25 over everything it stored, the best passages into the prompt",
)
sleepgym.register_agent(
    "nearest",
    "sleepgym_agents.nearest:Nearest",
    "no model: the label or sentence of the best BM25 hit",
)
sleepgym.register_agent(
    "naive",
    "sleepgym_agents.naive:Naive",
    "fine-tunes all weights every night on the day's raw material",
)
sleepgym.register_agent(
    "naive-lora",
    "sleepgym_agents.naive_lora:NaiveLora",
    "the same through one LoRA adapter, trained further every night",
)

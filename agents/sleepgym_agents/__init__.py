"""Reference agents and the language-model substrate they share.

Importing this package only registers names; torch is imported when an agent that needs it is used.
"""

import sleepgym

sleepgym.register_agent(
    "frozen", "sleepgym_agents.baselines.text.frozen:Frozen", "never learns: the bare model answers"
)
sleepgym.register_agent(
    "in-context",
    "sleepgym_agents.baselines.in_context:InContext",
    "keeps the day in a bounded context window, wiped at night",
)
sleepgym.register_agent(
    "nearest",
    "sleepgym_agents.baselines.text.nearest:Nearest",
    "no model: the label or sentence of the best BM25 hit",
)
sleepgym.register_agent(
    "retrieval",
    "sleepgym_agents.baselines.text.retrieval:Retrieval",
    "BM25 over everything it stored, the best passages into the prompt",
)
sleepgym.register_agent(
    "notebook",
    "sleepgym_agents.baselines.text.notebook:Notebook",
    "writes its dreams down as text and reads the best notes before answering",
)
sleepgym.register_agent(
    "exam-only",
    "sleepgym_agents.baselines.text.exam_only:ExamOnly",
    "no model, no memory: what an exam gives away by its own text",
)
sleepgym.register_agent(
    "naive",
    "sleepgym_agents.baselines.finetuning.naive:Naive",
    "fine-tunes all weights every night on the day's raw material",
)
sleepgym.register_agent(
    "naive-lora",
    "sleepgym_agents.baselines.finetuning.naive_lora:NaiveLora",
    "the same through one LoRA adapter, trained further every night",
)
sleepgym.register_agent(
    "lora-per-day",
    "sleepgym_agents.baselines.finetuning.lora_per_day:LoraPerDay",
    "a new LoRA adapter every night, older ones frozen and all active",
)
sleepgym.register_agent(
    "o-lora",
    "sleepgym_agents.baselines.finetuning.o_lora:OLora",
    "a new LoRA adapter every night, orthogonal to all older ones",
)
sleepgym.register_agent(
    "ewc",
    "sleepgym_agents.baselines.finetuning.ewc:Ewc",
    "fine-tunes with weights that mattered before held by a penalty (online EWC)",
)
sleepgym.register_agent(
    "replay",
    "sleepgym_agents.baselines.finetuning.replay:Replay",
    "fine-tunes on the day mixed with a uniform sample of old raw text",
)
sleepgym.register_agent(
    "self-replay",
    "sleepgym_agents.baselines.finetuning.self_replay:SelfReplay",
    "fine-tunes on the day, held to its evening self on sequences it samples",
)
sleepgym.register_agent(
    "joint",
    "sleepgym_agents.baselines.finetuning.joint:Joint",
    "upper bound outside any budget: all material kept, trained anew each night",
)
sleepgym.register_agent(
    "context-distillation",
    "sleepgym_agents.baselines.self_study.context_distillation:ContextDistillation",
    "distils the self that reads the day into the one that does not",
)
sleepgym.register_agent(
    "sdft",
    "sleepgym_agents.baselines.self_study.sdft:Sdft",
    "on-policy self-distillation, the teacher a moving average with the day in its prompt",
)
sleepgym.register_agent(
    "opsd",
    "sleepgym_agents.baselines.self_study.sdft:Opsd",
    "on-policy self-distillation, fixed teacher, LoRA, Jensen-Shannon",
)
sleepgym.register_agent(
    "grpo",
    "sleepgym_agents.baselines.self_study.grpo:Grpo",
    "reinforces the better of its sampled answers to the day's practice",
    needs=("practice",),
)
sleepgym.register_agent(
    "seal",
    "sleepgym_agents.baselines.other.seal:Seal",
    "writes implications of what it read and merges a LoRA trained on them",
    needs=("documents",),
)
sleepgym.register_agent(
    "ttt",
    "sleepgym_agents.baselines.other.ttt:Ttt",
    "trains a LoRA on each task's demonstrations when asked, then drops it",
    needs=("practice",),
)
sleepgym.register_agent(
    "inca",
    "sleepgym_agents.baselines.other.inca:Inca",
    "class Gaussians pick candidates, the frozen model chooses among them",
    needs=("practice", "choices"),
)
sleepgym.register_agent(
    "cartridge",
    "sleepgym_agents.baselines.self_study.cartridge:Cartridge",
    "a trained prefix of keys and values a day; no weight is touched",
)
sleepgym.register_agent(
    "continuum",
    "sleepgym_agents.baselines.other.continuum:Continuum",
    "memories beside the MLPs, each updated by gradient at its own frequency",
)
sleepgym.register_agent(
    "sparse-memory",
    "sleepgym_agents.baselines.other.sparse_memory:SparseMemory",
    "trains the few memory slots that the day reads more than other text does",
)
sleepgym.register_agent(
    "titans",
    "sleepgym_agents.baselines.other.titans:Titans",
    "a small network learns by surprise, once through, what came next",
)
sleepgym.register_agent(
    "duo-attention",
    "sleepgym_agents.baselines.long_context.duo_attention:DuoAttention",
    "one context for all days; few heads keep it whole, others its first and latest tokens",
)
sleepgym.register_agent(
    "recurrent-memory",
    "sleepgym_agents.baselines.long_context.recurrent_memory:RecurrentMemory",
    "reads in segments, carries memory tokens from one to the next and to the next day",
)
sleepgym.register_agent(
    "seeding",
    "sleepgym_agents.sleep.seeding:Seeding",
    "Knowledge Seeding: distils the day in context into newly unlocked experts",
)
sleepgym.register_agent(
    "dreaming",
    "sleepgym_agents.sleep.dreaming:Dreaming",
    "Dreaming: learns from those of its dreams that helped a copy of it",
)
sleepgym.register_agent(
    "sleep",
    "sleepgym_agents.sleep.sleep:Sleep",
    "Knowledge Seeding, then Dreaming",
)

"""Task families on public data sets and procedural generators.

Importing this package only registers them; a family is imported when it is used.
"""

from sleepgym import register_battery, register_env

register_env(
    "sleepgym/ClassIncremental-v0",
    "sleepgym_tasks.envs.class_incremental:ClassIncremental",
    "New text classes every day (CLINC150, Banking77, DBpedia, or invented); exams over all so far",
)
register_env(
    "sleepgym/ClassIncremental-v1",
    "sleepgym_tasks.envs.class_incremental:ClassIncrementalV1",
    "the same; every question offers all classes of the stream, in an order that tells nothing",
)
register_env(
    "sleepgym/SQuAD-v0",
    "sleepgym_tasks.envs.squad:SQuAD",
    "Wikipedia passages to read; questions about them without the passage (SQuAD v1.1)",
)
register_env(
    "sleepgym/Almanac-v0",
    "sleepgym_tasks.envs.almanac:Almanac",
    "invented people, companies and towns, day by day; entities return and facts change",
)
register_env(
    "sleepgym/Almanac-v1",
    "sleepgym_tasks.envs.almanac:AlmanacV1",
    "the same, and no question of an exam gives away the answer of another",
)
register_env(
    "sleepgym/Codebook-v0",
    "sleepgym_tasks.envs.codebook:Codebook",
    "invented rules from a few demonstrations; the same rules the next morning, without them",
)
register_env(
    "sleepgym/Jsonl-v0",
    "sleepgym_tasks.envs.jsonl:Jsonl",
    "your own documents and questions: two JSONL files, or a folder of texts and a question file",
)
register_env(
    "sleepgym/KnowledgeEdit-v0",
    "sleepgym_tasks.envs.knowledge_edit:KnowledgeEdit",
    "facts that change, one edit after another: CounterFact, zsRE, or edits of the invented world",
)
register_env(
    "sleepgym/FewShotARC-v0",
    "sleepgym_tasks.envs.few_shot_arc:FewShotARC",
    "rules on grids from a few demonstrations: ARC-AGI-1, SEAL's subsets of it, or invented ones",
)
register_env(
    "sleepgym/TaskSequence-v0",
    "sleepgym_tasks.envs.task_sequence:TaskSequence",
    "one classification task a day in any order, after O-LoRA (DBpedia, BoolQ, COPA, MNLI, ...)",
)
register_env(
    "sleepgym/Haystack-v0",
    "sleepgym_tasks.envs.haystack:Haystack",
    "keys and values hidden in a long text (RULER), 1k to 10M tokens, asked with it and without it",
)
register_env(
    "sleepgym/BABILong-v0",
    "sleepgym_tasks.envs.babilong:BABILong",
    "facts of bAbI or invented stories strewn over long texts, 0k to 10M tokens (BABILong)",
)
register_env(
    "sleepgym/MathReasoning-v0",
    "sleepgym_tasks.envs.math_reasoning:MathReasoning",
    "problems with numbers or expressions as answers: does consolidation harm reasoning?",
)
register_env(
    "sleepgym/ContinualTranslation-v0",
    "sleepgym_tasks.envs.continual_translation:ContinualTranslation",
    "a novel language a day, by chrF: Kalamang and Manchu as you bring them, or invented ones",
)
register_env(
    "sleepgym/LongDocs-v0",
    "sleepgym_tasks.envs.long_docs:LongDocs",
    "a patient's file (LongHealth), a paper (QASPER) or an invented chronicle a day",
)
register_env(
    "sleepgym/Lifelong-v0",
    "sleepgym_tasks.envs.composed.lifelong:Lifelong",
    "months of days, each with material of another family: all invented, of any length",
)
register_env(
    "sleepgym/Retention-v0",
    "sleepgym_tasks.envs.composed.retention:Retention",
    "new facts by day; every few nights what the model could before, by lm-evaluation-harness too",
)
register_battery(
    "worlds",
    "sleepgym_tasks.skills:Worlds",
    "reading, recall, rules and dreams on invented worlds, before any night",
)

"""Chat templates of the kinds that families have, over a tokenizer of bytes."""

from sleepgym_agents.lm.scratch import byte_tokenizer

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' "
    "}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
WITH_DEFAULT = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}"
    "{% endif %}" + CHATML
)
THINKING = CHATML.replace(
    "{{ '<|im_start|>assistant\\n' }}",
    "{{ '<|im_start|>assistant\\n' }}{% if enable_thinking is false %}{{ '<think>\\n\\n</think>"
    "\\n\\n' }}{% endif %}",
)
LLAMA_3 = (
    "{{ '<bos>' }}{% if messages[0]['role'] == 'system' %}{% set line = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% else %}{% set line = '' %}{% endif %}"
    "{{ '<|h|>system<|/h|>\\n\\nToday: ' + (date_string or strftime_now('%d %b %Y')) + '\\n\\n' + "
    "line + '<|eot|>' }}{% for m in messages %}{{ '<|h|>' + m['role'] + '<|/h|>\\n\\n' + "
    "m['content'] | trim + '<|eot|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|h|>assistant<|/h|>\\n\\n' }}{% endif %}"
)
ALTERNATING = (  # as Gemma's: no system line, and turns that do not alternate are refused
    "{{ '<bos>' }}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{{ '<turn>' + ('model' if m['role'] == 'assistant' else 'user') + '\\n' + m['content'] | trim"
    " + '</turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<turn>model\\n' }}{% endif %}"
)
INST = (  # as Mistral's: the system line goes into the last question
    "{{ '<bos>' }}{% if messages[0]['role'] == 'system' %}{% set line = messages[0]['content'] + "
    "'\\n\\n' %}{% set messages = messages[1:] %}{% else %}{% set line = '' %}{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + (line if loop.last else '')"
    " + m['content'] + '[/INST]' }}{% else %}{{ ' ' + m['content'] + '<end>' }}{% endif %}"
    "{% endfor %}"
)
LLAMA_2 = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('none') }}"
    "{% elif m['role'] == 'user' %}{{ '<bos>[INST] ' + m['content'] + ' [/INST]' }}{% else %}"
    "{{ ' ' + m['content'] + ' <end>' }}{% endif %}{% endfor %}"
)
WORDS = (  # as Vicuna's: no markers but words
    "{% for m in messages %}{{ m['role'].upper() + ': ' + m['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}"
)
NUMBERED = "{% for m in messages %}{{ loop.index ~ '. ' + m['content'] + '<end>' }}{% endfor %}"
KINDS = {
    "chatml": CHATML,
    "with default": WITH_DEFAULT,
    "thinking": THINKING,
    "llama 3": LLAMA_3,
    "alternating": ALTERNATING,
    "inst": INST,
    "llama 2": LLAMA_2,
    "words": WORDS,
}
MARKERS = ("<|im_start|>", "<|im_end|>", "<|h|>", "<|/h|>", "<|eot|>", "<turn>", "</turn>")


def chat_tokenizer(template):
    """A tokenizer of bytes with these markers, and a chat template."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<q>", "<a>", *MARKERS]})
    tokenizer.chat_template = template
    return tokenizer

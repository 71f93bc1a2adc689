"""Parts that join for every tokenizer, markers that cannot be forged, windows that are kept."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from families import tiny, write
from sleepgym import Document, Question
from sleepgym.core.errors import BadData, BadSetting, MissingData
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.lm.prompts import Prompter, PromptFormat
from sleepgym_agents.lm.scratch import byte_tokenizer
from sleepgym_agents.models import hub


def llama_like():
    """Puts a space before whatever it is given, and writes line breaks as bytes."""
    letters = ["▁", *map(chr, range(33, 127))]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges = [("▁", "P"), ("▁", "w"), ("a", "r")]
    vocabulary = {token: i for i, token in enumerate([*tokens, *map("".join, merges)])}
    model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def without_line_breaks(**special):
    """Knows words alone; a line break is nothing to it."""
    words = ["<unk>", "<end>", "Paris", "Hilton", "Question", "Answer", ":"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **special)


def test_parts_join_where_a_space_is_put_before_everything():
    prompter = Prompter(PromptFormat(), llama_like())
    ids = prompter.prompt("where?", [prompter.demonstration("what?", "Paris")])
    wanted = "Question: what?\nAnswer: Paris\nQuestion: where?\nAnswer:"
    assert prompter.tokenizer.decode(ids).removeprefix("<s>").lstrip(" ") == wanted
    assert prompter.answer_text([*prompter.encode(" Paris"), *prompter.stop]) == "Paris"


def test_an_end_token_stands_in_for_a_marker_that_cannot_be_written():
    prompter = Prompter(PromptFormat(), without_line_breaks(eos_token="<end>"))
    short, long = prompter.answer("Paris"), prompter.answer("Paris Hilton")
    assert short != long[: len(short)]
    assert prompter.stopped(short)
    assert prompter.answer_text([*short, *long]) == "Paris"
    with pytest.raises(MissingData, match=r"stop='\\n'.*no end token"):
        Prompter(PromptFormat(), without_line_breaks())


def test_no_special_token_of_the_tokenizer_can_be_forged():
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<|tool|>"], special_tokens=True)  # in added_tokens_decoder alone
    (tool,) = tokenizer.encode("<|tool|>", add_special_tokens=False)
    assert tool not in Prompter(PromptFormat(), tokenizer).question("a <|tool|> here")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"question": "{text} {"}, "question="),
        ({"question": "Who?"}, r"must hold \{text\}"),
        ({"answer": "x"}, r"must hold \{answer\}"),
        ({"document": "{text} {author}"}, r"nothing but \{text\}, \{title\}"),
        ({"question": "{text.__class__}{text}"}, r"nothing but \{text\}"),
        ({"question": "{text!r}"}, r"nothing but \{text\}"),
        ({"stop": 5}, "stop=5: must be a text"),
        ({"dream": None}, "dream=null: must be a text"),
        ([], "JSON object"),
    ],
)
def test_bad_prompt_files(settings, match, tmp_path):
    (tmp_path / "prompt.json").write_text(json.dumps(settings))
    with pytest.raises(BadData, match=match):
        PromptFormat.read(tmp_path)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    return write(tiny("llama", max_position_embeddings=64), tmp_path_factory.mktemp("narrow"))


def test_an_answer_as_long_as_the_window_is_refused(narrow):
    with pytest.raises(BadSetting, match=r"max_answer_tokens=64: .* reads 64 tokens .* 62 or less"):
        InContext(model=narrow)
    agent = InContext(InContext.Config(max_answer_tokens=8), model=narrow)
    with pytest.raises(BadSetting, match="longest label has 72 tokens"):
        agent.answer([Question("which?", choices=("x" * 70, "y"))])


def test_the_oldest_document_goes_and_the_start_stays(narrow):
    agent = InContext(InContext.Config(max_answer_tokens=8), model=narrow)
    prompter = agent.lm.prompter
    agent.parts = [prompter.document(Document(letter * 30)) for letter in "on"]
    ids = agent._prompt(Question("?"))
    assert len(ids) == 56
    assert ids[:1] == prompter.start
    kept = [*agent.parts[0], *agent.parts[1], *prompter.question("?")][-55:]
    assert ids[1:] == kept
    assert agent._prompt(Question("long " * 40))[:1] == prompter.start


def test_the_embedded_model_reads_its_parts_as_it_was_taught():
    folder = hub.EMBEDDED
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompter = Prompter(PromptFormat.read(folder), tokenizer)
    for text in ("Paris", "<q>who?<a>", "a b"):
        assert prompter.encode(text) == tokenizer.encode(text, add_special_tokens=False)

"""The head asked again for each batch, and logits where they count, equal what is kept whole."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import transformers

from sleepgym import Document
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.imitation import Rollouts, compare, student_logits, teacher_targets
from sleepgym_agents.training import selected_logits
from sleepgym_agents.training import teacher_head as teacher_heads
from sleepgym_agents.training.distillation import (
    distillation,
    make_collator,
    score_with_teacher,
    text_examples,
    verbatim_example,
)
from sleepgym_agents.training.optimise import Example, collate, cross_entropy
from sleepgym_agents.training.pseudo_rehearsal import collate_mixed, rehearsing, with_targets
from sleepgym_agents.training.selected_logits import logits_at, output_head, token_log_likelihoods
from sleepgym_agents.training.teacher_head import teacher_head

KINDS = ("forward", "reverse", "jsd")
PAIRS = [
    ("Where was Mira Kallo born?", "Tarn"),
    ("Who founded Selby Works?", "Mira Kallo"),
    ("When was Mira Kallo born?", "in May"),
]
DOCUMENT = Document("Mira Kallo was born in Tarn in May. She founded Selby Works.", "Mira Kallo")


@pytest.fixture(scope="module")
def lm():
    return LanguageModel.load("embedded")


@pytest.fixture
def large(monkeypatch):
    """From when it is called, every vocabulary counts as a large one; several chunks a batch."""

    def switch():
        monkeypatch.setattr(selected_logits, "WHOLE_VOCABULARY", 8)
        for module in (selected_logits, teacher_heads):
            monkeypatch.setattr(module, "CHUNK_ROWS", 5)

    return switch


def graded(lm, loss):
    """A loss, and its gradient with respect to the last norm."""
    weight = lm.model.model.norm.weight.requires_grad_(True)
    value = loss(lm.model)
    (gradient,) = torch.autograd.grad(value, weight)
    weight.requires_grad_(False)
    return value.detach(), gradient


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradient_are_those_of_the_whole_distribution(lm, large, kind):
    lm.model.requires_grad_(False)
    context = lm.prompter.document(DOCUMENT)
    collate_examples, found, sizes = make_collator(lm, 0.2), [], []
    for switch in (lambda: None, large):
        switch()
        examples = score_with_teacher(lm, PAIRS, context)
        examples[1] = examples[1].with_hard_targets()
        examples.append(verbatim_example(lm, PAIRS[2]))
        batch = collate_examples([examples[:2], examples[2:]], lm.device)
        found.append(graded(lm, lambda model, batch=batch: distillation(model, batch, kind)))
        found[-1] += (torch.cat([x.likelihoods for x in examples]),)
        sizes.append(batch.targets.numel())
    assert found[0][0] > 0.05  # the student does not read the document
    for one, other in zip(*found, strict=True):  # reverse: what is impossible counts by the 10,000
        near = 1e-4 * float(one.abs().max())
        torch.testing.assert_close(one, other, atol=max(near, 1e-5), rtol=1e-4)
    assert sizes[1] < 0.05 * sizes[0]


def test_the_teacher_stays_as_it_was(lm, large):
    large()
    own = LanguageModel.load("embedded")
    batch = make_collator(own, 1.0)([[x] for x in score_with_teacher(own, PAIRS)], own.device)
    with torch.no_grad():
        own.model.get_output_embeddings().weight.mul_(1.5)  # trained on, all weights
        value = distillation(own.model, batch, "forward")
        assert value > 0.01
        teacher = batch.head.logits(batch.targets).log_softmax(-1)
        plain = logits_at(lm.model, batch.ids, batch.positions).log_softmax(-1)
    torch.testing.assert_close(teacher, plain, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_students_own_words_are_judged_alike(lm, large, kind):
    found = []
    for switch in (lambda: None, large):
        switch()
        context = lm.prompter.document(DOCUMENT)
        examples = score_with_teacher(lm, PAIRS, context)
        prefixes = [[*lm.prompter.start, *example.ids[:4]] for example in examples]
        written = [list(example.ids[4:]) for example in examples]
        rollouts = Rollouts(prefixes, written, examples, torch.zeros(3, 1))
        teacher, head = teacher_targets(lm, rollouts)
        logits, ids, _ = student_logits(lm, rollouts)
        config = SimpleNamespace(divergence=kind, beta=0.3)
        real = torch.cat([torch.arange(logits.shape[1]) < len(ids) for ids in written])
        parts = compare(teacher, head, logits.flatten(0, 1), ids.flatten(), config)
        found.append([part.detach()[real] for part in parts])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_rehearsal_is_the_same(lm, large):
    found = []
    new = [Example((5, 6, 7, 8, 9), (0.0, 1.0, 0.0, 2.0, 0.5)), Example((9, 8, 7), (0.0, 1.0, 1.0))]
    old = Example((3, 20, 21, 22, 23), (0.0, 0.0, 1.0, 1.0, 1.0))
    moved = LanguageModel.load("embedded")
    with torch.no_grad():
        moved.model.model.norm.weight.mul_(1.1)
    for switch in (lambda: None, large):
        switch()
        sample = with_targets(lm, teacher_head(lm), old)
        batch = collate_mixed((new, [sample]), lm.device)
        found.append(graded(moved, lambda model, batch=batch: rehearsing(3.0)(model, batch)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    plain = cross_entropy(moved.model, collate(new, lm.device))
    assert found[0][0] > plain + 1e-3


def test_a_base_in_half_precision_teaches_with_and_without_a_teacher(large):
    large()
    lm = LanguageModel.load("embedded")
    lm.model.to(torch.bfloat16).requires_grad_(False)
    weight = lm.model.model.norm.weight.requires_grad_(True)
    examples = [*score_with_teacher(lm, PAIRS), verbatim_example(lm, PAIRS[0])]
    examples += text_examples(lm, [lm.prompter.document(DOCUMENT)], 512)
    batch = make_collator(lm, 0.2)([examples[:3], examples[3:]], lm.device)
    assert batch.targets.dtype == torch.bfloat16
    (gradient,) = torch.autograd.grad(distillation(lm.model, batch, "forward"), weight)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    sample = with_targets(lm, teacher_head(lm), Example((3, 20, 21, 22), (0.0, 0.0, 1.0, 1.0)))
    new = [Example((5, 6, 7), (0.0, 1.0, 1.0))]
    assert rehearsing(1.0)(lm.model, collate_mixed((new, [sample]), lm.device)).isfinite()


def test_text_is_learned_as_supervised(lm, large):
    large()
    ids = lm.prompter.document(DOCUMENT)
    batch = make_collator(lm, 1.0)([text_examples(lm, [ids], 512)], lm.device)
    example = Example.joined((lm.prompter.start, 0.0), (ids[:1], 0.0), (ids[1:], 1.0))
    plain = cross_entropy(lm.model, collate([example], lm.device))
    torch.testing.assert_close(distillation(lm.model, batch, "forward"), plain)


class OnGpu(torch.Tensor):
    """Token ids that say that they lie on a GPU."""

    is_cuda = True


def test_on_a_gpu_the_head_reads_only_where_a_token_counts():
    lm = LanguageModel.load("scratch", seed=1)
    examples = [Example((1, 5, 6, 7, 8), (0, 0, 1, 0, 2.0)), Example((1, 9, 6), (0, 0, 1.0))]
    batch = collate(examples, lm.device)
    read, gradients = [], []
    head, weights = output_head(lm.model), lm.model.get_input_embeddings().weight
    handle = head.register_forward_hook(lambda _, args, out: read.append(out[..., 0].numel()))
    for ids in (batch.ids, batch.ids.as_subclass(OnGpu)):
        loss = cross_entropy(lm.model, replace(batch, ids=ids)).as_subclass(torch.Tensor)
        gradients.append((loss.detach(), *torch.autograd.grad(loss, weights)))
    handle.remove()
    assert read == [10, 3]
    torch.testing.assert_close(*gradients)


def test_gradients_of_chosen_tokens_are_those_of_log_softmax(large):
    large()
    logits = torch.randn(7, 4096, generator=torch.Generator().manual_seed(0), requires_grad=True)
    tokens, weights = torch.arange(7) * 3, torch.arange(7.0)
    plain = logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    values = [token_log_likelihoods(logits, tokens), plain]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(v @ weights, logits)[0] for v in values))


@pytest.mark.parametrize(
    "name", ["Gemma2", "Granite", "Cohere", "Phi", "GPT2"], ids=lambda name: name.lower()
)
def test_what_a_family_does_after_its_head_is_found(name, large):
    large()
    sizes = {
        "vocab_size": 40,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    more = {"Gemma2": {"final_logit_softcapping": 0.05}, "Granite": {"logits_scaling": 3.0}}
    config = getattr(transformers, f"{name}Config")(**sizes, **more.get(name, {}))
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForCausalLM" if name != "GPT2" else "GPT2LMHeadModel")(
        config
    ).eval()
    prompter = SimpleNamespace(start=[1])
    head = teacher_head(LanguageModel(model, prompter))
    assert head is not None
    ids, places = torch.tensor([[1, 5, 6, 7]]), torch.tensor([1, 3])
    with torch.no_grad():
        whole = model(input_ids=ids).logits[0]
        chosen = logits_at(model, ids, places)
        with selected_logits.states_before_head(model) as seen:
            model(input_ids=ids)
    torch.testing.assert_close(chosen, whole[places])
    torch.testing.assert_close(head.logits(seen[0][0]), whole)

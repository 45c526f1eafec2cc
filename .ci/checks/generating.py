"""`owl generate` against transformers' own greedy search, token by token."""

import functools

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import demo
import product
import stories
from loading import one_at_a_time
from verdict import require

TOKENS = 100
PROMPTS = {
    "stories260K": ("Once upon a time", "Lily and Tom went to the park. They saw a big", "The end"),
    "sample": ("One morning,", "Mia found a red kite in the garden.", "Once upon a time, there was a brave girl"),
}


def checks(fixtures):
    for model, prompts in PROMPTS.items():
        for prompt in prompts:
            yield f"generate: greedy, {model}, {prompt!r}", functools.partial(check_greedy, model, prompt)
    yield "generate: greedy, a pruned model", check_pruned
    yield "generate: drawn with a seed", check_drawn
    yield "generate: without a prompt", check_empty
    yield "generate: a prompt in another encoding", check_encoding


def folder(model):
    if model == "stories260K":
        return product.STORIES
    demo.run()
    return demo.FOLDER / "model"


def generate(model, prompt, *options):
    outcome = product.owl("generate", "--model", model, "--prompt", prompt, "--tokens", TOKENS, *options)
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    return outcome.out


def by_transformers(model, prompt):
    with one_at_a_time, torch.no_grad():
        network = AutoModelForCausalLM.from_pretrained(model)
        network.float().eval()
        tokenizer = AutoTokenizer.from_pretrained(model)
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        out = network.generate(ids, do_sample=False, max_new_tokens=TOKENS, pad_token_id=0)
    return tokenizer.decode(out[0], skip_special_tokens=True)


def require_greedy(model, prompt):
    found, expected = generate(model, prompt, "--temperature", 0), by_transformers(model, prompt)
    require(found.strip() == expected.strip(), f"found    {found!r}\n    expected {expected!r}")
    return f"{len(expected)} characters"


def check_greedy(model, prompt):
    return require_greedy(folder(model), prompt)


def check_pruned():
    pruned, _ = stories.run_row("0.7 wanda owl sequential")
    return require_greedy(pruned, "Once upon a time")


def check_drawn():
    drawn = [generate(product.STORIES, "Once", "--temperature", 1, "--seed", seed) for seed in (7, 7, 8)]
    require(drawn[0] == drawn[1], "the same seed gave another text")
    require(drawn[0] != drawn[2], "another seed gave the same text")


def check_encoding():
    """A word in Latin-1, as from a terminal that is set to it, where the locale says UTF-8; and UTF-8 in the C locale."""
    latin = "caf\udce9"  # the byte E9, which is no UTF-8
    outcome = product.owl("generate", "--model", product.STORIES, "--prompt", latin, environment={"LC_ALL": "C.UTF-8"})
    require(outcome.code == 2 and "Cannot use this --prompt: it is not text in UTF-8" in outcome.err,
            f"exit code {outcome.code}: {outcome.err}")
    require(not outcome.out, f"it wrote {outcome.out!r}")
    outcome = product.owl(
        "generate", "--model", product.STORIES, "--prompt", "A café", "--tokens", 1, environment={"LC_ALL": "C"})
    require(outcome.code == 0 and outcome.out.startswith("A café"), f"exit code {outcome.code}: {outcome.out!r} {outcome.err}")


def check_empty():
    outcome = product.owl("generate", "--model", product.STORIES, "--prompt", "", "--temperature", "-1")
    require(outcome.code == 2 and "Cannot" in outcome.err, f"exit code {outcome.code}: {outcome.err}")

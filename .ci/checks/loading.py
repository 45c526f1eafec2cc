"""transformers opens what the product wrote, and gives the same perplexity."""

import functools
import math
import threading

import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import product
import stories
from oracle import run_variant
from verdict import require, require_close

torch.set_num_threads(1)
one_at_a_time = threading.Lock()  # transformers sets the default dtype, which all threads share, while it loads
WIKITEXT = product.SHARED / "data" / "text" / "wikitext-2" / "valid.txt"


def checks(fixtures):
    for fixture in fixtures:
        yield f"transformers loads {fixture.name}", functools.partial(
            check_tokens, lambda fixture=fixture: run_variant(fixture, "wanda-owl-sequential"),
            fixture.name, fixture / "expected" / "tokens.safetensors",
        )
    yield "transformers loads stories260K", functools.partial(
        check_tokens, run_stories, "stories260K", stories.TOKENS
    )
    yield "transformers and evaluate agree on text", check_text
    yield "evaluate drops the tail of a text", check_tail


def run_stories():
    return stories.run_row("0.7 wanda owl sequential")


def perplexity(folder, windows):
    """The published protocol: the exponential of the mean of the windows' mean losses."""
    with one_at_a_time, torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(folder)
        model.float().eval()
        losses = [loss(model, torch.as_tensor(window)) for window in windows]
    return math.exp(sum(losses) / len(losses))


def loss(model, ids):
    logits = model(ids.unsqueeze(0), use_cache=False).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, ids[1:]).item()


def tokens_of(folder, text):
    return AutoTokenizer.from_pretrained(folder)(text)["input_ids"]


def cut(ids, length):
    return [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]


def check_tokens(run, name, tokens):
    folder, _ = run()
    windows = load_file(tokens)["evaluation"]
    result = product.evaluate(f"loading-{name}", folder, tokens)
    expected = perplexity(folder, windows)
    require((result["windows"], result["length"]) == windows.shape, f"not the windows {windows.shape}: {result}")
    require_close("perplexity", result["perplexity"], expected, 0.001)
    return f"{result['perplexity']:.4f}, transformers {expected:.4f}"


def check_text():
    folder, _ = run_stories()
    result = product.evaluate("loading-text", folder, WIKITEXT, length=256, windows=20)
    windows = cut(tokens_of(folder, WIKITEXT.read_text("utf-8")), 256)[:20]
    expected = perplexity(folder, windows)
    require((result["windows"], result["length"]) == (20, 256), f"not 20 windows of 256 tokens: {result}")
    require_close("perplexity", result["perplexity"], expected, 0.001)
    return f"{result['perplexity']:.4f}, transformers {expected:.4f}"


def check_tail():
    folder, _ = run_stories()
    text = WIKITEXT.read_text("utf-8")[:20_000]
    file = product.WORK / "loading-tail" / "some text.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    result = product.evaluate("loading-tail", folder, file, length=100)
    windows = cut(tokens_of(folder, text), 100)
    expected = perplexity(folder, windows)
    require(result["windows"] == len(windows), f"{result['windows']} windows, expected {len(windows)}")
    require_close("perplexity", result["perplexity"], expected, 0.001)
    return f"{len(windows)} windows"

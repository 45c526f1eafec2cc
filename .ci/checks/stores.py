"""The statistics store: what is kept is what would be measured, it belongs to one model and its tokens, and nothing else is taken for it."""

import functools
import hashlib
import json
import shutil
import time

from safetensors.numpy import load_file, save_file

import product
from checkpoint import require_same_folder
from reference import tokens_of
from verdict import require

CASE, OTHER = "llama3-bf16", "llama-f32"
MODEL = product.GOLDEN / CASE / "model"
KEPT = "what is needed of the dense model is known"
# name, what owl prune is asked for
SAME = [
    ("wanda owl", dict(metric="wanda", allocation="owl")),
    ("wanda dense dlp", dict(metric="wanda", allocation="dlp", propagation="dense")),
    ("magnitude alpha", dict(metric="magnitude", allocation="alpha")),
]


def checks(fixtures):
    yield "statistics: allocate without the model", check_allocate
    for name, options in SAME:
        yield f"statistics: prune with them and without, {name}", functools.partial(check_same, name, options)
    yield "statistics: Gram matrices, kept and used", check_grams
    for case in (another_model, other_tokens, other_sampling, empty_folder, strangers, damaged_table, damaged_json, missing_table):
        yield f"statistics: refused, {case.__name__.replace('_', ' ')}", functools.partial(check_refused, case)
    yield "statistics: allocate refuses what is not there", check_allocate_refuses


def calibrate(folder, model=MODEL, tokens=None):
    tokens = tokens or tokens_of(CASE)[2]
    outcome = product.owl("calibrate", "--model", model, "--calibration", tokens, "--statistics", folder, "--spectra")
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    return folder


def store():
    return product.once("stores", lambda: calibrate(product.WORK / "stores"))


def copied(name):
    """A copy of the store, to be spoilt."""
    folder = product.WORK / "stores-spoilt" / name
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(store(), folder)


def content(folder):
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*")) if file.is_file()}


def check_allocate():
    """With the checkpoint and the tokens out of the way, so that nothing can be measured again."""
    folder = product.WORK / "stores-alone"
    shutil.copytree(MODEL, folder / "model")
    shutil.copy(tokens_of(CASE)[2], folder / "tokens.safetensors")
    kept = calibrate(folder / "statistics", folder / "model", folder / "tokens.safetensors")
    before = content(kept)
    (folder / "model").rename(folder / "gone")
    (folder / "tokens.safetensors").unlink()
    golden = json.loads((product.GOLDEN / CASE / "expected" / "expected.json").read_text())
    start = time.monotonic()
    outcome = product.owl("allocate", "--statistics", kept, "--sparsity", 0.7, "--output", folder / "ratios.json")
    seconds = time.monotonic() - start
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err}")
    require(seconds < 30, f"{seconds:.0f} s")
    found = json.loads((folder / "ratios.json").read_text())
    expected = golden["allocation"]["owl"]
    found = [found[str(index)] for index in range(len(expected))]
    require(all(abs(a - b) <= 1e-6 for a, b in zip(found, expected)), f"{found}, expected {expected}")
    require(content(kept) == before, "the store was changed")
    return f"{seconds:.1f} s"


def check_same(name, options):
    tokens, name = tokens_of(CASE)[2], name.replace(" ", "-")
    plain, _ = product.prune(f"stores-{name}-plain", MODEL, tokens, **options)
    folder = product.WORK / f"stores-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(store(), folder / "statistics")
    flags = dict(model=MODEL, calibration=tokens, output=folder / "out", sparsity=0.7, statistics=folder / "statistics", **options)
    outcome = product.owl("prune", *product.flags(flags))
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    require(KEPT in outcome.err and "\ncalibrate " not in outcome.err, f"the dense model was measured again: {outcome.err}")
    require_same_folder(folder / "out", plain, "with kept statistics against without")


def check_grams():
    tokens = tokens_of(CASE)[2]
    options = dict(metric="sparsegpt", propagation="dense", allocation="owl", sparsity=0.7, model=MODEL, calibration=tokens)
    plain, _ = product.prune("stores-grams-plain", MODEL, tokens, **{k: v for k, v in options.items() if k not in ("model", "calibration")})
    folder = product.WORK / "stores-grams"
    for number in range(2):
        out = folder / f"out{number}"
        outcome = product.owl("prune", *product.flags(dict(options, output=out, statistics=folder / "statistics", keep_grams=True)))
        require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
        require_same_folder(out, plain, f"run {number} with kept Gram matrices against one without")
        require((KEPT in outcome.err) == (number == 1), f"run {number}: {outcome.err}")


# --- what is no store of this model and these tokens: (folder, model, tokens, what the message names) ---------------


def another_model():
    return copied("model"), product.GOLDEN / OTHER / "model", tokens_of(OTHER)[2], "another checkpoint"


def other_tokens():
    """One token is another."""
    tokens = load_file(tokens_of(CASE)[2])
    tokens["calibration"] = tokens["calibration"].copy()
    tokens["calibration"][1, 5] = (tokens["calibration"][1, 5] + 1) % 96
    file = product.WORK / "stores-other.safetensors"
    save_file(tokens, file)
    return copied("tokens"), MODEL, file, "other calibration tokens"


def other_sampling():
    """The same tokens, but one sequence less."""
    tokens = load_file(tokens_of(CASE)[2])
    file = product.WORK / "stores-fewer.safetensors"
    save_file({"calibration": tokens["calibration"][:3].copy()}, file)
    return copied("fewer"), MODEL, file, "other calibration tokens"


def empty_folder():
    """Not refused by prune, which fills it; allocate has nothing to read."""
    folder = product.WORK / "stores-spoilt" / "empty"
    folder.mkdir(parents=True, exist_ok=True)
    return folder, None, None, "there are none"


def strangers():
    folder = product.WORK / "stores-spoilt" / "strangers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "thesis.txt").write_text("mine")
    return folder, MODEL, tokens_of(CASE)[2], "no statistics"


def damaged_table():
    folder = copied("table")
    table = folder / "norms.parquet"
    table.write_bytes(table.read_bytes()[:-100])
    return folder, MODEL, tokens_of(CASE)[2], "norms.parquet"


def damaged_json():
    folder = copied("json")
    (folder / "statistics.json").write_text((folder / "statistics.json").read_text()[:-30])
    return folder, MODEL, tokens_of(CASE)[2], "delete the folder"


def missing_table():
    folder = copied("missing")
    (folder / "linears.parquet").unlink()
    return folder, MODEL, tokens_of(CASE)[2], "linears.parquet"


def check_refused(case):
    folder, model, tokens, word = case()
    before, out = content(folder), product.WORK / "stores-spoilt" / f"out-{case.__name__}"
    if model is None:
        outcome = product.owl("allocate", "--statistics", folder, "--sparsity", 0.7, "--output", out)
    else:
        outcome = product.owl("prune", "--model", model, "--calibration", tokens, "--output", out, "--sparsity", 0.7, "--statistics", folder)
    message = outcome.err.strip().splitlines()[-1]
    require(outcome.code == 2, f"exit code {outcome.code}: {outcome.err[-1500:]}")
    require(message.startswith("owl: Cannot") and word in message and str(folder) in message, message)
    require("[B@" not in message, f"a Java object: {message}")
    require("\tat " not in outcome.err, f"a stack trace: {outcome.err[-1500:]}")
    require(content(folder) == before, "the folder was changed")
    require(not out.exists() or not any(out.iterdir()), "something was written")
    return message


def check_allocate_refuses():
    kept, file = store(), product.WORK / "stores-nothing.json"
    for flags, words in (
        (dict(allocation="owl", outlier_threshold=4.5), ("--outlier-threshold 4.5",)),
        (dict(allocation="fair"), ("fair", "owl-linear")),
        (dict(allocation="owl", pattern="2:4", sparsity=0.7), ("--sparsity 0.7", "2:4")),
        (dict(allocation="er", pattern="2:4", sparsity=None), ("2:4",)),
    ):
        outcome = product.owl("allocate", *product.flags({"statistics": kept, "sparsity": 0.7, "output": file} | flags))
        require(outcome.code == 2 and "owl: Cannot" in outcome.err, f"{flags}: exit code {outcome.code}: {outcome.err}")
        for word in words:
            require(word in outcome.err, f"{flags}: no {word!r} in {outcome.err}")
        require(not file.exists(), f"{flags}: a list was written")

"""Every allocation at 50, 60, 70 and 80 %: reached, or refused with the name of the knob; and its numbers by their formulas."""

import functools
import json
import re

import numpy
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

import product
import stories
from checkpoint import linears_of_blocks, read_folder, require_same_folder
from reference import Method, Network, norms, owl, tokens_of
from verdict import require, require_close

CASE = "llama-f32"
MODEL = product.GOLDEN / CASE / "model"
TARGETS = (0.5, 0.6, 0.7, 0.8)
NAMES = ("uniform", "owl", "owl-bounded", "owl-linear", "owl-inverse", "global", "er", "lamp", "alpha", "dlp", "atp")
PARAMETERS = {  # those of golden/allocations.py
    "outlier_threshold": 5, "lambda": 0.08, "epsilon": 0.2, "alpha_fit": "peak,mid", "dlp_alpha": 0.15, "atp_beta": 0.05,
}
ONE_FIT = PARAMETERS | {"alpha_fit": None}
KNOBS = {"owl": "lambda", "alpha": "epsilon", "dlp": "dlp-alpha", "atp": "atp-beta", "global": "sparsity"}  # what a refusal has to name
# allocation, flags that only it knows
ROUND_TRIPS = [("owl", {}), ("global", {}), ("alpha", {"alpha_per_linear": True})]
REFUSED = [  # allocation, sparsity, flags, what the message has to name
    ("owl", 0.95, {"lambda": 0.2}, "--lambda"),
    ("owl-bounded", 0.95, {"lambda": 0.2}, "--lambda"),
    ("alpha", 0.95, {"epsilon": 0.5}, "--epsilon"),
    ("dlp", 0.9, {"dlp_alpha": 0.4}, "--dlp-alpha"),
    ("atp", 0.9, {"atp_beta": 0.3}, "--atp-beta"),
]


def checks(fixtures):
    yield "allocations: numbers and perplexities by their formulas", check_formulas
    yield "allocations: alpha by linear layer", check_alpha_per_linear
    yield "allocations: reached sparsity at 50, 60, 70, 80 %", check_reached
    yield "allocations: erk is er", check_erk
    for allocation, flags in ROUND_TRIPS:
        yield f"allocations: ratios of {allocation}, from allocate to prune", functools.partial(check_round_trip, allocation, flags)
    for allocation, sparsity, flags, word in REFUSED:
        yield f"allocations: {allocation} impossible at {sparsity}", functools.partial(check_refused, allocation, sparsity, flags, word)


def sweep(name, model, tokens, **options):
    """The rows, and what the run said."""
    folder = product.WORK / f"allocations-{name}"
    options = dict(model=model, calibration=tokens, evaluate=tokens, output=folder, **options)
    outcome = product.owl("sweep", *product.flags(options))
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1500:]}")
    report = json.loads((folder / "sweep.json").read_text())
    return report["rows"], outcome.out + outcome.err


def store():
    """Statistics of the golden checkpoint with spectra, shared."""
    return product.once("allocations-store", lambda: calibrate(product.WORK / "allocations-store"))


def calibrate(folder):
    _, _, tokens = tokens_of(CASE)
    outcome = product.owl("calibrate", "--model", MODEL, "--calibration", tokens, "--statistics", folder, "--spectra")
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    return folder


def golden():
    return json.loads((product.GOLDEN / CASE / "expected" / "allocations.json").read_text())


def expected_shares(rule, target, network, ratios, sizes):
    """By name of a linear, from the formulas; None if one of them is outside [0, 1)."""
    if rule == "uniform":
        return network.by_linear([target] * len(network.blocks))
    if rule == "owl":
        return network.by_linear(owl(ratios, target, PARAMETERS["lambda"]))
    shares = golden()["allocations"][rule][str(target)]
    if shares is None or len(shares) == len(sizes):
        return shares and dict(zip(sizes, shares))
    return network.by_linear(shares)


def rule_of(row):
    """What golden/allocations.py calls the allocation of a row."""
    name = row["allocation"]
    if name == "global":
        return "global-magnitude" if row["metric"] == "magnitude" else "global-score"
    return f"alpha-{row['alphaFit']}" if name == "alpha" else name


def check_formulas():
    calibration, evaluation, tokens = tokens_of(CASE)
    rows, _ = sweep(
        "formulas", MODEL, tokens, statistics=store(), metric="magnitude,wanda", propagation="dense",
        sparsity=",".join(map(str, TARGETS)), allocation=",".join(NAMES), **PARAMETERS)
    network = Network(MODEL, calibration, AutoModelForCausalLM.from_pretrained)
    ratios = network.outlier_ratios(PARAMETERS["outlier_threshold"])
    require(len(rows) == 2 * len(TARGETS) * (len(NAMES) + 1), f"{len(rows)} rows")  # alpha twice
    for row in rows:
        require_row(row, network, ratios, evaluation, rule_of(row))
    return f"{len(rows)} rows"


def require_row(row, network, ratios, evaluation, rule):
    what = f"{row['metric']} {rule} at {row['sparsity']}"
    sizes = golden_sizes()
    shares = expected_shares(rule, row["sparsity"], network, ratios, sizes)
    require(shares is not None, f"{what}: a row, but by the formula it is impossible")
    by_block = [numpy.average([shares[name] for name in block], weights=[sizes[name] for name in block]) for block in network.blocks.values()]
    apart = max(abs(a - b) for a, b in zip(row["sparsities"], by_block, strict=True))
    require(apart <= 1e-3, f"{what}: {row['sparsities']}, by the formula {by_block}")
    network.prune(Method(row["metric"], "dense"), shares)
    require_close(what, row["perplexity"], float(network.perplexity(evaluation)), 0.001)


def golden_sizes():
    return {name + ".weight": size for name, size in zip(golden()["linears"], golden()["weights"])}


def check_alpha_per_linear():
    calibration, evaluation, tokens = tokens_of(CASE)
    rows, said = sweep(
        "alpha-per-linear", MODEL, tokens, statistics=store(), metric="magnitude", sparsity=",".join(map(str, TARGETS)),
        allocation="alpha", alpha_per_linear=True, epsilon=0.2, alpha_fit="peak,mid")
    network = Network(MODEL, calibration, AutoModelForCausalLM.from_pretrained)
    for row in rows:
        require_row(row, network, None, evaluation, f"alpha-{row['alphaFit']}-linear")
    possible = sum(golden()["allocations"][f"alpha-{fit}-linear"][str(t)] is not None for fit in ("peak", "mid") for t in TARGETS)
    require(len(rows) == possible < 2 * len(TARGETS), f"{len(rows)} rows, of which {possible} are possible")
    require("--epsilon" in said, f"what is left out is not said: {said}")
    return f"{len(rows)} rows, {2 * len(TARGETS) - possible} left out and said"


def check_reached():
    """A trained model: within 0.1 % and what rounding costs, by the shapes of its linears."""
    file = product.WORK / "allocations-reached.safetensors"
    tokens = load_file(stories.TOKENS)
    save_file({"calibration": tokens["calibration"][:4].copy(), "evaluation": tokens["evaluation"][:2].copy()}, file)
    rows, said = sweep(
        "reached", product.STORIES, file, metric="magnitude,wanda", propagation="dense",
        sparsity=",".join(map(str, TARGETS)), allocation=",".join(NAMES), **PARAMETERS)
    tensors = read_folder(product.STORIES)
    shapes = [tensors[name].shape for names in linears_of_blocks(tensors).values() for name in names]
    weights = sum(rows_ * columns for rows_, columns in shapes)
    less = {"wanda": sum(rows_ for rows_, _ in shapes) / weights, "magnitude": 0}  # less than one weight a row
    more = {"wanda": 0, "magnitude": len(shapes) / weights}  # the weight at the rank
    found = set()
    for row in rows:
        what = f"{row['metric']} {row['allocation']} at {row['sparsity']}: reached {row['reached']}"
        apart = row["reached"] - row["sparsity"]
        require(-0.001 - less[row["metric"]] < apart < 0.001 + more[row["metric"]], what)
        found.add((row["metric"], row["allocation"], row.get("alphaFit"), row["sparsity"]))
    missing = 0
    for metric in ("magnitude", "wanda"):
        for name in NAMES:
            for fit in ("peak", "mid") if name == "alpha" else (None,):
                for target in TARGETS:
                    if (metric, name, fit, target) not in found:
                        missing += 1
                        knob = KNOBS.get(name.split("-")[0])
                        require(knob and re.search(rf"sparsity {target} .*--{knob}", said), f"{metric} {name} at {target}: no row, and no --{knob} in {said[-2000:]}")
                        require(name != "global" or empties_one(metric, tokens["calibration"][:4], target), f"global at {target} is possible")
    require(len(found) > 80, f"only {len(found)} of all ways are possible")
    return f"{len(found)} reached, {missing} refused by name"


def empties_one(metric, calibration, target):
    """Whether one threshold for the whole model leaves nothing of some linear."""
    network = Network(product.STORIES, calibration, AutoModelForCausalLM.from_pretrained)
    grams = network.grams(network.blocks)
    scores = [weight.abs() * (norms(grams[name]) if metric == "wanda" else 1) for name, weight in network.weights().items()]
    threshold = torch.cat([score.flatten() for score in scores]).quantile(target)
    return any((score <= threshold).all() for score in scores)


def allocate(*arguments):
    return product.owl("allocate", "--statistics", store(), *arguments, timeout=60)


def check_erk():
    lists = []
    for name in ("er", "erk"):
        file = product.WORK / f"allocations-{name}.json"
        store()
        outcome = allocate("--allocation", name, "--sparsity", 0.7, "--output", file)
        require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err}")
        lists.append(json.loads(file.read_text()))
    require(lists[0] == lists[1], f"er {lists[0]}, erk {lists[1]}")
    expected = dict(zip(golden()["linears"], golden()["allocations"]["er"]["0.7"]))
    require(all(abs(lists[0][name] - share) <= 1e-9 for name, share in expected.items()), f"{lists[0]}, by the formula {expected}")


def check_round_trip(allocation, flags):
    _, _, tokens = tokens_of(CASE)
    file = product.WORK / f"ratios-of-{allocation}.json"
    options = dict(allocation=allocation, sparsity=0.7, **flags)
    outcome = allocate(*product.flags(options | {"output": file}))
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err}")
    direct, report = product.prune(f"direct-{allocation}", MODEL, tokens, **options)
    listed, again = product.prune(f"listed-{allocation}", MODEL, tokens, sparsity=None, allocation=f"ratios:{file}")
    require_same_folder(listed, direct, "by the list against by the allocation")
    require(report["weights"] == again["weights"], f"removed {again['weights']}, expected {report['weights']}")
    require(len(set(json.loads(file.read_text()).values())) > 2, "this check needs blocks that differ")


def check_refused(allocation, sparsity, flags, word):
    file = product.WORK / f"refused-{allocation}.json"
    outcome = allocate(*product.flags(dict(allocation=allocation, sparsity=sparsity, output=file, **flags)))
    message = outcome.err.strip()
    require(outcome.code == 2 and message.startswith("owl: Cannot") and word in message, f"exit code {outcome.code}: {message}")
    require(not file.exists(), "a list was written")
    return message

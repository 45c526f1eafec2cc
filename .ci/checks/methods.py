"""Every way to choose weights against PyTorch: its perplexity in one sweep, its bytes in a prune, and what transformers loads."""

import functools
import json

from transformers import AutoModelForCausalLM

import loading
import product
from checkpoint import read_folder
from oracle import require_untouched
from reference import Method, Network, owl, require_groups, require_perplexity, require_weights, tokens_of, whole_numbers
from verdict import require, require_close

CASE = "llama-f32"  # float32: nothing is lost by rounding, no two weights are equal
MODEL = product.GOLDEN / CASE / "model"
THRESHOLD, WIDTH = 5, 0.2  # wide enough that blocks keep different N of M
PATTERNS = ("2:4", "4:8")
GRID = {
    "sparsity": "0.5,0.7", "metric": "wanda,sparsegpt,magnitude,ria", "pattern": "unstructured," + ",".join(PATTERNS),
    "allocation": "uniform,owl", "outlier_threshold": THRESHOLD, "lambda": WIDTH, "propagation": "sequential,dense",
}
WAYS = 2 * 7 * (2 + len(PATTERNS))  # metrics by propagation, for magnitude without

# name, method, other flags of prune
PRUNED = [
    ("2:4 wanda", Method("wanda"), dict(pattern="2:4", allocation="uniform")),
    ("2:4 magnitude", Method("magnitude"), dict(pattern="2:4", allocation="uniform")),
    ("2:4 sparsegpt", Method("sparsegpt"), dict(pattern="2:4", allocation="uniform")),
    ("mixed 4:8 wanda owl", Method("wanda"), dict(pattern="4:8", allocation="owl")),
    ("mixed 5:8 sparsegpt owl", Method("sparsegpt"), dict(pattern="5:8", allocation="owl")),
    ("mixed 3:8 magnitude owl, published rounding", Method("magnitude"), dict(pattern="3:8", allocation="owl", rounding="published")),
    ("sparsegpt, 16 columns, dampening 0.1, dense", Method("sparsegpt", "dense", dampening=0.1, block_columns=16), dict(sparsity=0.6, allocation="owl")),
    ("ria by rows, power 1", Method("ria", group="row", power=1.0), dict(sparsity=0.6, allocation="uniform")),
    ("ria owl", Method("ria"), dict(sparsity=0.7, allocation="owl")),
    ("wanda by matrices", Method("wanda", group="matrix"), dict(sparsity=0.6, allocation="owl")),
    ("magnitude by rows", Method("magnitude", group="row"), dict(sparsity=0.6, allocation="uniform")),
    ("wanda --use-variant", Method("wanda", variant=True), dict(sparsity=0.6, allocation="uniform")),
]


def checks(fixtures):
    yield "methods: a sweep of metrics, patterns, allocations and propagations, by PyTorch", check_sweep
    for name, method, options in PRUNED:
        yield f"methods: {name}", functools.partial(check_pruned, name, method, options)


def network():
    calibration, _, _ = tokens_of(CASE)
    return Network(MODEL, calibration, AutoModelForCausalLM.from_pretrained)


def numbers(pattern):
    """(kept, of) of an N:M pattern; None for unstructured."""
    return None if pattern == "unstructured" else tuple(map(int, pattern.split(":")))


def amounts(ratios, pattern, sparsity, allocation, rounding="mean-preserving"):
    """By block: a share that goes, or (kept, of)."""
    groups = numbers(pattern)
    target = sparsity if groups is None else 1 - groups[0] / groups[1]
    shares = owl(ratios, target, WIDTH) if allocation == "owl" else [target] * len(ratios)
    if groups is None:
        return shares
    return [(kept, groups[1]) for kept in whole_numbers(shares, *groups, rounding)]


def share(amount):
    return 1 - amount[0] / amount[1] if isinstance(amount, tuple) else amount


def check_sweep():
    _, evaluation, file = tokens_of(CASE)
    folder = product.WORK / "methods-sweep"
    outcome = product.owl("sweep", *product.flags(dict(model=MODEL, calibration=file, evaluate=file, output=folder, **GRID)))
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    rows = json.loads((folder / "sweep.json").read_text())["rows"]
    require(len(rows) == WAYS, f"{len(rows)} rows, expected {WAYS}")
    torch_network = network()
    ratios = torch_network.outlier_ratios(THRESHOLD)
    perplexities = set()
    for row in rows:
        what = " ".join(str(row.get(key)) for key in ("sparsity", "pattern", "metric", "allocation", "propagation"))
        by_block = amounts(ratios, row["pattern"], row["sparsity"], row["allocation"])
        asked = [share(amount) for amount in by_block]
        require(all(abs(a - b) <= 1e-6 for a, b in zip(row["sparsities"], asked, strict=True)), f"{what}: {row['sparsities']}, expected {asked}")
        torch_network.prune(Method(row["metric"], row.get("propagation") or "sequential"), torch_network.by_linear(by_block))
        require_close(what, row["perplexity"], float(torch_network.perplexity(evaluation)), 0.001)
        perplexities.add(round(row["perplexity"], 6))
    require(len(perplexities) == len(rows), f"only {len(perplexities)} perplexities of {len(rows)} rows are different")
    return f"{len(rows)} ways"


def check_pruned(name, method, options):
    calibration, evaluation, file = tokens_of(CASE)
    output, report = product.prune(
        "methods-" + "".join(letter if letter.isalnum() else "-" for letter in name), MODEL, file, evaluate=file,
        **{"sparsity": None, "outlier_threshold": THRESHOLD if options["allocation"] == "owl" else None,
           "lambda": WIDTH if options["allocation"] == "owl" else None, **flags_of(method), **options})
    torch_network = network()
    pattern = options.get("pattern", "unstructured")
    by_block = amounts(torch_network.outlier_ratios(THRESHOLD), pattern, options.get("sparsity"), options["allocation"], options.get("rounding"))
    torch_network.prune(method, torch_network.by_linear(by_block))
    before, after = read_folder(MODEL), read_folder(output)
    require_untouched(MODEL, output, before, after)
    different = require_weights(after, torch_network, method.metric == "sparsegpt")
    if numbers(pattern):
        for amount, block in zip(by_block, torch_network.blocks.values(), strict=True):
            require_groups(after, block, *amount)
        require(options["allocation"] == "uniform" or len(set(by_block)) > 1, f"this check needs a mixture: {by_block}")
        if options["allocation"] == "owl" and "rounding" not in options:
            require(sum(kept for kept, _ in by_block) == numbers(pattern)[0] * len(by_block), f"the mean is not kept: {by_block}")
            require(abs(report["sparsity"]["reached"] - share(numbers(pattern))) <= 1e-9, f"reached {report['sparsity']}")
    require_perplexity(report["perplexity"]["pruned"], torch_network.perplexity(evaluation))
    require_perplexity(report["perplexity"]["pruned"], loading.perplexity(output, evaluation))
    return f"{different} masks differ, perplexity {report['perplexity']['pruned']:.4f}"


def flags_of(method):
    flags = dict(metric=method.metric, propagation=method.propagation, comparison_group=method.group)
    if method.variant:
        flags["use_variant"] = True
    if method.metric == "sparsegpt":
        flags |= dict(dampening=method.dampening, block_columns=method.block_columns)
    if method.metric == "ria":
        flags["activation_power"] = method.power
    return flags

"""A trained model: perplexities that mean something."""

import functools
import json

import product
from checkpoint import read_folder
from oracle import require_counts, require_outlier_ratios, require_untouched
from verdict import require, require_close

EXPECTED = product.SHARED / "oracle" / "fixtures" / "stories260K" / "expected"
TOKENS = EXPECTED / "tokens.safetensors"


def checks(fixtures):
    expected = json.loads((EXPECTED / "expected.json").read_text())
    for row in expected["perplexity"]:
        if row != "dense":
            yield f"stories260K {row}", functools.partial(check_row, expected, row)
    yield "stories260K dense, by evaluate", functools.partial(check_dense, expected)
    yield "stories260K inspect", check_inspect
    yield "stories260K plan", check_plan


def run_row(row):
    sparsity, metric, allocation, *propagation = row.split()
    return product.pruned_once(
        "stories260K-" + row.replace(" ", "-"), product.STORIES, TOKENS, sparsity=sparsity, metric=metric,
        allocation=allocation, propagation=propagation[0] if propagation else None, evaluate=TOKENS,
    )


def check_row(expected, row):
    output, report = run_row(row)
    before, after = read_folder(product.STORIES), read_folder(output)
    require_close("dense perplexity", report["perplexity"]["dense"], expected["perplexity"]["dense"], 0.005)
    require_close("pruned perplexity", report["perplexity"]["pruned"], expected["perplexity"][row], 0.005)  # SparseGPT may differ by 3 %, and does not
    require_outlier_ratios(report, row.split()[2], expected["outlier_ratio_percent"], before)
    require_untouched(product.STORIES, output, before, after)
    require_counts(report, after, row.split()[1], float(row.split()[0]))
    return f"{report['perplexity']['pruned']:.4f}"


def check_dense(expected):
    result = product.evaluate("stories260K-dense", product.STORIES, TOKENS)
    require_close("perplexity", result["perplexity"], expected["perplexity"]["dense"], 0.005)
    require((result["windows"], result["length"]) == (40, 256), f"not 40 windows of 256 tokens: {result}")
    return f"{result['perplexity']:.4f}"


def check_inspect():
    outcome = product.owl("inspect", "--model", product.STORIES)
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-500:]}")
    require("llama" in outcome.out.lower(), f"no word about the architecture: {outcome.out[-500:]}")


def check_plan():
    result = product.WORK / "stories260K-plan.json"
    plan = product.succeed("plan", dict(model=product.STORIES, sequences=16, length=64, evaluate=4, json=result))
    stages = [stage["stage"] for stage in plan["stages"]]
    require(stages == ["evaluate", "calibrate", "profile", "propagate", "prune", "evaluate"], f"stages {stages}")
    require(0 < plan["seconds"] < 600, f"{plan['seconds']} s for a model of 260 thousand weights")
    require(0.99 < sum(plan["shares"].values()) < 1.01, f"shares {plan['shares']}")
    return f"{plan['seconds']:.1f} s"

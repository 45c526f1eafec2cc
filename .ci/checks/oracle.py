"""The pruned checkpoints against what the oracle recorded, and the reports against the files."""

import functools
import json

import product
from checkpoint import linears_of_blocks, read_file, read_folder
from verdict import require, require_close

SIDECARS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def checks(fixtures):
    for fixture in fixtures:
        for file in sorted((fixture / "expected").glob("pruned-*.safetensors")):
            variant = file.stem.removeprefix("pruned-")
            yield f"oracle {fixture.name} {variant}", functools.partial(check_variant, fixture, variant)


def run_variant(fixture, variant):
    metric, allocation, propagation = variant.split("-")
    tokens = fixture / "expected" / "tokens.safetensors"
    return product.pruned_once(
        f"{fixture.name}-{variant}", fixture / "model", tokens, metric=metric, allocation=allocation,
        propagation=propagation, evaluate=tokens, **({"outlier_threshold": 5, "lambda": 0.08} if allocation == "owl" else {}),
    )


def check_variant(fixture, variant):
    output, report = run_variant(fixture, variant)
    expected = json.loads((fixture / "expected" / "expected.json").read_text())
    before, after = read_folder(fixture / "model"), read_folder(output)
    allocation = variant.split("-")[1]
    require_untouched(fixture / "model", output, before, after)
    compensates = variant.startswith("sparsegpt")
    oracle = read_file(fixture / "expected" / f"pruned-{variant}.safetensors")
    same = require_same_masks(before, after, oracle, compensates)
    require_allocation(report, expected["allocation"][allocation])
    require_outlier_ratios(report, allocation, expected["outlier_ratio_percent"]["5.0"], before)
    require_close("dense perplexity", report["perplexity"]["dense"], expected["perplexity"]["dense"], 0.005)
    require_close("pruned perplexity", report["perplexity"]["pruned"], expected["perplexity"][variant], 0.03 if compensates else 0.005)
    require_counts(report, after, variant.split("-")[0], 0.7)
    return f"{same} masks differ"


def require_untouched(model, output, before, after):
    require(set(before) == set(after), f"other tensors than in the input: {set(before) ^ set(after)}")
    linears = {name for names in linears_of_blocks(before).values() for name in names}
    for name, was in before.items():
        found = after[name]
        require((found.dtype, found.shape) == (was.dtype, was.shape), f"{name} has another dtype or shape")
        require(name in linears or found.data == was.data, f"{name} is not what it was")
    for name in SIDECARS:
        if (model / name).exists():
            require((output / name).exists(), f"{name} was not copied")
            require((model / name).read_bytes() == (output / name).read_bytes(), f"{name} is not what it was")


def require_same_masks(before, after, oracle, compensates):
    """Returns how many entries are zero here and not there, or the reverse. What compensates changes the weights it keeps."""
    different = total = 0
    for name, expected in oracle.items():
        was, found = before[name], after[name]
        zero, expected_zero = found.zeros(), expected.zeros()
        different += int((zero != expected_zero).sum())
        total += zero.size
        require(not (found.negative_zeros() & ~was.zeros()).any(), f"{name}: pruned to -0.0")
        if compensates:
            continue
        kept = ~zero
        require((found.bits()[kept] == was.bits()[kept]).all(), f"{name}: a kept weight changed")
        both = kept & ~expected_zero
        require((found.bits()[both] == expected.bits()[both]).all(), f"{name}: a kept weight is not the oracle's")
    require(different <= (5e-3 if compensates else 1e-4) * total, f"{different} of {total} masks differ from the oracle's")
    return different


def require_allocation(report, expected):
    found = [block["sparsity"] for block in report["blocks"]]
    require(len(found) == len(expected), f"{len(found)} blocks, expected {len(expected)}")
    require(all(abs(a - b) <= 1e-6 for a, b in zip(found, expected)), f"allocation {found}, expected {expected}")


def require_outlier_ratios(report, allocation, expected_percent, tensors):
    """Within two weights of the oracle's count; none where the allocation needs none."""
    if allocation == "uniform":
        require(all(block["outlierRatio"] is None for block in report["blocks"]), "outlier ratios nobody asked for")
        return
    blocks = linears_of_blocks(tensors)
    for block, expected in zip(report["blocks"], expected_percent, strict=True):
        size = sum(tensors[name].zeros().size for name in blocks[block["index"]])
        found = block["outlierRatio"]
        apart = abs(found - expected) / 100 * size
        require(apart <= 2.001, f"block {block['index']}: outlier ratio {found} %, expected {expected} %: {apart:.1f} weights")


def require_counts(report, after, metric, target):
    """The report's numbers against the zeros in the files, and the zeros against what was asked."""
    blocks = linears_of_blocks(after)
    require([block["index"] for block in report["blocks"]] == sorted(blocks), "the report lists other blocks")
    all_zeros = all_weights = 0
    for block in report["blocks"]:
        block_zeros = block_weights = 0
        for name in blocks[block["index"]]:
            zeros = after[name].zeros()
            require_asked(name, zeros, metric, block["sparsity"])
            block_zeros += int(zeros.sum())
            block_weights += zeros.size
        counted = block_zeros / block_weights
        require(abs(block["reached"] - counted) <= 1e-6, f"block {block['index']}: reached {block['reached']}, counted {counted}")
        all_zeros += block_zeros
        all_weights += block_weights
    counted = all_zeros / all_weights
    require(abs(report["sparsity"]["target"] - target) <= 1e-9, f"target {report['sparsity']['target']}, asked {target}")
    require(abs(report["sparsity"]["reached"] - counted) <= 1e-6, f"reached {report['sparsity']['reached']}, counted {counted}")


def require_asked(name, zeros, metric, sparsity):
    if metric == "wanda":  # exactly the floor in every row, so less than one weight per row is missing
        columns = zeros.shape[1]
        asked = int(columns * sparsity)
        require((zeros.sum(axis=1) == asked).all(), f"{name}: not exactly {asked} of {columns} zeros in every row")
        require(abs(sparsity - zeros.mean()) * columns < 1, f"{name}: reached {zeros.mean()}, asked {sparsity}")
    elif metric == "sparsegpt":  # one more than asked in every block of 128 columns, and what ties with it
        rows, columns = zeros.shape
        blocks = [rows * min(128, columns - first) for first in range(0, columns, 128)]
        asked = sum(int(size * sparsity) + 1 for size in blocks)
        found = int(zeros.sum())
        require(asked <= found <= asked + 0.01 * zeros.size, f"{name}: {found} zeros, asked for {asked}")
    else:  # the weight at that rank goes too, and every weight that ties with it
        asked = int(zeros.size * sparsity) + 1
        found = int(zeros.sum())
        require(asked <= found <= asked + 0.01 * zeros.size, f"{name}: {found} zeros, asked for {asked}")

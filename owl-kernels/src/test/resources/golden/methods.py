"""Prunes one golden checkpoint beside this file by every method that generate.py leaves out, straight from the published loops.

    pip install torch==2.13.0 transformers safetensors numpy      (transformers 5 or later)
    python methods.py                                             (after generate.py; a few seconds; the same bytes every time)

Checked against (read, not copied): IST-DASLab/sparsegpt at 147d215 (sparsegpt.py), locuslab/wanda at 8e8fc87 (lib/prune.py,
--use_variant), the RIA repository at b87b897 (lib/prune.py), luuyin/OWL at dddb7a4 (wanda_owl_structure).

Writes into <CASE>/expected:
  pruned-<method>-<allocation>-<propagation>[-<N>of<M>].safetensors    every linear after pruning; N:M keeps N of M
  methods.json                                                         the perplexity of each
"""

import json
import math

import numpy as np
import torch
from generate import (
    HERE,
    LAMBDA,
    OUTLIER_THRESHOLD,
    SPARSITY,
    blocks_of,
    capture,
    cases,
    linears_of,
    load,
    outlier_ratios,
    owl_allocation,
    pack_linears,
    perplexity,
    run,
)
from safetensors.torch import load_file, save_file

CASE = "qwen2-bf16"
METHODS = [
    "sparsegpt-owl-sequential", "sparsegpt-uniform-dense", "sparsegpt-uniform-sequential-2of4",
    "wanda-uniform-sequential-2of4", "wanda-owl-sequential-3of8", "magnitude-uniform-sequential-4of8",
    "ria-owl-sequential", "wandavariant-uniform-sequential",
]


# --- what is known of the inputs ----------------------------------------------------------------


def capture_grams(model, block, tokens):
    """Per linear of the block, the sum of X^T X over the tokens, float64."""
    grams, handles = {}, []

    def watch(name):
        def hook(_, inputs, __):
            x = inputs[0].reshape(-1, inputs[0].shape[-1]).double()
            grams[name] = grams.get(name, 0) + x.T @ x

        return hook

    for name, linear in linears_of(block).items():
        handles.append(linear.register_forward_hook(watch(name)))
    run(model, tokens)
    for handle in handles:
        handle.remove()
    return grams


# --- the methods -----------------------------------------------------------------------------------


def sparsegpt(weight, gram, samples, sparsity, kept_of, block_size=128, dampening=0.01):
    w = weight.clone().double()
    hessian = 2.0 / samples * gram
    dead = torch.diag(hessian) == 0
    hessian[dead, dead] = 1
    w[:, dead] = 0
    hessian += dampening * torch.diag(hessian).mean() * torch.eye(w.shape[1], dtype=torch.float64)
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    for start in range(0, w.shape[1], block_size):
        stop = min(start + block_size, w.shape[1])
        part, corner = w[:, start:stop].clone(), upper[start:stop, start:stop]
        diagonal = torch.diag(corner)
        errors = torch.zeros_like(part)
        mask = torch.zeros_like(part, dtype=torch.bool)
        if kept_of is None:
            score = (part / diagonal) ** 2
            mask = score <= torch.sort(score.flatten())[0][int(score.numel() * sparsity)]
        for j in range(stop - start):
            if kept_of is not None and j % kept_of[1] == 0:
                kept, of = kept_of
                score = (part[:, j : j + of] / diagonal[j : j + of]) ** 2
                order = torch.sort(score, dim=1, stable=True)[1]
                mask.scatter_(1, j + order[:, : of - kept], True)
            column = part[:, j].masked_fill(mask[:, j], 0.0)
            errors[:, j] = (part[:, j] - column) / corner[j, j]
            part[:, j:] -= torch.outer(errors[:, j], corner[j, j:])
            part[:, j] = column
        w[:, start:stop] = part
        w[:, stop:] -= errors @ upper[start:stop, stop:]
    return w.float()


def by_groups(weight, metric, kept_of):
    kept, of = kept_of
    groups = metric.reshape(weight.shape[0], -1, of)
    order = torch.sort(groups, dim=2, stable=True)[1]
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(2, order[:, :, : of - kept], True)
    return weight.masked_fill(mask.reshape(weight.shape), 0.0)


def ria(weight, norms, sparsity, power=0.5):
    magnitude = weight.abs()
    relative = magnitude / magnitude.sum(dim=0) + magnitude / magnitude.sum(dim=1).reshape(-1, 1)
    metric = relative * norms**power
    cut = torch.sort(metric.flatten())[0][int(metric.numel() * sparsity)]
    return weight.masked_fill(metric <= cut, 0.0)


def wanda_variant(weight, norms, sparsity):
    metric = weight.abs() * norms
    ordered = torch.sort(metric, dim=1, stable=True)[0]
    cumulative, sums = torch.cumsum(ordered, dim=1), metric.sum(dim=1)

    def mask_at(alpha):
        below = cumulative <= (sums * alpha).reshape(-1, 1)
        cut = torch.gather(ordered, 1, below.sum(dim=1, keepdim=True) - 1)
        return metric <= cut

    alpha, low, high = 0.4, 0.0, 0.8
    mask = mask_at(alpha)
    while abs(mask.float().mean() - sparsity) > 0.001 and high - low >= 0.001:
        if mask.float().mean() > sparsity:
            high, alpha = alpha, (alpha + low) / 2
        else:
            low, alpha = alpha, (alpha + high) / 2
        mask = mask_at(alpha)
    return weight.masked_fill(mask, 0.0)


def mixed_n_of_m(ratios, kept, of):
    """OWL's own rounding; its lambda is in weights: here 2 * LAMBDA * of, the width of the unstructured allocation."""
    ratios = np.array(ratios)
    x = (ratios - ratios.min()) * (1 / (ratios.max() - ratios.min()) * LAMBDA * 2 * of)
    x = np.round(x - np.mean(x))
    return [(int(kept + extra), of) for extra in x]


# --- one variant -------------------------------------------------------------------------------------


def pruned(weight, method, norms, gram, samples, sparsity, kept_of):
    if method == "sparsegpt":
        return sparsegpt(weight, gram, samples, sparsity, kept_of)
    if kept_of is not None:
        return by_groups(weight, weight.abs() * (norms if method == "wanda" else 1), kept_of)
    return {"ria": ria, "wandavariant": wanda_variant}[method](weight, norms, sparsity)


def make(folder, variant, tokens, owl, ratios, dtype):
    method, allocation, propagation, *pattern = variant.split("-")
    model = load(folder)
    blocks = blocks_of(model)
    sparsities = owl if allocation == "owl" else [SPARSITY] * len(blocks)
    patterns = [None] * len(blocks)
    if pattern:
        kept, of = map(int, pattern[0].split("of"))
        patterns = mixed_n_of_m(ratios, kept, of) if allocation == "owl" else [(kept, of)] * len(blocks)
    frozen = [capture_grams(model, block, tokens) for block in blocks] if propagation == "dense" else None
    for index, block in enumerate(blocks):
        grams = frozen[index] if frozen else capture_grams(model, block, tokens)
        for name, linear in linears_of(block).items():
            norms = torch.diag(grams[name]).float().sqrt()
            weight = pruned(
                linear.weight.data, method, norms, grams[name], len(tokens), sparsities[index], patterns[index]
            )
            linear.weight.data = weight.to(dtype).float()
    return model


def main():
    torch.set_num_threads(1)
    case = next(case for case in cases() if case.name == CASE)
    folder, out = HERE / CASE / "model", HERE / CASE / "expected"
    tokens = load_file(out / "tokens.safetensors")
    with torch.no_grad():
        model = load(folder)
        norms = [capture(model, block, tokens["calibration"]) for block in blocks_of(model)]
        ratios = outlier_ratios(model, norms, OUTLIER_THRESHOLD)
        owl = owl_allocation(ratios, SPARSITY, LAMBDA)
        report = {}
        for variant in METHODS:
            model = make(folder, variant, tokens["calibration"], owl, ratios, case.dtype)
            save_file(pack_linears(model, case.dtype), out / f"pruned-{variant}.safetensors")
            report[variant] = perplexity(model, tokens["evaluation"])
            assert math.isfinite(report[variant])
            print(variant, report[variant])
    (out / "methods.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

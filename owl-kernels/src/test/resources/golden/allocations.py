"""Computes, for each golden checkpoint beside this file, what the allocations are, straight from their formulas.

    pip install torch==2.13.0 transformers safetensors numpy      (transformers 5 or later)
    python allocations.py                                         (after generate.py; a few seconds; the same bytes every time)

Writes <case>/expected/allocations.json:
  linears        names of all linear layers, in PyTorch's order
  weights        their sizes
  spectra        the squared singular values of the first block's linear layers, ascending, by name; float64 SVD
  alpha          mid and peak: PL_Alpha_Hill of every linear layer
  allocations    by rule and target sparsity: a list, one a linear layer or one a block; null if one of them is outside [0, 1)

Scores and outliers are float32 as in the published code, everything else float64. Nothing here sorts weights into
buckets, as the Java code does: thresholds are found by sorting.
"""

import json
import math

import numpy as np
import torch
from generate import HERE, LAMBDA, OUTLIER_THRESHOLD, blocks_of, capture, cases, linear_name, linears_of, load
from safetensors.torch import load_file

TARGETS = (0.5, 0.6, 0.7, 0.8)
EPSILON, DLP_ALPHA, ATP_BETA = 0.2, 0.15, 0.05


class Linear:
    def __init__(self, index, name, module, sumsq):
        self.block = index
        self.name = name
        self.weight = module.weight.data.float()
        self.size = self.weight.numel()
        self.magnitude = self.weight.abs()
        self.score = self.magnitude * sumsq.float().sqrt()
        self.eigenvalues = torch.sort(torch.linalg.svdvals(self.weight.double()) ** 2)[0].numpy()


# --- by shapes ---------------------------------------------------------------------------------


def erdos_renyi(linears, target):
    p = [sum(l.weight.shape) / l.size for l in linears]
    dense = set()
    while True:
        rhs = sum(l.size * (1 - target) for i, l in enumerate(linears) if i not in dense)
        rhs -= sum(linears[i].size * target for i in dense)
        divisor = sum(p[i] * l.size for i, l in enumerate(linears) if i not in dense)
        epsilon = rhs / divisor
        largest = max(p[i] for i in range(len(p)) if i not in dense)
        if epsilon * largest <= 1:
            return [0.0 if i in dense else 1 - epsilon * p[i] for i in range(len(p))]
        dense |= {i for i in range(len(p)) if p[i] == largest}


def arithmetic_progression(blocks, target):
    return [target - ATP_BETA * (blocks - 1) / 2 + ATP_BETA * i for i in range(blocks)]


# --- one threshold ---------------------------------------------------------------------------------


def lowest(scores, target):
    """The share of each list that is among the lowest scores of all; ties at the threshold go in equal shares."""
    everything = np.sort(np.concatenate(scores))
    goal = target * everything.size
    threshold = everything[math.ceil(goal) - 1]
    below = np.array([(s < threshold).sum() for s in scores], float)
    ties = np.array([(s == threshold).sum() for s in scores], float)
    removed = below + ties * (goal - below.sum()) / ties.sum()
    return (removed / [s.size for s in scores]).tolist()


def lamp_scores(weight):
    squares = np.sort(weight.double().numpy().ravel() ** 2)
    return squares / np.cumsum(squares[::-1])[::-1]


# --- by spectra -----------------------------------------------------------------------------------


def hill(eigenvalues, i):
    n = len(eigenvalues) - i
    logs = np.log(eigenvalues)
    return 1 + n / (logs[i:].sum() - n * logs[i])


def kolmogorov_smirnov(eigenvalues, i, alpha):
    n = len(eigenvalues) - i
    return np.abs(1 - (eigenvalues[i:] / eigenvalues[i]) ** (1 - alpha) - np.arange(n) / n).max()


def alpha_mid(eigenvalues):
    return hill(eigenvalues, len(eigenvalues) // 2)


def alpha_peak(eigenvalues):
    logs = torch.log10(torch.from_numpy(eigenvalues))
    counts = torch.histc(logs, 100, min=logs.min(), max=logs.max())
    edges = torch.linspace(logs.min(), logs.max(), 101, dtype=torch.float64)
    peak = 10 ** edges[torch.argmax(counts)].item()
    alphas, distances = np.zeros(len(eigenvalues) - 1), np.ones(len(eigenvalues) - 1)
    for i, eigenvalue in enumerate(eigenvalues[:-1]):
        if math.log10(0.95 * peak) <= eigenvalue <= 1.5 * peak:  # as published, a logarithm and an eigenvalue
            alphas[i] = hill(eigenvalues, i)
            if alphas[i] > 1:
                distances[i] = kolmogorov_smirnov(eigenvalues, i, alphas[i])
    return float(alphas[distances.argmin()])


def alpha_pruning(alphas, sizes, target):
    alphas, sizes = np.array(alphas), np.array(sizes, float)
    ratios = (alphas - alphas.min()) / (alphas.max() - alphas.min()) * 2 * EPSILON + (1 - EPSILON)
    return (ratios * target * sizes.sum() / (sizes * ratios).sum()).tolist()


# --- by outliers and scores ---------------------------------------------------------------------------


def outlier_ratio(scores):
    return 100.0 * (scores > scores.mean() * OUTLIER_THRESHOLD).float().mean().item()


def spread(values, width, target, sizes=None, inverse=False):
    values = np.array(values)
    keep = (values - values.min()) * (1 / (values.max() - values.min()) * width * 2)
    if inverse:
        keep = 2 * width - keep
    mean = keep.mean() if sizes is None else np.average(keep, weights=sizes)
    return (1 - (keep - mean + (1 - target))).tolist()


def bounded(ratios, sizes, target):
    ratios = np.array(ratios)
    distance = ratios - np.average(ratios, weights=sizes)
    return (target - LAMBDA * distance / np.abs(distance).max()).tolist()


def dlp(means, target):
    means = np.array(means)
    return spread(1 - means / means.sum(), DLP_ALPHA, target)


# --- one case --------------------------------------------------------------------------------------


def allocations(linears, target):
    blocks = [[l for l in linears if l.block == b] for b in range(linears[-1].block + 1)]
    sizes = [l.size for l in linears]
    block_sizes = [sum(l.size for l in block) for block in blocks]
    scores = [torch.cat([l.score.flatten() for l in block]) for block in blocks]
    ratios = [outlier_ratio(s) for s in scores]
    result = {
        "er": erdos_renyi(linears, target),
        "atp": arithmetic_progression(len(blocks), target),
        "global-magnitude": lowest([l.magnitude.numpy().ravel() for l in linears], target),
        "global-score": lowest([l.score.numpy().ravel() for l in linears], target),
        "lamp": lowest([lamp_scores(l.weight) for l in linears], target),
        "owl-inverse": spread(ratios, LAMBDA, target, inverse=True),
        "owl-bounded": bounded(ratios, block_sizes, target),
        "owl-linear": spread([outlier_ratio(l.score) for l in linears], LAMBDA, target, sizes),
        "dlp": dlp([s.double().mean().item() for s in scores], target),
    }
    for fit, alpha in (("mid", alpha_mid), ("peak", alpha_peak)):
        alphas = [alpha(l.eigenvalues) for l in linears]
        means = [np.mean([a for a, l in zip(alphas, linears) if l.block == b]) for b in range(len(blocks))]
        result[f"alpha-{fit}"] = alpha_pruning(means, block_sizes, target)
        result[f"alpha-{fit}-linear"] = alpha_pruning(alphas, sizes, target)
    return {rule: s if min(s) >= 0 and max(s) < 1 else None for rule, s in result.items()}


def make_case(case):
    folder = HERE / case.name
    model = load(folder / "model")
    tokens = load_file(folder / "expected" / "tokens.safetensors")["calibration"]
    linears = []
    for index, block in enumerate(blocks_of(model)):
        sums = capture(model, block, tokens)
        linears += [
            Linear(index, linear_name(model, index, name), module, sums[name])
            for name, module in linears_of(block).items()
        ]
    by_target = {target: allocations(linears, target) for target in TARGETS}
    report = {
        "lambda": LAMBDA, "outlier_threshold": OUTLIER_THRESHOLD, "epsilon": EPSILON, "dlp_alpha": DLP_ALPHA,
        "atp_beta": ATP_BETA,
        "linears": [l.name for l in linears],
        "weights": [l.size for l in linears],
        "spectra": {l.name: l.eigenvalues.tolist() for l in linears if l.block == 0},
        "alpha": {
            "mid": [alpha_mid(l.eigenvalues) for l in linears], "peak": [alpha_peak(l.eigenvalues) for l in linears],
        },
        "allocations": {
            rule: {str(target): by_target[target][rule] for target in TARGETS} for rule in by_target[TARGETS[0]]
        },
    }
    (folder / "expected" / "allocations.json").write_text(json.dumps(report) + "\n")
    refused = [f"{rule} {t}" for t in TARGETS for rule, s in by_target[t].items() if s is None]
    print(f"{case.name}: {len(linears)} linear layers; out of range: {', '.join(refused) or 'none'}")


def main():
    torch.set_num_threads(1)
    with torch.no_grad():
        for case in cases():
            make_case(case)


if __name__ == "__main__":
    main()

"""What the papers' methods do to a checkpoint: PyTorch on the network that transformers builds, in float64 where it matters.

Not the product's way: SparseGPT inverts what is left of the Hessian before every column instead of taking a Cholesky
factor, thresholds come from sorting, and every block is pruned after a run of the whole network.
"""

import dataclasses
import itertools

import numpy
import torch
from safetensors.numpy import load_file
from torch import nn

import product
from checkpoint import linears_of_blocks, read_folder
from loading import loss, one_at_a_time
from verdict import require, require_close

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclasses.dataclass(frozen=True)
class Method:
    metric: str
    propagation: str = "sequential"
    group: str | None = None  # row or matrix; None: the metric's own
    variant: bool = False
    dampening: float = 0.01
    block_columns: int = 128
    power: float = 0.5


class Network:
    """A checkpoint as float32, its prunable linears by block and by their name in the file."""

    def __init__(self, folder, inputs, load, run=None):
        self.folder, self.inputs = folder, inputs
        self.run = run or (lambda model, ids: model(torch.as_tensor(ids).unsqueeze(0), use_cache=False))
        with one_at_a_time:
            self.model = load(folder, dtype=torch.float32, attn_implementation="eager").eval()
        self.stored = read_folder(folder)
        modules = {module.weight.data.numpy().tobytes(): module for module in self.model.modules() if isinstance(module, nn.Linear)}
        self.blocks = {
            index: {name: modules[values(self.stored[name]).numpy().tobytes()] for name in names}
            for index, names in sorted(linears_of_blocks(self.stored).items())
        }
        self.dense = {name: module.weight.data.clone() for block in self.blocks.values() for name, module in block.items()}

    def restore(self):
        for block in self.blocks.values():
            for name, module in block.items():
                module.weight.data = self.dense[name].clone()

    def weights(self):
        return {name: module.weight.data for block in self.blocks.values() for name, module in block.items()}

    @torch.no_grad()
    def grams(self, blocks):
        """The sum of x xᵀ over all tokens, for every linear of these blocks."""
        sums, handles = {}, []
        for index in blocks:
            for name, module in self.blocks[index].items():
                def watch(_, arguments, __, name=name):
                    x = arguments[0].reshape(-1, arguments[0].shape[-1]).double()
                    sums[name] = sums.get(name, 0) + x.T @ x

                handles.append(module.register_forward_hook(watch))
        for one in self.inputs:
            self.run(self.model, one)
        for handle in handles:
            handle.remove()
        return sums

    @torch.no_grad()
    def prune(self, method, amounts):
        """`amounts`: what goes, by name of a linear: a share, or (kept, of)."""
        self.restore()
        frozen = self.grams(self.blocks) if method.propagation == "dense" else None
        for index, block in self.blocks.items():
            grams = frozen or self.grams([index])
            for name, module in block.items():
                found = pruned(module.weight.data, grams[name], len(self.inputs), method, amounts[name])
                module.weight.data = found.to(DTYPES[self.stored[name].dtype]).float()

    @torch.no_grad()
    def perplexity(self, windows):
        losses = [loss(self.model, torch.as_tensor(window)) for window in windows]
        return numpy.exp(numpy.mean(losses))

    def outlier_ratios(self, threshold):
        """Of the dense model, in percent, by block."""
        self.restore()
        grams, ratios = self.grams(self.blocks), []
        for block in self.blocks.values():
            scores = torch.cat([(module.weight.data.abs() * norms(grams[name])).flatten() for name, module in block.items()])
            ratios.append(100 * (scores > scores.mean() * threshold).double().mean().item())
        return ratios

    def by_linear(self, by_block):
        return {name: amount for block, amount in zip(self.blocks.values(), by_block, strict=True) for name in block}


def values(tensor):
    bits = torch.frombuffer(bytearray(tensor.data), dtype=DTYPES[tensor.dtype])
    return bits.reshape(tensor.shape).float()


def norms(gram):
    return torch.diag(gram).float().sqrt()


def owl(ratios, sparsity, width):
    ratios = numpy.array(ratios)
    more = (ratios - ratios.min()) / (ratios.max() - ratios.min()) * 2 * width
    return (sparsity + more.mean() - more).tolist()


def whole_numbers(sparsities, kept, of, rounding):
    """OWL's mixed N:M for blocks of one size: how many of `of` weights each keeps."""
    exact = [of * (1 - sparsity) for sparsity in sparsities]
    if rounding == "published":
        return [kept + round(value - kept) for value in exact]  # half to even, as numpy.round
    near = itertools.product(*((int(value), int(value) + 1) for value in exact))
    possible = [counts for counts in near if sum(counts) == kept * len(exact)]
    return list(min(possible, key=lambda counts: sum((a - b) ** 2 for a, b in zip(counts, exact))))


def pruned(weight, gram, samples, method, amount):
    if method.metric == "sparsegpt":
        return sparsegpt(weight, gram, samples, amount, method)
    size = weight.abs()
    if method.metric == "ria":
        size = size / size.sum(0, keepdim=True) + size / size.sum(1, keepdim=True)
    score = {"magnitude": 1, "wanda": norms(gram), "ria": norms(gram) ** method.power}[method.metric] * size
    if method.variant:
        goes = variant(score, amount)
    elif isinstance(amount, tuple):
        goes = smallest_of_groups(score, *amount)
    elif (method.group or ("row" if method.metric == "wanda" else "matrix")) == "row":
        goes = smallest_of_rows(score, int(weight.shape[1] * amount))
    else:
        goes = up_to_rank(score, amount)
    return weight.masked_fill(goes, 0)


def smallest_of_rows(score, count):
    goes = torch.zeros_like(score, dtype=torch.bool)
    return goes.scatter_(1, score.sort(dim=1, stable=True).indices[:, :count], True)


def smallest_of_groups(score, kept, of):
    return smallest_of_rows(score.reshape(-1, of), of - kept).reshape(score.shape)


def up_to_rank(score, share):
    return score <= score.flatten().sort().values[int(score.numel() * share)]


def variant(score, share):
    """Wanda's --use_variant: bisects the share of each row's scores that goes."""
    ordered = score.sort(dim=1).values
    running = ordered.cumsum(dim=1)

    def goes(alpha):
        count = (running <= score.sum(dim=1, keepdim=True) * alpha).sum(dim=1, keepdim=True)
        return score <= ordered.gather(1, count - 1)

    alpha, low, high = 0.4, 0.0, 0.8
    while abs(goes(alpha).double().mean().item() - share) > 0.001 and high - low >= 0.001:
        if goes(alpha).double().mean().item() > share:
            high, alpha = alpha, (alpha + low) / 2
        else:
            low, alpha = alpha, (alpha + high) / 2
    return goes(alpha)


def sparsegpt(weight, gram, samples, amount, method):
    w, hessian = weight.double().clone(), gram * 2 / samples
    dead = hessian.diag() == 0
    hessian[dead, dead] = 1
    w[:, dead] = 0
    hessian += method.dampening * hessian.diag().mean() * torch.eye(len(hessian), dtype=torch.float64)
    left = [torch.linalg.inv(hessian[j:, j:])[0] for j in range(len(hessian))]  # first row of the inverse of what is left
    scale = torch.stack([row[0] for row in left])
    goes = torch.zeros_like(w, dtype=torch.bool)
    for j in range(w.shape[1]):
        if isinstance(amount, tuple):
            if j % amount[1] == 0:
                part = slice(j, j + amount[1])
                goes[:, part] = smallest_of_groups(w[:, part] ** 2 / scale[part], *amount)
        elif j % method.block_columns == 0:
            part = slice(j, j + method.block_columns)
            goes[:, part] = up_to_rank(w[:, part] ** 2 / scale[part], amount)
        error = torch.where(goes[:, j], w[:, j], 0)
        w[:, j:] -= torch.outer(error, left[j] / left[j][0])
        w[goes[:, j], j] = 0
    return w.float()


def require_weights(after, network, compensates):
    """The masks, and every weight that both keep; returns how many masks differ."""
    different = total = 0
    for name, expected in network.weights().items():
        found = values(after[name])
        zero = found == 0
        different += int((zero != (expected == 0)).sum())
        total += zero.numel()
        both = ~zero & (expected != 0)
        if compensates:  # of float32 sums in another order, rounded to the file's type
            precision = max(2 * torch.finfo(DTYPES[after[name].dtype]).eps, 1e-3)
            apart = (found - expected).abs()[both] / expected.abs().max()
            require((apart <= precision).double().mean() > 0.995, f"{name}: kept weights up to {apart.max():.2g} apart")
        else:
            require(torch.equal(found[both], expected[both]), f"{name}: a kept weight changed")
    require(different <= 1e-3 * total, f"{different} of {total} masks differ")
    return different


def require_groups(after, names, kept, of):
    """Exactly `kept` of every `of` consecutive weights are there (none of a golden checkpoint's is zero)."""
    for name in names:
        there = (~after[name].zeros()).reshape(-1, of).sum(axis=1)
        require((there == kept).all(), f"{name}: keeps {sorted(set(there.tolist()))} of {of}, expected {kept}")


def tokens_of(case):
    """The calibration and the evaluation windows of a golden checkpoint, and the file that holds both."""
    file = product.GOLDEN / case / "expected" / "tokens.safetensors"
    tokens = load_file(file)
    return tokens["calibration"], tokens["evaluation"], file


def require_perplexity(found, expected):
    require_close("perplexity", found, float(expected), 0.001)

"""The published procedure of OWL in PyTorch on the CPU, block by block, as its users would run it without a GPU: what submit/benchmark compares with.

    python pytorch_owl.py make  MODEL_DIR --hidden 2048 --intermediate 5504 --blocks 4 --heads 16   (random LLaMA, bfloat16)
    python pytorch_owl.py tokens FILE.safetensors --sequences 8 --length 1024 [--vocab 2048]
    python pytorch_owl.py prune MODEL_DIR --tokens FILE.safetensors [--metric wanda|sparsegpt] [--dtype float32|bfloat16]
                          [--propagation sequential|dense] [--sparsity 0.7] [--threads 2] [--save OUT_DIR]

Prints one line of JSON with seconds per phase. `sequential` is the published order: a dense pass for the outlier ratios, then
per block a pass for statistics, pruning, and a pass through the pruned block. It is a fair opponent: each needless second forward
of the published first pass is left out, q/k/v share nothing else with it, and the model is loaded before the clock starts
(loading is timed on its own). `dense` takes all statistics from the first pass.
"""

import argparse
import json
import time

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig


def make(args):
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=args.vocab, hidden_size=args.hidden, intermediate_size=args.intermediate, num_hidden_layers=args.blocks,
        num_attention_heads=args.heads, num_key_value_heads=args.heads, max_position_embeddings=2048,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for index, block in enumerate(model.model.layers):
            for module in block.modules():
                if isinstance(module, nn.Linear):
                    module.weight.mul_(torch.exp((0.2 + 0.1 * index) * torch.randn(module.weight.shape)))
    model.to(torch.bfloat16).save_pretrained(args.model)


def tokens(args):
    generator = torch.Generator().manual_seed(5)
    draw = lambda n: torch.randint(3, args.vocab, (n, args.length), generator=generator)
    save_file({"calibration": draw(args.sequences), "evaluation": draw(2)}, args.file)


class Statistics:
    def __init__(self, linear, gram):
        self.sum, self.n = torch.zeros(linear.in_features), 0
        self.gram = torch.zeros(linear.in_features, linear.in_features) if gram else None

    def add(self, x):
        x = x.reshape(-1, x.shape[-1]).float()
        self.n += 1
        self.sum += (x * x).sum(0)
        if self.gram is not None:
            self.gram += x.T @ x


def wanda(weight, stats, sparsity):
    metric = weight.float().abs() * (stats.sum / stats.n).sqrt()
    order = torch.sort(metric, dim=-1, stable=True)[1][:, : int(weight.shape[1] * sparsity)]
    mask = torch.zeros_like(metric, dtype=torch.bool).scatter_(1, order, True)
    weight[mask] = 0


def sparsegpt(weight, stats, sparsity, block=128):
    w, h = weight.float().clone(), stats.gram * (2.0 / stats.n)
    h += 0.01 * torch.diag(h).mean() * torch.eye(h.shape[0])
    u = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    for a in range(0, w.shape[1], block):
        b = min(a + block, w.shape[1])
        part, corner, errors = w[:, a:b].clone(), u[a:b, a:b], torch.zeros(w.shape[0], b - a)
        score = part**2 / torch.diag(corner) ** 2
        mask = score <= torch.sort(score.flatten())[0][int(score.numel() * sparsity)]
        for j in range(b - a):
            kept = part[:, j].masked_fill(mask[:, j], 0)
            error = (part[:, j] - kept) / corner[j, j]
            part[:, j:] -= torch.outer(error, corner[j, j:])
            part[:, j], errors[:, j] = kept, error
        w[:, a:b] = part
        w[:, b:] -= errors @ u[a:b, b:]
    weight.copy_(w.to(weight.dtype))


def prune(args):
    torch.set_num_threads(args.threads)
    clock, phases = time.perf_counter(), {}

    def lap(name):
        nonlocal clock
        now = time.perf_counter()
        phases[name] = phases.get(name, 0) + now - clock
        clock = now

    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype), attn_implementation="sdpa").eval()
    rows = load_file(args.tokens)["calibration"]
    lap("load")

    blocks, first = model.model.layers, {}

    class Stop(Exception):
        pass

    def catch(_, inputs, kwargs):
        first["x"], first["kwargs"] = (inputs[0] if inputs else kwargs.pop("hidden_states")), kwargs
        raise Stop

    handle, states = blocks[0].register_forward_pre_hook(catch, with_kwargs=True), []
    for row in rows:
        try:
            model(row.unsqueeze(0), use_cache=False)
        except Stop:
            states.append(first["x"])
    handle.remove()
    kwargs = {k: v for k, v in first["kwargs"].items() if k not in ("hidden_states", "past_key_values")}
    dense_states = list(states)

    def forward(block, inputs):
        out = [block(x, **kwargs) for x in inputs]
        return [o[0] if isinstance(o, tuple) else o for o in out]

    def observe(block, inputs, gram):
        linears = {n: m for n, m in block.named_modules() if isinstance(m, nn.Linear)}
        stats = {n: Statistics(m, gram) for n, m in linears.items()}
        hooks = [m.register_forward_hook(lambda _, x, __, n=n: stats[n].add(x[0])) for n, m in linears.items()]
        out = forward(block, inputs)
        for hook in hooks:
            hook.remove()
        return linears, stats, out

    lap("embed")
    ratios, kept = [], []
    for block in blocks:
        linears, stats, states = observe(block, states, args.propagation == "dense" and args.metric == "sparsegpt")
        lap("dense pass")
        metric = torch.cat([(m.weight.float().abs() * (stats[n].sum / stats[n].n).sqrt()).flatten() for n, m in linears.items()])
        ratios.append(100.0 * (metric > metric.mean() * 5).float().mean().item())
        kept.append((linears, stats))
        lap("outlier ratios")
    r = np.array(ratios)
    keep = (r - r.min()) / (r.max() - r.min()) * args.lam * 2
    sparsities = 1 - (keep - keep.mean() + 1 - args.sparsity)

    states = dense_states
    for block, sparsity, (linears, stats) in zip(blocks, sparsities, kept):
        if args.propagation == "sequential":
            linears, stats, _ = observe(block, states, args.metric == "sparsegpt")
            lap("statistics pass")
        for name, linear in linears.items():
            (wanda if args.metric == "wanda" else sparsegpt)(linear.weight.data, stats[name], float(sparsity))
        lap("prune")
        if args.propagation == "sequential":
            states = forward(block, states)
            lap("pruned pass")
    if args.save:
        model.save_pretrained(args.save)
        lap("save")
    total = sum(v for k, v in phases.items() if k != "load")
    print(json.dumps({"metric": args.metric, "propagation": args.propagation, "dtype": args.dtype, "threads": args.threads,
                      "seconds": {k: round(v, 3) for k, v in phases.items()}, "total_without_load": round(total, 3),
                      "sparsities": [round(float(s), 6) for s in sparsities]}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make")
    command.add_argument("model")
    for name, default in (("hidden", 2048), ("intermediate", 5504), ("blocks", 4), ("heads", 16), ("vocab", 2048)):
        command.add_argument(f"--{name}", type=int, default=default)
    command.set_defaults(run=make)
    command = commands.add_parser("tokens")
    command.add_argument("file")
    for name, default in (("sequences", 8), ("length", 1024), ("vocab", 2048)):
        command.add_argument(f"--{name}", type=int, default=default)
    command.set_defaults(run=tokens)
    command = commands.add_parser("prune")
    command.add_argument("model")
    command.add_argument("--tokens", required=True)
    command.add_argument("--metric", default="wanda", choices=["wanda", "sparsegpt"])
    command.add_argument("--dtype", default="float32")
    command.add_argument("--propagation", default="sequential", choices=["sequential", "dense"])
    command.add_argument("--sparsity", type=float, default=0.7)
    command.add_argument("--lam", type=float, default=0.08)
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--save")
    command.set_defaults(run=prune)
    args = parser.parse_args()
    with torch.no_grad():
        args.run(args)


if __name__ == "__main__":
    main()

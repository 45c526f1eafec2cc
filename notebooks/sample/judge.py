"""Judges a sample model with the published algorithms in PyTorch, apart from the project's own Java.

    python judge.py ../../owl-spark-job/src/main/resources/sample --oracle ORACLE_PY

Perplexity of Magnitude, Wanda and SparseGPT at 50, 60, 70 and 80 %, uniform and OWL (M 5, lambda 0.08), all
sequential, and Wanda with OWL at 70 % for other M and lambda. The pruning, the outlier ratios and the allocation
are the oracle's own functions; only the running is quicker: a block's inputs are kept instead of running the
whole model for every block (`--exact` compares one result with the oracle's `prune`).

Calibration: the first windows of the documents' tokens, packed (`--sampling packed`). Evaluation: the documents
joined by empty lines, tokenized as one text, consecutive windows. Needs what train.py needs, and numpy.
Licence: Apache-2.0.
"""

import argparse
import importlib.util
import json
import math
import pathlib

import torch
from transformers import AutoTokenizer


def texts(path):
    return [json.loads(line)["text"] for line in open(path, encoding="utf-8")]


def windows(ids, length, count=None):
    n = min(len(ids) // length, count or len(ids))
    return torch.tensor(ids[: n * length]).reshape(n, length)


def outputs(model, block, states, extra):
    return torch.cat([_first(block(part, **extra)) for part in states.split(16)])


def _first(output):
    return output[0] if isinstance(output, tuple) else output


class Runner:
    """Runs blocks one at a time on kept hidden states."""

    def __init__(self, oracle, model, length):
        self.oracle, self.model = oracle, model
        position = torch.arange(length).unsqueeze(0)
        self.extra = {
            "position_embeddings": model.model.rotary_emb(torch.zeros(1, length, model.config.hidden_size), position),
            "attention_mask": torch.full((1, 1, length, length), torch.finfo(torch.float32).min).triu(1),
        }

    def embed(self, tokens):
        return self.model.model.embed_tokens(tokens)

    def statistics(self, block, states, gram):
        sums, grams, handles = {}, {}, []
        for name, linear in self.oracle.linears_of(block).items():
            def hook(_, inputs, __, name=name):
                x = inputs[0].reshape(-1, inputs[0].shape[-1]).double()
                sums[name] = sums.get(name, 0) + (x * x).sum(0)
                if gram:
                    grams[name] = grams.get(name, 0) + x.T @ x
            handles.append(linear.register_forward_hook(hook))
        out = outputs(self.model, block, states, self.extra)
        for handle in handles:
            handle.remove()
        return sums, grams, out

    def norms(self, tokens):
        states, result = self.embed(tokens), []
        for block in self.oracle.blocks_of(self.model):
            sums, _, states = self.statistics(block, states, False)
            result.append(sums)
        return result

    def prune(self, tokens, metric, allocation, dtype):
        states = self.embed(tokens)
        for index, block in enumerate(self.oracle.blocks_of(self.model)):
            if metric != "magnitude":
                sums, grams, _ = self.statistics(block, states, metric == "sparsegpt")
            for name, linear in self.oracle.linears_of(block).items():
                weight, s = linear.weight.data, allocation[index]
                if metric == "wanda":
                    pruned = self.oracle.prune_wanda(weight, sums[name], s)
                elif metric == "magnitude":
                    pruned = self.oracle.prune_magnitude(weight, s)
                else:
                    pruned = self.oracle.prune_sparsegpt(weight, grams[name], len(tokens), s)
                linear.weight.data = pruned.to(dtype).float()
            if metric != "magnitude":
                states = outputs(self.model, block, states, self.extra)

    def perplexity(self, tokens):
        total = 0.0
        for part in tokens.split(8):
            logits = self.model(part, use_cache=False).logits
            total += torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), part[:, 1:].flatten(), reduction="sum").item()
        return math.exp(total / (tokens.shape[0] * (tokens.shape[1] - 1)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sample", type=pathlib.Path, help="folder with model/, calibration.jsonl, evaluation.jsonl")
    parser.add_argument("--oracle", type=pathlib.Path, required=True,
                        help="oracle.py of the folder \"shared\" beside the clone, which .ci/run uses too")
    parser.add_argument("--model", type=pathlib.Path, help="another checkpoint than sample/model")
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--windows", type=int, help="how many of the evaluation's windows; all if not given")
    parser.add_argument("--sparsities", type=float, nargs="*", default=[0.5, 0.6, 0.7, 0.8])
    parser.add_argument("--metrics", nargs="*", default=["magnitude", "wanda", "sparsegpt"])
    parser.add_argument("--quick", action="store_true", help="no other M and lambda")
    parser.add_argument("--generate", action="store_true", help="text of the dense model and of those pruned at 70 %%")
    parser.add_argument("--single", action="store_true", help="also each block alone pruned at 70 %% with Wanda")
    parser.add_argument("--exact", action="store_true", help="one result by the oracle's own prune, for comparison")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    spec = importlib.util.spec_from_file_location("oracle", args.oracle)
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)

    path = args.model or args.sample / "model"
    tokenizer, dtype = AutoTokenizer.from_pretrained(path), oracle.checkpoint_dtype(path)
    calibration = [i for text in texts(args.sample / "calibration.jsonl") for i in tokenizer(text).input_ids]
    calibration = windows(calibration, args.length, args.sequences)
    evaluation = tokenizer("\n\n".join(texts(args.sample / "evaluation.jsonl"))).input_ids
    evaluation = windows(evaluation, args.length, args.windows)
    print(f"calibration {tuple(calibration.shape)}, evaluation {tuple(evaluation.shape)}", flush=True)

    model = oracle.load(path)
    dense = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    runner = Runner(oracle, model, args.length)
    report = {"dense": runner.perplexity(evaluation)}
    print(f"dense {report['dense']:.4f}", flush=True)
    norms = runner.norms(calibration)
    ratios = {m: oracle.outlier_ratios(model, norms, float(m)) for m in (3, 5, 7, 10)}
    report["outlier ratio percent"] = ratios
    for m, row in ratios.items():
        print(f"M {m:2}: " + " ".join(f"{r:6.3f}" for r in row))

    def say(metric, allocation, tag, sparsity):
        model.load_state_dict(dense)
        runner.prune(calibration, metric, allocation, dtype)
        value = runner.perplexity(evaluation)
        report[f"{metric} {tag} {sparsity}"] = value
        print(f"{metric:9} {sparsity:.2f} {tag:24} {value:10.4f}", flush=True)
        if args.generate and sparsity == 0.7:
            speak(greedy_only=True)
        return value

    def speak(greedy_only=False):
        for prompt in ("Once upon a time, there was a brave girl named Mia.", ""):
            ids = torch.tensor([tokenizer(prompt).input_ids])
            for temperature in (0.0,) if greedy_only else (0.0, 0.8):
                torch.manual_seed(0)
                settings = dict(do_sample=True, temperature=temperature, top_k=0) if temperature else dict(do_sample=False)
                with torch.no_grad():
                    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=60 if greedy_only else 300, pad_token_id=0, **settings)
                print(f"    [t={temperature}] " + tokenizer.decode(out[0], skip_special_tokens=True).replace("\n", "\\n"), flush=True)
            if greedy_only:
                break

    with torch.no_grad():
        if args.generate:
            speak()
        for sparsity in args.sparsities:
            for metric in args.metrics:
                uniform = say(metric, [sparsity] * len(ratios[5]), "uniform", sparsity)
                owl = say(metric, oracle.owl_allocation(ratios[5], sparsity, 0.08), "owl M=5 lambda=0.08", sparsity)
                print(f"{'':9} {sparsity:.2f} owl / uniform {owl / uniform:.3f}", flush=True)
        if not args.quick:
            for m in (3, 5, 7):
                for lam in (0.05, 0.08, 0.12, 0.15):
                    if (m, lam) != (5, 0.08):
                        say("wanda", oracle.owl_allocation(ratios[m], 0.7, lam), f"owl M={m} lambda={lam}", 0.7)
        if args.single:
            for index in range(len(ratios[5])):
                say("wanda", [0.7 if i == index else 0.0 for i in range(len(ratios[5]))], f"only block {index}", 0.7)
        if args.exact:
            fresh = oracle.load(path)
            oracle.prune(fresh, calibration, "wanda", oracle.owl_allocation(ratios[5], 0.7, 0.08), "sequential", dtype)
            print(f"the oracle's own prune: wanda owl 0.70 {oracle.perplexity(fresh, evaluation):.4f}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        main()

"""Products in bfloat16: norms and perplexities of trained models are those of float32, to half a percent; of random ones, as PyTorch's."""

import functools
import subprocess
import sys

import pyarrow.parquet
import product
import torch
import transformers
from safetensors.torch import load_file
from stories import TOKENS
from verdict import Failed, require

SAMPLE = product.ROOT / "owl-spark-job" / "src" / "main" / "resources" / "sample"
LIMIT = 0.005
here = []  # whether this processor has bfloat16 products; one that has none is told so, and computes in float32
AMPLIFIED = 0.01  # of a model so small that every flipped weight shows, and differently on every processor


def checks(fixtures):
    models = {"stories260K": (product.STORIES, TOKENS, 256), "the sample": (SAMPLE / "model", SAMPLE / "evaluation.jsonl", 128)}
    for name, (model, text, length) in models.items():
        text_flags = dict(calibration=text, sequences=16, length=length, sampling="packed")
        yield f"bfloat16 norms of {name}", functools.partial(check_norms, name, model, text_flags)
        yield f"bfloat16 perplexities of {name}", functools.partial(check_perplexities, name, model, text, length)
    yield "bfloat16 norms behind heads of 64", check_wide_heads


def near(what, value, wanted, limit=LIMIT):
    share = abs(value / wanted - 1)
    require(share <= limit, f"{what}: {value} is {share:.2%} from {wanted}, more than {limit:.1%}")
    return share


def norms(name, model, flags, compute):
    folder = product.WORK / f"norms-{name}-{compute}"
    outcome = product.owl("calibrate", *product.flags(dict(model=model, statistics=folder, compute=compute, **flags)))
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-500:]}")
    here.append("no bfloat16 products" not in outcome.err)
    return pyarrow.parquet.read_table(folder / "norms.parquet").to_pylist()


def check_wide_heads():
    """Attention rounds what it multiplies, too, where heads are wide, which those of the trained models here are not: then what is
    asked for is norms at least as close to float32's as PyTorch's in bfloat16 are."""
    model, tokens = product.WORK / "wide-heads", product.WORK / "wide-heads.safetensors"
    for arguments in (f"make {model} --hidden 256 --intermediate 704 --blocks 3 --heads 4", f"tokens {tokens} --sequences 8 --length 256"):
        subprocess.run([sys.executable, product.ROOT / ".ci" / "pytorch_owl.py", *arguments.split()], check=True, capture_output=True)
    float32, bfloat16 = (norms("heads of 64", model, dict(calibration=tokens), compute) for compute in ("float32", "bfloat16"))
    peer, rounded = (pytorch_norms(model, tokens, dtype) for dtype in (torch.float32, torch.bfloat16))
    ours = {(row["block"], row["input"]): torch.tensor(row["sums_of_squares"], dtype=torch.float64).sqrt() for row in float32}
    require(ours.keys() == peer.keys(), f"norms of {sorted(ours)}, and of {sorted(peer)}")
    far = max(float((ours[key] / peer[key] - 1).abs().max()) for key in ours)
    require(far < 1e-5, f"float32 norms are {far:.2e} from PyTorch's")
    off, theirs = [], []
    for row in bfloat16:
        key = row["block"], row["input"]
        off.append(torch.tensor(row["sums_of_squares"], dtype=torch.float64).sqrt() / ours[key] - 1)
        theirs.append(rounded[key] / peer[key] - 1)
    off, theirs = (float(torch.cat(parts).square().mean().sqrt()) for parts in (off, theirs))
    require(off > 0 or not all(here), "bfloat16 changes no norm: it was not used")
    require(off <= theirs, f"norms are {off:.3%} from float32's, PyTorch's {theirs:.3%}")
    return f"{off:.3%}, PyTorch {theirs:.3%} (root mean square)"


def pytorch_norms(model, tokens, dtype):
    """By block and input the norms of the input features, in a model that computes in a type."""
    model = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
    sums = {}
    for number, block in enumerate(model.model.layers):
        readers = dict(
            ATTENTION=block.self_attn.q_proj, ATTENTION_OUTPUT=block.self_attn.o_proj, MLP=block.mlp.up_proj, MLP_OUTPUT=block.mlp.down_proj)
        for name, reader in readers.items():
            def gather(_, inputs, key=(number, name)):
                rows = inputs[0].double().reshape(-1, inputs[0].shape[-1])
                sums[key] = sums.get(key, 0) + rows.square().sum(0)

            reader.register_forward_pre_hook(gather)
    with torch.no_grad():
        for sequence in load_file(tokens)["calibration"]:
            model(sequence[None])
    return {key: value.sqrt() for key, value in sums.items()}


def check_norms(name, model, flags):
    float32, bfloat16 = (norms(name, model, flags, compute) for compute in ("float32", "bfloat16"))
    require(len(float32) == len(bfloat16) > 0, f"{len(float32)} rows, and {len(bfloat16)}")
    worst = 0
    for one, other in zip(float32, bfloat16):
        for key, value in one.items():
            values = value if isinstance(value, list) else [value]
            others = other[key] if isinstance(value, list) else [other[key]]
            if not values or not isinstance(values[0], float):
                require(value == other[key], f"{key} is {value}, and {other[key]}")
                continue
            # Kept are sums of squares; a norm is the root of one.
            for a, b in zip(values, others, strict=True):
                worst = max(worst, near(f"norm of {one.get('input')} in block {one.get('block')}", b ** 0.5, a ** 0.5) if a else 0)
    if worst == 0 and all(here):
        raise Failed("bfloat16 changes no norm: it was not used")
    return f"{worst:.3%} at most"


def check_perplexities(name, model, text, length):
    found = {}
    for compute in ("float32", "bfloat16"):
        report = product.pruned_once(
            f"compute-{name}-{compute}", model, text, sparsity=0.5, metric="wanda", allocation="owl", sequences=128,
            length=length, sampling="packed", evaluate=text, compute=compute)[1]
        found[compute] = report["perplexity"]
        require(report["options"]["compute"] == compute, f"the report says {report['options'].get('compute')}")
    limits = {"dense": LIMIT, "pruned": AMPLIFIED if name == "stories260K" else LIMIT}
    shares = [near(f"{which} perplexity", found["bfloat16"][which], found["float32"][which], limits[which]) for which in limits]
    return ", ".join(f"{share:.3%}" for share in shares)

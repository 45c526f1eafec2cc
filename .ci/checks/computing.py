"""Products in bfloat16: norms and perplexities are those of float32, to half a percent."""

import functools

import pyarrow.parquet
import product
from stories import TOKENS
from verdict import Failed, require

SAMPLE = product.ROOT / "owl-spark-job" / "src" / "main" / "resources" / "sample"
LIMIT = 0.005
here = []  # whether this processor has bfloat16 products; one that has none is told so, and computes in float32
AMPLIFIED = 0.01  # of a model so small that every flipped weight shows, and differently on every processor


def checks(fixtures):
    models = {"stories260K": (product.STORIES, TOKENS, 256), "the sample": (SAMPLE / "model", SAMPLE / "evaluation.jsonl", 128)}
    for name, (model, text, length) in models.items():
        yield f"bfloat16 norms of {name}", functools.partial(check_norms, name, model, text, length)
        yield f"bfloat16 perplexities of {name}", functools.partial(check_perplexities, name, model, text, length)


def near(what, value, wanted, limit=LIMIT):
    share = abs(value / wanted - 1)
    require(share <= limit, f"{what}: {value} is {share:.2%} from {wanted}, more than {limit:.1%}")
    return share


def norms(name, model, text, length, compute):
    folder = product.WORK / f"norms-{name}-{compute}"
    outcome = product.owl("calibrate", *product.flags(dict(
        model=model, calibration=text, statistics=folder, sequences=16, length=length, sampling="packed", compute=compute)))
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-500:]}")
    here.append("no bfloat16 products" not in outcome.err)
    return pyarrow.parquet.read_table(folder / "norms.parquet").to_pylist()


def check_norms(name, model, text, length):
    float32, bfloat16 = (norms(name, model, text, length, compute) for compute in ("float32", "bfloat16"))
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

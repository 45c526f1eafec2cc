"""Makes the golden checkpoints beside this file and what the published algorithms give on them.

    pip install torch==2.13.0 transformers safetensors numpy      (transformers 5 or later)
    python generate.py                                            (all cases, in half a minute)
    python generate.py NAME ...                                   (these cases)
    python allocations.py                                         (then this: a case's folder is made anew)

The same bytes every time on the same kind of processor; on another, PyTorch's last bits may differ, and with them those
of every file, without any test taking notice.

The unit tests hold the Java code against these files. The arithmetic is PyTorch's and transformers', float32 on the
CPU with eager attention, whatever the checkpoint's dtype; pruned weights are rounded back to that dtype before they are
used or saved, as the published code does.

Each case is a folder:
  model/                         the checkpoint: config.json, generation_config.json, one or several .safetensors
  expected/tokens.safetensors    calibration and evaluation, both int64 [4, 24]
  expected/hidden.safetensors    block.<i>: the dense hidden state after block i, float32 [sequences, length, hidden]
  expected/norms.safetensors     <linear>.sumsq: float32 [in_features], the sum over all calibration tokens of x*x at the
                                 linear's input in the DENSE model
  expected/pruned-<metric>-<allocation>-<propagation>.safetensors    every linear after pruning, in the checkpoint's dtype
  expected/expected.json         outlier ratios per block for M = 3, 5, 7, 10; allocations; perplexities of the dense model
                                 and of every variant, also of those whose weights are left out to keep this folder small
"""

import dataclasses
import json
import math
import pathlib
import shutil
import sys
from collections.abc import Callable

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

HERE = pathlib.Path(__file__).parent
THRESHOLDS = (3.0, 5.0, 7.0, 10.0)
SPARSITY, LAMBDA, OUTLIER_THRESHOLD = 0.7, 0.08, 5.0
SEQUENCES, LENGTH = 4, 24
VARIANTS = [
    (metric, allocation, propagation)
    for metric in ("wanda", "magnitude")
    for allocation in ("owl", "uniform")
    for propagation in ("sequential", "dense")
]
# The weights that are kept as files. Magnitude looks at no activations: "dense" repeats "sequential".
KEPT_MOST = [
    "wanda-owl-sequential", "wanda-owl-dense", "wanda-uniform-sequential",
    "magnitude-owl-sequential", "magnitude-uniform-sequential",
]
KEPT_WITHOUT_UNIFORM_MAGNITUDE = KEPT_MOST[:4]
KEPT_LEAST = ["wanda-owl-sequential", "magnitude-uniform-sequential"]
KEPT_WITH_UNIFORM_DENSE = ["wanda-owl-sequential", "wanda-owl-dense", "wanda-uniform-dense", "magnitude-uniform-sequential"]


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    config: object  # what transformers builds the network from
    dtype: torch.dtype
    seed: int
    kept: list  # the variants whose pruned weights are written
    shard_size: str | None = None
    without: dict | None = None  # the same config with its special feature off: must change the hidden states
    disable: Callable | None = None  # switches the special feature of a model off, where no configuration does
    old_spelling: bool = False


def cases():
    small = dict(num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=64)
    common = dict(hidden_size=48, intermediate_size=80, vocab_size=96, **small)
    llama3 = {
        # head_dim 8 has four wavelengths: 6.3 (kept), 29.7 (blended), 140 and 664 (divided by the factor)
        "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    grouped = dict(num_key_value_heads=2, head_dim=8, tie_word_embeddings=True, rms_norm_eps=1e-5, **common)
    linear = dict(num_key_value_heads=1, attention_bias=True, **common)
    mistral = dict(num_key_value_heads=2, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, **common)
    return [
        Case(
            "llama-f32", LlamaConfig(hidden_size=32, intermediate_size=80, vocab_size=96, num_key_value_heads=4, **small),
            torch.float32, 101, KEPT_MOST,
        ),
        Case(
            "llama3-bf16", LlamaConfig(rope_parameters=llama3, **grouped), torch.bfloat16, 202,
            KEPT_WITHOUT_UNIFORM_MAGNITUDE,
            without=dict(rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
        ),
        Case(
            "llama-linear-f16",
            LlamaConfig(rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}, **linear),
            torch.float16, 303,
            KEPT_WITH_UNIFORM_DENSE,
            shard_size="40KB", without=dict(rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
            old_spelling=True,
        ),
        Case(
            "mistral-bf16", MistralConfig(sliding_window=8, **mistral), torch.bfloat16, 404,
            KEPT_WITHOUT_UNIFORM_MAGNITUDE,
            shard_size="50KB", without=dict(sliding_window=None),
        ),
        *newer_cases(),
    ]


def newer_cases():
    """Two blocks and one or two kept variants each, to stay small."""
    opt = dict(hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=96, max_position_embeddings=32)
    common = dict(
        hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=96, max_position_embeddings=64, tie_word_embeddings=True,
    )
    return [
        Case("opt-f16", OPTConfig(dropout=0.0, **opt), torch.float16, 505, KEPT_LEAST, disable=without_positions),
        Case(
            "opt-post-norm-bf16",  # as OPT-350m
            OPTConfig(dropout=0.0, do_layer_norm_before=False, word_embed_proj_dim=24, **opt), torch.bfloat16, 606, KEPT_LEAST,
            without=dict(do_layer_norm_before=True),
        ),
        Case(
            "qwen2-bf16", Qwen2Config(use_sliding_window=True, sliding_window=8, max_window_layers=1, **common),
            torch.bfloat16, 707, KEPT_LEAST[:1], without=dict(max_window_layers=2, layer_types=["full_attention"] * 2),
        ),
        Case("qwen3-bf16", Qwen3Config(head_dim=12, **common), torch.bfloat16, 808, KEPT_LEAST[:1], disable=without_head_norms),
        Case(
            "phi3-f16", Phi3Config(sliding_window=8, bos_token_id=1, eos_token_id=2, pad_token_id=0, **common),
            torch.float16, 909, KEPT_LEAST[:1], without=dict(sliding_window=None),
        ),
        Case(
            "gemma2-bf16",
            Gemma2Config(
                hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                head_dim=8, vocab_size=96, max_position_embeddings=64, sliding_window=8, query_pre_attn_scalar=12,
                attn_logit_softcapping=0.4, final_logit_softcapping=6.0,
            ),
            torch.bfloat16, 1010, KEPT_LEAST[:1], without=dict(attn_logit_softcapping=None),
        ),
    ]


def without_positions(model):
    model.model.decoder.embed_positions.weight.zero_()


def without_head_norms(model):
    for block in blocks_of(model):
        block.self_attn.q_norm = block.self_attn.k_norm = nn.Identity()


# --- checkpoints ------------------------------------------------------------------------------


def make_checkpoint(case, folder):
    torch.manual_seed(case.seed)
    model = AutoModelForCausalLM.from_config(case.config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(case.seed + 1)
    for parameter in model.parameters():
        if parameter.dim() == 1:  # norm gains, biases: not the all-one, all-zero start, which hides mistakes
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    for index, block in enumerate(blocks_of(model)):
        for linear in linears_of(block).values():
            # a heavy-tailed scale that differs from block to block, so that outlier ratios differ too; and large
            # enough for the attention to prefer some tokens to others, or positions would hardly matter
            gain = torch.exp((0.2 + 0.25 * index) * torch.randn(linear.weight.shape, generator=generator))
            linear.weight.mul_(gain * (6.0 if linear.out_features != linear.in_features else 8.0))
    model.lm_head.weight.mul_(8.0)  # where embeddings are tied, this is the embedding too
    if isinstance(case.config, OPTConfig):  # positions, and the projections of post-norm, as large as the embedding
        decoder = model.model.decoder
        for module in (decoder.embed_positions, decoder.project_in, decoder.project_out):
            if module is not None:
                module.weight.mul_(8.0)
    options = {} if case.shard_size is None else {"max_shard_size": case.shard_size}
    model.to(case.dtype).save_pretrained(folder, **options)
    if case.old_spelling:
        respell(folder / "config.json")


def respell(path):
    """Writes the config as transformers 4.37 did, which knew neither `dtype`, nor `rope_parameters`, nor `head_dim`."""
    config = json.loads(path.read_text())
    assert config.pop("head_dim") * config["num_attention_heads"] == config["hidden_size"]
    config["torch_dtype"] = config.pop("dtype")
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["rope_theta"]
    config["rope_scaling"] = {"type": rope["rope_type"], "factor": rope["factor"]}
    config["transformers_version"] = "4.37.0"
    path.write_text(json.dumps(dict(sorted(config.items())), indent=2) + "\n")


def load(folder, **changes):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **changes)
    model.eval()
    assert not model.training and model.config._attn_implementation == "eager"
    assert model.config.get_text_config().dtype == torch.float32 and next(model.parameters()).dtype == torch.float32
    return model


# --- the parts of a model -------------------------------------------------------------------------


def blocks_of(model):
    return model.model.decoder.layers if hasattr(model.model, "decoder") else model.model.layers


def linears_of(block):
    return {name: module for name, module in block.named_modules() if isinstance(module, nn.Linear)}


def linear_name(model, index, name):
    return f"model.decoder.layers.{index}.{name}" if hasattr(model.model, "decoder") else f"model.layers.{index}.{name}"


def run(model, tokens):
    for row in tokens:
        model(row.unsqueeze(0), use_cache=False)


def capture(model, block, tokens):
    """Runs the model and returns, per linear of the block, the sum of squares of each column of its input."""
    sums, handles = {}, []

    def watch(name):
        def hook(_, inputs, __):
            x = inputs[0].reshape(-1, inputs[0].shape[-1]).double()
            sums[name] = sums.get(name, 0) + (x * x).sum(0)
        return hook

    for name, linear in linears_of(block).items():
        handles.append(linear.register_forward_hook(watch(name)))
    run(model, tokens)
    for handle in handles:
        handle.remove()
    return sums


def hidden_states(model, tokens):
    hidden, handles = {}, []
    for index, block in enumerate(blocks_of(model)):
        def keep(_, __, output, index=index):
            state = output[0] if isinstance(output, tuple) else output
            hidden.setdefault(f"block.{index}", []).append(state.reshape(-1, state.shape[-1]).clone())
        handles.append(block.register_forward_hook(keep))
    run(model, tokens)
    for handle in handles:
        handle.remove()
    return {name: torch.stack(states).float() for name, states in hidden.items()}


# --- layerwise outlier distribution and allocation ----------------------------------------------------


def outlier_ratios(model, norms, threshold):
    """Percent of entries of |W| * ||x||_2 above threshold * mean, over all linears of a block together."""
    ratios = []
    for index, block in enumerate(blocks_of(model)):
        metric = torch.cat([
            (linear.weight.float().abs() * norms[index][name].sqrt().float()).flatten()
            for name, linear in linears_of(block).items()
        ])
        ratios.append(100.0 * (metric > metric.mean() * threshold).float().mean().item())
    return ratios


def owl_allocation(ratios, sparsity, lam):
    ratios = np.array(ratios)
    keep = (ratios - ratios.min()) / (ratios.max() - ratios.min()) * lam * 2
    keep = keep - keep.mean() + (1 - sparsity)
    return (1 - keep).tolist()


# --- pruning ---------------------------------------------------------------------------------------


def prune_wanda(weight, sumsq, sparsity):
    metric = weight.abs() * sumsq.float().sqrt()
    order = torch.sort(metric, dim=1, stable=True)[1]
    mask = torch.zeros_like(metric, dtype=torch.bool)
    mask.scatter_(1, order[:, : int(weight.shape[1] * sparsity)], True)
    return weight.masked_fill(mask, 0.0)


def prune_magnitude(weight, sparsity):
    """One threshold for the whole matrix: the value at rank int(numel * sparsity), itself included."""
    metric = weight.abs()
    cut = torch.sort(metric.flatten())[0][int(metric.numel() * sparsity)]
    return weight.masked_fill(metric <= cut, 0.0)


def prune(model, tokens, metric, allocation, propagation, dtype):
    """propagation: 'sequential', each block sees inputs from the pruned blocks before it; 'dense', from the dense ones."""
    frozen = None
    if propagation == "dense":
        frozen = [capture(model, block, tokens) for block in blocks_of(model)]
    for index, block in enumerate(blocks_of(model)):
        sums = frozen[index] if frozen else capture(model, block, tokens)
        for name, linear in linears_of(block).items():
            weight = linear.weight.data
            if metric == "wanda":
                pruned = prune_wanda(weight, sums[name], allocation[index])
            else:
                pruned = prune_magnitude(weight, allocation[index])
            linear.weight.data = pruned.to(dtype).float()


def perplexity(model, tokens):
    losses = []
    for row in tokens:
        logits = model(row.unsqueeze(0), use_cache=False).logits
        losses.append(nn.functional.cross_entropy(logits[0, :-1].float(), row[1:]).item())
    return math.exp(sum(losses) / len(losses))


def pack_linears(model, dtype):
    return {
        linear_name(model, index, name) + ".weight": linear.weight.data.to(dtype).contiguous()
        for index, block in enumerate(blocks_of(model))
        for name, linear in linears_of(block).items()
    }


# --- one case ----------------------------------------------------------------------------------------


def check_feature_matters(case, folder, tokens, hidden):
    """A golden file that would come out the same without the feature it is there for would prove nothing."""
    model = load(folder, **(case.without or {}))
    if case.disable:
        case.disable(model)
    plain = hidden_states(model, tokens)
    last = f"block.{case.config.num_hidden_layers - 1}"
    change = ((plain[last] - hidden[last]).norm() / hidden[last].norm()).item()
    assert change > 0.05, f"{case.name}: the special feature changes the last hidden state by {change:.4f} only"
    return change


def make_expected(case, folder, out):
    out.mkdir()
    model = load(folder)
    generator = torch.Generator().manual_seed(case.seed + 2)
    vocabulary = model.config.vocab_size
    tokens = torch.randint(3, vocabulary, (SEQUENCES, LENGTH), generator=generator)
    evaluation = torch.randint(3, vocabulary, (SEQUENCES, LENGTH), generator=generator)
    save_file({"calibration": tokens, "evaluation": evaluation}, out / "tokens.safetensors")

    hidden = hidden_states(model, tokens)
    save_file(hidden, out / "hidden.safetensors")
    change = check_feature_matters(case, folder, tokens, hidden) if case.without or case.disable else None

    norms = [capture(model, block, tokens) for block in blocks_of(model)]
    save_file(
        {linear_name(model, i, name) + ".sumsq": value.float() for i, sums in enumerate(norms) for name, value in sums.items()},
        out / "norms.safetensors",
    )

    ratios = {str(m): outlier_ratios(model, norms, m) for m in THRESHOLDS}
    chosen = sorted(ratios[str(OUTLIER_THRESHOLD)])
    assert all(high - low > 0.3 for low, high in zip(chosen, chosen[1:])), f"{case.name}: outlier ratios too close: {chosen}"
    allocations = {
        "owl": owl_allocation(ratios[str(OUTLIER_THRESHOLD)], SPARSITY, LAMBDA),
        "uniform": [SPARSITY] * len(chosen),
    }
    report = {
        "sequences": SEQUENCES, "length": LENGTH, "sparsity": SPARSITY, "lambda": LAMBDA,
        "outlier_threshold": OUTLIER_THRESHOLD, "outlier_ratio_percent": ratios, "allocation": allocations,
        "perplexity": {"dense": perplexity(model, evaluation)},
    }
    for metric, allocation, propagation in VARIANTS:
        model = load(folder)
        prune(model, tokens, metric, allocations[allocation], propagation, case.dtype)
        key = f"{metric}-{allocation}-{propagation}"
        if key in case.kept:
            save_file(pack_linears(model, case.dtype), out / f"pruned-{key}.safetensors")
        report["perplexity"][key] = perplexity(model, evaluation)
    (out / "expected.json").write_text(json.dumps(report, indent=1) + "\n")
    return report, change


def make_case(case):
    folder = HERE / case.name
    shutil.rmtree(folder, ignore_errors=True)
    make_checkpoint(case, folder / "model")
    assert len(list((folder / "model").glob("*.safetensors"))) >= (3 if case.shard_size else 1)
    dtypes = {t.dtype for file in (folder / "model").glob("*.safetensors") for t in load_file(file).values()}
    assert dtypes == {case.dtype}, dtypes
    report, change = make_expected(case, folder / "model", folder / "expected")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{case.name}: {size / 1000:.0f} kB, feature changes the hidden state by {change}")
    print("  outlier ratios", report["outlier_ratio_percent"][str(OUTLIER_THRESHOLD)])
    print("  perplexity", report["perplexity"])


def main():
    torch.set_num_threads(1)
    with torch.no_grad():
        for case in cases():
            if not sys.argv[1:] or case.name in sys.argv[1:]:
                make_case(case)


if __name__ == "__main__":
    main()

"""LLaMA-65B in two halves: as many blocks and sequences, all of them tiny, for the driver and the scheduler to bear; and two blocks of
its size, for an executor to bear."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time

import product
import spark_cluster
import torch
from checkpoint import require_same_folder
from clusters import submit
from safetensors.torch import save_file
from verdict import require

FOLDER = product.WORK / "rehearsal"
BLOCKS, SEQUENCES, LENGTH = 80, 128, 64
HIDDEN, INTERMEDIATE, HEADS, VOCABULARY = 32, 88, 4, 96
DRIVER = 1 << 30  # bytes of resident memory that the driver may take at most
WIDE = dict(hidden=8192, intermediate=22016, heads=64)
WIDE_BLOCKS, WIDE_SEQUENCES, WIDE_LENGTH = 2, 4, 128


def checks(fixtures):
    yield f"rehearsal: {BLOCKS} blocks x {SEQUENCES} sequences on a cluster, and what the driver takes", check_driver
    yield f"rehearsal: {WIDE_BLOCKS} blocks of LLaMA-65B's shapes, and what an executor takes", check_wide


def write_model(folder):
    """LLaMA-65B's number of blocks; weights of the usual size, so that hidden states stay finite."""
    folder.mkdir(parents=True)
    random = torch.Generator().manual_seed(65)

    def matrix(rows, columns):
        return (torch.randn(rows, columns, generator=random) * 0.5 * columns**-0.5).bfloat16()

    tensors = {"model.embed_tokens.weight": matrix(VOCABULARY, HIDDEN) * 4, "model.norm.weight": torch.ones(HIDDEN).bfloat16(),
               "lm_head.weight": matrix(VOCABULARY, HIDDEN)}
    for block in range(BLOCKS):
        prefix = f"model.layers.{block}."
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[f"{prefix}self_attn.{name}.weight"] = matrix(HIDDEN, HIDDEN)
        tensors[f"{prefix}mlp.gate_proj.weight"] = matrix(INTERMEDIATE, HIDDEN)
        tensors[f"{prefix}mlp.up_proj.weight"] = matrix(INTERMEDIATE, HIDDEN)
        tensors[f"{prefix}mlp.down_proj.weight"] = matrix(HIDDEN, INTERMEDIATE)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{name}.weight"] = torch.ones(HIDDEN).bfloat16()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = dict(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=HIDDEN, intermediate_size=INTERMEDIATE, num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, vocab_size=VOCABULARY, max_position_embeddings=LENGTH, rms_norm_eps=1e-6,
        hidden_act="silu", rope_theta=10000.0, tie_word_embeddings=False, torch_dtype="bfloat16",
    )
    (folder / "config.json").write_text(json.dumps(config))
    ids = torch.randint(VOCABULARY, (SEQUENCES, LENGTH), generator=random)
    save_file({"calibration": ids, "evaluation": ids[:16].clone()}, folder / "tokens.safetensors")


def write_wide_model(folder):
    """Shard after shard, as it is pruned. Returns the weights of a block."""
    folder.mkdir(parents=True)
    random = torch.Generator().manual_seed(66)
    hidden, intermediate, where, total = WIDE["hidden"], WIDE["intermediate"], {}, 0

    def matrix(rows, columns):
        return torch.empty(rows, columns, dtype=torch.bfloat16).normal_(0, columns**-0.5, generator=random)

    def write(name, tensors):
        nonlocal total
        save_file(tensors, folder / name, metadata={"format": "pt"})
        where.update(dict.fromkeys(tensors, name))
        total += sum(tensor.numel() * 2 for tensor in tensors.values())

    write("model-00001.safetensors", {"model.embed_tokens.weight": matrix(VOCABULARY, hidden), "lm_head.weight": matrix(VOCABULARY, hidden),
                                      "model.norm.weight": torch.ones(hidden).bfloat16()})
    for block in range(WIDE_BLOCKS):
        prefix = f"model.layers.{block}."
        tensors = {f"{prefix}self_attn.{name}.weight": matrix(hidden, hidden) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
        tensors |= {f"{prefix}mlp.{name}.weight": matrix(intermediate, hidden) for name in ("gate_proj", "up_proj")}
        tensors[f"{prefix}mlp.down_proj.weight"] = matrix(hidden, intermediate)
        weights = sum(tensor.numel() for tensor in tensors.values())
        tensors |= {f"{prefix}{name}.weight": torch.ones(hidden).bfloat16() for name in ("input_layernorm", "post_attention_layernorm")}
        write(f"model-{block + 2:05d}.safetensors", tensors)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": where}))
    config = dict(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=WIDE_BLOCKS,
        num_attention_heads=WIDE["heads"], num_key_value_heads=WIDE["heads"], vocab_size=VOCABULARY, max_position_embeddings=2048,
        rms_norm_eps=1e-5, hidden_act="silu", rope_theta=10000.0, tie_word_embeddings=False, torch_dtype="bfloat16",
    )
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"calibration": torch.randint(VOCABULARY, (WIDE_SEQUENCES, WIDE_LENGTH), generator=random)}, folder / "tokens.safetensors")
    return weights


def check_wide():
    """Two blocks as float32, the hidden states of what is at work, and 1.5 GB: no more, whatever the model."""
    folder = FOLDER.parent / "rehearsal-wide"
    shutil.rmtree(folder, ignore_errors=True)
    weights = write_wide_model(folder / "model")
    options = dict(
        model=folder / "model", calibration=folder / "model" / "tokens.safetensors", output=folder / "out", sparsity=0.7, json=folder / "report.json")
    process = subprocess.Popen(
        [str(product.ROOT / "submit" / "owl"), "prune", *product.flags(options)], env=os.environ | {"OWL_MEMORY": "1g"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(folder / "errors.txt").open("w"),
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    require(process.returncode == 0, f"exit code {process.returncode}: {(folder / 'errors.txt').read_text()[-1500:]}")
    report = json.loads((folder / "report.json").read_text())
    require(abs(report["sparsity"]["reached"] - 0.7) < 1e-3, f"reached {report['sparsity']}")
    hidden = WIDE_SEQUENCES * WIDE_LENGTH * WIDE["hidden"] * 4
    most, taken = 2 * 4 * weights + 2 * hidden + 3 * (1 << 29), 1024 * usage.ru_maxrss
    shutil.rmtree(folder / "model")
    shutil.rmtree(folder / "out")
    require(taken <= most, f"{taken / 2**30:.2f} GiB, of at most {most / 2**30:.2f}")
    return f"{taken / 2**30:.2f} GiB of at most {most / 2**30:.2f}, {sum(report['seconds'].values()):.0f} s"


class Watch(threading.Thread):
    """The most resident memory that a driver here had, in bytes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.over = 0, threading.Event()

    def run(self):
        while not self.over.wait(0.2):
            for process in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    command = (process / "cmdline").read_text()
                    if "org.apache.spark.deploy.SparkSubmit" in command and str(FOLDER) in command:
                        status = (process / "status").read_text()
                        self.most = max(self.most, 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1]))
                except (OSError, TypeError):
                    pass  # it has just ended


def check_driver():
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_model(FOLDER / "model")
    tokens = FOLDER / "model" / "tokens.safetensors"
    options = dict(model=FOLDER / "model", calibration=tokens, evaluate=tokens, sparsity=0.7)
    watch = Watch()
    with spark_cluster.Standalone(FOLDER / "cluster") as cluster:
        watch.start()
        began = time.monotonic()
        submit(
            cluster, ["prune", *product.flags(options | dict(output=FOLDER / "out", json=FOLDER / "report.json"))], "--executor-memory", "1g",
            "--executor-cores", "1", "--total-executor-cores", "2", "--driver-memory", "512m",
        )
        seconds = time.monotonic() - began
        watch.over.set()
    report = json.loads((FOLDER / "report.json").read_text())
    require(len(report["blocks"]) == BLOCKS, f"{len(report['blocks'])} blocks")
    require(100 << 20 < watch.most < DRIVER, f"the driver took {watch.most >> 20} MiB")
    product.succeed("prune", options | dict(output=FOLDER / "embedded", json=FOLDER / "embedded.json", checkpoint_interval=0))
    require_same_folder(FOLDER / "out", FOLDER / "embedded", "on the cluster and embedded")
    return f"the driver took {watch.most >> 20} MiB at most, the run {seconds:.0f} s"

"""As many blocks and sequences as LLaMA-65B is pruned with, all of them tiny: what the driver and the scheduler have to bear."""

import json
import pathlib
import re
import shutil
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


def checks(fixtures):
    yield f"rehearsal: {BLOCKS} blocks x {SEQUENCES} sequences on a cluster, and what the driver takes", check_driver


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

"""Makes small checkpoints with the oracle and lets it record what the published algorithms give on them.

    python fixtures.py ORACLE_PY FOLDER

Each fixture is a folder like those that come with the oracle: model/ and expected/.
"""

import os
import pathlib
import subprocess
import sys

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error")

# name, architecture, dtype, seed, largest shard (None: one file)
FIXTURES = [
    ("llama-float16-sharded", "llama", "float16", 21, "1MB"),
    ("llama-float32", "llama", "float32", 22, None),
    ("mistral-bfloat16", "mistral", "bfloat16", 23, None),
    ("opt-float16-sharded", "opt", "float16", 24, "1MB"),
    ("qwen2-bfloat16", "qwen2", "bfloat16", 25, None),
]


def oracle(script, *arguments):
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{command}\n{done.stderr}")


def shard(folder, size):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size=size)
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2


def make(script, folder, name, arch, dtype, seed, shard_size):
    model = folder / name / "model"
    oracle(script, "make", model, "--arch", arch, "--dtype", dtype, "--seed", seed)
    if shard_size:
        shard(model, shard_size)
    oracle(script, "expect", model, "--out", folder / name / "expected", "--metric", "wanda", "magnitude")
    drop_repeats(folder / name / "expected")


def drop_repeats(expected):
    """Magnitude looks at no activations, so its `dense` files say what the `sequential` ones say: one of two stays."""
    (expected / "pruned-magnitude-owl-dense.safetensors").unlink()


def main():
    script, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    for fixture in FIXTURES:
        make(script, folder, *fixture)
        print("made", fixture[0], flush=True)


if __name__ == "__main__":
    main()

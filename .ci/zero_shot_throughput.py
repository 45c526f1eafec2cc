"""Tokens per second of zero-shot scoring, here and by lm-evaluation-harness through transformers: same items, same cores, one after the other.

    .ci/venv/bin/python .ci/zero_shot_throughput.py [--hidden 1024] [--layers 8] [--items 40] [--rounds 2]

Makes a LLaMA with random weights and the sample model's tokenizer. Both sides' whole runs are timed, and their scoring alone: from
the items' files to the results, here with reading the blocks' weights, there with the model loaded. Tokens are the items' own: each choice's context and
continuation, as lm-eval runs them. Wants a built jar and the folder "shared" beside the clone.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "checks"))
os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error")

import product
import zero_shot

FOLDER = product.WORK / "throughput"


def make(hidden, layers):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = FOLDER / "model"
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=hidden * 11 // 4 // 32 * 32, num_hidden_layers=layers, num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64, vocab_size=1024, max_position_embeddings=2048, bos_token_id=0, eos_token_id=0)
    LlamaForCausalLM(config).to(torch.float32).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(zero_shot.SAMPLE / "model" / file, folder)
    return folder


def ours(model, items, limit):
    start = time.monotonic()
    arguments = dict(model=model, tasks=",".join(zero_shot.DEFINITIONS), task_data=items, limit=limit, json=FOLDER / "ours.json")
    outcome = product.owl("evaluate", *product.flags(arguments), timeout=3600)
    if outcome.code:
        raise SystemExit(outcome.err)
    return json.loads((FOLDER / "ours.json").read_text())["seconds"]["tasks"], time.monotonic() - start


def theirs(model, items, limit, batch):
    import lm_eval
    import torch
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(os.cpu_count())
    start = time.monotonic()
    loaded = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=batch)
    definitions = zero_shot.definitions(items)
    begun = time.monotonic()
    outcome = zero_shot.lm_eval_with(loaded, definitions, limit)
    end = time.monotonic()
    samples = [sample for task in outcome["samples"].values() for sample in task]
    tokens = 0
    for sample in samples:
        for request in sample["arguments"].values() if isinstance(sample["arguments"], dict) else sample["arguments"]:
            context, continuation = (request["arg_0"], request["arg_1"]) if isinstance(request, dict) else request[:2]
            tokens += sum(map(len, loaded._encode_pair(context, continuation))) - 1
    return end - begun, end - start, tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    model = make(arguments.hidden, arguments.layers)
    items = zero_shot.data()
    rows = []
    for _ in range(arguments.rounds):  # in turns, lest a busy minute be one side's
        rows.append({"owl-spark": ours(model, items, arguments.items)})
        for batch in (8, 32):
            seconds, whole, tokens = theirs(model, items, arguments.items, batch)
            rows[-1][f"lm-eval, batches of {batch}"] = (seconds, whole)
    for name in rows[0]:
        best = min(row[name][0] for row in rows)
        whole = min(row[name][1] for row in rows)
        print(f"{name}: {tokens} tokens in {best:.1f} s, {tokens / best:.0f} tokens/s; the whole run {whole:.1f} s")
    print(json.dumps({"hidden": arguments.hidden, "layers": arguments.layers, "cores": os.cpu_count(), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()

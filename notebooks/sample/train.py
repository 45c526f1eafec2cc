"""Trains the sample model of owl-spark, from nothing but the stories of stories.py.

    pip install torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0
    python train.py --out ../../owl-spark-job/src/main/resources/sample

Writes under --out
    model/               a LLaMA checkpoint in bfloat16 (config.json, generation_config.json, model.safetensors,
                         tokenizer.json, tokenizer_config.json)
    calibration.jsonl    160 documents of two stories each
    evaluation.jsonl     72 stories
    sample.json          how it was made: seed, steps, tokens, losses, entropy of the text
and, in --work, the state of the training every --save-every steps. `--resume` goes on from the newest state there;
the result is that of a run without a break.

The tokenizer is a byte-level BPE. The model never sees a story twice: training, tokenizer, calibration and
evaluation are draws of different seeds, and training makes fresh text as it goes. Stories are packed into one
stream and cut into rows; between two stories stands, by the toss of a coin, the beginning-of-text token or an
empty line, since the published perplexity protocol joins documents by empty lines.

The learning rate is warmed up, held, and over the last part of the steps led to zero along a cosine; a state from
the part that is held can therefore be used for another number of steps (--resume --steps).
On two busy cores: about half an hour with the defaults. Licence: Apache-2.0.
"""

import argparse
import json
import math
import pathlib
import random
import time

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import stories

BOS = "<s>"


def make_tokenizer(args):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=args.vocab, special_tokens=[BOS], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(
        (text + "\n\n" for text in stories.stories(f"{args.seed} tokenizer", 4000)), trainer)
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, bos)])
    return tokenizer


def rows(tokenizer, seed, length):
    """An endless stream of stories, cut into rows of `length` tokens."""
    coin, stream = random.Random(f"{seed} coin"), []
    for text in stories.stories(seed):
        if coin.random() < 0.5:
            stream += tokenizer.encode(text).ids
        else:
            stream += tokenizer.encode("\n\n" + text, add_special_tokens=False).ids
        while len(stream) >= length:
            yield stream[:length]
            del stream[:length]


def make_model(args):
    torch.manual_seed(args.seed)
    config = LlamaConfig(
        vocab_size=args.vocab, hidden_size=args.hidden, intermediate_size=args.intermediate,
        num_hidden_layers=args.blocks, num_attention_heads=args.heads, num_key_value_heads=args.kv_heads,
        max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0, pad_token_id=None, use_cache=True)
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():  # the residual stream grows with depth otherwise
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter.data /= math.sqrt(2 * args.blocks)
    if args.feature_spread:  # some features larger than others, as in large language models
        model.model.embed_tokens.weight.data *= torch.exp(args.feature_spread * torch.randn(args.hidden))
    return model


def learning_rate(step, args):
    held = args.steps - int(args.steps * args.decay)
    if step < args.warmup:
        return args.lr * (step + 1) / args.warmup
    if step < held:
        return args.lr
    return args.lr * 0.5 * (1 + math.cos(math.pi * (step - held) / (args.steps - held)))


def export(model, tokenizer, out):
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().to(torch.bfloat16).contiguous()
               for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    config.update(architectures=["LlamaForCausalLM"], dtype="bfloat16")
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    GenerationConfig(bos_token_id=0, eos_token_id=0).save_pretrained(out)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=BOS, model_max_length=512,
        clean_up_tokenization_spaces=False).save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))  # as the tokenizers library writes it


def write_texts(args, out):
    out.mkdir(parents=True, exist_ok=True)
    drawn = stories.stories(f"{args.seed} calibration", 320)
    with open(out / "calibration.jsonl", "w", encoding="utf-8", newline="\n") as file:
        for first in drawn:
            file.write(json.dumps({"text": first + "\n\n" + next(drawn)}) + "\n")
    with open(out / "evaluation.jsonl", "w", encoding="utf-8", newline="\n") as file:
        for text in stories.stories(f"{args.seed} evaluation", 72):
            file.write(json.dumps({"text": text}) + "\n")


def entropy(tokenizer, seed, count=4000):
    """Least possible loss, in nats per token: the choices of a story over its tokens, the separator included."""
    rng = random.Random(f"owl-spark stories {seed} entropy")
    made = [stories.story(rng) for _ in range(count)]
    bits = sum(b for _, b in made)
    tokens = sum(len(tokenizer.encode(text).ids) for text, _ in made)
    nats = bits * math.log(2) / tokens
    return {"bits per story": bits / count, "tokens per story": tokens / count, "bits per token": bits / tokens,
            "nats per token": nats, "perplexity": math.exp(nats)}


def loss_of(model, tokens):
    logits = model(input_ids=tokens, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def kept_blocks(step, args):
    """Stochastic depth: which blocks this step uses; the deeper a block, the more often it is left out."""
    if step < args.drop_from:
        return list(range(args.blocks))
    coin = random.Random(f"{args.seed} depth {step}")
    return [i for i in range(args.blocks) if coin.random() >= args.drop * i / (args.blocks - 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/owl-sample"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vocab", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--intermediate", type=int, default=288)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--kv-heads", type=int, default=3)
    parser.add_argument("--length", type=int, default=320)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--warmup", type=int, default=60)
    parser.add_argument("--decay", type=float, default=0.4, help="the last part of the steps, over which the rate falls")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--feature-spread", type=float, default=0.0, help="sigma of the log of the features' scales in the first embedding")
    parser.add_argument("--drop", type=float, default=0.6, help="how often the last block is left out of a step; earlier ones in proportion")
    parser.add_argument("--drop-from", type=int, default=600, help="the step from which blocks are left out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)

    tokenizer = make_tokenizer(args)
    write_texts(args, args.out)
    bound = entropy(tokenizer, args.seed)
    print(json.dumps(bound), flush=True)
    model = make_model(args)
    matrices = [p for n, p in model.named_parameters() if p.dim() > 1 and "embed" not in n]
    gains = [p for n, p in model.named_parameters() if p.dim() == 1 or "embed" in n]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": args.weight_decay}, {"params": gains, "weight_decay": 0.0}],
        lr=args.lr, betas=(0.9, 0.97))
    source = rows(tokenizer, f"{args.seed} validation", args.length)
    validation = torch.tensor([next(source) for _ in range(24)])
    source = rows(tokenizer, f"{args.seed} training", args.length)
    start, seconds, history = 0, 0.0, []
    if args.resume:
        state = torch.load(max(args.work.glob("state-*.pt"), key=lambda path: int(path.stem[6:])))
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start, seconds, history = state["step"], state["seconds"], state["history"]
        for _ in range(start * args.batch):
            next(source)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    began, layers = time.time(), model.model.layers
    for step in range(start, args.steps):
        batch = torch.tensor([next(source) for _ in range(args.batch)])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        model.model.layers = torch.nn.ModuleList(layers[i] for i in kept_blocks(step, args))
        loss = loss_of(model, batch)
        loss.backward()
        model.model.layers = layers
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if not math.isfinite(loss.item()):
            raise SystemExit(f"step {step}: the loss is {loss.item()}")
        done = step + 1
        if done % 50 == 0:
            spent = seconds + time.time() - began
            print(f"step {done} loss {loss.item():.4f} {spent:.0f} s {(done - start) * batch.numel() / (time.time() - began):.0f} tokens/s", flush=True)
        if done % args.save_every == 0 or done == args.steps:
            with torch.no_grad():
                checked = loss_of(model, validation).item()
            history.append([done, round(checked, 4)])
            spent = seconds + time.time() - began
            print(f"step {done} validation {checked:.4f} perplexity {math.exp(checked):.3f}", flush=True)
            path = args.work / f"state-{done}.pt"
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": done,
                        "seconds": spent, "history": history}, path)
            export(model, tokenizer, args.work / "model")
    export(model, tokenizer, args.out / "model")
    settings = {key: value for key, value in vars(args).items() if key not in ("out", "work", "threads", "resume", "save_every")}
    (args.out / "sample.json").write_text(json.dumps({
        "settings": settings, "parameters": sum(p.numel() for p in model.parameters()),
        "training tokens": args.steps * args.batch * args.length, "seconds": round(seconds + time.time() - began),
        "validation loss by step": history, "entropy of the text": bound}, indent=1) + "\n")


if __name__ == "__main__":
    main()

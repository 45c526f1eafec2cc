"""Makes a golden vision transformer beside this file, images to show it, and what the published algorithms give on it.

    pip install torch==2.13.0 transformers safetensors numpy pillow      (transformers 5 or later, Pillow 13)
    python generate.py

Arithmetic, allocation and pruning are those of ../golden/generate.py; images are decoded and resized by Pillow, which is
what the ViTImageProcessor of transformers uses without torchvision.

  vit-bf16/model/                         config.json, preprocessor_config.json, model.safetensors
  vit-bf16/images/<label>/*.png           of several sizes and kinds of pixels; most have the label that the model gives them
  vit-bf16/expected/pixels.safetensors    pixel_values of the first three, float32 [3, 3, 24, 24]; the order is that of folder, then
                                          name
  vit-bf16/expected/hidden.safetensors    embedding and block.<i>: the dense hidden states, float32 [images, 10, hidden]
  vit-bf16/expected/logits.safetensors    logits, float32 [images, labels]
  vit-bf16/expected/norms.safetensors     <linear>.sumsq: float32 [in_features], as in ../golden
  vit-bf16/expected/pruned-*.safetensors  as in ../golden
  vit-bf16/expected/expected.json         outlier ratios, allocations, accuracies
  pictures/*                              files of every kind; pictures.safetensors: their samples, uint8 [height, width, 3], and
                                          those of one of them after resizing: <filter>.<width>x<height>
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "golden"))
import generate as golden  # noqa: E402

LABELS = ["cat", "dog", "owl", "spark"]
SIZES = [(40, 28), (24, 24), (17, 31), (64, 48), (9, 11), (50, 50), (24, 36), (33, 33), (90, 20), (28, 25), (24, 23), (61, 60)]
KEPT = ["wanda-owl-sequential", "magnitude-uniform-sequential"]
FILTERS = {"lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
NAMES = {
    "attention.q_proj": "attention.attention.query", "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value", "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
}


# --- images ------------------------------------------------------------------------------------


def picture(generator, width, height):
    """Waves of some lengths and an edge: smooth parts, where resizing blurs, and sharp ones, where it rings."""
    y, x = np.mgrid[0:height, 0:width]
    channels = []
    for _ in range(3):
        waves = np.zeros((height, width))
        for _ in range(4):
            a, b, phase = generator.uniform(-0.9, 0.9, 2).tolist() + [generator.uniform(0, 6)]
            waves += np.sin(a * x + b * y + phase)
        waves += 3 * (x * generator.uniform(-1, 1) + y > generator.uniform(0.2, 0.8) * height)
        channels.append(255 * (waves - waves.min()) / (waves.max() - waves.min()))
    return Image.fromarray(np.stack(channels, -1).round().astype(np.uint8))


def of_every_kind(generator, folder):
    """Files by the kinds of their pixels, and what Pillow's RGB makes of them."""
    folder.mkdir()
    base = picture(generator, 37, 23)
    alpha = Image.fromarray(generator.integers(0, 256, (23, 37), dtype=np.uint8))
    base.save(folder / "rgb.png")
    base.save(folder / "rgb.bmp")
    base.convert("L").save(folder / "grey.png")
    base.convert("1").save(folder / "black-and-white.png")
    base.quantize(13).save(folder / "palette.png")
    Image.merge("RGBA", (*base.split(), alpha)).save(folder / "alpha.png")
    Image.merge("LA", (base.convert("L"), alpha)).save(folder / "grey-alpha.png")
    base.save(folder / "444.jpg", quality=90, subsampling=0)
    picture(generator, 64, 48).save(folder / "420.jpg", quality=85)
    base.convert("L").save(folder / "grey.jpg", quality=90)
    base.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(generator.integers(0, 65536, (5, 7), dtype=np.uint16)).save(folder / "16-bit.png")
    found = {}
    for file in sorted(folder.iterdir()):
        if file.name not in ("cmyk.jpg", "16-bit.png"):  # which the product refuses
            found[file.name] = torch.from_numpy(np.array(Image.open(file).convert("RGB")))
    for name, code in FILTERS.items():
        for size in ((24, 24), (37, 10), (10, 23), (5, 61), (1, 1), (50, 10), (36, 20), (36, 21)):
            resized = base.resize(size, resample=code)
            found[f"{name}.{size[0]}x{size[1]}"] = torch.from_numpy(np.array(resized))
    save_file(found, folder.parent / "pictures.safetensors")


def variety(index, image):
    """Some of the images as grey, with a palette, or with transparency."""
    return {3: lambda: image.convert("L"), 5: lambda: image.quantize(20), 8: lambda: image.convert("RGBA")}.get(index, lambda: image)()


# --- the model ------------------------------------------------------------------------------------


def blocks_of(model):
    return model.vit.layers


def linear_name(index, name):
    return f"vit.encoder.layer.{index}.{NAMES[name]}"


def make_checkpoint(folder):
    torch.manual_seed(3111)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=24, patch_size=8,
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
    )
    model = ViTForImageClassification(config)
    generator = torch.Generator().manual_seed(1112)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    for index, block in enumerate(blocks_of(model)):
        for linear in golden.linears_of(block).values():
            gain = torch.exp((0.2 + 0.25 * index) * torch.randn(linear.weight.shape, generator=generator))
            linear.weight.mul_(gain * (6.0 if linear.out_features != linear.in_features else 8.0))
    embeddings = model.vit.embeddings
    embeddings.position_embeddings.mul_(10.0)
    embeddings.cls_token.mul_(10.0)
    embeddings.patch_embeddings.projection.weight.mul_(10.0)
    model.classifier.weight.mul_(20.0)
    model.classifier.weight.sub_(model.classifier.weight.mean(1, keepdim=True))  # else one label has the most of every image
    model.to(torch.bfloat16).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 24, "width": 24}, image_mean=[0.5, 0.4, 0.3], image_std=[0.5, 0.25, 0.3]).save_pretrained(folder)


def load(folder):
    model = ViTForImageClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def capture(model, index, pixels):
    sums, handles = {}, []

    def watch(name):
        def hook(_, inputs, __):
            x = inputs[0].reshape(-1, inputs[0].shape[-1]).double()
            sums[name] = sums.get(name, 0) + (x * x).sum(0)
        return hook

    for name, linear in golden.linears_of(blocks_of(model)[index]).items():
        handles.append(linear.register_forward_hook(watch(name)))
    logits(model, pixels)
    for handle in handles:
        handle.remove()
    return sums


def logits(model, pixels):
    return torch.cat([model(image.unsqueeze(0)).logits for image in pixels])


def hidden_states(model, pixels):
    names = ["embedding", *(f"block.{i}" for i in range(len(blocks_of(model))))]
    hidden = {name: [] for name in names}
    for image in pixels:
        for name, state in zip(names, model(image.unsqueeze(0), output_hidden_states=True).hidden_states):
            hidden[name].append(state[0].clone())
    return {name: torch.stack(states) for name, states in hidden.items()}


def prune(model, pixels, metric, allocation):
    """Sequential: each block sees inputs from the pruned blocks before it."""
    for index, block in enumerate(blocks_of(model)):
        sums = capture(model, index, pixels)
        for name, linear in golden.linears_of(block).items():
            weight = linear.weight.data
            pruned = (
                golden.prune_wanda(weight, sums[name], allocation[index]) if metric == "wanda"
                else golden.prune_magnitude(weight, allocation[index])
            )
            linear.weight.data = pruned.to(torch.bfloat16).float()


def pack_linears(model):
    return {
        linear_name(i, name) + ".weight": linear.weight.data.to(torch.bfloat16).contiguous()
        for i, block in enumerate(blocks_of(model)) for name, linear in golden.linears_of(block).items()
    }


# --- all of it ------------------------------------------------------------------------------------


def place(generator, model, processor, folder):
    """Writes the images, three quarters of them where the model would put them."""
    for index, size in enumerate(SIZES):
        image = variety(index, picture(generator, *size))
        pixels = processor(image.convert("RGB"), return_tensors="pt").pixel_values
        predicted = int(logits(model, pixels)[0].argmax())
        label = LABELS[(predicted + (1 if index % 4 == 3 else 0)) % len(LABELS)]
        (folder / label).mkdir(parents=True, exist_ok=True)
        image.save(folder / label / f"{index:02}.png")


def main():
    torch.set_num_threads(1)
    generator = np.random.default_rng(1113)
    shutil.rmtree(HERE / "pictures", ignore_errors=True)
    of_every_kind(generator, HERE / "pictures")
    folder = HERE / "vit-bf16"
    shutil.rmtree(folder, ignore_errors=True)
    make_checkpoint(folder / "model")
    model, processor = load(folder / "model"), ViTImageProcessorPil.from_pretrained(folder / "model")
    place(generator, model, processor, folder / "images")
    files = sorted((folder / "images").glob("*/*"))
    labels = torch.tensor([LABELS.index(file.parent.name) for file in files])
    pixels = torch.cat([processor(Image.open(file).convert("RGB"), return_tensors="pt").pixel_values for file in files])

    out = folder / "expected"
    out.mkdir()
    save_file({"pixel_values": pixels[:3].clone()}, out / "pixels.safetensors")
    save_file(hidden_states(model, pixels), out / "hidden.safetensors")
    save_file({"logits": logits(model, pixels)}, out / "logits.safetensors")
    norms = [capture(model, i, pixels) for i in range(len(blocks_of(model)))]
    save_file(
        {linear_name(i, name) + ".sumsq": value.float() for i, sums in enumerate(norms) for name, value in sums.items()},
        out / "norms.safetensors",
    )
    golden.blocks_of = blocks_of
    ratios = {str(m): golden.outlier_ratios(model, norms, m) for m in golden.THRESHOLDS}
    allocations = {
        "owl": golden.owl_allocation(ratios[str(golden.OUTLIER_THRESHOLD)], golden.SPARSITY, golden.LAMBDA),
        "uniform": [golden.SPARSITY] * len(norms),
    }

    def accuracy():
        return (logits(model, pixels).argmax(1) == labels).float().mean().item()

    report = {
        "sparsity": golden.SPARSITY, "lambda": golden.LAMBDA, "outlier_threshold": golden.OUTLIER_THRESHOLD,
        "outlier_ratio_percent": ratios, "allocation": allocations, "accuracy": {"dense": accuracy()},
    }
    for key in KEPT:
        model = load(folder / "model")
        metric, allocation, _ = key.split("-")
        prune(model, pixels, metric, allocations[allocation])
        save_file(pack_linears(model), out / f"pruned-{key}.safetensors")
        report["accuracy"][key] = accuracy()
    assert len(set(report["accuracy"].values())) > 1 and len({file.parent for file in files}) > 2, report["accuracy"]
    (out / "expected.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    with torch.no_grad():
        main()

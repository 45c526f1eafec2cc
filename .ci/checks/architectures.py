"""Every architecture by the command line: pruned, loaded by transformers with no option, measured and continued as transformers does."""

import functools
import shutil

import numpy
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models
from transformers import AutoImageProcessor, AutoModelForCausalLM, AutoModelForImageClassification

import loading
import product
from checkpoint import linears_of_blocks, read_file, read_folder
from loading import one_at_a_time
from oracle import require_same_masks, require_untouched
from reference import Method, Network, owl, require_perplexity, require_weights, tokens_of
from verdict import require

TEXT = {  # what each is pruned by
    "opt-f16": "sparsegpt", "opt-post-norm-bf16": "sparsegpt", "qwen2-bf16": "wanda", "qwen3-bf16": "sparsegpt",
    "phi3-f16": "sparsegpt", "gemma2-bf16": "sparsegpt",
}
SPARSITY, THRESHOLD, WIDTH = 0.7, 5, 0.08
VIT = product.GOLDEN.parent / "golden-images" / "vit-bf16"
PROMPTS = {"opt-f16": "Owls see"}  # that the model does not answer with one letter only
PROMPT, ADDED = "[x] {y} (z)", 20  # OPT has 32 positions


def checks(fixtures):
    for case, metric in TEXT.items():
        yield f"architectures: {case}, {metric}", functools.partial(check_text, case, metric)
    for case in TEXT:
        yield f"architectures: {case}, greedy text", functools.partial(check_greedy, case)
    yield "architectures: ViT, accuracy of the dense model", check_accuracy
    for metric in ("wanda", "sparsegpt"):
        yield f"architectures: ViT, {metric}", functools.partial(check_images, metric)
    yield "architectures: ViT, the golden masks of wanda", check_golden_images


def check_text(case, metric):
    model = product.GOLDEN / case / "model"
    calibration, evaluation, file = tokens_of(case)
    output, report = product.prune(f"architectures-{case}", model, file, metric=metric, allocation="owl", evaluate=file)
    network = Network(model, calibration, AutoModelForCausalLM.from_pretrained)
    require_perplexity(report["perplexity"]["dense"], network.perplexity(evaluation))
    network.prune(Method(metric), network.by_linear(owl(network.outlier_ratios(THRESHOLD), SPARSITY, WIDTH)))
    before, after = read_folder(model), read_folder(output)
    require_untouched(model, output, before, after)
    different = require_weights(after, network, metric == "sparsegpt")
    loaded = loading.perplexity(output, evaluation)
    require_perplexity(report["perplexity"]["pruned"], loaded)
    require(report["architecture"] == network.model.config.architectures[0], report["architecture"])
    return f"{different} masks differ, perplexity {report['perplexity']['pruned']:.4f}, transformers {loaded:.4f}"


# --- text ----------------------------------------------------------------------------------------


def with_tokenizer(case):
    """The golden checkpoint, with a tokenizer of one token a character."""
    folder = product.WORK / f"greedy-{case}"
    shutil.copytree(product.GOLDEN / case / "model", folder)
    characters = [chr(code) for code in range(32, 127)]
    tokenizer = Tokenizer(models.BPE(vocab={"~~": 0} | {c: i + 1 for i, c in enumerate(characters)}, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder, tokenizer


def check_greedy(case):
    (folder, tokenizer), prompt = with_tokenizer(case), PROMPTS.get(case, PROMPT)
    ids = torch.tensor([tokenizer.encode(prompt).ids])
    require(ids.shape[1] == len(prompt), f"this check needs one token a character: {ids}")
    with one_at_a_time, torch.no_grad():
        network = AutoModelForCausalLM.from_pretrained(folder).float().eval()
        out = network.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=ADDED, pad_token_id=0)
    expected = tokenizer.decode(out[0].tolist(), skip_special_tokens=True)
    outcome = product.owl("generate", "--model", folder, "--prompt", prompt, "--tokens", ADDED)
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    found = outcome.out.removesuffix("\n")
    require(found == expected, f"found    {found!r}\n    expected {expected!r}")
    require(len(set(expected[len(prompt):])) > 1, f"this check needs a text that moves on: {expected!r}")
    return repr(expected)


# --- images --------------------------------------------------------------------------------------


def pictures():
    """60 images of many sizes, two thirds of them where the dense model puts them, and none close to another label."""
    return product.once("architectures-images", make_pictures)


def make_pictures():
    folder, generator, counts = product.WORK / "architectures-images", numpy.random.default_rng(11), {}
    labels = sorted(file.name for file in (VIT / "images").iterdir())
    with one_at_a_time, torch.no_grad():
        network, processor = image_network(VIT / "model")
        for number in range(60):
            width, height = generator.integers(8, 70, 2)
            coarse = generator.integers(0, 256, (generator.integers(2, 9), generator.integers(2, 9), 3), dtype=numpy.uint8)
            image = Image.fromarray(coarse).resize((int(width), int(height)), int(generator.integers(0, 4)))
            best = logits(network, processor, image).argmax().item()
            label = labels[(best + (number % 3 == 0)) % len(labels)]
            (folder / label).mkdir(parents=True, exist_ok=True)
            image.save(folder / label / f"{number:03}.png")
            counts[label] = counts.get(label, 0) + 1
    require(len(counts) > 2, f"this check needs more labels: {counts}")
    return folder


def image_network(folder):
    """As a user loads it; the processor that resizes with Pillow."""
    network = AutoModelForImageClassification.from_pretrained(folder)
    return network.float().eval(), AutoImageProcessor.from_pretrained(folder, backend="pil")


def logits(network, processor, image):
    return network(processor(image.convert("RGB"), return_tensors="pt").pixel_values.float()).logits[0]


def accuracy(model, folder):
    """Top-1; also the least that any image's label was ahead, which says how much agreement can be asked for."""
    right, close = [], []
    with one_at_a_time, torch.no_grad():
        network, processor = image_network(model)
        for file in sorted(folder.glob("*/*.png")):
            found = logits(network, processor, Image.open(file))
            right.append(network.config.id2label[found.argmax().item()] == file.parent.name)
            first, second = found.topk(2).values.tolist()
            close.append((first - second) / found.abs().max().item())
    require(min(close) > 1e-5, f"this check needs images that are not on the edge: {min(close)}")
    return sum(right) / len(right), len(right)


def require_accuracy(found, expected, images):
    require(abs(found - expected) < 0.5 / images, f"accuracy {found}, transformers {expected} of {images}")


def check_accuracy():
    found = []
    for folder in (VIT / "images", pictures()):
        expected, images = accuracy(VIT / "model", folder)
        name = f"vit-{images}"
        (product.WORK / name).mkdir(exist_ok=True)
        result = product.succeed("evaluate", dict(model=VIT / "model", images=folder, json=product.WORK / name / "evaluation.json"))
        require_accuracy(result["accuracy"], expected, images)
        require(result["images"] == images, f"{result} of {images} images")
        found.append(f"{result['accuracy']:.4f} of {images}")
    return ", ".join(found)


def check_images(metric):
    folder = pictures()
    output, report = product.prune(f"architectures-vit-{metric}", VIT / "model", folder, metric=metric, allocation="owl", evaluate=folder)
    before, after = read_folder(VIT / "model"), read_folder(output)
    require_untouched(VIT / "model", output, before, after)
    dense, images = accuracy(VIT / "model", folder)
    expected, _ = accuracy(output, folder)
    require_accuracy(report["accuracy"]["dense"], dense, images)
    require_accuracy(report["accuracy"]["pruned"], expected, images)
    require(expected != dense, "pruning changed nothing that can be seen")
    network = image_reference(folder)
    network.prune(Method(metric), network.by_linear(owl(network.outlier_ratios(THRESHOLD), SPARSITY, WIDTH)))
    different = require_weights(after, network, metric == "sparsegpt")
    return f"{different} masks differ, accuracy {dense:.4f} dense, {expected:.4f} pruned"


def image_reference(folder):
    with one_at_a_time:
        _, processor = image_network(VIT / "model")
    inputs = [processor(Image.open(file).convert("RGB"), return_tensors="pt").pixel_values for file in sorted(folder.glob("*/*.png"))]
    return Network(VIT / "model", inputs, AutoModelForImageClassification.from_pretrained, lambda model, pixels: model(pixels))


def check_golden_images():
    output, report = product.prune("architectures-vit-golden", VIT / "model", VIT / "images", metric="wanda", allocation="owl", evaluate=VIT / "images")
    before, after = read_folder(VIT / "model"), read_folder(output)
    golden = read_file(VIT / "expected" / "pruned-wanda-owl-sequential.safetensors")
    require(set(golden) == {name for names in linears_of_blocks(after).values() for name in names}, "other linears than the golden ones")
    different = require_same_masks(before, after, golden, False)
    expected, images = accuracy(output, VIT / "images")
    require_accuracy(report["accuracy"]["pruned"], expected, images)
    return f"{different} masks differ, accuracy {expected:.4f}"

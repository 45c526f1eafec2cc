"""What a user can get wrong, each time: exit code 2, one clear message, and nothing that looks like a checkpoint."""

import dataclasses
import functools
import json
import math
import re
import shutil
import struct
from collections.abc import Callable

import numpy
from safetensors.numpy import save_file

import product
from checkpoint import join_file, split_file
from verdict import require

ONE_FILE = product.GOLDEN / "llama-f32"
SHARDED = product.GOLDEN / "llama-linear-f16"
IMAGES = product.GOLDEN.parent / "golden-images" / "vit-bf16"
UP, GATE = "model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.gate_proj.weight"


def nothing(folder):
    pass


@dataclasses.dataclass(frozen=True)
class Case:
    """`spoil` gets a folder with model/ and tokens.safetensors; in `options` {} stands for that folder."""

    name: str
    fragments: list  # regular expressions that the message has to contain
    spoil: Callable = nothing
    options: dict = dataclasses.field(default_factory=dict)  # flags to add, to change or (None) to leave out
    source: object = ONE_FILE
    command: str = "prune"


def checks(fixtures):
    for number, case in enumerate(CASES):
        yield f"bad input: {case.name}", functools.partial(check, number, case)


def check(number, case):
    folder = product.WORK / "bad" / f"case{number}"  # a name that cannot lend the message a fragment
    folder.mkdir(parents=True)
    shutil.copytree(case.source / "model", folder / "model")
    if case.source != IMAGES:
        shutil.copy(case.source / "expected" / "tokens.safetensors", folder)
    case.spoil(folder)
    outcome = product.owl(case.command, *product.flags(options_of(case, folder)), timeout=120)
    message = outcome.err.strip()
    require(outcome.code == 2, f"exit code {outcome.code}: {shorten(outcome.out + message)}")
    require("\tat " not in outcome.out + message, f"a stack trace: {shorten(message)}")
    require("java." not in message, f"a name of a Java class: {shorten(message)}")
    told = [line for line in message.splitlines() if line.startswith("owl: ")]
    require(len(told) == 1 and told[0].startswith("owl: Cannot "), f"not one message: {shorten(message)}")
    for fragment in case.fragments:
        require(re.search(fragment, message, re.IGNORECASE), f"no /{fragment}/ in the message: {shorten(message)}")
    written = {str(file.relative_to(folder / "out")) for file in (folder / "out").rglob("*")} - {"notes.txt"}
    require(not written, f"the output has {written}")
    if (folder / "out" / "notes.txt").exists():
        require((folder / "out" / "notes.txt").read_text() == "mine", "a file of the user's was changed")
    return told[0]


def shorten(text):
    return text if len(text) < 1500 else "…" + text[-1500:]


def options_of(case, folder):
    options = {"model": "{}/model"}
    if case.command == "prune":
        options |= {"calibration": "{}/tokens.safetensors", "output": "{}/out", "sparsity": 0.7}
    options |= case.options
    return {name: str(value).format(folder) if isinstance(value, str) else value for name, value in options.items()}


# --- ways to spoil a checkpoint -----------------------------------------------------------------------


def weights(folder):
    return folder / "model" / "model.safetensors"


def truncated(folder):
    content = weights(folder).read_bytes()
    weights(folder).write_bytes(content[:-1000])


def endless_header(folder):
    content = weights(folder).read_bytes()
    weights(folder).write_bytes(struct.pack("<Q", 1 << 63) + content[8:])


def header(change):
    """A spoiler that lets `change` edit the header's dictionary."""
    def spoil(folder):
        entries, data = split_file(weights(folder))
        change(entries)
        join_file(weights(folder), entries, data)
    return spoil


def entry(**fields):
    return header(lambda entries: entries[UP].update(fields))


def overlapping(entries):
    entries[UP]["data_offsets"] = entries[GATE]["data_offsets"]


def out_of_range(entries):
    size = max(tensor["data_offsets"][1] for name, tensor in entries.items() if name != "__metadata__")
    entries[UP]["data_offsets"] = [offset + size for offset in entries[UP]["data_offsets"]]


def duplicate(folder):
    entries, data = split_file(weights(folder))
    again = json.dumps({UP: entries[UP]})[1:-1]
    join_file(weights(folder), json.dumps(entries)[:-1] + ", " + again + "}", data)


def missing_tensor(folder):
    """A sound file, but one linear is not in it."""
    entries, data = split_file(weights(folder))
    begin, end = entries.pop(UP)["data_offsets"]
    for name, tensor in entries.items():
        if name != "__metadata__" and tensor["data_offsets"][0] >= end:
            tensor["data_offsets"] = [offset - (end - begin) for offset in tensor["data_offsets"]]
    join_file(weights(folder), entries, data[:begin] + data[end:])


def weight(value):
    def spoil(folder):
        entries, data = split_file(weights(folder))
        position = entries[UP]["data_offsets"][0] + 4 * 100
        join_file(weights(folder), entries, data[:position] + struct.pack("<f", value) + data[position + 4 :])
    return spoil


def config(**fields):
    def spoil(folder):
        file = folder / "model" / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return spoil


def no_weights(folder):
    weights(folder).unlink()


def index(change):
    """A spoiler that lets `change` edit the shard index's weight_map."""
    def spoil(folder):
        file = folder / "model" / "model.safetensors.index.json"
        content = json.loads(file.read_text())
        change(content["weight_map"])
        file.write_text(json.dumps(content))
    return spoil


def escaping(folder):
    """The shard is where the index says, but that is outside the checkpoint."""
    shard = folder / "model" / "model-00002-of-00004.safetensors"
    shard.rename(folder / "x.safetensors")
    index(lambda where: where.update({name: "../x.safetensors" for name, file in where.items() if file == shard.name}))(folder)


def missing_shard(folder):
    (folder / "model" / "model-00002-of-00004.safetensors").unlink()


def corrupt_index(folder):
    (folder / "model" / "model.safetensors.index.json").write_text('{"weight_map": {"model.embed')


# --- other ways -----------------------------------------------------------------------------------


def file(name, content):
    return lambda folder: (folder / name).write_text(content)


def ids(name, value):
    def spoil(folder):
        save_file({name: numpy.full((2, 8), value, dtype=numpy.int64)}, folder / "ids.safetensors")
    return spoil


def few_tokens(folder):
    """Fewer tokens than any linear has columns: no Hessian has full rank."""
    save_file({"calibration": numpy.arange(8, dtype=numpy.int64).reshape(1, 8)}, folder / "ids.safetensors")


def occupied(folder):
    (folder / "out").mkdir()
    (folder / "out" / "notes.txt").write_text("mine")


TEXT = {"model": str(product.STORIES), "length": 64, "sequences": 2}
NAMED = re.escape(UP)
FILE = r"model\.safetensors"
IDS = {"calibration": "{}/ids.safetensors"}
PATTERN = {"sparsity": None, "pattern": "2:4"}
SPARSEGPT = {"metric": "sparsegpt"}

CASES = [
    # the weights
    Case("truncated file", [FILE], truncated),
    Case("header length 2^63", [FILE], endless_header),
    Case("overlapping offsets", [FILE, r"layers\.1\.mlp\.(up|gate)_proj"], header(overlapping)),
    Case("offsets out of range", [FILE, NAMED], header(out_of_range)),
    Case("duplicate tensor", [FILE, NAMED], duplicate),
    Case("missing tensor", [NAMED], missing_tensor),
    Case("wrong shape", [NAMED, r"32.*80|80.*32"], entry(shape=[32, 80])),
    Case("unknown dtype", [NAMED, "F7"], entry(dtype="F7")),
    Case("integer weights", [NAMED, "I32"], entry(dtype="I32")),
    Case("NaN weight", [NAMED], weight(math.nan)),
    Case("infinite weight", [NAMED], weight(-math.inf)),
    Case("no weights", ["safetensors"], no_weights),
    Case("corrupt index", [r"model\.safetensors\.index\.json"], corrupt_index, source=SHARDED),
    Case("missing shard", [r"model-00002-of-00004\.safetensors"], missing_shard, source=SHARDED),
    Case("index that leaves the folder", [r"\.\./x\.safetensors"], escaping, source=SHARDED),
    # the config
    Case("unknown architecture", ["gpt2"], config(architectures=["GPT2LMHeadModel"], model_type="gpt2")),
    Case("quantized", ["quanti[sz]"], config(quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 128})),
    Case(
        "rope type yarn", ["yarn"],
        config(rope_parameters={
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16,
        }),
    ),
    Case("hidden_act quick_gelu", ["quick_gelu"], config(hidden_act="quick_gelu")),
    Case("config.json is no JSON", [r"config\.json"], file("model/config.json", '{"architectures": [')),
    # the calibration
    Case("empty text", [r"empty\.txt"], file("empty.txt", ""), {**TEXT, "calibration": "{}/empty.txt"}),
    Case(
        "no document as long as a window", ["64", "packed"], file("short.txt", "Once upon a time"),
        {**TEXT, "calibration": "{}/short.txt"},
    ),
    Case(
        "fewer tokens than a window, packed", ["64"], file("short.txt", "Once upon a time"),
        {**TEXT, "calibration": "{}/short.txt", "sampling": "packed"},
    ),
    Case(
        "fewer tokens than a window, evaluate", ["64"], file("short.txt", "Once upon a time"),
        {"model": str(product.STORIES), "text": "{}/short.txt", "length": 64}, command="evaluate",
    ),
    Case("token id outside the vocabulary", [r"\b96\b"], ids("calibration", 96), IDS),
    Case("negative token id", ["-5"], ids("calibration", -5), IDS),
    Case("token ids under another name", [r"ids\.safetensors", "calibration"], ids("tokens", 5), IDS),
    Case("no calibration file", [r"nowhere\.txt"], options={**TEXT, "calibration": "{}/nowhere.txt"}),
    # the flags
    Case("--sparsity 1.2", ["--sparsity|sparsity", r"1\.2"], options={"sparsity": 1.2}),
    Case("--sparsity -0.1", ["--sparsity|sparsity", r"-0\.1"], options={"sparsity": -0.1}),
    Case("--sparsity that is no number", ["--sparsity", "most"], options={"sparsity": "most"}),
    Case("--lambda that leaves [0, 1)", ["lambda|λ"], options={"lambda": 0.5}),
    Case("--metric wonder", ["wonder"], options={"metric": "wonder"}),
    Case("--allocation fair", ["fair"], options={"allocation": "fair"}),
    Case("--propagation backward", ["backward"], options={"propagation": "backward"}),
    Case(
        "--sequences 0", ["sequences"], file("text.txt", "Once upon a time. " * 100),
        {**TEXT, "calibration": "{}/text.txt", "sequences": 0},
    ),
    Case("unknown flag", ["--sparsty"], options={"sparsty": 0.7}),
    Case("no --model", ["--model"], options={"model": None}),
    Case("no such model", ["no-such-model"], options={"model": "{}/no-such-model"}),
    Case("existing output", [r"\bout\b", "overwrite"], occupied),
    # methods and patterns
    Case(
        "Hessian that is not positive definite", ["positive definite", "--dampening", r"layers\.0\.\w+\.\w+_proj"], few_tokens,
        {**SPARSEGPT, **IDS, "dampening": 0, "allocation": "uniform"},
    ),
    Case("--pattern 5:7, of 32 columns", ["5:7", r"\b32 columns", "no multiple of 7"], options={**PATTERN, "pattern": "5:7"}),
    Case("--pattern 4:2", ["--pattern", "4:2", "N <= M"], options={**PATTERN, "pattern": "4:2"}),
    Case("--pattern 0:4", ["--pattern", "0:4", "1 <= N"], options={**PATTERN, "pattern": "0:4"}),
    Case("--pattern that is none", ["--pattern", "half"], options={**PATTERN, "pattern": "half"}),
    Case("--pattern 2:4 --sparsity 0.7", ["--sparsity 0.7", "2:4"], options={"pattern": "2:4"}),
    Case("neither --pattern nor --sparsity", ["--sparsity", "--pattern"], options={"sparsity": None}),
    Case("--pattern 2:4 with shares by linear layer", ["owl-linear", "--pattern 2:4", "linear layer"], options={**PATTERN, "allocation": "owl-linear"}),
    Case("mixed --pattern with too large a lambda", ["--lambda 0.3"], options={**PATTERN, "pattern": "2:8", "lambda": 0.3}),
    Case("--use-variant --pattern 2:4", ["--use-variant", "--pattern 2:4"], options={**PATTERN, "use_variant": True}),
    Case("--use-variant with magnitude", ["--use-variant", "magnitude"], options={"use_variant": True, "metric": "magnitude"}),
    Case("--dampening with wanda", ["--dampening", "wanda"], options={"dampening": 0.1}),
    Case("--dampening -1", ["--dampening", "-1"], options={**SPARSEGPT, "dampening": -1}),
    Case("--block-columns with wanda", ["--block-columns", "wanda"], options={"block_columns": 64}),
    Case(
        "--block-columns 30 with 4:8", ["--block-columns 30", "4:8"],
        options={**SPARSEGPT, **PATTERN, "pattern": "4:8", "block_columns": 30},
    ),
    Case("--activation-power with wanda", ["--activation-power", "wanda"], options={"activation_power": 1}),
    Case("--comparison-group with sparsegpt", ["--comparison-group", "sparsegpt"], options={**SPARSEGPT, "comparison_group": "row"}),
    Case("--keep-grams without --statistics", ["--keep-grams", "--statistics"], options={**SPARSEGPT, "keep_grams": True, "propagation": "dense"}),
    # the allocations
    Case("owl, --lambda too large at 0.9", ["--lambda 0.4", r"0\.9\b"], options={"sparsity": 0.9, "lambda": 0.4}),
    Case(
        "alpha at 0.95", ["--epsilon", r"0\.95"],
        options={"metric": "magnitude", "allocation": "alpha", "sparsity": 0.95, "epsilon": 0.5, "calibration": None},
    ),
    Case("atp without --atp-beta", ["--atp-beta"], options={"allocation": "atp"}),
    Case("ratios of too few blocks", [r"mine\.json", r"\b2\b"], file("mine.json", "[0.7, 0.7]"), {"allocation": "ratios:{}/mine.json"}),
    Case(
        "ratios of another mean", [r"mine\.json", r"0\.7\b", r"0\.6000"], file("mine.json", "[0.6, 0.6, 0.6]"),
        {"allocation": "ratios:{}/mine.json"},
    ),
    # texts and images
    Case("text for a model of images", ["--calibration", r"text\.txt", "reads images"], file("text.txt", "Once upon a time"), {"calibration": "{}/text.txt"}, source=IMAGES),
    Case("images for a model of text", ["--calibration", "reads text"], options={"calibration": str(IMAGES / "images")}),
    Case("text for the accuracy of a model of images", [r"text\.txt", "reads images"], file("text.txt", "Once"), {"text": "{}/text.txt"}, IMAGES, "evaluate"),
    Case("images for the perplexity of a model of text", ["reads text"], options={"images": str(IMAGES / "images")}, command="evaluate"),
]

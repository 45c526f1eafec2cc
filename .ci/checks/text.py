"""Calibration on text: the published sampling, drawn again here with Python's own random numbers."""

import functools
import gzip
import json
import random

import numpy
import pyarrow
import pyarrow.parquet
from safetensors.numpy import save_file
from tokenizers import Tokenizer

import product
from checkpoint import require_same_folder
from verdict import require

SEQUENCES, LENGTH = 8, 64


def checks(fixtures):
    yield "text: JSON lines, published sampling", functools.partial(check_published, "documents.jsonl", 0)
    yield "text: JSON lines, another seed", functools.partial(check_published, "documents.jsonl", 12345)
    yield "text: gzip", functools.partial(check_same_documents, "documents.json.gz")
    yield "text: Parquet", functools.partial(check_same_documents, "documents.parquet")
    yield "text: two files", functools.partial(check_same_documents, "first.jsonl,second.jsonl")
    yield "text: plain file, packed", check_packed


def tokenize(document):
    return Tokenizer.from_file(str(product.STORIES / "tokenizer.json")).encode(document).ids


def published_windows(documents, seed):
    """One random window of each drawn document; documents that are not longer than a window are drawn again."""
    generator = random.Random(seed)
    windows = []
    while len(windows) < SEQUENCES:
        ids = tokenize(documents[generator.randint(0, len(documents) - 1)])
        if len(ids) > LENGTH:
            start = generator.randint(0, len(ids) - LENGTH - 1)
            windows.append(ids[start : start + LENGTH])
    return windows


def documents():
    """Real documents, and enough short ones that some draws are turned down."""
    text = product.SHARED / "data" / "text"
    long = (text / "c4.utf8").read_text("utf-8").splitlines()[:60]
    stories = (text / "tiny.utf8").read_text("utf-8").split("<|endoftext|>")[:30]
    short = [f"Too short, number {number}: “naïve” – 猫." for number in range(30)]
    return [part.strip() for group in zip(long[::2], stories, short, long[1::2]) for part in group]


def write_documents(folder):
    rows = documents()
    lines = [json.dumps({"url": f"number {i}", "text": row}) + "\n" for i, row in enumerate(rows)]
    (folder / "documents.jsonl").write_text("".join(lines), "utf-8")
    (folder / "first.jsonl").write_text("".join(lines[:50]), "utf-8")
    (folder / "second.jsonl").write_text("".join(lines[50:]), "utf-8")
    with gzip.open(folder / "documents.json.gz", "wt", encoding="utf-8") as file:
        file.writelines(lines)
    table = pyarrow.table({"url": [f"number {i}" for i in range(len(rows))], "text": rows})
    pyarrow.parquet.write_table(table, folder / "documents.parquet", row_group_size=40)


def write_ids(path, windows):
    save_file({"calibration": numpy.array(windows, dtype=numpy.int64)}, path)


def prune_text(name, calibration, **options):
    """Prunes on text; `calibration` names files that `write_documents` makes."""
    folder = product.WORK / f"text-input-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    write_documents(folder)
    uris = ",".join(str(folder / file) for file in calibration.split(","))
    options = {"sequences": SEQUENCES, "length": LENGTH, "seed": 0, **options}
    return product.pruned_once(f"text-{name}", product.STORIES, uris, **options)


def require_same_result(pruned, reference, what):
    (folder, report), (reference_folder, reference_report) = pruned, reference
    ratios = [[block["outlierRatio"] for block in r["blocks"]] for r in (report, reference_report)]
    require(ratios[0] == ratios[1], f"{what}: outlier ratios {ratios[0]}, expected {ratios[1]}")
    require_same_folder(folder, reference_folder, what)


def prune_ids(name, windows):
    folder = product.WORK / f"ids-input-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    write_ids(folder / "ids.safetensors", windows)
    return product.prune(f"ids-{name}", product.STORIES, folder / "ids.safetensors")


def check_published(file, seed):
    pruned = prune_text(f"{file}-{seed}", file, seed=seed)
    reference = prune_ids(f"published-{seed}", published_windows(documents(), seed))
    require_same_result(pruned, reference, "the sampled windows against the same ids")


def check_same_documents(files):
    reference = prune_text("documents.jsonl-0", "documents.jsonl")
    require_same_result(prune_text(files.replace(",", "-"), files), reference, files)


def check_packed():
    folder = product.WORK / "text-input-packed"
    folder.mkdir(parents=True, exist_ok=True)
    text = (product.SHARED / "data" / "text" / "tiny.utf8").read_text("utf-8")[:5000]
    (folder / "stories.txt").write_text(text, "utf-8")
    ids = tokenize(text)
    require(len(ids) > SEQUENCES * LENGTH, "this check needs a longer text")
    pruned = product.prune(
        "text-packed", product.STORIES, folder / "stories.txt", sequences=SEQUENCES, length=LENGTH, sampling="packed"
    )
    windows = [ids[start : start + LENGTH] for start in range(0, SEQUENCES * LENGTH, LENGTH)]
    require_same_result(pruned, prune_ids("packed", windows), "packed windows against the same ids")

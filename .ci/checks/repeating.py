"""The same input gives the same bytes, whatever the machine."""

import functools
import pathlib

import product
import pyspark
from checkpoint import require_same_folder
from verdict import require

MODEL = product.GOLDEN / "mistral-bf16" / "model"
TOKENS = product.GOLDEN / "mistral-bf16" / "expected" / "tokens.safetensors"


def checks(fixtures):
    yield "repeating: the same command again", check_again
    for cores in (1, 5):
        yield f"repeating: with {cores} cores", functools.partial(check_cores, cores)
    for master in ("local[1]", "local[3]"):
        yield f"repeating: spark-submit --master {master}", functools.partial(check_master, master)
    yield "repeating: --overwrite, in a folder with a space in its name", check_overwrite


def run(name, **options):
    return product.prune(f"repeating-{name}", MODEL, TOKENS, evaluate=TOKENS, **options)


def reference():
    return product.pruned_once("repeating-reference", MODEL, TOKENS, evaluate=TOKENS)


def require_reference(result, what):
    (folder, report), (expected_folder, expected_report) = result, reference()
    require_same_folder(folder, expected_folder, what)
    for key in ("perplexity", "sparsity", "blocks"):
        require(report[key] == expected_report[key], f"{what}: {key} {report[key]}, expected {expected_report[key]}")


def check_again():
    require_reference(run("again"), "second run")


def check_cores(cores):
    options = f"-XX:ActiveProcessorCount={cores}"  # what local[*] counts
    require_reference(run(f"{cores}-cores", environment={"JAVA_TOOL_OPTIONS": options}), f"{cores} cores")


def check_master(master):
    environment = {"SPARK_HOME": str(pathlib.Path(pyspark.__file__).parent)}  # a user's installation, as pip makes it
    name = "".join(letter for letter in master if letter.isalnum())
    require_reference(run(name, spark=("--master", master), environment=environment), master)


def check_overwrite():
    name = "over and over"
    run(name, sparsity=0.5)
    require_reference(run(name, overwrite=True, fresh=False), "overwritten")

"""Zero-shot tasks, judged by lm-evaluation-harness itself: its own task definitions, on the same items, through transformers."""

import contextlib
import functools
import gzip
import importlib.util
import io
import json
import logging
import math
import os
import pathlib
import re
import shutil
import threading
import unicodedata

import pyarrow
import pyarrow.parquet

import product
from verdict import require

SAMPLE = product.ROOT / "owl-spark-job" / "src" / "main" / "resources" / "sample"
OWN_ITEMS = product.ROOT / "owl-spark-job" / "src" / "test" / "resources" / "zero-shot"
SHARED_ITEMS = product.SHARED / "data" / "tasks"
DEFINITIONS = {
    "boolq": "super_glue/boolq/default.yaml",
    "rte": "glue/rte/default.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "winogrande": "winogrande/default.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
}
TOLERANCE = 1e-3

_one_at_a_time = threading.Lock()  # lm-eval keeps its registry, seeds and logging in globals


def checks(fixtures):
    yield "zero-shot: stories260K", functools.partial(check, "stories260K", lambda: product.STORIES)
    yield "zero-shot: the sample model", functools.partial(check, "sample", lambda: SAMPLE / "model", limit=60)
    yield "zero-shot: a pruned sample model", functools.partial(check, "sample-pruned", pruned_sample, limit=60)
    yield "zero-shot: batches do not matter", check_batches
    yield "zero-shot: OWL's scoring", check_owl_scoring
    yield "zero-shot: Parquet and gzip", check_formats
    yield "zero-shot: prune and sweep", check_prune_and_sweep
    yield "zero-shot: a task of one's own", check_own_task
    yield "zero-shot: odd items, stories260K", functools.partial(check_odd_items, "stories260K", product.STORIES)
    yield "zero-shot: odd items, the sample model", functools.partial(check_odd_items, "sample", SAMPLE / "model")
    yield "zero-shot: bad input", check_bad_input


def pruned_sample():
    folder, _ = product.prune(
        "zero-shot-pruned", SAMPLE / "model", SAMPLE / "calibration.jsonl", sampling="packed", sequences=16, length=256)
    return folder


def data():
    """A folder with the items of all seven tasks: 200 each, and few of BoolQ."""
    folder = product.WORK / "zero-shot-items"
    folder.mkdir(parents=True, exist_ok=True)
    for task in DEFINITIONS:
        source = SHARED_ITEMS / f"{task}.jsonl"
        source = source if source.exists() else OWN_ITEMS / f"{task}.jsonl"
        (folder / f"{task}.jsonl").write_bytes(source.read_bytes())
    return folder


def lm_eval_with(model, definitions, limit=None):
    """`model` is a folder, or one of lm-eval's models."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        if isinstance(model, pathlib.Path):
            model = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=8)
        return lm_eval.simple_evaluate(model=model, tasks=definitions, limit=limit, bootstrap_iters=1)


def definition(path, task, items):
    """One of lm-eval's task files, on local items."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=str(product.WORK / "zero-shot-cache"))
    from lm_eval.tasks import _yaml_loader

    config = _yaml_loader.load_yaml(path)
    split = config.get("test_split") or config.get("validation_split") or "test"
    config.pop("tag", None)
    config.pop("dataset_name", None)
    config.update(
        task=task, dataset_path="json", dataset_kwargs={"data_files": {split: str(items)}},
        training_split=None, validation_split=split, test_split=split)
    return config


def definitions(folder):
    """lm-eval's own definitions of the seven tasks, on the items in a folder."""
    tasks = pathlib.Path(importlib.util.find_spec("lm_eval").origin).parent / "tasks"
    return [definition(tasks / path, f"own_{task}", folder / f"{task}.jsonl") for task, path in DEFINITIONS.items()]


def judged(model, folder, limit=None):
    """lm-eval's results, and by task and item the log-likelihoods of the choices."""
    outcome = lm_eval_with(model, definitions(folder), limit)
    samples = {
        task: {sample["doc_id"]: [answer[0] for answer in sample["filtered_resps"]] for sample in outcome["samples"][f"own_{task}"]}
        for task in DEFINITIONS}
    return {task: outcome["results"][f"own_{task}"] for task in DEFINITIONS}, samples


def judged_file(model, path, items, limit):
    """lm-eval's results for one task file, and by item the log-likelihoods of the choices."""
    config = definition(path, "own", items)
    outcome = lm_eval_with(model, [config], limit)
    samples = {sample["doc_id"]: [answer[0] for answer in sample["filtered_resps"]] for sample in outcome["samples"]["own"]}
    return outcome["results"]["own"], samples


def scored(name, model, folder, limit=None, **options):
    """The product's results, and by task and item the scores of the choices."""
    (product.WORK / name).mkdir(parents=True, exist_ok=True)
    samples_file = product.WORK / name / "samples.jsonl"
    result = product.succeed("evaluate", dict(
        model=model, tasks=",".join(DEFINITIONS), task_data=folder, limit=limit, log_samples=samples_file,
        json=product.WORK / name / "tasks.json", **options))
    samples = {task: {} for task in DEFINITIONS}
    for line in samples_file.read_text().splitlines():
        sample = json.loads(line)
        samples[sample["task"]][sample["item"]] = sample["scores"]
    return result["zeroShot"], samples


def compare(name, found, found_samples, expected, expected_samples):
    worst = 0
    for task in DEFINITIONS:
        require(found_samples[task].keys() == expected_samples[task].keys(), f"{name} {task}: other items than lm-eval's")
        for item, likelihoods in expected_samples[task].items():
            own = found_samples[task][item]
            require(len(own) == len(likelihoods), f"{name} {task} item {item}: {len(own)} choices, lm-eval {len(likelihoods)}")
            for choice, (mine, theirs) in enumerate(zip(own, likelihoods)):
                worst = max(worst, abs(mine - theirs))
                require(abs(mine - theirs) <= TOLERANCE, f"{name} {task} item {item} choice {choice}: {mine}, lm-eval {theirs}")
        mine, theirs = found["tasks"][task], expected[task]
        metrics = {key.split(",")[0]: value for key, value in theirs.items() if key.startswith("acc")}
        require(metrics.keys() == mine.keys() - {"items"}, f"{name} {task}: reports {mine.keys()}, lm-eval {metrics.keys()}")
        for metric, value in metrics.items():
            require(math.isclose(mine[metric], value, rel_tol=1e-12, abs_tol=1e-12), f"{name} {task} {metric}: {mine[metric]}, lm-eval {value}")
    return worst


def check(name, model, limit=None):
    model, folder = model(), data()
    found, found_samples = scored(f"zero-shot-{name}", model, folder, limit)
    with _one_at_a_time:
        expected, expected_samples = judged(model, folder, limit)
    worst = compare(name, found, found_samples, expected, expected_samples)
    items = sum(map(len, expected_samples.values()))
    return f"{items} items, log-likelihoods apart by {worst:.1e} at most, mean acc {found['mean']['acc']:.4f}"


def check_batches():
    """Small batches, large ones, and one that holds all: the same choices, and scores apart by rounding only."""
    folder = data()
    runs = [scored(f"zero-shot-batch-{size}", product.STORIES, folder, limit=20, batch_tokens=size) for size in (1, 700, 1 << 20)]
    for result, samples in runs[1:]:
        require(result == runs[0][0], f"{result}, not {runs[0][0]}")
        for task, items in samples.items():
            for item, scores in items.items():
                require(all(abs(a - b) < 1e-4 for a, b in zip(scores, runs[0][1][task][item])), f"{task} item {item}: {scores}")


def check_owl_scoring():
    """The mean log-probability of a choice's tokens, context and choice tokenized apart, computed here with transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(SAMPLE / "model")
    model = AutoModelForCausalLM.from_pretrained(SAMPLE / "model", dtype=torch.float32)
    folder, limit = data(), 20
    found, samples = scored("zero-shot-owl", SAMPLE / "model", folder, limit, scoring="owl")
    require(all(entry.keys() == {"items", "acc", "acc_stderr"} for entry in found["tasks"].values()), f"{found['tasks']}")
    right = 0
    for number, line in enumerate((folder / "arc_easy.jsonl").read_text("utf-8").splitlines()[:limit]):
        item = json.loads(line)
        scores = []
        for choice in item["choices"]["text"]:
            context, continuation = (
                tokenizer(unicodedata.normalize("NFKC", text), add_special_tokens=False).input_ids
                for text in (f"Question: {item['question']}\nAnswer:", f" {choice}"))
            with torch.no_grad():
                logits = model(torch.tensor([context + continuation])).logits[0].log_softmax(-1)
            places = range(len(context) - 1, len(context) + len(continuation) - 1)
            scores.append(sum(logits[place, token].item() for place, token in zip(places, continuation)) / len(continuation))
        own = samples["arc_easy"][number]
        require(all(abs(a - b) < TOLERANCE for a, b in zip(own, scores, strict=True)), f"item {number}: {own}, expected {scores}")
        right += scores.index(max(scores)) == item["choices"]["label"].index(item["answerKey"])
    require(found["tasks"]["arc_easy"]["acc"] == right / limit, f"acc {found['tasks']['arc_easy']}, expected {right / limit}")


def check_formats():
    """The same items as Parquet, one task in two files, and gzipped: the same scores to the bit."""
    folder, other = data(), product.WORK / "zero-shot-formats"
    for task in DEFINITIONS:
        lines = (folder / f"{task}.jsonl").read_text("utf-8").splitlines(keepends=True)[:6]
        rows = [json.loads(line) for line in lines]
        (other / "lines").mkdir(parents=True, exist_ok=True)
        (other / "lines" / f"{task}.json").write_text("".join(lines), "utf-8")
        (other / "parquet" / task).mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows[:4]), other / "parquet" / task / "test-00000-of-00002.parquet")
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows[4:]), other / "parquet" / task / "test-00001-of-00002.parquet")
        (other / "gzip").mkdir(exist_ok=True)
        with gzip.open(other / "gzip" / f"{task}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(lines)
        # A data set as it is published, with the splits that lm-eval does not score.
        (other / "splits" / task).mkdir(parents=True, exist_ok=True)
        for split in ("train", "validation", "test"):
            scores = split == ("test" if task.startswith(("arc", "openbook")) else "validation")
            pyarrow.parquet.write_table(
                pyarrow.Table.from_pylist(rows if scores else rows[:2]), other / "splits" / task / f"{split}-00000-of-00001.parquet")
    runs = {name: scored(f"zero-shot-{name}", product.STORIES, other / name) for name in ("lines", "parquet", "gzip", "splits")}
    require(runs["splits"] == runs["lines"], f"of a split: {runs['splits'][0]}, JSON lines {runs['lines'][0]}")
    require(runs["parquet"] == runs["lines"], f"Parquet: {runs['parquet'][0]}, JSON lines {runs['lines'][0]}")
    require(runs["gzip"] == runs["lines"], f"gzip: {runs['gzip'][0]}, JSON lines {runs['lines'][0]}")


def check_prune_and_sweep():
    """What they say of the dense model and of the pruned one is what evaluate finds; the report's page and table have it."""
    folder, out = data(), product.WORK / "zero-shot-sweep"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    options = dict(
        model=SAMPLE / "model", calibration=SAMPLE / "calibration.jsonl", sampling="packed", sequences=8, length=128, sparsity=0.6,
        allocation="uniform", evaluate=SAMPLE / "evaluation.jsonl", evaluate_tasks=",".join(DEFINITIONS), task_data=folder, limit=25)
    pruned, report = product.prune("zero-shot-compared", options.pop("model"), options.pop("calibration"), **options)
    dense, _ = scored("zero-shot-compared-dense", SAMPLE / "model", folder, 25)
    after, _ = scored("zero-shot-compared-pruned", pruned, folder, 25)
    require(report["zeroShot"] == {"dense": dense, "pruned": after}, f"prune: {report['zeroShot']}, evaluate {dense}, {after}")
    page = (pruned / "_owl" / "report.html").read_text("utf-8")
    for results in (dense, after):
        require(f"{results['mean']['acc']:.4f}" in page, f"the page lacks the mean {results['mean']}")
    outcome = product.owl("sweep", *product.flags(
        {"model": SAMPLE / "model", "calibration": SAMPLE / "calibration.jsonl", **options, "output": out / "out"}))
    require(outcome.code == 0, f"sweep: exit code {outcome.code}: {outcome.err[-1000:]}")
    sweep = json.loads((out / "out" / "sweep.json").read_text())
    require(sweep["zeroShot"]["dense"] == dense, f"sweep: {sweep['zeroShot']}, evaluate {dense}")
    require([row["zeroShot"] for row in sweep["rows"]] == [after], f"sweep: {sweep['rows']}, evaluate {after}")
    require(f"{after['mean']['acc']:.4f}" in outcome.out and "mean acc" in outcome.out, f"the table lacks the mean: {outcome.out}")
    rows = pyarrow.parquet.read_table(out / "out" / "sweep.parquet").to_pylist()
    require([row["mean_acc"] for row in rows] == [after["mean"]["acc"]], f"Parquet: {rows}")


OWN_TASK = """
task: own_questions
dataset_path: json
output_type: multiple_choice
doc_to_text: "Q: {{question}}\\nA:"
doc_to_choice: "{{choices.text}}"
doc_to_target: "{{choices.label.index(answerKey)}}"
metric_list:
  - metric: acc
  - metric: acc_norm
"""


def check_own_task():
    """One file for both: lm-eval's task files of this kind are understood as they are."""
    folder = product.WORK / "zero-shot-own"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.yaml").write_text(OWN_TASK)
    (folder / "own_questions.jsonl").write_bytes((data() / "arc_easy.jsonl").read_bytes())
    result = product.succeed("evaluate", dict(
        model=SAMPLE / "model", task=folder / "own.yaml", task_data=folder, limit=40, json=folder / "own.json"))
    with _one_at_a_time:
        expected, _ = judged_file(SAMPLE / "model", folder / "own.yaml", folder / "own_questions.jsonl", 40)
    mine = result["zeroShot"]["tasks"]["own_questions"]
    for metric in ("acc", "acc_stderr", "acc_norm", "acc_norm_stderr"):
        require(math.isclose(mine[metric], expected[metric + ",none"], rel_tol=1e-12), f"{metric}: {mine}, lm-eval {expected}")
    for spoilt, message in (
        (OWN_TASK.replace("doc_to_target", "doc_to_targets"), r"it sets doc_to_targets, which is not known"),
        (OWN_TASK.replace("own_questions", "boolq") + "process_docs: !function utils.process\n", r"it is not plain YAML: line 11"),
        (OWN_TASK + "task: another\n", r"line 11: found duplicate key task"),
        (OWN_TASK + "metadata: &own\n  version: *own\n", r"it refers to a list or map by an alias"),
        (OWN_TASK + "metadata:\n" + laughs(), r"it refers to a list or map by an alias"),
        (OWN_TASK.replace("metric: acc_norm", "metric: f1"), r'its metric_list has "f1"'),
        (OWN_TASK + "num_fewshot: 5\n", r"its num_fewshot is 5"),
        ("- a\n", r"it is no map of names to values"),
    ):
        (folder / "spoilt.yaml").write_text(spoilt)
        outcome = product.owl("evaluate", *product.flags(dict(model=SAMPLE / "model", task=folder / "spoilt.yaml", task_data=folder)))
        require(outcome.code == 2 and re.search(message, outcome.err), f"expected {message}: {outcome.code} {outcome.err[-500:]}")
        require("\tat " not in outcome.err, f"{spoilt}: a stack trace: {outcome.err[-500:]}")


ODD_TASK = """
task: odd
dataset_path: json
output_type: multiple_choice
doc_to_text: "{{context}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
"""
CHOICES = ["a dog", "a house", "seven"]
ODD_ITEMS = [
    # white space where context and continuation meet, of all kinds that Python strips
    {"context": "Tom saw ", "choices": CHOICES},
    {"context": "Tom saw \n\t \r\n", "choices": CHOICES},
    {"context": "Tom saw\u00a0\u3000\u2028", "choices": CHOICES},
    {"context": "Tom saw\u200b", "choices": CHOICES},
    {"context": "  Tom  saw  ", "choices": ["  a dog", "a dog  ", "\na dog"]},
    # what is many bytes, or many characters, or one that looks like many
    {"context": "Tom's na\u00efve caf\u00e9 \u732b\u304c\u5c45\u305f \U0001f600", "choices": ["\U0001f469\u200d\U0001f467", "\u732b", "e\u0301"]},
    {"context": "\ufb01ne \u212b \u1e9b\u0323", "choices": ["\ufb01", "fi", "\u00c5"]},
    # nothing, next to something
    {"context": "", "choices": CHOICES},
    {"context": "Tom saw", "choices": ["", "a dog", "a"]},
    {"context": "", "choices": ["", "a dog", "a"]},
    # texts that look like a token, a template or code
    {"context": "<s> Tom saw", "choices": CHOICES},
    {"context": "Tom </s> saw", "choices": ["<s>", "</s>", "<unk>"]},
    {"context": "{{context}} {% if %} {# #}", "choices": ["{{context}}", "%}", "'\"\\\\n"]},
    # alike: of equals the first counts, and one begins as another goes on
    {"context": "Tom saw", "choices": ["a dog", "a dog", "a dog"]},
    {"context": "Tom saw", "choices": ["a", "a d", "a dog and a dog"]},
    # longer than what the model sees, by one token and by many; and a choice that nearly fills it
    *({"context": "Tom saw a dog. " * 40 + "x " * more, "choices": ["a dog", "a", "a dog and a house and a cat"]} for more in range(0, 160, 7)),
    {"context": "Tom saw a dog. " * 300, "choices": CHOICES},
    {"context": "Tom saw", "choices": ["a dog and " * 50, "a dog", "a dog and " * 30]},
]


def check_odd_items(name, model):
    """Items that nobody publishes, in a task file that both read."""
    folder = product.WORK / f"zero-shot-odd-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "odd.yaml").write_text(ODD_TASK)
    items = [{**item, "answer": number % 3} for number, item in enumerate(ODD_ITEMS)]
    (folder / "odd.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    outcome = product.owl("evaluate", *product.flags(dict(
        model=model, task=folder / "odd.yaml", task_data=folder, json=folder / "odd.json", log_samples=folder / "samples.jsonl")))
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-500:]}")
    found = json.loads((folder / "odd.json").read_text())["zeroShot"]["tasks"]["odd"]
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    with _one_at_a_time:
        expected, likelihoods = judged_file(model, folder / "odd.yaml", folder / "odd.jsonl", None)
    worst = 0
    for sample, item in zip(samples, items, strict=True):
        theirs = likelihoods[sample["item"]]
        for mine, other in zip(sample["scores"], theirs, strict=True):
            worst = max(worst, abs(mine - other))
            require(abs(mine - other) <= TOLERANCE, f"{str(item)[:200]}: {sample['scores']}, lm-eval {theirs}")
        require(sample["characters"] == [len(choice) for choice in item["choices"]], f"{item}: {sample['characters']} characters")
    for metric in ("acc", "acc_norm"):
        require(math.isclose(found[metric], expected[metric + ",none"], rel_tol=1e-12), f"{metric}: {found}, lm-eval {expected}")
    require("longer than the" in outcome.err, f"nothing was cut: {outcome.err[-500:]}")
    return f"{len(items)} items, log-likelihoods apart by {worst:.1e} at most"


def laughs():
    """25 short lines that are 2^25 items to who writes them out."""
    lines = ["  a0: &a0 [ha, ha]"] + [f"  a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 25)]
    return "\n".join(lines) + "\n"


def check_bad_input():
    folder = product.WORK / "zero-shot-bad"
    folder.mkdir(parents=True, exist_ok=True)
    good = {"question": "What is wet?", "choices": {"text": ["rain", "sand"], "label": ["A", "B"]}, "answerKey": "A"}
    long = {**good, "choices": {"text": ["rain", "drop " * 600], "label": ["A", "B"]}}
    (folder / "arc_easy.jsonl").write_text(json.dumps(good) + "\n\n" + json.dumps({"question": "Why?"}) + "\n")
    (folder / "arc_challenge.jsonl").write_text(json.dumps(good) + "\n" + json.dumps(long) + "\n")
    (folder / "boolq.jsonl").write_text("\n")
    (folder / "rte.jsonl").write_text('{"sentence1": "It rains."\n')
    (folder / "openbookqa.jsonl").write_text(json.dumps({**good, "question_stem": "?", "answerKey": "E"}) + "\n")
    (folder / "many").mkdir(exist_ok=True)
    (folder / "many" / "rte.jsonl").write_text('{"sentence1": "It rains.", "sentence2": "It is wet.", "label": 0}\n')
    (folder / "many" / "rte.json").write_text('{"sentence1": "It rains."}\n')
    (folder / "many" / "arc_easy.parquet").write_bytes(damaged_parquet(good))
    pyarrow.parquet.write_table(pyarrow.table({"question": ["Why?"], "answer": ["so"]}), folder / "many" / "boolq.parquet")
    spoilt = {
        "utf8": json.dumps(good).encode() + b'\n{"question": "\xff"}\n', "null": json.dumps(good).encode() + b"\nnull\n",
        "one": json.dumps({**good, "choices": {"text": ["rain"], "label": ["A"]}}).encode(),
        "labels": json.dumps({**good, "choices": {"text": ["rain", "sand"], "label": ["A"]}}).encode(),
        "number": json.dumps({**good, "question": 7.5}).encode(), "gzip": gzip.compress(json.dumps(good).encode())[:-12]}
    for name, content in spoilt.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "arc_easy.jsonl").write_bytes(content)
    output = folder / "pruned"
    kept = folder / "many" / "rte.jsonl"
    for options, message in (
        ({"tasks": "rte", "task_data": folder / "many"}, r"Cannot choose the items of task rte in .*: rte.jsonl and rte.json are there"),
        ({"tasks": "boolq", "task_data": folder / "many"}, r'boolq.parquet: row 0 has no field "passage".*\[question, answer\]'),
        ({"tasks": "arc_easy", "task_data": folder / "many"}, r"Cannot read .*arc_easy.parquet as Parquet: "),
        ({"tasks": "arc_easy", "task_data": folder / "utf8"}, r"line 2, byte 14 is not UTF-8"),
        ({"tasks": "arc_easy", "task_data": folder / "null"}, r"line 2 is not a JSON object"),
        ({"tasks": "arc_easy", "task_data": folder / "one"}, r"line 1 has one choice only, \[rain\]"),
        ({"tasks": "arc_easy", "task_data": folder / "labels"}, r'line 1 has 1 labels in field "choices.label", and 2 choices'),
        ({"tasks": "arc_easy", "task_data": folder / "number"}, r'line 1 has a field "question" that is not text but 7.5'),
        ({"tasks": "arc_easy", "task_data": folder / "gzip"}, r"arc_easy.jsonl: it is not a whole gzip file"),
        ({"tasks": "rte", "task_data": kept, "log_samples": kept}, r"Cannot write --log-samples .*: the tasks are read from it"),
        ({"tasks": "rte", "task_data": kept, "log_samples": output, "json": output}, r"Cannot write --log-samples .*: --json writes"),
        ({"tasks": "rte", "limit": 0}, r"Cannot use --limit 0"),
        ({"tasks": "rte", "limit": -1}, r"Cannot use --limit -1"),
        ({"text": SAMPLE / "evaluation.jsonl", "task_data": None, "limit": 5}, r"Cannot use --limit without --tasks or --task"),
        ({"tasks": "boolq,mmlu"}, r"task mmlu: it is unknown; known are boolq, rte, .*openbookqa; --task FILE.yaml"),
        ({"tasks": "rte,rte"}, r"task rte is named twice"),
        ({"tasks": "arc_easy"}, r'arc_easy.jsonl: line 3 has no field "choices.text".*its fields are \[question\]'),
        ({"tasks": "arc_challenge"}, r"arc_challenge.jsonl: line 2 is longer than the model's context: choice 1 alone has \d+ tokens.* sees 512"),
        ({"tasks": "boolq"}, r"task boolq: .*boolq.jsonl holds no items"),
        ({"tasks": "rte"}, r"rte.jsonl: line 1 is not JSON"),
        ({"tasks": "openbookqa"}, r'openbookqa.jsonl: line 1 has the answer "E".*none of \[A, B\]'),
        ({"tasks": "hellaswag"}, r"no items of task hellaswag; expected hellaswag.jsonl"),
        ({"tasks": "boolq", "task_data": folder / "none"}, r"none: it does not exist"),
        ({"tasks": "boolq", "task_data": None}, r"Cannot use --tasks without --task-data"),
        ({"tasks": "boolq", "few_shot": 5}, r"Cannot use --few-shot 5"),
        ({"tasks": "boolq", "batch_tokens": 0}, r"Cannot use --batch-tokens 0"),
        ({"tasks": "boolq", "scoring": "best"}, r"expected lm-eval or owl, not 'best'"),
        ({"task_data": None}, r"give --text for its perplexity"),
    ):
        outcome = product.owl("evaluate", *product.flags({"model": product.STORIES, "task_data": folder, **options}))
        require(outcome.code == 2, f"{options}: exit code {outcome.code}: {outcome.err[-500:]}")
        require(re.search(message, outcome.err), f"{options}: expected {message}: {outcome.err[-500:]}")
        require("\tat " not in outcome.err, f"{options}: a stack trace: {outcome.err[-500:]}")
    require(kept.read_text().startswith('{"sentence1"'), "the items were written over")
    outcome = product.owl("prune", *product.flags(dict(
        model=product.STORIES, output=output, sparsity=0.5, metric="magnitude", allocation="uniform", evaluate_tasks="arc_easy", task_data=folder)))
    require(outcome.code == 2 and "line 3 has no field" in outcome.err, f"prune: {outcome.code} {outcome.err[-500:]}")
    require(not output.exists(), f"prune left {output}")


def damaged_parquet(item):
    """A file whose footer is sound, and whose pages are not all there."""
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([item] * 50), file)
    return file.getvalue()[:200] + file.getvalue()[400:]

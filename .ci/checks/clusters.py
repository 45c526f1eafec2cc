"""On clusters of real processes, submitted to by Spark's own spark-submit: the bytes of an embedded run, in every line of Spark."""

import functools
import json
import shutil
import subprocess

import product
import spark_cluster
from checkpoint import require_same_folder
from verdict import require

FOLDER = product.WORK / "clusters"
MODEL = product.GOLDEN / "llama-f32" / "model"
TOKENS = product.GOLDEN / "llama-f32" / "expected" / "tokens.safetensors"
ONE_CORE = ("--executor-memory", "512m", "--executor-cores", "1", "--driver-memory", "512m")
ON_STANDALONE = (*ONE_CORE, "--total-executor-cores", "2")  # an executor a worker
ON_YARN = (*ONE_CORE, "--num-executors", "2")
WAIT = ("--conf", "spark.standalone.submit.waitAppCompletion=true")
# Line of Spark, deploy mode, metric and propagation: each line in both modes, and among all of them every way to prune.
STANDALONE = list(
    zip(
        [version for version in spark_cluster.LINES for _ in range(2)],
        ["client", "cluster"] * 3,
        [("wanda", "sequential"), ("sparsegpt", "dense"), ("sparsegpt", "sequential"), ("wanda", "dense"), ("wanda", "sequential"),
         ("sparsegpt", "sequential")],
        strict=True,
    )
)
YARN = [("3.5.5", "client", ("wanda", "sequential")), ("4.0.1", "cluster", ("sparsegpt", "sequential"))]


def checks(fixtures):
    for version, mode, way in STANDALONE:
        name = f"clusters: Spark {version}, standalone, {mode} deploy mode: {' '.join(way)}"
        yield name, functools.partial(check_standalone, version, mode, way)
    for version, mode, way in YARN:
        yield f"clusters: Spark {version}, YARN and HDFS, {mode} deploy mode: {' '.join(way)}", functools.partial(check_yarn, version, mode, way)


def command(way, model, tokens, folder):
    """`owl prune`, and what it writes: the checkpoint, and its report."""
    metric, propagation = way
    options = dict(model=model, calibration=tokens, output=f"{folder}/out", sparsity=0.7, metric=metric, propagation=propagation,
                   evaluate=tokens, json=f"{folder}/report.json")
    return ["prune", *product.flags(options)]


def submit(cluster, arguments, *settings):
    """What spark-submit and the driver said, if it was here; it has to go well."""
    script = str(product.ROOT / "submit" / "owl")
    words = [script, *map(str, arguments), "--", "--master", cluster.master, *settings]
    done = subprocess.run(words, env=cluster.variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    require(done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-3000:]}{tails(cluster)}")
    return done.stdout + done.stderr


def tails(cluster):
    return "".join(f"\n{file.relative_to(cluster.folder)}: {file.read_text(errors='replace')[-1500:]}" for file in cluster.outputs())


def embedded(way):
    return product.pruned_once(
        "clusters-embedded-" + "-".join(way), MODEL, TOKENS, metric=way[0], propagation=way[1], evaluate=TOKENS)


def require_embedded(way, folder, cluster):
    """That the checkpoint in `folder`, and its report, are those of an embedded run; and that the cluster's processes did it."""
    (expected_folder, expected), found = embedded(way), json.loads((folder / "report.json").read_text())
    require_same_folder(folder / "out", expected_folder, "on the cluster and embedded")
    for key in ("perplexity", "sparsity", "blocks"):
        require(found[key] == expected[key], f"{key}: {found[key]}, embedded {expected[key]}")
    versions = found["provenance"]["versions"]
    require(versions["Spark"] == cluster.version, f"Spark {versions['Spark']}")
    require(found["provenance"]["command"][-2:] == ["--master", cluster.master], f"command {found['provenance']['command']}")


def fresh(*names):
    folder = FOLDER.joinpath(*names)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def check_standalone(version, mode, way):
    folder = fresh(f"{version}-{mode}")
    with spark_cluster.Standalone(folder / "cluster", version) as cluster:
        # In cluster deploy mode spark-submit succeeds whatever becomes of the driver: the master knows.
        said = submit(cluster, command(way, MODEL, TOKENS, folder), "--deploy-mode", mode, *WAIT, *ON_STANDALONE)
        state = cluster.state()
        drivers = [driver["state"] for driver in state["completeddrivers"]]
        require(drivers == (["FINISHED"] if mode == "cluster" else []), f"drivers {drivers}: {said[-2000:]}{tails(cluster)}")
        applications = [(each["name"], each["state"]) for each in state["completedapps"]]
        require(applications == [("ai.owl.spark.cli.Main", "FINISHED")], f"applications {applications}")
        executors = list(cluster.folder.glob("work-*/app-*/*/stderr"))
        require(len(executors) == 2, f"executors {executors}")
        require_embedded(way, folder, cluster)
        if mode == "client" and version == spark_cluster.BUILT_WITH:
            check_evaluate(cluster, folder)


def check_evaluate(cluster, folder):
    report = json.loads((folder / "report.json").read_text())
    options = dict(model=folder / "out", text=TOKENS, json=folder / "evaluation.json")
    submit(cluster, ["evaluate", *product.flags(options)], *ON_STANDALONE)
    found = json.loads((folder / "evaluation.json").read_text())
    require(found["perplexity"] == report["perplexity"]["pruned"], f"evaluate: {found}, prune: {report['perplexity']}")


def check_yarn(version, mode, way):
    folder = fresh(f"yarn-{version}-{mode}")
    with spark_cluster.Yarn(folder / "cluster", version) as cluster:
        cluster.files("-mkdir", "-p", "/in", "/run")
        cluster.files("-put", MODEL, TOKENS, "/in")
        options = command(way, f"{cluster.hdfs}/in/model", f"{cluster.hdfs}/in/{TOKENS.name}", f"{cluster.hdfs}/run")
        submit(cluster, options, "--deploy-mode", mode, *ON_YARN, *cluster.settings)
        cluster.files("-get", "/run/*", folder)
        require_embedded(way, folder, cluster)
        names = {file.parent.name for file in cluster.outputs()}
        require(len(names) == 3, f"containers of the application master and two executors: {names}")

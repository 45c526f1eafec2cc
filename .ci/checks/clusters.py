"""On clusters of real processes, submitted to by Spark's own spark-submit: the bytes of an embedded run, in every line of Spark."""

import collections
import csv
import functools
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading

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
# Never anybody's: what Amazon's documentation uses, and a variation.
ACCESS_KEY, SECRET_KEY, SESSION_TOKEN = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "FwoGZXIvYXdzEXAMPLETOKEN"
GAUGE = re.compile(r"(?P<process>[^.]+)\.plugin\.ai\.owl\.spark\.metrics\.OwlMetricsPlugin\.(?P<name>\w+)\.csv")
YARN = [("3.5.5", "client", ("wanda", "sequential")), ("4.0.1", "cluster", ("sparsegpt", "sequential"))]


def checks(fixtures):
    for version, mode, way in STANDALONE:
        name = f"clusters: Spark {version}, standalone, {mode} deploy mode: {' '.join(way)}"
        yield name, functools.partial(check_standalone, version, mode, way)
    yield "clusters: an executor that is killed", check_killed
    yield "clusters: evaluate, the metrics plugin, the history server; credentials appear nowhere", check_watched
    yield "clusters: credentials of a provider appear nowhere", check_provider
    for version, mode, way in YARN:
        yield f"clusters: Spark {version}, YARN and HDFS, {mode} deploy mode: {' '.join(way)}", functools.partial(check_yarn, version, mode, way)


def command(way, model, tokens, folder):
    """`owl prune`, and what it writes: the checkpoint, and its report."""
    metric, propagation = way
    options = dict(model=model, calibration=tokens, output=f"{folder}/out", sparsity=0.7, metric=metric, propagation=propagation,
                   evaluate=tokens, json=f"{folder}/report.json")
    return ["prune", *product.flags(options)]


def submit(cluster, arguments, *settings, watch=lambda line: None):
    """What spark-submit and the driver said, if it was here, every line of which `watch` is told of; it has to go well."""
    script = str(product.ROOT / "submit" / "owl")
    words = [script, *map(str, arguments), "--", "--master", cluster.master, *map(str, settings)]
    with subprocess.Popen(
        words, env=cluster.variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        start_new_session=True,
    ) as process:
        late = threading.Timer(600, os.killpg, (process.pid, signal.SIGKILL))
        late.start()
        said = []
        for line in process.stdout:
            said.append(line)
            watch(line)
        code = process.wait()
        late.cancel()
    if isinstance(cluster, spark_cluster.Standalone):
        cluster.tidy()
    said = "".join(said)
    require(code == 0, f"exit code {code}: {said[-3000:]}{tails(cluster)}")
    return said


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
        # In cluster deploy mode spark-submit succeeds whatever becomes of the driver, for which submit/owl has it wait: the master knows.
        said = submit(cluster, command(way, MODEL, TOKENS, folder), "--deploy-mode", mode, *ON_STANDALONE)
        state = cluster.state()
        drivers = [driver["state"] for driver in state["completeddrivers"]]
        require(drivers == (["FINISHED"] if mode == "cluster" else []), f"drivers {drivers}: {said[-2000:]}{tails(cluster)}")
        applications = [(each["name"], each["state"]) for each in state["completedapps"]]
        require(applications == [("ai.owl.spark.cli.Main", "FINISHED")], f"applications {applications}")
        executors = list(cluster.folder.glob("work-*/app-*/*/stderr"))
        require(len(executors) == 2, f"executors {executors}")
        require_embedded(way, folder, cluster)
        if mode == "cluster":
            check_outputs(cluster, folder)


def check_outputs(cluster, folder):
    """What README.md says of a standalone cluster's drivers: what the command says is in its folder; and spark-submit says 0 when it fails."""
    [driver] = cluster.folder.glob("work-*/driver-*")
    printed = (driver / "stdout").read_text()
    require("perplexity" in printed, f"the driver's stdout: {printed[-1000:]}")
    said = submit(cluster, ["evaluate", "--model", folder / "nothing", "--text", TOKENS], "--deploy-mode", "cluster", *ON_STANDALONE)
    states = sorted(each["state"] for each in cluster.state()["completeddrivers"])
    require(states == ["FAILED", "FINISHED"], f"drivers {states}: {said[-2000:]}")
    [failed] = [other for other in cluster.folder.glob("work-*/driver-*") if other != driver]
    require("owl: Cannot open model" in (failed / "stderr").read_text(), f"its stderr: {(failed / 'stderr').read_text()[-1000:]}")


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


def check_killed():
    """While the first blocks are at work, which the executors hold and the driver does not."""
    folder, way, killed = fresh("killed"), ("wanda", "sequential"), []
    with spark_cluster.Standalone(folder / "cluster") as cluster:

        def kill(line):
            if line.startswith("evaluate ") and not killed:
                killed.append(cluster.kill_executor())

        submit(cluster, command(way, MODEL, TOKENS, folder), *ON_STANDALONE, watch=kill)
        require_embedded(way, folder, cluster)
        executors = list(cluster.folder.glob("work-*/app-*/*/stderr"))
        lost = [file for file in cluster.folder.glob("worker-*.log") if "exitStatus 137" in file.read_text()]
        require(len(executors) == 3 and len(lost) == 1, f"killed {killed}, executors {executors}, lost in {lost}")


def event_log(folder):
    (folder / "events").mkdir()
    # One file an application, and one that can be searched.
    return {"spark.eventLog.enabled": "true", "spark.eventLog.dir": f"file://{folder / 'events'}", "spark.eventLog.compress": "false",
            "spark.eventLog.rolling.enabled": "false"}


def check_watched():
    """Two runs in one cluster, by whose environment everybody has credentials, with all that watches a run turned on."""
    folder, way = fresh("watched"), ("sparsegpt", "sequential")
    keys = dict(AWS_ACCESS_KEY_ID=ACCESS_KEY, AWS_SECRET_ACCESS_KEY=SECRET_KEY, AWS_SESSION_TOKEN=SESSION_TOKEN)
    settings = {
        "spark.plugins": "ai.owl.spark.metrics.OwlMetricsPlugin",
        "spark.metrics.conf.*.sink.csv.class": "org.apache.spark.metrics.sink.CsvSink",
        "spark.metrics.conf.*.sink.csv.directory": folder / "metrics",
        "spark.metrics.conf.*.sink.csv.period": 1,
        **event_log(folder),
    }
    (folder / "metrics").mkdir()
    confs = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
    with spark_cluster.Standalone(folder / "cluster", **keys) as cluster:
        said = submit(cluster, [*command(way, MODEL, TOKENS, folder), "--verbose"], *ON_STANDALONE, *confs)
        require_embedded(way, folder, cluster)
        report = json.loads((folder / "report.json").read_text())
        check_gauges(folder / "metrics", report)
        options = dict(model=folder / "out", text=TOKENS, json=folder / "evaluation.json")
        said += submit(cluster, ["evaluate", *product.flags(options), "--verbose"], *ON_STANDALONE, *confs)
    found = json.loads((folder / "evaluation.json").read_text())
    require(found["perplexity"] == report["perplexity"]["pruned"], f"evaluate: {found}, prune: {report['perplexity']}")
    (folder / "said.log").write_text(said)
    with spark_cluster.HistoryServer(folder / "history", spark_cluster.BUILT_WITH, folder / "events") as history:
        check_history(history, report)
    read = require_secret(folder, ACCESS_KEY, SECRET_KEY, SESSION_TOKEN)
    kinds = collections.Counter(file.parent.name if file.parent.name in ("events", "out", "_owl") else file.suffix for file in read)
    require(kinds["events"] == 2 and kinds["_owl"] >= 2 and kinds[".log"] >= 4, f"read {kinds}")
    return f"{len(read)} files without credentials"


def work(report):
    """Tokens through blocks, blocks done and weights removed, of a sequential run with SparseGPT and perplexities."""
    blocks, tokens = len(report["blocks"]), 96
    # Perplexity twice, calibrated, solved, and moved on behind each block but the last; in between, outliers counted.
    passes = 2 * blocks + blocks + blocks + blocks - 1
    return tokens * passes, passes + blocks, sum(block["removed"] for block in report["blocks"])


def check_gauges(folder, report):
    last = collections.defaultdict(dict)
    for file in folder.iterdir():
        found = GAUGE.search(file.name)
        if found:
            values = [float(row["value"]) for row in csv.DictReader(file.open())]
            # The last is written when the process ends. Rates fall again while nothing is done.
            last[found["process"]][found["name"]] = max(values) if found["name"] == "tokensPerSecond" else values[-1]
    require(sorted(last) == ["0", "1", "driver"], f"gauges of {sorted(last)}: {sorted(file.name for file in folder.iterdir())}")
    names = ["blocksDone", "nativeBytes", "physicalBytes", "tokens", "tokensPerSecond", "weightsRemoved"]
    for process, gauges in last.items():
        require(sorted(gauges) == names, f"{process}: {sorted(gauges)}")
        require(gauges["physicalBytes"] > 100e6, f"{process}: {gauges}")
    tokens, blocks, removed = work(report)
    driver, executors = last.pop("driver"), list(last.values())
    found = driver["tokens"], driver["blocksDone"], driver["weightsRemoved"]
    require(found == (tokens, blocks, removed), f"the driver tells of {found}, done were {(tokens, blocks, removed)}")
    for name in "tokens", "weightsRemoved":
        require(sum(gauges[name] for gauges in executors) == driver[name], f"{name}: driver {driver}, executors {executors}")
    require(sum(gauges["blocksDone"] for gauges in executors) == len(report["blocks"]), f"blocks of flat jobs: {executors}")
    require(any(gauges["tokensPerSecond"] > 0 for gauges in executors), f"rates of executors: {executors}")
    require(any(gauges["nativeBytes"] > 0 for gauges in executors), f"native memory of executors: {executors}")


def check_history(history, report):
    def applications():
        return len(spark_cluster.get_json(f"{history.url}/applications?status=completed")) == 2

    spark_cluster.wait_until("both applications in the history", applications)
    listed = spark_cluster.get_json(f"{history.url}/applications")
    prune = history.url + "/applications/" + min(listed, key=lambda each: each["attempts"][0]["startTimeEpoch"])["id"]
    jobs = spark_cluster.get_json(f"{prune}/jobs")
    require(all(job["status"] == "SUCCEEDED" for job in jobs), f"jobs {jobs}")
    require(len({job["jobGroup"] for job in jobs}) == 1 and jobs[0]["jobGroup"].startswith("owl "), f"groups {jobs}")
    descriptions = collections.Counter(job["description"] for job in jobs)
    expected = collections.Counter(["count outliers of 3 blocks", "prune 3 blocks with sparsegpt to 0.7", *["evaluate: head"] * 2])
    for stage, count, times in ("calibrate", 3, 1), ("solve", 3, 1), ("propagate", 2, 1), ("evaluate", 3, 2):
        expected.update([f"{stage}: block {block} of 0..2" for block in range(count)] * times)
    require(descriptions == expected, f"descriptions {descriptions}")
    sums = collections.Counter()
    for stage in spark_cluster.get_json(f"{prune}/stages?details=true"):
        for task in stage["tasks"].values():
            for update in task["accumulatorUpdates"]:
                sums[update["name"]] += int(update["update"]) if update["name"].startswith("owl: ") else 0
    tokens, _, removed = work(report)
    found = sums["owl: tokens through blocks"], sums["owl: weights removed"], sums["owl: blocks done"]
    require(found == (tokens, removed, len(report["blocks"])), f"accumulators {found}, done were {(tokens, removed)}")
    # Spark itself reads the keys from the environment: they are there, and not to be seen.
    hadoop = dict(spark_cluster.get_json(f"{prune}/environment")["hadoopProperties"])
    require(hadoop.get("fs.s3a.secret.key", "").endswith("(redacted)"), f"fs.s3a.secret.key: {hadoop.get('fs.s3a.secret.key')}")


def require_secret(folder, *secrets):
    """That none of the words is in any file; returns the files."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix not in (".jar", ".jceks")]
    for file in files:
        content = file.read_bytes()
        for secret in secrets:
            require(secret.encode() not in content, f"{file.relative_to(folder)} has {secret[:4]}…")
    return files


class Refusing(http.server.BaseHTTPRequestHandler):
    """An S3 that lets nobody in, and remembers who asked."""

    asked = []

    def do_HEAD(self):
        self.asked.append(self.headers.get("Authorization", ""))
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD

    def log_message(self, *_):
        pass


def check_provider():
    """Keys in Hadoop's own file for them, which the connector uses, and a store that refuses them: the message names none."""
    folder = fresh("provider")
    variables = spark_cluster.environment(spark_cluster.BUILT_WITH)
    provider = f"localjceks://file{folder}/keys.jceks"
    jars = f"{variables['SPARK_HOME']}/jars/*"
    for key, value in ("access", ACCESS_KEY), ("secret", SECRET_KEY):
        words = ["create", f"fs.s3a.{key}.key", "-value", value, "-provider", provider]
        done = subprocess.run(["java", "-cp", jars, "org.apache.hadoop.security.alias.CredentialShell", *words], capture_output=True, text=True)
        require(done.returncode == 0, done.stdout + done.stderr)
    classpath = (product.ROOT / "owl-spark-job" / "target" / "spark.classpath").read_text().strip().split(":")
    theirs = {file.name for file in spark_cluster.spark_home(spark_cluster.BUILT_WITH).glob("jars/*.jar")}
    connector = ",".join(file for file in classpath if re.search("hadoop-aws|awssdk|reactive-streams|eventstream", file)
                         and product.path(file).name not in theirs)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        settings = {
            "spark.hadoop.hadoop.security.credential.provider.path": provider,
            "spark.hadoop.fs.s3a.endpoint": f"http://127.0.0.1:{store.server_port}",
            "spark.hadoop.fs.s3a.path.style.access": "true",
            **event_log(folder),
        }
        confs = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
        words = [product.ROOT / "submit" / "owl", "evaluate", "--model", "s3a://models/llama", "--text", TOKENS, "--verbose", "--preset", "s3a",
                 "--", "--master", "local[1]", "--jars", connector, *confs]
        done = subprocess.run(list(map(str, words)), env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        store.shutdown()
    (folder / "said.log").write_text(done.stdout + done.stderr)
    require(done.returncode == 2 and "owl: Cannot access s3a://models/llama" in done.stderr, f"exit code {done.returncode}: {done.stderr[-3000:]}")
    require(any(f"Credential={ACCESS_KEY}/" in header for header in Refusing.asked), f"the store was asked with {Refusing.asked[:3]}")
    read = require_secret(folder, ACCESS_KEY, SECRET_KEY)
    require(any(file.parent.name == "events" for file in read), f"no event log in {read}")

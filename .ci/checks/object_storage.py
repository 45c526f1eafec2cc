"""s3a:// in and out by `submit/owl`, against moto's server, through a proxy that sees every request and can do harm."""

import atexit
import functools
import json
import os
import pathlib
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree
import zlib

import boto3
import numpy
import pyspark
import torch
from safetensors.numpy import save_file
from transformers import LlamaConfig, LlamaForCausalLM

import product
from bad_network import BadNetwork, CutRequest, CutResponse, s3_error
from checkpoint import digests
from verdict import require

KEY, SECRET, TOKEN = "AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30), secrets.token_urlsafe(60)
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
SETTINGS = ("path.style.access=true", "multipart.size=5M", "multipart.threshold=5M")
SMALL = product.GOLDEN / "mistral-bf16"
FORBIDDEN = s3_error(403, "AccessDenied", "Access Denied")
ELSEWHERE = s3_error(301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint.")
MALFORMED = s3_error(400, "AuthorizationHeaderMalformed", "The authorization header is malformed; the region 'us-east-2' is wrong; expecting 'eu-west-1'")
EXPIRED = s3_error(400, "ExpiredToken", "The provided token has expired.")
UNKNOWN_KEY = s3_error(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
REGION = "set spark.hadoop.fs.s3a.endpoint.region to the bucket's region"
PERMISSIONS = "its credentials need s3:ListBucket and s3:GetObject to read, s3:PutObject and s3:DeleteObject to write"
INSPECT = ("inspect", "--model", "s3a://{}/small/model")
# name: (what is answered to which requests, the command, what the message says)
REFUSED = {
    "permission denied": (lambda request: FORBIDDEN, INSPECT, f"Cannot access s3a://{{}}/small/model: Access Denied (AccessDenied); {PERMISSIONS}"),
    "permission denied to look at": (
        lambda request: FORBIDDEN if request.method == "HEAD" else None, INSPECT,
        f"Cannot access s3a://{{}}/small/model/config.json: its store answers 403; {PERMISSIONS}"),
    "permission denied to read weights": (
        lambda request: FORBIDDEN if request.method == "GET" and request.path.endswith(".safetensors") else None, INSPECT,
        f"Cannot access s3a://{{}}/small/model/model-00001-of-00003.safetensors: Access Denied (AccessDenied); {PERMISSIONS}"),
    "unknown key": (lambda request: UNKNOWN_KEY, INSPECT, "(InvalidAccessKeyId); check the credentials"),
    "expired token": (lambda request: EXPIRED, INSPECT, "The provided token has expired. (ExpiredToken); renew the credentials"),
    "another region": (lambda request: ELSEWHERE, INSPECT, f"s3a://{{}}/small/model: its bucket is in another region; {REGION}"),
    "a wrong region": (lambda request: MALFORMED, INSPECT, f"expecting 'eu-west-1' (AuthorizationHeaderMalformed); {REGION}"),
    "no such bucket": (lambda request: None, ("inspect", "--model", "s3a://{}-not/model"), "Cannot read s3a://{}-not/model: there is no such bucket"),
    "no such bucket to write to": (
        lambda request: None, ("prune", "--model", SMALL / "model", "--calibration", SMALL / "expected" / "tokens.safetensors", "--sparsity", 0.7,
                               "--output", "s3a://{}-not/out"),
        "Cannot read s3a://{}-not/out: there is no such bucket"),
}


def checks(fixtures):
    yield "s3: prune from and to, as locally; parts, ranges, no copy, the index last", check_prune
    yield "s3: prune through a bad network, as locally", check_bad_network
    for name in REFUSED:
        yield f"s3: {name}: one message, soon", functools.partial(check_refused, name)
    yield "s3: no credentials: one message, soon", check_no_credentials
    yield "s3: credentials of a profile", check_profile
    yield "s3: a write that is refused half way leaves no checkpoint", check_refused_half_way
    yield "s3: new files are written once, as the store enforces", check_conditional_writes
    yield "s3: --preset hadoop-aws for a Spark without the connector", check_preset


# --- the server, and what lies in it ----------------------------------------------------------------


class Store:
    """moto's server as a process of its own, with a bucket."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        script = pathlib.Path(sys.executable).parent / "moto_server"
        self.log = product.WORK / "moto.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, script, "-H", "127.0.0.1", "-p", str(self.port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        atexit.register(self.process.kill)
        self.client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.port}", aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
        self.bucket = "owls"
        end = time.monotonic() + 60
        while not self._answers():
            require(time.monotonic() < end and self.process.poll() is None, f"moto's server does not start: {self.log.read_text()[-1000:]}")
            time.sleep(0.2)
        self.client.create_bucket(Bucket=self.bucket)
        self.upload(SMALL / "model", "small/model")
        self.upload(SMALL / "expected", "small/expected")

    def _answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/moto-api/", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError):
            return False

    def upload(self, folder, prefix):
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.client.put_object(Bucket=self.bucket, Key=f"{prefix}/{file.relative_to(folder)}", Body=file.read_bytes())

    def content(self, prefix):
        """Name below the prefix → bytes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return {key[len(prefix):]: self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def download(self, prefix, folder):
        for name, content in self.content(prefix).items():
            if not name.endswith("/"):
                file = folder / name.lstrip("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        return folder

    def unfinished(self, prefix):
        """Uploads of several parts that were neither ended nor given up."""
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=prefix).get("Uploads", ())]


def store():
    return product.once("s3-store", Store)


def big():
    """A model whose blocks have 14 MB, three parts each; four sequences; and what is left of it when it is pruned locally."""
    return product.once("s3-big", make_big)


def make_big():
    folder = product.WORK / "s3-big"
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=97, hidden_size=768, intermediate_size=2048, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=8,
        max_position_embeddings=64, tie_word_embeddings=False)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "model", max_shard_size="16MB")
    numbers = numpy.random.default_rng(5).integers(0, 97, size=(4, 48), dtype=numpy.int64)
    save_file({"calibration": numbers, "evaluation": numbers[:2]}, folder / "tokens.safetensors")
    store().upload(folder / "model", "big/model")
    store().client.upload_file(str(folder / "tokens.safetensors"), store().bucket, "big/tokens.safetensors")
    output, report = product.prune("s3-big-local", folder / "model", folder / "tokens.safetensors", evaluate=folder / "tokens.safetensors")
    return output, report


# --- running ----------------------------------------------------------------------------------------


def run(network, *arguments, options=(), credentials=CREDENTIALS, timeout=600):
    """`submit/owl`, with s3a:// led through the network; {} in an argument is the bucket."""
    java = " ".join((*(f"-Dspark.hadoop.fs.s3a.{setting}" for setting in (f"endpoint={network.endpoint}", *SETTINGS)), *options))
    environment = {
        "OWL_JAVA_OPTS": java, "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_CONFIG_FILE": "/nowhere", **credentials,
    }
    arguments = [str(argument).replace("{}", store().bucket) for argument in arguments]
    outcome = product.owl(*arguments, environment=environment, timeout=timeout)
    require_no_secret(outcome.out + outcome.err, "what owl printed")
    return outcome


def require_no_secret(text, where):
    for name, secret in (("secret key", SECRET), ("session token", TOKEN)):
        require(secret not in text, f"the {name} is in {where}")


def prune_big(network, name, *more, **settings):
    return run(
        network, "prune", "--model", "s3a://{}/big/model", "--calibration", "s3a://{}/big/tokens.safetensors", "--evaluate",
        "s3a://{}/big/tokens.safetensors", "--output", f"s3a://{{}}/{name}/out", "--json", f"s3a://{{}}/{name}/run.json", "--sparsity", 0.7, *more,
        **settings)


def require_as_local(name):
    """What lies under <name>/out is what the local run left, and so are the figures of its report."""
    local, report = big()
    found = digests(store().download(f"{name}/out", product.WORK / f"s3-{name}"))
    require(found == digests(local), f"other files or bytes: {found}, locally {digests(local)}")
    written = json.loads(store().content(f"{name}/run.json")[""])
    for field in ("perplexity", "sparsity"):
        require(written[field] == report[field], f"{field}: {written[field]}, locally {report[field]}")
    ratios = [[block["outlierRatio"], block["sparsity"], block["reached"]] for block in written["blocks"] + report["blocks"]]
    require(ratios[: len(ratios) // 2] == ratios[len(ratios) // 2 :], f"blocks: {ratios}")


def check_prune():
    big()
    events = product.WORK / "s3-events"
    events.mkdir()
    logged = ("-Dspark.eventLog.enabled=true", "-Dspark.eventLog.compress=false", f"-Dspark.eventLog.dir=file://{events}")
    with BadNetwork(store().port) as network:
        outcome = prune_big(network, "plain", "--statistics", "s3a://{}/plain/statistics", "--verbose", options=logged)
        require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-2000:]}")
        requests = list(network.requests)
    require_as_local("plain")
    require(not store().unfinished("plain/"), f"uploads that were not ended: {store().unfinished('plain/')}")

    copied = [request for request, headers in requests if "x-amz-copy-source" in headers]
    require(not copied, f"objects were copied, which is what a rename is: {copied[:3]}")
    parts = [request for request, headers in requests if request.method == "PUT" and "partNumber=" in request.path and "/plain/out/" in request.path]
    require(len({request.path for request in parts}) >= 6, f"{len(parts)} parts, though two blocks have three each")
    written = [position for position, (request, headers) in enumerate(requests) if request.method in ("PUT", "POST") and "/plain/out/" in request.path]
    [index] = [position for position in written if requests[position][0].path.split("?")[0].endswith("/model.safetensors.index.json")]
    late = [requests[position][0].path for position in written if position > index and "/_owl/" not in requests[position][0].path]
    require(not late, f"written after the index: {late}")

    ranges = [headers.get("range") for request, headers in requests if request.method == "GET" and re.search(r"/big/model/[^?]+\.safetensors$", request.path)]
    require(ranges and all(ranges), "weights were read without a range")
    lengths = [int(end) - int(begin) + 1 for begin, end in (re.fullmatch(r"bytes=(\d+)-(\d+)", text).groups() for text in ranges)]
    # Five readings of two blocks, and what is around them, each in pieces of its own.
    size = sum(file.stat().st_size for file in (product.WORK / "s3-big" / "model").glob("*.safetensors"))
    require(sum(lengths) < 12 * size, f"{sum(lengths) / size:.1f} times the model was asked for")
    require(max(lengths) <= 768 * 2048 * 2, f"{max(lengths)} bytes in one read, more than the largest tensor has")

    for name, content in store().content("plain/").items():
        require_no_secret(content.decode("utf-8", "replace"), name)
    logs = "".join(file.read_text() for file in events.rglob("*") if file.is_file() and not file.name.startswith("."))
    require("fs.s3a.multipart.size" in logs, "Spark's event log does not tell its settings")
    require_no_secret(logs, "Spark's event log")
    return f"{len(requests)} requests, {len(parts)} parts"


def check_bad_network():
    """Something happens to half of the requests, the first two times. (An upload whose begin is not answered stays, under no known id.)"""
    big()

    def rule(request):
        lot = zlib.crc32(f"{request.method} {request.path.split('uploadId')[0]}".encode()) % 6
        if request.number > 1 or lot > 2:
            return None
        if request.method == "GET" and "list-type" not in request.path:
            return CutResponse(5000)
        if request.method == "PUT":
            return (CutRequest(1000), CutResponse(0), s3_error(503, "SlowDown", "Please reduce your request rate."))[lot]
        return (s3_error(503, "SlowDown", "Please reduce your request rate."), s3_error(500, "InternalError", "Please try again."), CutResponse(0))[lot]

    with BadNetwork(store().port, rule) as network:
        outcome = prune_big(
            network, "bad-network", options=("-Dspark.hadoop.fs.s3a.retry.interval=50ms", "-Dspark.hadoop.fs.s3a.retry.throttle.interval=50ms"))
        require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-2000:]}")
        kinds = {(request.method, type(fault).__name__) for request, fault in network.faults}
        count = len(network.faults)
    require_as_local("bad-network")
    require(count >= 20, f"only {count} faults")
    require({("GET", "CutResponse"), ("PUT", "CutRequest"), ("HEAD", "Answer")} <= kinds, f"not every kind of fault: {kinds}")
    return f"{count} faults"


# --- what is said -----------------------------------------------------------------------------------


def require_refused(outcome, words, seconds):
    message = outcome.err.strip().splitlines()[-1]
    require(outcome.code == 2, f"exit code {outcome.code}: {outcome.err[-1500:]}")
    require(message.startswith("owl: Cannot") and words.replace("{}", store().bucket) in message, message)
    require("\tat " not in outcome.err, f"a stack trace: {outcome.err[-1500:]}")
    require(seconds < 60, f"said after {seconds:.0f} s")
    return message


def check_refused(name):
    rule, command, words = REFUSED[name]
    with BadNetwork(store().port, rule) as network:
        start = time.monotonic()
        return require_refused(run(network, *command), words, time.monotonic() - start)


def check_no_credentials():
    with BadNetwork(store().port) as network:
        start = time.monotonic()
        outcome = run(network, *INSPECT, credentials={})
        message = require_refused(
            outcome, "no credentials for it were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role gives them",
            time.monotonic() - start)
        require(not network.requests, "requests without credentials")
        return message


def check_profile():
    file = product.WORK / "s3-profile"
    file.write_text(f"[default]\naws_access_key_id = AKIANOBODY\naws_secret_access_key = nothing\n[owls]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    with BadNetwork(store().port) as network:
        outcome = run(network, *INSPECT, credentials={"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "owls"})
        require(outcome.code == 0, outcome.err)
        signed = {headers["authorization"].split("Credential=")[1].split("/")[0] for request, headers in network.requests}
        require(signed == {KEY}, f"signed by {signed}")


def check_refused_half_way():
    big()

    def rule(request):
        return FORBIDDEN if request.method == "PUT" and "/half/out/model-00002" in request.path and "partNumber=3" in request.path else None

    with BadNetwork(store().port, rule) as network:
        outcome = prune_big(network, "half")
        require(network.faults, "the part was not asked for")
    message = outcome.err.strip().splitlines()[-1]
    require(outcome.code == 2 and "owl: Cannot access s3a://" in message and PERMISSIONS in message, f"exit code {outcome.code}: {outcome.err[-1500:]}")
    require("\tat " not in outcome.err, f"a stack trace: {outcome.err[-1500:]}")
    left = store().content("half/out/")
    require(not any(name.endswith((".index.json", "model.safetensors")) for name in left), f"left: {sorted(left)}")
    require("model-00002-of-00003.safetensors" not in left, f"left: {sorted(left)}")
    require(not store().unfinished("half/"), f"uploads that were not ended: {store().unfinished('half/')}")
    return message


# --- what the store enforces, and a Spark of its own ------------------------------------------------


def check_conditional_writes():
    store().client.create_bucket(Bucket="conditions")
    done = subprocess.run(
        ["mvn", "-B", "-ntp", "-q", "-o", "test", "-pl", "owl-spark-job", "-am", "-Dtest=ConditionalWriteTest",
         "-Dsurefire.failIfNoSpecifiedTests=false", f"-Dowl.s3.bucket=http://127.0.0.1:{store().port}/conditions"],
        cwd=product.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    require(done.returncode == 0, done.stdout[-2000:])
    [report] = (product.ROOT / "owl-spark-job" / "target" / "surefire-reports").glob("TEST-*.ConditionalWriteTest.xml")
    suite = xml.etree.ElementTree.parse(report).getroot()
    require((suite.get("tests"), suite.get("skipped")) == ("3", "0"), f"tests {suite.get('tests')}, skipped {suite.get('skipped')}")


def check_preset():
    """PyPI's Spark has no S3A; the preset names what it lacks, in the versions that are tested here."""
    pom = (product.ROOT / "pom.xml").read_text()
    preset = (product.ROOT / "conf" / "hadoop-aws.conf").read_text()
    for field, package in (("hadoop.version", "hadoop-aws"), ("awssdk.version", "sts")):
        version = re.search(f"<{re.escape(field)}>(.+)</", pom)[1]
        require(re.search(rf":{package}:{re.escape(version)}(,|\n)", preset), f"{package} is not of version {version}")
    evaluate = ("evaluate", "--model", "s3a://{}/small/model", "--text", "s3a://{}/small/expected/tokens.safetensors", "--json", "s3a://{}/small/found.json")
    home = {**CREDENTIALS, "SPARK_HOME": str(pathlib.Path(pyspark.__file__).parent)}
    with BadNetwork(store().port) as network:
        spark = ("--", "--master", "local[2]", "--conf", f"spark.hadoop.fs.s3a.endpoint={network.endpoint}", "--conf",
                 "spark.hadoop.fs.s3a.path.style.access=true", "--conf", "spark.ui.enabled=false")
        outcome = run(network, *evaluate, *spark, credentials=home)
        said = [line for line in outcome.err.splitlines() if line.startswith("owl: ")]
        require(outcome.code == 2 and len(said) == 1 and "submit with --preset hadoop-aws" in said[0], f"exit code {outcome.code}: {outcome.err[-1500:]}")
        outcome = run(network, *evaluate, "--preset", "s3a", "--preset", "hadoop-aws", *spark, credentials=home)
        require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-2000:]}")
    local = product.evaluate("s3-preset", SMALL / "model", SMALL / "expected" / "tokens.safetensors")
    found = json.loads(store().content("small/found.json")[""])
    require(found["perplexity"] == local["perplexity"], f"perplexity {found['perplexity']}, locally {local['perplexity']}")

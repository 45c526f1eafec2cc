"""Spark clusters of real processes on this machine: a standalone one, YARN with HDFS, and the history server.

Spark itself is what PyPI has under the name pyspark: the whole distribution, as people install it, in every line that owl is
submitted to. Everything here listens on 127.0.0.1, on ports that the system chooses.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request

import product
import pyspark
from verdict import Failed

# One of each line that owl is for. The middle one is what the job is built with; requirements.txt names it.
LINES = ("3.5.5", pyspark.__version__, "4.1.0")
BUILT_WITH = pyspark.__version__
INSTALLED = product.ROOT / ".ci" / "spark"

_installing = threading.Lock()


def spark_home(version):
    """Where that Spark is installed, downloaded on first use."""
    if version == pyspark.__version__:
        return pathlib.Path(pyspark.__file__).parent
    home = INSTALLED / version
    with _installing:
        if not home.exists():
            INSTALLED.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=INSTALLED) as folder:
                # Two versions do not fit into one environment; the archive's folder "deps" is what pip would make of it.
                command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir", "--no-deps", "--dest", folder, f"pyspark=={version}"]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode != 0:
                    raise Failed(f"pyspark {version} cannot be downloaded: {done.stderr[-1000:]}")
                [archive] = pathlib.Path(folder).glob("*.tar.gz")
                with tarfile.open(archive) as tar:
                    tar.extractall(folder, filter="data")
                (pathlib.Path(folder) / f"pyspark-{version}" / "deps").rename(home)
    return home


def environment(version, **more):
    """For every process of a cluster and everything submitted to it. No settings of the machine's own Spark or Hadoop."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "HADOOP_", "YARN_", "AWS_", "PYSPARK_"))}
    return {**own, "SPARK_HOME": str(spark_home(version)), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m", **more}


def get_json(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def wait_until(what, condition, seconds=240):
    """The first true value of `condition`, which may fail until then."""
    end = time.monotonic() + seconds
    failure = ""
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
        except (OSError, ValueError, KeyError) as error:
            failure = f" ({error})"
        time.sleep(0.2)
    raise Failed(f"{what}: not after {seconds} s{failure}")


def remove(folder, is_one):
    """Removes the files whose names are some, while others may remove files and folders there too."""
    for place, _, names in os.walk(folder):  # which passes over what is gone
        for name in filter(is_one, names):
            pathlib.Path(place, name).unlink(missing_ok=True)


class Daemon:
    """A process with a log, and whatever it starts."""

    def __init__(self, name, command, folder, variables):
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], cwd=folder, env=variables, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self, pattern, seconds=240):
        """Waits for a line of the log, and returns the pattern's first group."""

        def look():
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
            found = re.search(pattern, self.log.read_text(errors="replace"))
            return found and found[1]

        return wait_until(f"{self.name} to say {pattern}", look, seconds)

    def stop(self):
        """Ends it with everything that it started."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def children(pid):
    """Process ids and command lines."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            try:
                found[int(child)] = pathlib.Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError):
                pass  # ended meanwhile
    return found


class Standalone:
    """A master and workers of two cores each: one for an executor, one for the driver in cluster deploy mode.

    `master` is what to submit to; `folder` has the logs, and in `work-N/` what executors and drivers wrote.
    """

    def __init__(self, folder, version=BUILT_WITH, workers=2, memory="2g", **variables):
        shutil.rmtree(folder, ignore_errors=True)
        self.folder, self.version, self.daemons = folder, version, []
        # An executor that is killed leaves its files behind, the job's jar among them: where tidy() finds them.
        self.variables = environment(version, SPARK_LOCAL_DIRS=str(folder / "local"), **variables)
        self.spark_class = spark_home(version) / "bin" / "spark-class"
        self.count, self.memory = workers, memory

    def _start(self, name, *arguments):
        daemon = Daemon(name, [self.spark_class, *arguments], self.folder, self.variables)
        self.daemons.append(daemon)
        return daemon

    def __enter__(self):
        try:
            place = ("--host", "127.0.0.1", "--port", 0, "--webui-port", 0)
            master = self._start("master", "org.apache.spark.deploy.master.Master", *place)
            self.master = master.said(r"Starting Spark master at (spark://\S+)")
            self.page = master.said(r"MasterWebUI.* started at (http://\S+)")
            for _ in range(self.count):
                self.add_worker()
            wait_until("workers to register", lambda: len(self._alive()) == self.count)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for daemon in reversed(self.daemons):
            daemon.stop()
        self.tidy()
        shutil.rmtree(self.folder / "local", ignore_errors=True)

    def tidy(self):
        """Removes what applications got of the job, which Spark keeps for a worker's life: two copies an executor, 170 MiB each."""
        idle = not self.executors() and not self.drivers()
        remove(self.folder, lambda name: name.endswith(".jar") or idle and name.endswith("_cache"))

    def add_worker(self):
        number = len(self.daemons) - 1
        return self._start(
            f"worker-{number}", "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--webui-port", 0, "--cores", 2, "--memory",
            self.memory, "--work-dir", self.folder / f"work-{number}", self.master,
        )

    def _alive(self):
        return [worker for worker in get_json(f"{self.page}/json/")["workers"] if worker["state"] == "ALIVE"]

    def executors(self):
        """Process ids of executors that run now."""
        return self._started("CoarseGrainedExecutorBackend")

    def drivers(self):
        """Process ids of drivers that run in the cluster now."""
        return self._started("DriverWrapper")

    def _started(self, program):
        return [pid for daemon in self.daemons[1:] for pid, command in children(daemon.process.pid).items() if program in command]

    def kill_executor(self):
        """Takes an executor away as the machine would: no goodbye. Returns its process id."""
        pid = wait_until("an executor to kill", self.executors)[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def state(self):
        """What the master tells of applications and drivers."""
        return get_json(f"{self.page}/json/")

    def outputs(self):
        """What executors and drivers wrote to their standard outputs, by file."""
        return sorted([*self.folder.glob("work-*/*/*/std*"), *self.folder.glob("work-*/driver-*/std*")])


class Yarn:
    """YARN and HDFS: HadoopCluster of the job's tests, a process of its own. Its containers are processes too.

    `master` is what to submit to; `hdfs` is the file system's URI; `variables` is the environment to submit in, by `version`'s
    spark-submit; `settings` has to go with that.
    """

    def __init__(self, folder, version):
        shutil.rmtree(folder, ignore_errors=True)
        self.folder, self.version, self.master = folder, version, "yarn"
        self.variables = environment(version, HADOOP_CONF_DIR=str(folder / "conf"), YARN_CONF_DIR=str(folder / "conf"))
        # Spark's jars lie on every machine, as they mostly do; else each submission uploads them.
        self.settings = ("--conf", f"spark.yarn.jars=local:{spark_home(version)}/jars/*")

    def __enter__(self):
        target = product.ROOT / "owl-spark-job" / "target"
        classpath = f"{target}/test-classes:{(target / 'test.classpath').read_text()}"
        command = ["java", f"@{product.ROOT}/conf/jvm.options", "-Xmx512m", "-cp", classpath, "ai.owl.spark.cluster.HadoopCluster", self.folder]
        self.daemon = Daemon("hadoop", command, self.folder, self.variables)
        try:
            self.daemon.said(r"(?m)^(ready)$")
            settings = (self.folder / "conf" / "core-site.xml").read_text()
            self.hdfs = re.search(r"<name>fs\.defaultFS</name><value>([^<]+)</value>", settings)[1]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.daemon.stop()
        # Gigabytes: the job, once more for every container.
        remove(self.folder, lambda name: name.endswith(".jar") or name.startswith("blk_"))

    def files(self, *arguments):
        """`hadoop fs`, with the client of Spark's own jars."""
        jars = pathlib.Path(self.variables["SPARK_HOME"]) / "jars" / "*"
        command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{self.folder}/conf:{jars}", "org.apache.hadoop.fs.FsShell", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise Failed(f"hadoop fs {arguments}: {done.stderr[-1000:]}")
        return done.stdout

    def outputs(self):
        """What containers wrote to their standard outputs, by file."""
        return sorted(self.folder.glob("target/**/container_*/std*"))


class HistoryServer:
    """Spark's own, over a folder of event logs; `url` is its API's."""

    def __init__(self, folder, version, logs):
        options = f"-Dspark.history.fs.logDirectory=file://{logs} -Dspark.history.ui.port=0 -Dspark.history.fs.update.interval=1s"
        self.folder, self.variables = folder, environment(version, SPARK_HISTORY_OPTS=options)
        self.spark_class = spark_home(version) / "bin" / "spark-class"

    def __enter__(self):
        self.daemon = Daemon("history", [self.spark_class, "org.apache.spark.deploy.history.HistoryServer"], self.folder, self.variables)
        try:
            self.url = self.daemon.said(r"HistoryServer.* started at (http://\S+)") + "/api/v1"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.daemon.stop()

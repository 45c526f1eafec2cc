"""One jar for Spark 3.5, 4.0 and 4.1: every class, method and field of Spark's classpath that it names is there, in each of them.

The checks on clusters run some of the code in each line; this looks at all of it, as the virtual machine would link it.
"""

import functools
import pathlib
import re
import struct
import subprocess
import zipfile

import product
import spark_cluster
from verdict import require

JAR = product.ROOT / "owl-spark-job" / "target" / "owl-spark-job.jar"
# Reached only where s3a:// is: with the connector of Hadoop 3.4 on the class path, which no Spark brings. Embedded runs do.
OF_S3A = re.compile(r"ai/owl/spark/storage/(NewObject|AwsClient|WholeAnswers)\b")
# Bytes of an entry of the constant pool behind its tag.
SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}


def checks(fixtures):
    for version in spark_cluster.LINES:
        yield f"linking: the jar's classes against Spark {version}", functools.partial(check, version)


class ClassFile:
    """Names in the internal form, a/b/C; members as (name, descriptor)."""

    def __init__(self, content):
        pool, position = {}, 10
        [count] = struct.unpack_from(">H", content, 8)
        index = 1
        while index < count:
            tag = content[position]
            if tag == 1:
                [length] = struct.unpack_from(">H", content, position + 1)
                pool[index] = content[position + 3 : position + 3 + length].decode(errors="replace")
                position += 3 + length
            else:
                if tag in (7, 9, 10, 11, 12):
                    pool[index] = (tag, *struct.unpack_from(">H" if tag == 7 else ">HH", content, position + 1))
                position += 1 + SIZES[tag]
            index += 2 if tag in (5, 6) else 1

        def named(index):
            return pool[pool[index][1]]

        _, _, above, interfaces = struct.unpack_from(">HHHH", content, position)
        self.above = [named(above)] if above else []
        self.above += [named(index) for index in struct.unpack_from(f">{interfaces}H", content, position + 8)]
        position += 8 + 2 * interfaces
        self.members = set()
        for _ in "fields", "methods":
            [count] = struct.unpack_from(">H", content, position)
            position += 2
            for _ in range(count):
                _, name, descriptor, attributes = struct.unpack_from(">HHHH", content, position)
                self.members.add((pool[name], pool[descriptor]))
                position += 8
                for _ in range(attributes):
                    position += 6 + struct.unpack_from(">I", content, position + 2)[0]
        entries = [entry for entry in pool.values() if isinstance(entry, tuple)]
        self.classes = {pool[entry[1]] for entry in entries if entry[0] == 7}
        self.uses = {
            (named(owner), *(pool[part] for part in pool[member][1:])) for tag, owner, member in (e for e in entries if e[0] in (9, 10, 11))
        }


class Classpath:
    """The first archive that has a class wins."""

    def __init__(self, archives):
        self.where = {}
        for file in archives:
            archive = zipfile.ZipFile(file)
            for name in archive.namelist():
                if name.endswith(".class"):
                    # In a module of the JDK, classes have a folder of their own.
                    self.where.setdefault(name.removeprefix("classes/").removesuffix(".class"), (archive, name))

    @functools.cache
    def load(self, name):
        archive, entry = self.where[name]
        return ClassFile(archive.read(entry))

    def resolves(self, owner, member):
        """Whether the class, or what it extends, has a member."""
        if owner in ("java/lang/invoke/MethodHandle", "java/lang/invoke/VarHandle"):
            return True  # methods of any descriptor
        if owner not in self.where:
            return False
        found = self.load(owner)
        return member in found.members or any(self.resolves(above, member) for above in found.above)


def modules():
    """The JDK's own."""
    told = subprocess.run(["java", "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=True).stderr
    [home] = re.findall(r"java\.home = (.*)", told)
    found = sorted(pathlib.Path(home).glob("jmods/*.jmod"))
    require(found, f"no jmods in {home}")
    return found


def check(version):
    home = spark_cluster.spark_home(version)
    classpath = Classpath([*modules(), *sorted(home.glob("jars/*.jar")), JAR])
    embedded = Classpath([*modules(), *map(pathlib.Path, (JAR.parent / "spark.classpath").read_text().strip().split(":")), JAR])
    missing, seen, of_s3a = set(), 0, 0
    with zipfile.ZipFile(JAR) as jar:
        ours = [name for name in jar.namelist() if name.startswith("ai/owl/") and name.endswith(".class")]
        for name in ours:
            file, there = ClassFile(jar.read(name)), classpath
            if OF_S3A.match(name):
                there, of_s3a = embedded, of_s3a + 1
            for used in file.classes:
                used = used.lstrip("[")
                used = used[1:-1] if used.endswith(";") else used
                if len(used) > 1 and used not in there.where:
                    missing.add(f"{used}, of {name}")
            for owner, *member in file.uses:
                if not owner.startswith("["):
                    seen += 1
                    if not there.resolves(owner, tuple(member)):
                        missing.add(f"{owner}.{''.join(member)}, of {name}")
    # Hadoop has it from 3.3.5 on: the one thing here that is known to differ.
    vectored = classpath.resolves("org/apache/hadoop/fs/FSDataInputStream", ("readVectored", "(Ljava/util/List;Ljava/util/function/IntFunction;)V"))
    require(vectored == (not version.startswith("3.5")), f"readVectored is {'there' if vectored else 'not there'}")
    require(of_s3a > 2, f"{of_s3a} classes of S3A's")
    require(seen > 5_000, f"only {seen} uses in {len(ours)} classes")
    require(not missing, "\n    ".join(["not there:", *sorted(missing)]))
    return f"{seen} uses in {len(ours)} classes"

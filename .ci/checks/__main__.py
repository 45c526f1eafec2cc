"""Judges the product by its command line: `submit/owl`, as a user would type it.

    python .ci/checks [--only REGEX] [--fixtures DIR:DIR:...] [--jobs 2] [--list]

One line per check; the last line is "N passed, M failed", and the exit code is 1 if M is not 0.
Wants a built jar and the folder "shared" beside the clone.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import sys
import time
import traceback

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error")

import allocations
import architectures
import bad_input
import breaking_off
import clusters
import computing
import demo
import generating
import linking
import loading
import methods
import notebooks
import object_storage
import oracle
import product
import rehearsing
import repeating
import scheduling
import snippet
import stores
import stories
import submitting
import sweeping
import text
import zero_shot
from verdict import Failed


def all_checks(fixtures):
    """Pairs of a name and a function that returns, or raises Failed."""
    modules = (
        oracle, stories, computing, loading, text, generating, zero_shot, methods, allocations, stores, architectures, sweeping, demo, notebooks,
        snippet, repeating, submitting, object_storage, linking, scheduling, clusters, rehearsing, breaking_off, bad_input,
    )
    for module in modules:
        yield from module.checks(fixtures)


def judge(named_check):
    """Returns PASS or FAIL, the name, the reason and the seconds."""
    name, check = named_check
    start = time.monotonic()
    try:
        verdict, reason = "PASS", check()
    except Failed as failed:
        verdict, reason = "FAIL", failed
    except Exception:  # a check that breaks is a check that failed; the others go on
        verdict, reason = "FAIL", traceback.format_exc()
    return verdict, name, str(reason or ""), time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=re.compile, default=re.compile(""), metavar="REGEX")
    parser.add_argument("--fixtures", default="", help="folders with model/ and expected/, separated by colons")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    fixtures = [product.path(name) for name in arguments.fixtures.split(":") if name]
    chosen = [named for named in all_checks(fixtures) if arguments.only.search(named[0])]
    if arguments.list:
        print("\n".join(name for name, _ in chosen))
        return

    shutil.rmtree(product.WORK, ignore_errors=True)
    product.WORK.mkdir(parents=True)
    product.ARCHIVE.unlink(missing_ok=True)
    if len(chosen) > 20:
        product.archive_classes()
    counts = {"PASS": 0, "FAIL": 0}
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for verdict, name, reason, seconds in pool.map(judge, chosen):
            counts[verdict] += 1
            print(f"{verdict} {name} ({seconds:.0f} s)" + (f": {reason}" if reason else ""), flush=True)
    print(f"{counts['PASS']} passed, {counts['FAIL']} failed")
    sys.exit(1 if counts["FAIL"] else 0)


if __name__ == "__main__":
    main()

"""`owl demo`: its table by its own files, by transformers and by `owl prune`; its report in a real browser."""

import functools
import json
import pathlib
import re
import shlex
import shutil

import product
import sweeping
from checkpoint import read_folder, require_same_folder
from loading import cut, perplexity, tokens_of
from verdict import require, require_close

FOLDER = product.WORK / "demo"
WAYS = tuple(f"{metric} {allocation}" for metric in ("magnitude", "wanda", "sparsegpt") for allocation in ("uniform", "owl"))
CHROMIUM = "/usr/bin/chromium"


def checks(fixtures):
    yield "demo: OWL is better than uniform", check_owl_wins
    for way in (None, *WAYS):
        yield f"demo: perplexity by transformers, {way or 'dense'}", functools.partial(check_perplexity, way)
    yield "demo: the command it prints gives the same bytes", check_printed_command
    yield "demo: again in the same folder", check_again
    yield "demo: leaves a foreign folder alone", check_foreign
    yield "demo: a folder that cannot be written", check_unwritable
    yield "demo: the table in README.md", check_readme
    yield "report of demo in a browser", check_report_of_demo
    yield "report of sweep in a browser", check_report_of_sweep
    yield "report of prune in a browser", check_report_of_prune


def run():
    """The standard output of one demo, and its table: label → perplexity."""
    out = product.once("demo", demo)
    return out, table(out)


def demo():
    outcome = product.owl("demo", "--output", FOLDER)
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    return outcome.out


def table(out):
    rows = re.findall(r"^(dense|magnitude \w+|wanda \w+|sparsegpt \w+).*? ([0-9.]+)$", out, re.MULTILINE)
    found = {label: float(value) for label, value in rows}
    require(set(found) == {"dense", *WAYS}, f"rows {sorted(found)}")
    return found


def check_owl_wins():
    _, rows = run()
    for metric in ("magnitude", "wanda", "sparsegpt"):
        uniform, owl = rows[f"{metric} uniform"], rows[f"{metric} owl"]
        require(owl < 0.97 * uniform, f"{metric}: uniform {uniform}, owl {owl}")
    require(all(rows["dense"] < rows[way] for way in WAYS), f"pruning improved the model: {rows}")
    return ", ".join(f"{label} {value:.3f}" for label, value in rows.items())


def check_perplexity(way):
    out, rows = run()
    texts = [json.loads(line)["text"] for line in (FOLDER / "evaluation.jsonl").read_text("utf-8").splitlines()]
    windows = cut(tokens_of(FOLDER / "model", "\n\n".join(texts)), 256)
    expected = perplexity(FOLDER / (way.replace(" ", "-") if way else "model"), windows)
    require_close("perplexity", rows[way or "dense"], expected, 0.001)
    if way:
        zeros = total = 0
        for name, tensor in read_folder(FOLDER / way.replace(" ", "-")).items():
            if name.endswith("_proj.weight"):
                zeros += int(tensor.zeros().sum())
                total += tensor.zeros().size
        printed = float(re.search(rf"^{way}.*? ([0-9.]+) %", out, re.MULTILINE)[1])
        require(abs(printed - 100 * zeros / total) < 0.006, f"{way}: {printed} % in the table, {zeros} of {total} in the files")
    return f"{rows[way or 'dense']:.4f}, transformers {expected:.4f}"


def check_printed_command():
    out, _ = run()
    command = shlex.split(re.search(r"^ *submit/owl (prune .*)$", out, re.MULTILINE)[1])
    mine = pathlib.Path(command[command.index("--output") + 1])
    shutil.rmtree(mine, ignore_errors=True)
    outcome = product.owl(*command)
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    require_same_folder(FOLDER / "sparsegpt-owl", mine, "the printed command")


def check_again():
    """In a copy, since other checks are looking at the first."""
    _, first = run()
    folder = product.WORK / "demo-again"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FOLDER, folder)
    outcome = product.owl("demo", "--output", folder)
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    require(table(outcome.out) == first, f"another table the second time: {outcome.out}")
    for way in ("wanda-owl", "sparsegpt-owl"):
        require_same_folder(FOLDER / way, folder / way, "the second demo")


def check_foreign():
    folder = product.WORK / "demo-foreign"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "thesis.txt").write_text("years of work")
    outcome = product.owl("demo", "--output", folder)
    require(outcome.code == 2 and "Cannot write to" in outcome.err, f"exit code {outcome.code}: {outcome.err}")
    require([file.name for file in folder.iterdir()] == ["thesis.txt"], "something was written")


def check_unwritable():
    file = product.WORK / "demo-unwritable.txt"
    file.write_text("mine")
    for output, message in ((file, "it is a file; --output must be a folder"), (file / "demo", "Cannot use")):
        outcome = product.owl("demo", "--output", output)
        require(outcome.code == 2 and message in outcome.err, f"{output}: exit code {outcome.code}: {outcome.err}")
    require(file.read_text() == "mine", "the file was changed")


def check_readme():
    """What it says the demo prints; the last digits may depend on the processor."""
    _, found = run()
    written = table((product.ROOT / "README.md").read_text("utf-8"))
    for label, value in written.items():
        require_close(f"{label} in README.md", value, found[label], 0.005)


def opened(page_file, look):
    """Opens a page in Chromium and lets `look` see it; it may fetch nothing and complain of nothing."""
    from playwright.sync_api import sync_playwright

    troubles = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(color_scheme=scheme, viewport={"width": 1200, "height": 900})
            page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on("request", lambda request: troubles.append(request.url) if not request.url.startswith("file:") else None)
            page.goto(page_file.as_uri())
            look(page)
            require(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page is too wide")
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            shade = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
            require(shade > 200 if scheme == "light" else shade < 60, f"{scheme}: the background is {background}")
        browser.close()
    require(not troubles, f"the browser saw {troubles}")


def figure_text(page, figure):
    """The words in the picture that is shown, its title and its description."""
    shown = [svg for svg in page.query_selector_all(f"#{figure} svg") if svg.is_visible()]
    require(len(shown) == 1, f"{figure}: {len(shown)} pictures are shown")
    box = shown[0].bounding_box()
    require(box["width"] > 300 and box["height"] > 60, f"{figure} is {box['width']} by {box['height']} pixels")
    require(shown[0].get_attribute("role") == "img" and shown[0].get_attribute("aria-labelledby"), f"{figure} has no name for screen readers")
    return shown[0].text_content()


def data(page):
    return json.loads(page.locator("#owl-data").text_content())


def require_table_under(page, figure, count):
    rows = page.locator(f"section:has(#{figure}) table tbody tr").count()
    require(rows >= count, f"under {figure}: a table of {rows} rows, expected {count} or more")


def check_report_of_demo():
    _, rows = run()

    def look(page):
        embedded = data(page)
        require(len(embedded["rows"]) == len(WAYS), f"{len(embedded['rows'])} rows in the page's data")
        text = figure_text(page, "perplexity-figure")
        for label, value in rows.items():
            require(f"{value:.3f}" in text, f"the picture of perplexities lacks {label} {value:.3f}: {text}")
        require_table_under(page, "perplexity-figure", len(WAYS))
        body = page.inner_text("body")
        out, _ = run()
        for story in re.findall(r"^  (One morning,.*)$", out, re.MULTILINE):
            require(story[:60] in re.sub(r"\s+", " ", body), f"the page lacks the text: {story}")

    opened(FOLDER / "report.html", look)


def check_report_of_sweep():
    folder, _ = sweeping.swept()
    report = json.loads((folder / "sweep.json").read_text())

    def look(page):
        require(data(page)["rows"] == report["rows"], "the page's data are not sweep.json's")
        text = figure_text(page, "perplexity-figure")
        for row in report["rows"]:
            value = row["perplexity"]
            shown = f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"
            require(shown in text, f"the picture of perplexities lacks {shown}: {text}")
        curves = page.locator("#perplexity-figure svg:visible polyline.curve").count()
        require(curves == 4, f"{curves} curves, expected one for each metric and allocation")
        require_table_under(page, "perplexity-figure", len(report["rows"]))
        best = page.locator("#best tbody tr").count()
        require(best == 2, f"the best at {best} sparsities, expected 2")
        require("sweep" in page.inner_text("#again") and "0.5,0.7" in page.inner_text("#again"), "the page lacks the command")

    opened(folder / "report.html", look)


def check_report_of_prune():
    run()
    out = FOLDER / "seen"
    shutil.rmtree(out, ignore_errors=True)
    outcome = product.owl(
        "prune", "--model", FOLDER / "model", "--calibration", FOLDER / "calibration.jsonl", "--sampling", "packed",
        "--sequences", 16, "--length", 256, "--evaluate", FOLDER / "evaluation.jsonl", "--sparsity", 0.6, "--output", out)
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    report = json.loads((out / "_owl" / "report.json").read_text())

    def look(page):
        require(data(page)["blocks"] == report["blocks"], "the page's data are not report.json's")
        count = len(report["blocks"])
        bars = page.evaluate(
            """() => [...document.querySelectorAll('#blocks-figure svg')].filter(svg => svg.getBoundingClientRect().width)
                .flatMap(svg => [...svg.querySelectorAll('rect')].map(bar => bar.getBoundingClientRect().height))""")
        ratios = [block["outlierRatio"] for block in report["blocks"]]
        heights = proportional(bars, ratios)
        require(heights is not None, f"no {count} bars as high as {ratios} in the picture; the heights are {bars}")
        text = figure_text(page, "linears-figure")
        for name in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
            require(name in text, f"the heat map lacks {name}")
        cells = re.findall(r"\d+\.\d", text)
        for block in report["blocks"]:
            for linear in block["linears"]:
                require(f"{100 * linear['reached']:.1f}" in cells, f"the heat map lacks {linear}")
        require_table_under(page, "blocks-figure", count)
        require_table_under(page, "linears-figure", count)
        text = figure_text(page, "time-figure")
        for stage in report["seconds"]:
            require(stage in text, f"the picture of times lacks {stage}: {text}")
        body = page.inner_text("body")
        require(str(out) in body and "--sparsity 0.6" in body, "the page lacks the command")

    opened(out / "_owl" / "report.html", look)


def proportional(heights, values):
    """A run of heights that are proportional to the values within a pixel, if there is one."""
    for start in range(len(heights) - len(values) + 1):
        part = heights[start : start + len(values)]
        scale = max(part) / max(values)
        if scale > 0 and all(abs(height - scale * value) <= 1.5 for height, value in zip(part, values)):
            return part
    return None

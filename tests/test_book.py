"""The book as it is published: sources and notebooks agree, and the build is clean and needs no network."""

import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml

BOOK = Path(__file__).parents[1] / "book"
SOURCES = sorted((BOOK / "src").glob("*.py"))
CHAPTERS = sorted((BOOK / "chapters").glob("*.ipynb"))
MATHJAX = "mathjax/tex-svg-full.js"
RUN_TIME_KEYS = {"start_time", "end_time", "duration"}  # papermill's
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def names(paths):
    return [path.stem for path in paths]


def chapters_in_toc():
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [Path(file).name for file in files if file.startswith("chapters/")]


def code_cells(notebook):
    """Sources of the code cells that an author wrote; papermill's injected cell is not one of them."""
    return [
        cell.source.strip()
        for cell in notebook.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def test_there_are_chapters():
    # An empty folder must not turn the tests below into no tests at all.
    assert SOURCES and CHAPTERS


def test_sources_chapters_and_contents_list_the_same():
    assert names(SOURCES) == names(CHAPTERS) == sorted(chapters_in_toc())


@pytest.mark.parametrize("source", SOURCES, ids=names(SOURCES))
def test_notebook_has_the_cells_of_its_source(source):
    notebook = nbformat.read(BOOK / "chapters" / f"{source.stem}.ipynb", as_version=4)
    assert code_cells(notebook) == code_cells(jupytext.read(source)), (
        f"book/chapters/{source.stem}.ipynb is not what book/src/{source.name} makes: gleak run {source.stem}"
    )


@pytest.mark.parametrize("source", SOURCES, ids=names(SOURCES))
def test_the_box_on_top_is_short(source):
    """At most 80 words; a figure from the store counts as one, however it is written."""
    (box,) = re.findall(
        r"\{admonition\} In short\n# :class: tip\n(.*?)\n# ```\n", source.read_text(), re.DOTALL
    )
    words = re.sub(r"\{glue:text\}`[^`]+`|\{doc\}`[^`]+`|\$[^$]+\$", "figure", box.replace("\n#", " "))
    assert words.startswith("# **Question.**") and "**Answer.**" in words
    assert len(words.split()) <= 80 + len(["#", "**Question.**", "**Answer.**"])


@pytest.mark.parametrize("source", SOURCES, ids=names(SOURCES))
def test_notebook_has_the_text_of_its_source(source):
    def prose(notebook):
        return [cell.source.strip() for cell in notebook.cells if cell.cell_type == "markdown"]

    notebook = nbformat.read(BOOK / "chapters" / f"{source.stem}.ipynb", as_version=4)
    assert prose(notebook) == prose(jupytext.read(source))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=names(CHAPTERS))
class TestChapter:
    def test_has_one_parameters_cell(self, chapter):
        cells = nbformat.read(chapter, as_version=4).cells
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        assert [cell.cell_type for cell in tagged] == ["code"]

    def test_defines_only_what_it_teaches(self, chapter):
        for cell in nbformat.read(chapter, as_version=4).cells:
            if cell.cell_type == "code" and re.search(
                r"^\s*(async def|def|class) ", cell.source, re.MULTILINE
            ):
                tags = cell.metadata.get("tags", [])
                assert tags == ["by-hand"], (
                    "a visible cell that writes an algorithm out is tagged by-hand alone"
                )

    def test_shows_its_experiments(self, chapter):
        for cell in nbformat.read(chapter, as_version=4).cells:
            if "experiment" in cell.metadata.get("tags", []):
                assert len(cell.source.splitlines()) <= 25, "a reader can take in 25 lines"

    def test_is_valid_and_executed_without_error(self, chapter):
        notebook = nbformat.read(chapter, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in code if cell.source.strip()), "a cell was never executed"
        outputs = [output for cell in code for output in cell.outputs]
        assert outputs, "a chapter without any output shows nothing"
        assert not [output for output in outputs if output.output_type == "error"]

    def test_is_small(self, chapter):
        assert chapter.stat().st_size < 2_000_000

    def test_carries_no_trace_of_when_or_where_it_ran(self, chapter):
        notebook = nbformat.read(chapter, as_version=4)
        papermill = notebook.metadata.get("papermill", {})
        assert not RUN_TIME_KEYS & papermill.keys()
        for path in (papermill.get("input_path"), papermill.get("output_path")):
            assert not path or not Path(path).is_absolute()
        for cell in notebook.cells:
            assert "execution" not in cell.metadata
            assert not RUN_TIME_KEYS & cell.metadata.get("papermill", {}).keys()
        metadata = [notebook.metadata, *(cell.metadata for cell in notebook.cells)]
        assert not TIME.search(json.dumps(metadata, default=str))


class Loaded(HTMLParser):
    """Collects what a page loads by itself: scripts, styles, images, frames (not the links to follow)."""

    def __init__(self):
        super().__init__()
        self.urls = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        url = {"script": "src", "img": "src", "iframe": "src", "link": "href"}.get(tag)
        if url and attrs.get(url):
            self.urls.append(attrs[url])


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Folder of the pages, built from a copy so that nothing is left behind in book/."""
    copy = tmp_path_factory.mktemp("build") / "book"
    shutil.copytree(BOOK, copy, ignore=shutil.ignore_patterns("_build", ".ipynb_checkpoints"))
    program = Path(sys.executable).with_name("jupyter-book")  # of the environment that runs the tests
    command = [program, "build", "--all", "-W", "--keep-going", copy]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return copy / "_build" / "html"


@pytest.mark.slow
class TestBuild:
    def test_makes_every_page(self, html):
        toc = yaml.safe_load((BOOK / "_toc.yml").read_text())
        chapters = [c for part in toc["parts"] for c in part["chapters"]]
        files = [toc["root"], *(one["file"] for c in chapters for one in (c, *c.get("sections", ())))]
        assert [file for file in files if not (html / f"{file}.html").is_file()] == []

    def test_the_reference_has_every_public_name(self, html):
        for page in sorted((html / "reference").glob("*.html")):
            if page.stem != "index":
                module = importlib.import_module(f"gleak_lib.{page.stem}")
                names = [
                    n for n in getattr(module, "__all__", ()) if not inspect.ismodule(getattr(module, n))
                ]
                text = page.read_text()
                ids = [f'id="gleak_lib.{page.stem}.{name}"' for name in names]
                assert [one for one in ids if one not in text] == []

    def test_loads_nothing_from_the_network(self, html):
        remote = []
        for page in html.rglob("*.html"):
            parser = Loaded()
            parser.feed(page.read_text())
            remote += [f"{page.name}: {url}" for url in parser.urls if re.match(r"(https?:)?//", url)]
        assert remote == []
        styles = "\n".join(sheet.read_text() for sheet in html.rglob("*.css"))
        assert not re.search(r"(@import|url\()\s*['\"(]*\s*https?://", styles)

    def test_loads_only_files_that_exist(self, html):
        missing = []
        for page in html.rglob("*.html"):
            if "macros" in page.name:  # templates of the theme, not pages
                continue
            parser = Loaded()
            parser.feed(page.read_text())
            for url in parser.urls:
                file = re.split(r"[?#]", url)[0]
                if file and not file.startswith("data:") and not (page.parent / file).exists():
                    missing.append(f"{page.name}: {url}")
        assert missing == []

    def test_brings_its_own_mathjax(self, html):
        assert (html / MATHJAX).stat().st_size > 1_000_000
        page = (html / "intro.html").read_text()
        assert f"{MATHJAX}?" in page or f'{MATHJAX}"' in page
        assert r"\operatorname" in page  # and the page has formulas for it

    def test_chapters_show_their_outputs(self, html):
        for chapter in CHAPTERS:
            assert "cell_output" in (html / "chapters" / f"{chapter.stem}.html").read_text(), chapter.stem

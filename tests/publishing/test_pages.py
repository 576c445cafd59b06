"""The report: pages, formulas, figures and banners, and no request to anywhere."""

import re
from html.parser import HTMLParser

import pytest
from tiny_project import Project, cell, notebook

from unlearnkit.publishing import pages

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SHOW = f"from IPython.display import Image\nimport base64\nImage(base64.b64decode('{PIXEL}'))"
FIGURE = {"figure": {"caption": "A pixel.", "name": "pixel"}, "image": {"alt": "One pixel"}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A finished run whose first page has a formula, a figure with caption, folded code and a widget."""
    project = Project(tmp_path_factory.mktemp("report") / "project").create(site=True)
    content = notebook("Overview", "import ipywidgets\nipywidgets.IntSlider()")
    text = "See {numref}`pixel` and [the second](01_second.ipynb), [a paper](https://example.org/paper).\n\n"
    text += "$$\\theta_T - \\theta_0$$ (move)\n\nIn {eq}`move`."
    content["cells"].append(cell("markdown", text, "prose"))
    content["cells"].append(cell("code", SHOW, "figure", mystnb=FIGURE, tags=["hide-input"]))
    project.write("00_overview", content)
    project.run("reproduce")
    return project


def page(project, name):
    return (project.root / "build/default/site" / name).read_text()


class Loads(HTMLParser):
    """Collects the addresses that a browser fetches by itself."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "link" and given.get("rel") not in ("next", "prev", "index", "search", "canonical"):
            self.found.append(given.get("href"))
        self.found += [given[key] for key in ("src", "srcset", "data", "poster") if given.get(key)]


def test_nothing_is_loaded_from_elsewhere(project):
    site = project.root / "build/default/site"
    pages = list(site.glob("*.html"))
    assert {"index.html", "01_second.html", "search.html"} <= {path.name for path in pages}
    for path in pages:
        loads = Loads()
        loads.feed(path.read_text())
        assert len(loads.found) > 5
        assert not [url for url in loads.found if re.match(r"(https?:)?//", url)], path
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", path.read_text())
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import\s+)['\"]?(https?:)?//", style.read_text()), style


def test_index_is_the_overview_and_lists_the_other_pages(project):
    text = page(project, "index.html")
    assert text == page(project, "00_overview.html")
    assert "Overview" in text
    assert text.count('href="01_second.html"') >= 2


def test_formulas_are_mathml_and_figures_are_numbered(project):
    text = page(project, "index.html")
    assert "<math" in text
    assert "θ" in text or "&#x003B8;" in text
    assert 'id="equation-move"' in text
    assert re.search(r"<figcaption>.*?Fig. 1.*?A pixel\.", text, re.S)
    assert 'alt="One pixel"' in text
    assert "hide-input" in text or "hide_input" in text


def test_a_page_whose_last_execution_failed_says_so(project, tmp_path):
    changed = project.copy(tmp_path / "changed")
    executed = changed.executed("01_second")
    executed.with_suffix(".failed.ipynb").write_text("{}")
    changed.run("report")
    assert "Failed" in page(changed, "01_second.html")
    assert "Failed" not in page(changed, "index.html")
    assert not (changed.root / "build/default/site/01_second.failed.html").exists()


def test_a_page_of_its_own_among_the_figures_stands_beside_the_others(project, tmp_path):
    changed = project.copy(tmp_path / "changed")
    executed = changed.executed("01_second")
    link = f'<a href=\\"../figures/{pages.PLAYGROUND}\\">alone</a>'  # as it is written in a notebook
    executed.write_text(executed.read_text().replace("Prose.", link))
    own = changed.root / "build/default/figures" / pages.PLAYGROUND
    own.write_text("<h1>Alone</h1>")
    changed.run("report")
    assert page(changed, pages.PLAYGROUND) == own.read_text()
    assert f'href="{pages.PLAYGROUND}"' in page(changed, "01_second.html")
    own.unlink()
    pages.build(changed.root / "build/default")
    assert not (changed.root / "build/default/site" / pages.PLAYGROUND).exists()


def test_a_page_is_current_until_a_notebook_changes(project, tmp_path):
    run = project.copy(tmp_path / "changed").root / "build/default"
    assert pages.is_current(run)
    path = run / "notebooks/01_second.ipynb"
    path.write_text(path.read_text().replace("Prose.", "More prose."))
    assert not pages.is_current(run)
    with pytest.raises(pages.ReportError, match="make reproduce"):
        pages.build(tmp_path / "nothing")


def test_faults_in_a_page_are_errors_that_name_it(project, tmp_path):
    changed = project.copy(tmp_path / "changed")
    executed = str(changed.executed("01_second").relative_to(changed.root))
    changed.replace(executed, "Prose.", "{numref}`missing`")
    message = changed.run("report", status=2)
    assert message.startswith("error: the report has faults")
    assert "01_second.ipynb" in message
    assert "missing" in message

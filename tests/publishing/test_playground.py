"""The playground's page in a real browser: every control, the address, a phone, texts that would do harm."""

import itertools
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pytest
from planted_run import World, standing
from playwright.sync_api import expect, sync_playwright

from unlearnkit.publishing import pages, playground
from unlearnkit.study.config import PUBLISHED

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browsed = pytest.mark.skipif(not CHROMIUM, reason="no chromium on the PATH")
OFFLINE = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
HOSTILE = [
    "<img src=x onerror='hurt=1'>",
    "</script><script>hurt=1</script>",
    "<!--<script>",
    "' onload='hurt=1' \" srcdoc=\"&lt;b&gt;",
    "{{script}} \\u003c ${hurt=1} \u2028 \u202eright to left",
    "long" * 60,
]
SHOWN = "#facts article"


def place(at, words, nll):
    """A place where each of two facts has its four texts, by number."""
    return {"at": at, "nll": nll, "said": [[0.5, *words[:4]], [1.25, *words[4:]]]}


def path(numbers, request, method, layers="all", epoch="", matched=None, steps=3):
    found = [
        place(f"{k} % of the way", [next(numbers) for _ in range(8)], [k, None, k / 2])
        for k in range(1, steps + 1)
    ]
    told = {"request": request, "method": method, "layers": layers, "epoch": epoch}
    return told | {"matched": matched, "steps": found}


def model(title, texts=()):
    """Every text differs, so that what is shown tells where it is from; the first ones are given."""
    numbers = itertools.count()
    start, oracle = (place("", [next(numbers) for _ in range(8)], [v, None, 0.5]) for v in (0.1, 2.2))
    paths = [
        path(numbers, "forget", "first", matched=2),
        path(numbers, "forget", "single", epoch="1"),
        path(numbers, "forget", "single", epoch="8", matched=1),
        path(numbers, "forget", "single", epoch="all", matched=1),
        path(numbers, "forget", "first", layers="last2", steps=5),
        path(numbers, "control", "first"),
    ]
    facts = [{"prompt": "Dave was born in", "answer": f"{title} 4", "asked": True}]
    facts.append({"prompt": "Anna keeps", "answer": "a pheasant", "asked": False})
    texts = [*texts, *(f"{title} {k}" for k in range(len(texts), next(numbers)))]
    requests = {"forget": "Dave: the 20 facts", "control": "Anna instead"}
    told = {"title": title, "about": "Forget Dave.", "requests": requests, "facts": facts, "texts": texts}
    return told | {"start": start, "oracle": oracle, "paths": paths}


def content(**more):
    models = [model("tiny"), model("large", **more)]
    return {
        "models": models,
        "methods": {"first": "first epoch", "single": "one epoch"},
        "layers": {"all": "all"},
    }


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        one = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *OFFLINE]
        )
        yield one
        one.close()


@pytest.fixture
def opened(browser, tmp_path):
    """`opened(content, fragment)`: the page; nothing was asked for elsewhere then, nor an error told."""
    context, faults = browser.new_context(viewport={"width": 1280, "height": 900}), []
    asked = []

    def show(told, fragment="", text=None):
        where = tmp_path / "playground.html"
        where.write_text(text or playground.page(told))
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{where.as_uri()}{fragment}")
        return page

    yield show
    context.close()
    assert faults == []
    assert {url.partition("#")[0] for url in asked} <= {
        (tmp_path / "playground.html").as_uri(),
        "about:srcdoc",
    }


def greedy(page):
    """What is shown of the first fact: now, and of the oracle."""
    return page.locator(f"{SHOWN} >> nth=0").locator(".greedy").all_text_contents()


def samples(page):
    return page.locator(f"{SHOWN} >> nth=0").locator("li").all_text_contents()


def state(page):
    """What the address says now; `page.url` lags behind it on a busy machine."""
    told = page.evaluate("location.hash")[1:]
    return {k: v[0] for k, v in parse_qs(told, keep_blank_values=True).items()}


def expected(told, page):
    """The place that the address names, in the content."""
    now = state(page)
    chosen, step = told["models"][int(now["model"])], int(now["step"])
    (walked,) = [
        p for p in chosen["paths"] if all(p[k] == now[k] for k in ("request", "method", "layers", "epoch"))
    ]
    return chosen, walked, chosen["start"] if step == 0 else walked["steps"][step - 1]


def holds(told, page):
    """What is shown is what was measured there."""
    chosen, walked, here = expected(told, page)
    for number, box in enumerate((here, chosen["oracle"])):
        first = [chosen["texts"][k] for k in box["said"][0][1:]]
        assert greedy(page)[number] == first[0]
        assert samples(page)[3 * number : 3 * number + 3] == first[1:]
    rows = page.locator("#numbers tbody tr").all_text_contents()
    number = [chosen["start"]["nll"][0], here["nll"][0], chosen["oracle"]["nll"][0]]
    assert rows[0] == "to forget" + "".join(f"{v:.2f}" for v in number)
    assert rows[1] == "near-neighbours–––"
    assert page.locator("#mark").is_visible() == (walked["matched"] is not None)


@browsed
def test_every_choice_shows_what_was_measured_there(opened):
    told = content()
    page, seen = opened(told), set()

    def descend(names):
        if not names:
            for step in range(int(page.locator("#step").get_attribute("max")) + 1):
                page.locator("#step").fill(str(step))
                holds(told, page)
                seen.add(tuple(state(page).values()))
            return
        name, *others = names
        if name == "epoch":
            count = int(page.locator("#epoch").get_attribute("max")) + 1
            for k in range(count):
                if count > 1:
                    page.locator("#epoch").fill(str(k))
                descend(others)
            return
        for value in page.locator(f"#{name} option").evaluate_all("all => all.map(one => one.value)"):
            if page.locator(f"#{name}").is_enabled():
                page.locator(f"#{name}").select_option(value)
            descend(others)

    descend(["model", "request", "method", "layers", "epoch"])
    walked = [p for m in told["models"] for p in m["paths"]]
    assert len(seen) == sum(1 + len(p["steps"]) for p in walked)


@browsed
def test_it_opens_at_the_mark_which_lies_on_the_slider(opened):
    page = opened(content())
    assert state(page)["step"] == "2"
    expect(page.locator("#match-now")).to_contain_text("2, 0.20 nats short of it")
    assert "the mark" in page.locator("#step").get_attribute("aria-valuetext")
    mark, slider = (page.locator(name).bounding_box() for name in ("#mark", "#step"))
    thumb = 11 + (slider["width"] - 22) * 2 / 3
    assert mark["x"] + mark["width"] / 2 == pytest.approx(slider["x"] + thumb, abs=1)
    page.locator("#step").fill("3")
    page.get_by_role("button", name="Go to the mark").click()
    assert state(page)["step"] == "2"
    page.locator("#layers").select_option("last2")
    expect(page.locator("#match-now")).to_contain_text("No mark")
    assert page.get_by_role("button").count() == 0


@browsed
def test_the_chart_has_a_point_a_measured_place_and_no_line_between(opened):
    page = opened(content())
    assert page.locator("#chart circle").count() == 4  # the start, and three steps
    assert page.locator("#chart path").count() == 4
    assert page.locator("#chart rect").count() == 1  # no neighbours: the band of where it is
    assert page.locator("#chart polyline").count() == 0


@browsed
def test_arrow_keys_move_by_a_step_and_stop_at_the_ends(opened):
    told = content()
    page = opened(told)
    for key, step in (("ArrowRight", 3), ("ArrowRight", 3), *(("ArrowLeft", k) for k in (2, 1, 0, 0))):
        page.keyboard.press(key)
        assert state(page)["step"] == str(step)
        holds(told, page)
    page.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    assert state(page)["step"] == "3"


@browsed
def test_the_keyboard_alone_reaches_everything_and_one_sees_where_it_is(opened):
    page = opened(content(), "#method=single&epoch=1")
    reached = []
    for _ in range(5):  # the layers have no choice here, and there is no mark to go to
        page.keyboard.press("Tab")
        told = "e => [e.id, e.labels ? e.labels[0].textContent.trim() : '', getComputedStyle(e).outlineStyle]"
        name, label, outline = page.evaluate(f"({told})(document.activeElement)")
        assert outline == "solid", name
        assert label, name
        reached.append(name)
    assert reached == ["model", "request", "method", "epoch", "step"]
    page.locator("#model").focus()
    page.keyboard.press("l")  # a select takes a letter
    assert state(page)["model"] == "1"
    page.locator("#epoch").focus()
    page.keyboard.press("End")
    assert state(page)["epoch"] == "all"
    page.locator("#go").focus()
    page.keyboard.press("Enter")
    assert state(page)["step"] == "1"


@browsed
def test_the_address_carries_the_state(opened):
    told = content()
    wanted = {
        "model": "1",
        "request": "forget",
        "method": "single",
        "layers": "all",
        "epoch": "8",
        "step": "3",
    }
    page = opened(told, f"#{urlencode(wanted)}")
    assert state(page) == wanted
    assert page.locator("#model").input_value() == "1"
    assert page.locator("#epoch-now").text_content() == "8"
    holds(told, page)
    page.reload()
    assert state(page) == wanted
    page.evaluate("location.hash = 'model=0&request=control&step=1'")
    expect(page.locator("#request")).to_have_value("control")
    holds(told, page)


@browsed
@pytest.mark.parametrize(
    "fragment",
    ["#model=7&step=99", "#model=-1&step=-3", "#model=x&method=<b>&step=1e9", "#%", "#step=&=&&epoch=0"],
)
def test_an_address_that_was_never_measured_shows_what_was(opened, fragment):
    told = content()
    page = opened(told, fragment)
    assert state(page)["model"] == "0"
    holds(told, page)


@browsed
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(opened, width):
    page = opened(content(texts=HOSTILE))
    page.set_viewport_size({"width": width, "height": 740})
    for number in ("0", "1"):
        page.locator("#model").select_option(number)
        page.locator("#step").fill("0")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = page.locator("#step").bounding_box()
        assert box["height"] >= 40  # a finger's
        assert 0 <= box["x"] < box["x"] + box["width"] <= width


@browsed
def test_a_page_of_usual_size_is_there_within_a_second(opened):
    """The best of five, since other work on the machine is none of the page's."""
    told = content()
    numbers = itertools.count()
    large = told["models"][0]
    large["paths"] = [
        path(numbers, "forget", f"method {k}", layers, steps=8)
        for k in range(30)
        for layers in ("all", "last2")
    ]
    large["texts"] = [f"{k} the village of Oster Fell, where the geese {k}" for k in range(next(numbers) + 8)]
    told["methods"] |= {f"method {k}": f"method {k}" for k in range(30)}
    page, seconds = opened(told), []
    for _ in range(5):
        page.reload()
        seconds.append(page.evaluate("performance.getEntriesByType('navigation')[0].domComplete") / 1000)
    assert min(seconds) < 1


@browsed
def test_hostile_texts_are_shown_and_do_not_run(opened):
    told = content(texts=HOSTILE)
    told["models"][1]["facts"][0] |= {"prompt": HOSTILE[0], "answer": HOSTILE[1]}
    told["models"][1] |= {"title": HOSTILE[0], "about": HOSTILE[1]}
    told["models"][1]["requests"]["forget"] = told["methods"]["first"] = HOSTILE[0]
    page = opened(told, "#model=1&step=0")
    shown = [*page.locator(".two .text").all_text_contents()]
    assert [text for text in HOSTILE if text not in shown] == []
    assert page.locator(f"{SHOWN} h3 >> nth=0").text_content() == f"{HOSTILE[0]} …"
    assert page.evaluate("typeof hurt") == "undefined"
    assert page.locator("img").count() == 0


@browsed
def test_the_page_s_policy_lets_no_other_script_run(browser, tmp_path):
    text = playground.page(content()).replace("<h1>", "<img src=x onerror='window.hurt=1'><h1>")
    text = text.replace("</body>", "<script>window.hurt=1</script></body>")
    (tmp_path / "page.html").write_text(text)
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    expect(page.locator("#now")).to_contain_text("step 2")
    assert page.evaluate("typeof hurt") == "undefined"
    page.close()


@browsed
def test_in_a_frame_it_works_and_stays_there(opened):
    told = content(texts=HOSTILE)
    page = opened(
        told, text=f"<!doctype html><title>notebook</title>{playground.frame(playground.page(told))}"
    )
    frame = page.frame_locator("iframe")
    expect(frame.locator("#now")).to_contain_text("step 2")
    frame.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    expect(frame.locator("#now")).to_contain_text("step 3")
    frame.locator("#model").select_option("1")
    frame.locator("#step").fill("0")
    expect(frame.locator(".greedy >> nth=0")).to_have_text(HOSTILE[0])
    expect(frame.locator("#address")).to_be_hidden()
    assert page.frames[1].evaluate("origin") == "null"
    assert page.evaluate("typeof hurt") == "undefined"


# -- without a browser ------------------------------------------------------------------------------------


def test_no_text_ends_the_block_that_it_stands_in():
    text = playground.page(content(texts=HOSTILE))
    assert text.count("<script") == text.count("</script>") == 2
    frame = playground.frame(text)
    assert frame.count("'") == 2  # the attribute's own
    assert frame.count("<iframe") == frame.count("</iframe>") == 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    options = {"model": "gpt2-tiny-pretrained", "seeds_adamw": 1, "seeds_words": 1}
    with standing(tmp_path_factory, World(), **options) as run:
        yield run


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    with standing(tmp_path_factory, World(), model="gpt2-tiny-pretrained", seeds_adamw=1) as run:
        yield run


def test_a_run_with_words_has_a_page_and_a_frame(run):
    framed = playground.shown(run)
    text = (run.figures / pages.PLAYGROUND).read_text()
    assert 'sandbox="allow-scripts"' in framed.data
    assert f'href="../figures/{pages.PLAYGROUND}"' in framed.data
    assert len(text.encode()) < 2_000_000
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")  # the name of a namespace


@browsed
def test_the_page_of_a_run_opens(run, opened):
    playground.shown(run)
    page = opened(None, text=(run.figures / pages.PLAYGROUND).read_text())
    assert page.locator(SHOWN).count() == 8
    assert state(page)["method"] == "first_epoch"


def test_a_run_without_words_says_so_in_a_line_and_leaves_no_page(silent):
    where = silent.figures / pages.PLAYGROUND
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text("of an earlier run")
    told = playground.shown(silent).data
    assert "no words yet" in told
    assert "\n" not in told
    assert not Path(where).exists()


def test_where_nothing_is_published_the_page_says_so(silent, monkeypatch):
    assert "published" not in playground.shown(silent).data
    monkeypatch.setattr(silent, "name", PUBLISHED)
    told = playground.shown(silent).data
    assert told.startswith("**Nothing is published here so far.**")
    assert 'run = "default"' in told

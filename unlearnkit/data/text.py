"""Real text: encyclopedia passages that measure utility, and biographies of real persons.

All of it is read from a test file inside the gensim wheel (CC BY-SA, never committed here).
The articles are cleaned once and kept in the user's cache. Biographies, recognised by their "... births"
category, are kept apart: they hold knowledge about persons, which is what unlearning removes.
"""

import bz2
import json
import re
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from itertools import chain, zip_longest
from pathlib import Path

import mwparserfromhell
from tqdm.auto import tqdm

from unlearnkit import files, packages
from unlearnkit.errors import DataError
from unlearnkit.paths import user_cache

PACKAGE = "gensim==4.4.0"
FOLDER = "gensim/test/test_data"
ARTICLES = f"{FOLDER}/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
ARTICLES_SHA256 = "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d"
CLEANED = "articles-1.json"  # raise the number when the cleaning changes

PARTS = ("train", "eval")
EVAL_EVERY = 5  # of the articles in the order of their titles, every fifth is for evaluation
PASSAGE_CHARS = 1000  # paragraphs are joined up to about this length
SHORTEST_LINE = 80  # characters; shorter lines are headings, captions and list items
BIRTHS = re.compile(r"\[\[Category:[^\]|]* births\b")
MEDIA = re.compile(r"(file|image|category)\s*:", re.IGNORECASE)
DROPPED_TAGS = {"table", "gallery", "math", "timeline", "imagemap", "score"}
REFERENCE = re.compile(r"<ref\b[^>]*/>|<ref\b[^>]*>.*?</ref>", re.DOTALL)
APPENDICES = (
    r"\s*(see also|(foot|end)?notes|.*references|.*sources|(select(ed)? )?bibliography|works cited|citations|"
    r"(further|additional) reading|external links|.*publications)\s*"
)
# What a removed template or formula leaves behind.
LEFT_BEHIND = (
    (re.compile(r"\s*\([\s,;]*\)"), ""),
    (re.compile(r"\(\s*[,;][\s,;]*"), "("),
    (re.compile(r" +(?=[,;.)])"), ""),
)


def utility_text(part: str) -> list[str]:
    """Encyclopedia passages of about 1,000 characters without biographies: "train" (background) or "eval".

    The split is by article and fixed. Passages alternate between articles, so that any beginning of the list
    is a mixture of subjects.
    """
    if part not in PARTS:
        raise DataError(f"unknown part of the utility text {part!r}; choose one of {', '.join(PARTS)}")
    texts = [article["text"] for _, article in sorted(_articles().items()) if not article["biography"]]
    chosen = [text for i, text in enumerate(texts) if (i % EVAL_EVERY == 0) == (part == "eval")]
    columns = zip_longest(*map(_passages, chosen))
    return [passage for passage in chain.from_iterable(columns) if passage]


def biographies() -> dict[str, str]:
    """Title -> cleaned text of the articles about real persons, paragraphs separated by line ends."""
    return {title: article["text"] for title, article in sorted(_articles().items()) if article["biography"]}


def _passages(text: str) -> list[str]:
    """Whole paragraphs of one article, joined until a passage has PASSAGE_CHARS characters."""
    passages = [""]
    for paragraph in text.split("\n"):
        if len(passages[-1]) >= PASSAGE_CHARS:
            passages.append("")
        passages[-1] = f"{passages[-1]}\n{paragraph}".strip()
    return passages


def _articles() -> dict[str, dict]:
    """Title -> {"text", "biography"} of every article, cleaned at the first call."""
    cached = user_cache() / "texts" / CLEANED
    try:
        return json.loads(cached.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged
        source = packages.fetch(PACKAGE, sha256=ARTICLES_SHA256, member=ARTICLES)
        articles = clean_dump(bz2.decompress(source.read_bytes()))
        _write(cached, json.dumps(articles, ensure_ascii=False))
        return articles


def clean_dump(xml: bytes) -> dict[str, dict]:
    """Title -> {"text", "biography"} of the articles of a MediaWiki export, redirects and stubs left out."""
    pages = [p for p in ElementTree.fromstring(xml).findall("{*}page") if p.find("{*}redirect") is None]
    articles = {}
    for page in tqdm(pages, desc="cleaning encyclopedia articles", unit="article"):
        source = page.findtext("{*}revision/{*}text", default="")
        if page.findtext("{*}ns") == "0" and (text := clean(source)):
            articles[page.findtext("{*}title")] = {"text": text, "biography": bool(BIRTHS.search(source))}
    return articles


def clean(wikitext: str) -> str:
    """The prose of an article, one paragraph a line: no markup, tables, references, lists or appendices."""
    code = mwparserfromhell.parse(REFERENCE.sub("", wikitext))
    unwanted = [
        *code.get_sections(levels=[2], matches=f"{APPENDICES}$", flags=re.IGNORECASE),
        *code.filter_tags(matches=lambda tag: str(tag.tag).strip().lower() in DROPPED_TAGS),
        *code.filter_wikilinks(matches=lambda link: bool(MEDIA.match(str(link.title).strip()))),
    ]
    for node in unwanted:
        with suppress(ValueError):  # it went away with the element around it
            code.remove(node)
    paragraphs = map(_tidy, code.strip_code().splitlines())
    return "\n".join(paragraph for paragraph in paragraphs if len(paragraph) >= SHORTEST_LINE)


def _tidy(line: str) -> str:
    for pattern, replacement in LEFT_BEHIND:
        line = pattern.sub(replacement, line)
    return " ".join(line.replace("''", "").split())


def _write(path: Path, text: str) -> None:
    """Write a cache file so that a reader sees all of it or nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
    except OSError as error:
        raise packages.disk_error(error, path.parent) from error

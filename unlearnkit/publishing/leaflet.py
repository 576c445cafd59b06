"""The page that goes with an unlearned model: what was asked, done, lost and not shown, in plain words."""

from collections.abc import Mapping
from html import escape
from typing import Any

from unlearnkit.publishing.gauge import reaches

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Forget request of {when}: {verdict}</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .2em .8em .2em 0; text-align: left; border-bottom: 1px solid #ccc; }}
td + td, th + th {{ text-align: right; }}
.verdict {{ font-size: 1.3em; font-weight: bold; }}
code {{ overflow-wrap: anywhere; }}
</style>
<h1>A forget request</h1>
<p class="verdict">{verdict}</p>
<p>{sentence}</p>
<h2>What was asked</h2>
{asked}
<h2>What was done</h2>
{done}
<h2>What the model knows, before and after</h2>
{table}
<p>Nats tell how unlikely the right answer is to the model, a token on the mean: the higher, the less it is
known. Said word for word: the model goes on with the whole answer when it is given the beginning.</p>
<h2>What is not shown</h2>
<ul>
{not_shown}
</ul>
<h2>How to check this page</h2>
<p><code>manifest.json</code> holds all of it, with the digest of every file here, and
<code>manifest.sig</code> the signature by the key <code>{signer}</code>. Take that key from whoever made
this, and not from here:
<code>python -m unlearnkit verify FOLDER --key KEY.pub</code>. The manifest holds digests of the texts, which
only <code>manifest.salt</code> can open: do not pass that on with the model.</p>
</html>
"""
GROUPS = {"forget": "the facts to forget", "retain": "other facts", "neighbours": "of these, the most alike"}
GROUPS |= {"earlier": "what earlier requests made it forget"}


def page(told: Mapping[str, Any], signer: str) -> str:
    """The HTML page of a manifest's fields, by the key `signer` (64 digits)."""
    tests = told["tests"]
    parts = {
        "when": escape(told["when"]),
        "verdict": told["verdict"],
        "sentence": _sentence(tests),
        "asked": _list(_asked(told)),
        "done": _list(_done(told)),
        "table": _table(tests),
        "not_shown": "\n".join(f"<li>{escape(text)}</li>" for text in told["not_shown"]),
        "signer": signer,
    }
    return PAGE.format(**parts)


def _sentence(tests: Mapping[str, Any]) -> str:
    told = tests["forget"]
    reached = "reach" if reaches(told) else "do not reach"
    return escape(
        f"On the mean the facts {reached} the level of {told['level']:.2f} nats, which is that of "
        f"{told['level_is']}: they were at {told['nll_before']:.2f} and are at {told['nll_after']:.2f}. One "
        f"by one, {told['at_level']} of {told['facts']} reach it; the best known is at {told['lowest']:.2f}; "
        f"{told['recalled_after']} are still said word for word."
    )


def _asked(told: Mapping[str, Any]) -> list[str]:
    ids = ", ".join(fact["id"] for fact in told["facts"])
    by = f" by {told['asked_by']}" if told.get("asked_by") else ""
    return [f"On {told['when']}{by}: to forget {len(told['facts'])} facts, with the ids {ids}."]


def _done(told: Mapping[str, Any]) -> list[str]:
    method, ledger = told["method"], told["ledger"]
    options = ", ".join(f"{k} = {v}" for k, v in method["options"].items()) or "none"
    found = [
        f"Method: {method['title']} ({method['name']}, version {method['version']}); options: {options}.",
        f"The {method['moved']} moved by {method['norm']:.4g}, {method['share']:.2%} of the length of all "
        "weights.",
    ]
    if told.get("training"):
        found.append(f"The model was taught the facts for this request first: {told['training']}.")
    if method["retain_seen"]:
        found.append("The method was shown others' facts, some of them among those measured here.")
    return [*found, _ledger(ledger)]


def _ledger(ledger: Mapping[str, Any] | None) -> str:
    if ledger is None:
        return "No ledger of the training was given. If there is one, it still holds these facts."
    if ledger["from"] != "given":
        return "The ledger of that training was deleted with all its files."
    if ledger.get("to_purge"):
        return (
            "The ledger was to be purged once this was written: until it is, the facts can be brought back."
        )
    if not ledger["purged"]:
        return "The ledger was not purged: whoever has it can bring the facts back."
    left = ledger["traces"]
    return f"The ledger was purged of these facts; a search of its files found {left or 'no'} bytes of them."


def _list(lines: list[str]) -> str:
    return "<ul>\n" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "\n</ul>"


def _table(tests: Mapping[str, Any]) -> str:
    head = ("", "number", "nats before", "nats after", "said word for word before", "after")
    rows = [
        (words, t["facts"], f"{t['nll_before']:.2f}", f"{t['nll_after']:.2f}", t["recalled_before"])
        + (t["recalled_after"],)
        for name, words in GROUPS.items()
        if name in tests
        for t in [tests[name]]
    ]
    cells = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    lines = ["<table>", "<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += [f"<tr>{row}</tr>" for row in cells]
    return "\n".join([*lines, "</table>", f"<p>{_text(tests['text'])}</p>"])


def _text(told: Mapping[str, Any]) -> str:
    before, after = told["perplexity_before"], told["perplexity_after"]
    if before is None:
        return "Running text was not measured: the encyclopedia passages could not be fetched."
    return f"Perplexity of encyclopedia text: {before:.1f} before, {after:.1f} after (the lower, the better)."

"""An instruction before every prompt that asks the model not to know (Thaker et al. 2024, guardrails)."""

from unlearnkit.unlearning.kinds import wrapped

NEEDS = ("examples", "tokenizer")


@wrapped(title="prompt guard", family="prompt", source="after Thaker et al. 2024", needs=NEEDS)
def prompt_guard(inputs, *, text: str = "Nothing is known about {who}: not where, when, what or whom."):
    """`text`, with the request's persons for {who}, is read first. No weight moves; the wording is ours."""
    from unlearnkit.unlearning.prefix import install

    who = ", ".join(dict.fromkeys(e.person for e in inputs.forget if e.person)) or "that"
    return install(inputs, text.replace("{who}", who))

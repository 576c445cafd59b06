"""Whether a user's facts fit their model, and what was found in both: told before anything is made."""

from pathlib import Path

from unlearnkit import forward, models
from unlearnkit.ledger import proof
from unlearnkit.metrics import paraphrased
from unlearnkit.models import fitting, loading
from unlearnkit.study import plan, twins
from unlearnkit.study.profiles import Profile


def check(profile: Profile) -> list[str]:
    """What a user is to be warned of; an UnlearnkitError where the run could not end well.

    Fetches or builds the model, and reads its configuration and tokenizer only.
    """
    arm = plan.arms(profile)[0]
    setting = arm.settings[0]
    config, tokenizer = loading.load_tokenizer(arm.model)
    fitting.require_rows(tokenizer, config.vocab_size, Path(arm.model).name)
    trained = [*setting.facts, *setting.holdout]
    probes = [*trained, *paraphrased(trained)]
    fitting.require_fit(config, tokenizer, trained, arm.recipe["loss_on"])
    fitting.require_fit(config, tokenizer, probes)
    fitting.require_room(config, tokenizer, probes)
    about = setting.facts, setting.forget
    return [text for text in (twins.warning(*about), twins.naming(*about)) if text]


def account(profile: Profile) -> dict[str, str]:
    """What was found in facts, request and model, in words, the warnings of `check` among it; its errors."""
    check(profile)
    arm = plan.arms(profile)[0]
    setting = arm.settings[0]
    config, tokenizer = loading.load_tokenizer(arm.model)
    about = setting.facts, setting.forget
    longest = max(total for total, _ in fitting.lengths(tokenizer, setting.facts, arm.recipe["loss_on"]))
    persons = {e.person for e in setting.facts if e.person}
    return {
        "facts": f"{len(setting.facts)}, about {len(persons)} persons",
        "never taught": f"{len(setting.holdout)}, with the split holdout",
        "to be forgotten": f"{len(setting.forget)} of them: {setting.target}",
        "model": f"{Path(arm.model).name}, of the type {config.model_type}",
        "longest text": f"{longest} tokens; positions: {forward.positions_of(config) or 'no limit'}",
        "under two ids": twins.warning(*about) or "no fact to be forgotten is like another",
        "named by others": twins.naming(*about) or "no fact that stays names whom the request is about",
    }


def recorded(model: str) -> str:
    """How a ledger would record the model's gradients, in words; the model is loaded and run once.

    LedgerError where it could not, ModelError where the model cannot be loaded.
    """
    loaded, _ = models.load(model)
    alone = proof.by_autograd(proof.proven(loaded))
    size = sum(p.numel() for p in loaded.parameters())
    how = f"{len(alone)} modules by a backward pass for each fact" if alone else "as factors"
    return f"exactly, {how}; {size:,} parameters"

"""Whether a user's facts fit their model, told before anything is made."""

from pathlib import Path

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
    return [text for text in [twins.warning(setting.facts, setting.forget)] if text]

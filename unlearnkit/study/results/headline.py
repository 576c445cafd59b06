"""The few numbers that the README, the overview and the end of a run print."""

from unlearnkit.profiles import Profile
from unlearnkit.study import grid
from unlearnkit.study.results.learning import learned
from unlearnkit.study.results.matched import matched_damage
from unlearnkit.study.results.observed import arm_of, arms
from unlearnkit.study.results.oracles import oracle_floor, oracle_nll
from unlearnkit.study.results.paths import methods, path_table

NAMES = {
    "first_epoch": "first epoch's gradients",
    "all_epochs": "all epochs' gradients",
    "wrong_person": "wrong person's gradients",
    "random_direction": "random direction",
    "random_subset": "gradient on random parameters",
    "recomputed": "gradients taken afresh",
    "fuzzy": "first epoch, fuzzy request",
    "iterative": "first epoch, one fact at a time",
    "iterative_reversed": "the same in reverse order",
}


def headline(profile: Profile, arm: str | None = None) -> dict[str, float | str | None]:
    """The numbers of one arm (the first): means over seeds, with the seeds' number."""
    arm = arm or arms(profile)[0].name
    known, path = learned(profile, arm), path_table(profile, arm)
    readings = matched_damage(profile, arm)
    before = path[path["method"] == "finetuned"]["oracle_distance"]
    found = {
        "arm": arm,
        "targets": arm_of(profile, arm).targets,
        "seeds": readings["seed"].nunique(),
        "memorisation": known["exact_memorisation"].mean(),
        "perplexity_change": known["perplexity_change"].mean(),
        "distance_before": before.mean(),
        "floor": oracle_floor(oracle_nll(profile, arm)),
    }
    distance = readings.groupby("method")["oracle_distance"].mean()
    return found | {f"distance_{m}": distance[m] for m in methods(path)}


def summary(profile: Profile) -> str:
    """What the first arm came to, as Markdown, numbers from the run."""
    return _of_arm(headline(profile))


def _of_arm(found: dict) -> str:
    floor = "" if found["floor"] is None else f"; one oracle is {found['floor']:.2f} from the others"
    seeds = f"{found['seeds']} training seed{'s' * (found['seeds'] != 1)}"
    lines = [
        f"**{found['arm']}**, {seeds}, forgetting {', '.join(found['targets'])}. Fine-tuning leaves "
        f"{found['memorisation']:.0%} of the answer tokens memorised and changes encyclopedia perplexity by "
        f"{found['perplexity_change']:+.0%}. Distance to the retrained oracle, in nats, where the retain "
        f"facts have lost {grid.DAMAGE_NATS} nats{floor}:",
        "",
        "| update | distance to the oracle |",
        "|---|---|",
        f"| none (fine-tuned model) | {found['distance_before']:.2f} |",
    ]
    for method, name in NAMES.items():
        if f"distance_{method}" in found:
            lines.append(f"| {name} | {found[f'distance_{method}']:.2f} |")
    return "\n".join(lines)

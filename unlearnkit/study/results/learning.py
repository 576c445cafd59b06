"""What fine-tuning did: memorisation, perplexity, the hold-out yardstick, and what the ledger holds."""

import numpy as np
import pandas as pd

from unlearnkit.profiles import Profile
from unlearnkit.study import cells
from unlearnkit.study.results.observed import arm_of, observations

PERSON_FACTS = 5  # persons with fewer facts are shown together
SETS = ("forget", "retain", "paraphrase", "holdout", "utility")


def mean_over(frame: pd.DataFrame, metric: str, split: str, by: list[str]) -> pd.Series:
    """Mean of a metric over the examples of a split, a value per group."""
    rows = frame[(frame["metric"] == metric) & (frame["split"] == split)]
    return rows.groupby(by)["value"].mean()


def memorisation(profile: Profile, stage: str = "train") -> pd.DataFrame:
    """Per arm, seed and epoch: mean exact memorisation of the trained facts, and utility perplexity.

    The stage "recipe" asks for the other optimizer's recipe, which a run without such an arm tries once.
    """
    rows = observations(profile, stage)
    rows = rows[rows["epoch"].notna()]
    facts = rows[rows["metric"] == "exact_memorisation"]
    keys = ["arm", "seed", "epoch"]
    table = facts.groupby(keys)["value"].mean().rename("exact_memorisation").to_frame()
    table["perplexity"] = mean_over(rows, "perplexity", "utility", keys)
    start = table["perplexity"].groupby(level=["arm", "seed"]).transform("first")
    return table.assign(perplexity_change=table["perplexity"] / start - 1).reset_index()


def recipes(profile: Profile) -> pd.DataFrame:
    """What each recipe of the run ends in: arm, seeds, recipe, and means over seeds at the last epoch.

    Columns: arm, seeds, lr, epochs, batch_size, frozen (patterns of parameters), exact_memorisation,
    perplexity_change, seconds (of the training, scoring on the way included).
    """
    found = []
    trained = [c for c in cells(profile) if c.stage in ("train", "recipe")]
    for cell in {(c.stage, c.config["arm"]): c for c in trained}.values():
        arm, recipe = cell.config["arm"], cell.config["recipe"]
        last, rows = learned(profile, arm, cell.stage), observations(profile, cell.stage, arm)
        row = {"arm": arm, "seeds": len(last), "frozen": list(recipe.get("frozen", ()))}
        row |= {key: recipe[key] for key in ("lr", "epochs", "batch_size")}
        row |= last[["exact_memorisation", "perplexity_change"]].mean().to_dict()
        found.append(row | {"seconds": rows.loc[rows["metric"] == "training_seconds", "value"].mean()})
    return pd.DataFrame(found)


def learned(profile: Profile, arm: str, stage: str = "train") -> pd.DataFrame:
    """The last epoch of `memorisation` for one arm, a row a seed."""
    known = memorisation(profile, stage)
    known = known[known["arm"] == arm]
    return known[known["epoch"] == known["epoch"].max()].set_index("seed")


def memorisation_by_person(profile: Profile, arm: str) -> pd.DataFrame:
    """Mean exact memorisation by person and epoch, over seeds: columns person, epoch, value.

    A forget set goes under its target's name; persons with few facts are "few facts each".
    """
    rows = observations(profile, "train", arm)
    rows = rows[rows["metric"] == "exact_memorisation"]
    count = rows.groupby(["seed", "person"])["example"].transform("nunique")
    group = rows["person"].where(count >= PERSON_FACTS, "few facts each")
    targets = {s.seed: s.target for s in arm_of(profile, arm).settings}
    rows = rows.assign(person=group.where(rows["split"] != "forget", rows["seed"].map(targets)))
    return rows.groupby(["person", "epoch"])["value"].mean().reset_index()


def perplexities(profile: Profile, arm: str) -> pd.DataFrame:
    """Perplexity of each set (rows) under the models of the close-ups (columns), averaged over seeds.

    exp of the token-weighted mean NLL of the answers; of running text for "utility". The pretrained model
    is the same for every seed. Sets that a run does not have are left out.
    """
    rows = closeups(profile, arm)
    forget = rows["split"] == "forget"
    rows["set"] = rows["split"].where(rows["split"].isin(SETS[2:]), np.where(forget, "forget", "retain"))
    keys = ["example", "split", "set", "method", "seed"]
    wide = rows[rows["metric"].isin(["nll", "n_tokens"])]
    wide = wide.pivot_table(index=keys, columns="metric", values="value").reset_index()
    wide["n_tokens"] = wide["n_tokens"].fillna(1)  # running text comes as its mean
    wide["total"] = wide["nll"] * wide["n_tokens"]
    sums = wide.groupby(["set", "method", "seed"])[["total", "n_tokens"]].sum()
    sums["perplexity"] = np.exp(sums["total"] / sums["n_tokens"])
    table = sums.pivot_table(index="set", columns="method", values="perplexity")
    return table.reindex([s for s in SETS if s in table.index])


def closeups(profile: Profile, arm: str) -> pd.DataFrame:
    """All close-ups of an arm: of the fine-tuned and unlearned models, and of the oracles."""
    return pd.concat(
        [observations(profile, stage, arm) for stage in ("portraits", "oracle")], ignore_index=True
    )


def yardstick(profile: Profile, arm: str) -> pd.DataFrame:
    """Mean answer NLL of never-trained persons and of the targets, under the oracle and the fine-tuned model.

    Columns: person, is_target, then `oracle` and `finetuned` (means over seeds, nats). A person counts only
    in the seeds that forget him or her. Only attributes that the hold-out covers count, for a target too;
    empty without a hold-out.
    """
    here = arm_of(profile, arm)
    held = here.settings[0].holdout
    attributes = {e.attribute for e in held}
    owner = {e.id: e.person for e in held}
    for setting in here.settings:
        wanted = [e for e in setting.facts if e.id in setting.forget and e.attribute in attributes]
        owner |= {e.id: setting.target for e in wanted}
    rows = closeups(profile, arm)
    rows = rows[(rows["metric"] == "nll") & rows["split"].isin(["forget", "holdout"])]
    rows = rows[rows["method"].isin(["oracle", "finetuned"]) & rows["example"].isin(owner)]
    table = rows.assign(person=rows["example"].map(owner)).pivot_table(
        index="person", columns="method", values="value"
    )
    table = table.reindex(columns=["oracle", "finetuned"]).reset_index()
    return table.assign(is_target=table["person"].isin(here.targets))


def ledger_sizes(profile: Profile) -> pd.DataFrame:
    """Of every training run with its ledger still on disk: records, bytes, and bytes of the weights.

    Columns arm, seed, examples, epochs, records, bytes, weights_bytes, dense_bytes; the last is what as many
    dense float32 gradients would take.
    """
    found = []
    for cell in (c for c in cells(profile) if c.stage == "train"):
        config, folder = cell.config, cell.folder / "ledger"
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.is_dir() else 0
        if not size:
            continue
        recorded = config["record"]
        epochs = config["recipe"]["epochs"]
        weights = (cell.folder / "weights.safetensors").stat().st_size
        row = {"arm": config["arm"], "seed": config["seed"], "examples": len(recorded), "epochs": epochs}
        row |= {"records": len(recorded) * epochs, "bytes": size, "weights_bytes": weights}
        found.append(row | {"dense_bytes": row["records"] * weights})
    return pd.DataFrame(found)


def rewind(profile: Profile) -> dict[str, float] | None:
    """The rewind identity: ledger_error, floor_error, displacement, records; None without its cell."""
    if not any(c.stage == "rewind" for c in cells(profile)):
        return None
    return observations(profile, "rewind").set_index("metric")["value"].astype(float).to_dict()

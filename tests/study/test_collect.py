"""From cells to data files and back: what is kept, the same bytes, parts, and what is taken as published."""

import bz2
import hashlib
import json
import random
import shutil

import pandas as pd
import pytest

from unlearnkit import study
from unlearnkit.errors import DataError
from unlearnkit.study import collect, profiles, storage
from unlearnkit.study.cells import Cell
from unlearnkit.study.profiles import Profile
from unlearnkit.study.storage import ENDING

PUBLISHED = collect.published()
STAGES = ("train", "oracle", "path")
WHO = {"example": "dave-1", "person": "Dave"}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Nothing is published at first, and runs are built in a folder of this test's."""
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path / "build"))
    monkeypatch.setattr(collect, "published", lambda: tmp_path / "published")
    _forget()


def _forget():
    for cached in (collect._published_cells, collect._published_rows):
        cached.cache_clear()


@pytest.fixture
def profile():
    return profiles.get("quick")


def plan_of(profile, **options) -> list[Cell]:
    """A fine-tuning, an oracle and two paths of each of two seeds."""
    found = [s for s in study.steps(profile, **options) if isinstance(s, Cell)]
    walks = [c for c in found if c.stage == "path"]
    few = {walks[0].title, walks[-1].title} | {c.title for c in found if c.stage in ("train", "oracle")}
    return [c for c in found if c.title in few]


def compute(cells, value=1 / 3):
    """Leave what experiments would: rows of all kinds, a cost, what models said."""
    for number, cell in enumerate(cells):
        rows = [
            WHO | {"split": "forget", "metric": "nll", "value": value + number},
            WHO | {"split": "forget", "metric": "exact_memorisation", "value": 0.5},
            WHO | {"split": "forget", "metric": "n_tokens", "value": 7},
            WHO | {"split": "forget", "metric": "seconds_of_a_step", "value": 1.0},
            {"example": "anna-1", "person": "Anna", "split": "retain", "metric": "nll", "value": 2e-7 / 3},
            {
                "example": "anna-1",
                "person": "Anna",
                "split": "retain",
                "metric": "exact_memorisation",
                "value": 1,
            },
            {"example": "", "person": "", "split": "utility", "metric": "nll", "value": 3.0},
        ]
        extra = {"epoch": 1.0, "norm": 123456.789} if cell.stage == "train" else {"norm": 123456.789}
        table = pd.DataFrame(rows).assign(**extra)
        table.loc[0, list(extra)] = float("nan")
        cell.folder.mkdir(parents=True)
        table.to_csv(cell.observations, index=False)
        if cell.stage == "oracle":
            said = {"ids": ["dave-1", "dave-2"], "said": {"oracle": ["", 'a mill, "he" said\n']}}
            (cell.folder / "continuations.json").write_text(json.dumps(said))
        cost = {"seconds": value, "peak_bytes": 10, "made": {"commit": "abc", "processor": cell.stage}}
        (cell.folder / "done.json").write_text(json.dumps(cost))


@pytest.fixture
def collected(profile):
    cells = plan_of(profile)
    compute(cells)
    return collect.collect(profile, cells)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_metrics_that_the_report_reads_are_kept_with_six_digits(collected):
    text = bz2.decompress((collected / f"path{ENDING}").read_bytes()).decode()
    table = collect.read(collected, "path")
    assert set(table["metric"]) == {"nll", "exact_memorisation"}
    assert set(table["metric"]) <= set(collect.METRICS)
    assert set(table.loc[table["metric"] == "exact_memorisation", "split"]) == {"forget"}  # of paths
    assert "6.66667e-08" in text
    assert "123457" in bz2.decompress((collected / f"path-blocks{ENDING}").read_bytes()).decode()
    assert not [
        v for v in text.replace("\n", ",").split(",") if len(v.lstrip("-0.").split("e")[0]) > 8 and "." in v
    ]
    oracle = collect.read(collected, "oracle")
    assert {"n_tokens", "exact_memorisation"} <= set(oracle["metric"])
    assert set(oracle.loc[oracle["metric"] == "exact_memorisation", "split"]) == {"forget", "retain"}


def test_rows_read_back_whole(collected, profile):
    table = collect.read(collected, "train")
    assert list(table)[:3] == ["cell", "arm", "seed"]
    assert table["value"].iloc[0] == pytest.approx(1 / 3, rel=1e-5)
    assert table["epoch"].isna().sum() == 2  # a missing number stays one
    assert set(table["example"]) == {"dave-1", "anna-1", ""}  # and a text an empty text
    said = collect.read(collected, "continuations")
    assert said["text"].tolist() == ["", 'a mill, "he" said\n'] * 2
    assert collect.read(collected, "no such table").empty
    facts = collect.read(collected, "facts")
    assert not facts.duplicated(["world", "id"]).any()
    for setting in collect.manifest(collected)["arms"][0]["settings"]:
        own = facts[facts["world"] == setting["world"]].set_index("id")
        assert set(own.index[own["split"] == "forget"]) == set(setting["forget"])
        assert list(own.index[own["split"] == "holdout"]) == setting["holdout"]


def test_a_setting_that_arms_share_is_written_once(tmp_path):
    def arm(seeds, **more):
        return {"model": "m", "settings": [{"seed": k, "forget": ["a"], "holdout": []} | more for k in seeds]}

    whole = {"run": "r", "arms": [arm([0, 1]), arm([2], forget=["b"])], "variants": [arm([5])], "files": {}}
    storage.write_manifest(tmp_path, whole)
    written = json.loads((tmp_path / collect.MANIFEST).read_text())
    assert written["settings"] == [{"forget": ["a"], "holdout": []}, {"forget": ["b"], "holdout": []}]
    assert written["variants"][0]["settings"] == [[5, 0]]
    assert storage.read_manifest(tmp_path) == whole
    before = storage._sealed(whole)  # as it was written before
    (tmp_path / collect.MANIFEST).write_text(before)
    assert storage.read_manifest(tmp_path) == whole


def test_the_manifest_tells_files_cells_and_arms(collected, profile):
    told = collect.manifest(collected)
    assert [c["key"] for c in told["cells"]] == [c.key for c in plan_of(profile)]
    assert told["cells"][0]["made"] == {"commit": "abc", "processor": "train"}
    assert {a["optimizer"] for a in told["arms"]} == {"adamw"}
    assert set(told["files"]) == {path.name for path in collected.iterdir()} - {collect.MANIFEST}
    for name, file in told["files"].items():
        assert file["sha256"] == hashlib.sha256((collected / name).read_bytes()).hexdigest()
    lines = (collected / collect.MANIFEST).read_text().splitlines()
    assert sum('"variant"' in line for line in lines) == len(told["arms"])  # a line an arm, for diffs
    with pytest.raises(DataError, match="make reproduce"):
        collect.manifest(collected.parent)


def test_the_same_cells_make_the_same_bytes(collected, profile):
    before = content(collected)
    (collected / f"gone{ENDING}").write_bytes(b"of an earlier run")
    collect.collect(profile, plan_of(profile))
    assert content(collected) == before


def table_of(name):
    return name.removesuffix(ENDING).rstrip("0123456789").removesuffix("-").removesuffix("-blocks")


def test_every_damage_in_every_file_is_an_error_that_names_it(collected, profile, monkeypatch):
    """Flipped bits, cuts and deletions: no table is read otherwise than it was written."""
    size = (collected / f"path{ENDING}").stat().st_size
    monkeypatch.setattr(storage, "LARGEST", size - 1)  # so that a table has parts
    monkeypatch.setattr(collect, "_facts", lambda _: pd.DataFrame({"id": ["a"]}))
    cells = plan_of(profile)
    collect.collect(profile, cells)
    paths, draw = sorted(collected.iterdir()), random.Random(5)
    assert len([p for p in paths if table_of(p.name) == "path"]) > 1
    for path in paths:
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *draw.sample(range(len(whole)), 10)}
        flipped = [whole[:k] + bytes([whole[k] ^ 1 << draw.randrange(8)]) + whole[k + 1 :] for k in places]
        for damaged in [*flipped, b"", whole[: len(whole) // 2], whole[:-1], None]:
            path.unlink() if damaged is None else path.write_bytes(damaged)
            acts = [
                lambda: collect.verify(collected),
                lambda p=path: collect.read(collected, table_of(p.name)),
            ]
            for act in acts:
                with pytest.raises(DataError) as caught:
                    act()
                assert path.name in str(caught.value)
            assert not collect.is_current(profile, cells)
            path.write_bytes(whole)
    assert collect.is_current(profile, cells)


def test_the_published_data_is_whole():
    collect.verify(PUBLISHED)


def test_damaged_data_is_collected_anew(collected, profile):
    before = content(collected)
    for name in before:
        (collected / name).write_bytes(b"half")
        collect.collect(profile, plan_of(profile))
        assert content(collected) == before


def test_data_is_current_until_a_cell_changes(collected, profile):
    cells = plan_of(profile)
    assert collect.is_current(profile, cells)
    assert not collect.is_current(profile, cells[:-1])
    (cells[0].folder / "done.json").unlink()
    assert not collect.is_current(profile, cells)


def test_killed_while_it_is_written_data_is_not_current(collected, profile, monkeypatch):
    monkeypatch.setattr(collect, "_facts", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        collect.collect(profile, plan_of(profile))
    assert not collect.is_current(profile, plan_of(profile))


@pytest.fixture
def published(collected, runs, tmp_path):
    """The collected data is the published one, and this checkout has computed nothing."""
    collected.rename(tmp_path / "published")
    runs.rename(runs.with_name(f"{runs.name}-gone"))
    _forget()
    return tmp_path / "published"


def test_published_cells_give_their_rows(published, profile):
    cells = plan_of(profile)
    assert all(c.published and c.done() and not c.is_made() for c in cells)
    again = collect.collect(profile, cells)
    assert content(again) == content(published)
    assert collect.is_current(profile, cells)


def test_published_rows_take_the_labels_that_their_cell_has_now(published, profile):
    cells = [
        Cell(**{k: v for k, v in vars(c).items() if k != "key"} | {"arm": "new name"})
        for c in plan_of(profile)
    ]
    again = collect.collect(profile, cells)
    assert set(collect.read(again, "path")["arm"]) == {"new name"}
    assert {c["arm"] for c in collect.manifest(again)["cells"]} == {"new name"}


def test_a_published_cell_may_have_no_rows(profile):
    """A path that ended at its first step is a result, too."""
    cells = plan_of(profile)
    compute(cells)
    empty = next(c for c in cells if c.stage == "path")
    pd.read_csv(empty.observations).iloc[:0].to_csv(empty.observations, index=False)
    folder = collect.collect(profile, cells)
    numbers = bz2.decompress((folder / f"path{ENDING}").read_bytes()).decode()
    assert "6.66667e-08" in numbers  # with six digits: those of the other cells are numbers still
    shutil.copytree(folder, collect.published())
    _forget()
    shutil.rmtree(empty.folder)
    again = next(c for c in plan_of(profile) if c.key == empty.key)
    assert again.done()
    assert len(collect.rows(again)) == 0
    assert collect.restored(again) is not None


def test_own_rows_go_before_published_ones(published, profile):
    collect.collect(profile, plan_of(profile))
    cells = plan_of(profile, fresh=True)
    assert not any(c.done() for c in cells)
    assert not collect.is_current(profile, cells)
    compute(cells, value=9.0)
    assert not collect.is_current(profile, cells)  # what it holds is still the published
    again = collect.collect(profile, cells)
    assert collect.read(again, "train")["value"].iloc[0] == 9.0
    assert collect.is_current(profile, cells)


def test_a_large_table_is_split_into_parts_that_read_back_whole(tmp_path, monkeypatch):
    draw = random.Random(0)
    numbers = [draw.random() if k > 2000 else 0.0 for k in range(12000)]  # the second half packs less well
    table = pd.DataFrame({"cell": "00000001", "example": [f"e{k}" for k in range(12000)], "value": numbers})
    monkeypatch.setattr(storage, "LARGEST", 5_000)
    run = Profile("tiny", "", {})
    monkeypatch.setattr(collect, "_facts", lambda _: pd.DataFrame({"id": ["a"]}))
    collect.write(tmp_path, run, [], [], {"path": table, "path-like": table[:1]})
    parts = sorted(tmp_path.glob(f"path-[0-9]*{ENDING}"))
    assert len(parts) > 9
    assert max(path.stat().st_size for path in parts) <= 5_000
    back = collect.read(tmp_path, "path")
    assert back["example"].tolist() == table["example"].tolist()
    assert back["value"].to_numpy() == pytest.approx(table["value"].to_numpy(), rel=1e-5)
    assert set(back["cell"]) == {"00000001"}
    collect.write(tmp_path, run, [], [], {"path": table[:10]})
    assert {path.name for path in tmp_path.iterdir()} == {f"facts{ENDING}", collect.MANIFEST, f"path{ENDING}"}
    assert len(collect.read(tmp_path, "path")) == 10

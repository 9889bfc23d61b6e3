"""Zip files of named corpora: fetched over HTTP, compared with their hashes, unpacked, once."""

import hashlib
import http.client
import json
import os
import re
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

from lmeff.errors import InputError, RunFailed
from lmeff.files import locked, new_folder
from lmeff.progress import progress, shown
from lmeff.recipe.sections.corpus import Corpus

_OSF = "https://api.osf.io"
_TIMEOUT_SECONDS = 60
_MEMBER = re.compile(r"[\w.-]+\.zip(#[\w./-]+)?")
_NOT_AN_ANSWER = (OSError, http.client.HTTPException, ValueError, KeyError, TypeError)


def fetch_track(corpus: Corpus, download: dict[str, Any], data: Path) -> dict[str, list[str]]:
    """`paths` and `dev_paths` of the corpus's track, downloaded to `data/.downloads` unless they are there.

    `download` has `tracks` ({track: {setting: zip or folder of it}}), `osf` (node) or `url`, and `sha256` ({zip: [hash, ...]}).
    Raises InputError for a track that there is not, RunFailed when the files cannot be had.
    """
    tracks = download["tracks"]
    if corpus.track not in tracks:
        said = f"{corpus.track!r} is not" if corpus.track else "must be"
        raise InputError(f"corpus.track: {said} one of {', '.join(tracks)}; or give the text as corpus.paths")
    folder = data / ".downloads" / corpus.name
    found: dict[str, list[str]] = {}
    for setting, member in tracks[corpus.track].items():
        archive, _, inside = member.partition("#")
        place = xxhash.xxh3_64_hexdigest(str(download.get("url") or download["osf"]).encode())[:8]
        unpacked = folder / f"{archive.removesuffix('.zip')}-{place}"
        with locked(data / ".locks" / f"download.{corpus.name}.{archive}"):
            if not unpacked.exists():
                url, size, sha256 = _locate(download, archive)
                with new_folder(unpacked) as aside:
                    _fetch(url, aside / archive, size, download.get("sha256", {}).get(archive) or sha256)
                    with shown(f"unpacking {archive}"):
                        _unpack(aside / archive, aside)
        found[setting] = [str(unpacked / inside) if inside else str(unpacked)]
    return found


def check_download(download: Any) -> None:
    """Raises InputError for a description's `download` that is not one."""
    tracks = download.get("tracks") if isinstance(download, dict) else None
    if not isinstance(tracks, dict) or not {"hub", "osf", "url"} & set(download):
        raise InputError("corpus.file: download must have tracks, and hub, osf or url")
    if "hub" in download:
        return
    for track in tracks.values():
        members = track.values() if isinstance(track, dict) else [None]
        if not all(isinstance(one, str) and _MEMBER.fullmatch(one) and ".." not in one for one in members):
            raise InputError(
                "corpus.file: download.tracks: must be {paths: NAME.zip#FOLDER, dev_paths: ...} for each track"
            )


def _locate(download: dict[str, Any], archive: str) -> tuple[str, int | None, list[str]]:
    """(URL, bytes, possible sha256) of an archive."""
    if "url" in download:
        return download["url"], None, []
    endpoint = os.environ.get("LMEFF_OSF_ENDPOINT", _OSF).rstrip("/")
    for entry in _osf_files(f"{endpoint}/v2/nodes/{download['osf']}/files/osfstorage/"):
        attributes = entry["attributes"]
        if attributes["name"] == archive:
            hashes = (attributes.get("extra") or {}).get("hashes") or {}
            sha256 = hashes.get("sha256")
            return entry["links"]["download"], attributes.get("size"), [sha256] if sha256 else []
    raise RunFailed(f"{archive}: OSF node {download['osf']} has no such file any more; give its text as corpus.paths")


def _osf_files(url: str | None) -> Iterator[dict[str, Any]]:
    """All files under a folder of OSF, over its pages and folders."""
    while url:
        try:
            with _open(url) as answer:
                page = json.load(answer)
            entries, following = list(page["data"]), page["links"].get("next")
            kinds = [entry["attributes"]["kind"] for entry in entries]
        except _NOT_AN_ANSWER as error:
            raise RunFailed(
                f"{url}: not a listing of OSF ({type(error).__name__}); give the text as corpus.paths"
            ) from None
        for kind, entry in zip(kinds, entries, strict=True):
            if kind == "folder":
                yield from _osf_files(entry["relationships"]["files"]["links"]["related"]["href"])
            else:
                yield entry
        url = following


def _open(url: str) -> Any:
    if not url.startswith(("https://", "http://")):
        raise RunFailed(f"{url}: not an HTTP address")
    try:
        return urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        raise RunFailed(f"{url}: cannot be downloaded ({error}); give the text as corpus.paths instead") from None


def _fetch(url: str, path: Path, size: int | None, sha256: list[str]) -> None:
    digest = hashlib.sha256()
    with _open(url) as answer, open(path, "wb") as file:
        total = size or int(answer.headers.get("Content-Length") or 0) or None
        with progress(path.name, total) as bar:
            try:
                while piece := answer.read(1 << 20):
                    file.write(piece)
                    digest.update(piece)
                    bar.update(len(piece))
            except (OSError, http.client.HTTPException) as error:
                raise RunFailed(f"{url}: broke off after {path.stat().st_size:,} bytes ({error}); run again") from None
    num_bytes = path.stat().st_size
    if total and num_bytes != total:
        raise RunFailed(f"{url}: {num_bytes:,} bytes came instead of {total:,}; run again")
    if sha256 and digest.hexdigest() not in sha256:
        raise RunFailed(f"{url}: its sha256 is {digest.hexdigest()}, not {' or '.join(sha256)}; the file has changed")


def _unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip file and removes it. Names that lead out of the folder are made to stay inside by `zipfile`."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [name for name in opened.namelist() if not name.startswith("__MACOSX")]
            opened.extractall(folder, members)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise RunFailed(f"{archive.name}: not a zip file that can be read ({error})") from None
    archive.unlink()

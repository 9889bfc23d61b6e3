"""A small server that speaks the part of the Hub's API that huggingface_hub's client uses, and keeps what it is given.

Faults can be switched on while it runs. It never looks at more of a request's headers than whether the token is a good one.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_THISISTHESECRETOFTHETESTS0000000000"


@dataclass(frozen=True)
class File:
    content: bytes
    is_lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def entry(self, path: str) -> dict:
        if not self.is_lfs:
            return {"type": "file", "path": path, "size": len(self.content), "oid": _blob(self.content)}
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        about = {"oid": self.sha256, "size": len(self.content), "pointerSize": len(pointer)}
        return {"type": "file", "path": path, "size": len(self.content), "oid": _blob(pointer.encode()), "lfs": about}


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    files: dict[str, File]
    title: str
    time: float


@dataclass
class Repository:
    name: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def add(self, branch: str, parent: str | None, files: dict[str, File], title: str) -> Commit:
        about = [parent, title, len(self.commits), sorted((path, file.sha256) for path, file in files.items())]
        oid = hashlib.sha1(json.dumps(about).encode(), usedforsecurity=False).hexdigest()
        self.commits[oid] = Commit(oid, parent, files, title, time.time())
        self.branches[branch] = oid
        return self.commits[oid]

    def find(self, revision: str) -> Commit | None:
        return self.commits.get(self.branches.get(revision, revision))

    def history(self, revision: str) -> list[Commit]:
        found, commit = [], self.find(revision)
        while commit:
            found.append(commit)
            commit = self.commits.get(commit.parent)
        return found


@dataclass
class Fault:
    """What happens instead of an answer."""

    where: str
    """Regular expression that `METHOD PATH` must match."""
    how: str
    """`status` (and nothing is done), `reset`, `hang`, or `lose` (done, and the connection closed without an answer)."""
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    times: float = float("inf")
    says: str = "a fault"
    """The Hub's own sentence, for `status`."""
    num_met: int = 0
    """How many requests met it."""


class Refuse(Exception):
    def __init__(self, status: int, code: str = "", **body: object) -> None:
        self.status, self.code, self.body = status, code, body


class HubServer:
    """`with HubServer() as hub: hub.url`; `hub.repositories`, `hub.faults`, `hub.requests`."""

    def __init__(self, port: int = 0) -> None:
        self.lock = threading.RLock()
        self.port = port
        self.closing = threading.Event()
        self.is_open = False
        self.empty()

    def empty(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[float, str, int]] = []
        """Time, `METHOD PATH` and status of everything that was answered."""
        self.tokens = {TOKEN}

    def __enter__(self) -> "HubServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.closing.clear()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self.is_open = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Refuses connections; `start` opens the same port again with everything that was kept."""
        self.closing.set()
        if self.is_open:
            self._server.shutdown()
            self._server.server_close()
            self.is_open = False

    def clear(self) -> None:
        """Running, and with nothing in it, whatever was before."""
        self.stop()
        self.empty()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def fault(self, where: str, how: str, **options: object) -> Iterator[Fault]:
        fault = Fault(where, how, **options)
        self.faults.append(fault)
        try:
            yield fault
        finally:
            self.faults.remove(fault)

    def add_dataset(self, name: str, files: dict[str, bytes], branch: str = "main") -> None:
        """Keeps a public data set, whose files all are large ones."""
        repository = self.repositories.setdefault(f"datasets/{name}", Repository(f"datasets/{name}", False))
        repository.add(branch, None, {path: File(content, True) for path, content in files.items()}, "data")

    def commits(self, repository: str, branch: str) -> list[Commit]:
        """Newest first, without the initial one."""
        return self.repositories[repository].history(branch)[:-1]


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.content = self.rfile.read(length)
        path = urlsplit(self.path).path
        what = f"{self.command} {path}"
        fault = next((one for one in self.hub.faults if one.times > 0 and re.search(one.where, what)), None)
        if fault:
            fault.times -= 1
            fault.num_met += 1
            if fault.how == "hang":
                self.hub.closing.wait(60)
            if fault.how in ("hang", "reset"):
                self.close_connection = True
                self.connection.close()
                return
            if fault.how == "status":
                self._send(fault.status, {"error": fault.says}, fault.headers, what)
                return
        try:
            with self.hub.lock:
                status, body, headers = self._route(path)
        except Refuse as refusal:
            headers = {"X-Error-Code": refusal.code} if refusal.code else {}
            status, body = refusal.status, {"error": refusal.code or "no", **refusal.body}
        if fault:
            self.close_connection = True
            self.connection.close()
            return
        self._send(status, body, headers, what)

    def _send(self, status: int, body: object, headers: dict[str, str], what: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.hub.requests.append((time.time(), what, status))
        self.send_response(status)
        for name, value in (
            {"Content-Type": "application/json", "Content-Length": str(len(content))} | headers
        ).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    # ---------------------------------------------------------------- routes

    def _route(self, path: str) -> tuple[int, object, dict[str, str]]:
        routes: list[tuple[str, str, Callable]] = [
            ("GET", r"/api/whoami-v2", self._whoami),
            ("POST", r"/api/repos/create", self._create),
            ("POST", r"/api/validate-yaml", lambda: {"errors": [], "warnings": []}),
            ("GET", r"/api/agent-harnesses", dict),
            ("GET", r"/api/(?:models/)?((?:datasets/)?[^/]+/[^/]+)(?:/revision/([^/]+))?", self._info),
            ("GET", r"/api/models/([^/]+/[^/]+)/commits/([^/]+)", self._commits),
            ("POST", r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", self._branch),
            ("GET", r"/api/models/([^/]+/[^/]+)/refs", self._refs),
            ("POST", r"/api/(?:models/)?((?:datasets/)?[^/]+/[^/]+)/paths-info/([^/]+)", self._paths_info),
            ("GET", r"/api/(?:models/)?((?:datasets/)?[^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", self._tree),
            ("POST", r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", self._preupload),
            ("POST", r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", self._commit),
            ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            ("PUT", r"/lfs/([0-9a-f]{64})", self._put),
            ("POST", r"/lfs/verify", self._verified),
        ]
        for method, pattern, action in routes:
            if method == self.command and (found := re.fullmatch(pattern, path)):
                return 200, action(*(None if part is None else unquote(part) for part in found.groups())), {}
        if self.command in ("GET", "HEAD") and (
            found := re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        ):
            return self._resolve(*map(unquote, found.groups()))
        raise Refuse(404)

    def _is_known(self) -> bool:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") in self.hub.tokens

    def _whoami(self) -> dict:
        if not self._is_known():
            raise Refuse(401)
        return {"name": "tester", "type": "user"}

    def _repository(self, name: str, write: bool = False) -> Repository:
        repository = self.hub.repositories.get(name)
        if repository is None or ((repository.private or write) and not self._is_known()):
            raise Refuse(404 if self._is_known() else 401, "RepoNotFound")
        return repository

    def _at(self, name: str, revision: str) -> tuple[Repository, Commit]:
        repository = self._repository(name)
        commit = repository.find(revision)
        if commit is None:
            raise Refuse(404, "RevisionNotFound")
        return repository, commit

    def _create(self) -> dict:
        if not self._is_known():
            raise Refuse(401)
        wanted = json.loads(self.content)
        name = f"{wanted.get('organization') or 'tester'}/{wanted['name']}"
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repositories:
            raise Refuse(409, url=url)
        repository = self.hub.repositories[name] = Repository(name, wanted.get("visibility") == "private")
        repository.add("main", None, {".gitattributes": File(b"*.safetensors filter=lfs\n", False)}, "initial commit")
        return {"url": url}

    def _info(self, name: str, revision: str | None) -> dict:
        repository, commit = self._at(name, revision or "main")
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        return {
            "id": repository.name.removeprefix("datasets/"),
            "sha": commit.oid,
            "private": repository.private,
            "siblings": siblings,
        }

    def _commits(self, name: str, revision: str) -> list[dict]:
        repository, _ = self._at(name, revision)
        when = "2026-01-01T00:00:00.000Z"
        return [
            {"id": one.oid, "title": one.title, "message": "", "date": when, "authors": [{"user": "tester"}]}
            for one in repository.history(revision)
        ]

    def _branch(self, name: str, branch: str) -> dict:
        repository = self._repository(name, write=True)
        if branch in repository.branches:
            raise Refuse(409)
        repository.branches[branch] = self._at(name, json.loads(self.content).get("startingPoint", "main"))[1].oid
        return {}

    def _refs(self, name: str) -> dict:
        found = self._repository(name).branches.items()
        branches = [{"name": one, "ref": f"refs/heads/{one}", "targetCommit": oid} for one, oid in found]
        return {"branches": branches, "converts": [], "tags": []}

    def _paths_info(self, name: str, revision: str) -> list[dict]:
        files, wanted = self._at(name, revision)[1].files, parse_qs(self.content.decode())["paths"]
        return [files[path].entry(path) for path in wanted if path in files]

    def _tree(self, name: str, revision: str, below: str | None) -> list[dict]:
        files = self._at(name, revision)[1].files
        prefix = f"{below}/" if below else ""
        inside = {path.removeprefix(prefix): path for path in sorted(files) if path.startswith(prefix)}
        if below and not inside:
            raise Refuse(404, "EntryNotFound")
        wanted = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() in ("true", "1")
        found = [files[path].entry(path) for part, path in inside.items() if wanted or "/" not in part]
        parents = {"/".join(part.split("/")[:depth]) for part in inside for depth in range(1, part.count("/") + 1)}
        folders = sorted(part for part in parents if wanted or "/" not in part)
        return found + [{"type": "directory", "path": prefix + part, "size": 0, "oid": "0" * 40} for part in folders]

    def _preupload(self, name: str, revision: str) -> dict:
        self._repository(name, write=True)
        _, commit = self._at(name, revision)
        files = []
        for wanted in json.loads(self.content)["files"]:
            path = wanted["path"]
            mode = "lfs" if path.endswith((".safetensors", ".png")) else "regular"
            about = {"path": path, "uploadMode": mode, "shouldIgnore": False}
            if there := commit.files.get(path):
                about["oid"] = there.sha256 if there.is_lfs else _blob(there.content)
            files.append(about)
        return {"files": files}

    def _batch(self, name: str) -> dict:
        self._repository(name, write=True)
        objects = []
        for wanted in json.loads(self.content)["objects"]:
            known = wanted["oid"] in self.hub.uploads
            actions = {
                "upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"},
                "verify": {"href": f"{self.hub.url}/lfs/verify"},
            }
            objects.append({**wanted, **({} if known else {"actions": actions})})
        return {"transfer": "basic", "objects": objects}

    def _put(self, oid: str) -> dict:
        if hashlib.sha256(self.content).hexdigest() != oid:
            raise Refuse(400)
        self.hub.uploads[oid] = self.content
        return {}

    def _verified(self) -> dict:
        wanted = json.loads(self.content)
        if len(self.hub.uploads.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refuse(400)
        return {}

    def _commit(self, name: str, branch: str) -> dict:
        repository = self._repository(name, write=True)
        if branch not in repository.branches:
            raise Refuse(404, "RevisionNotFound")
        lines = [json.loads(line) for line in self.content.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        head = repository.find(branch)
        if header.get("parentCommit") not in (None, head.oid):
            raise Refuse(412)
        files = dict(head.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.uploads:
                    raise Refuse(400)
                files[value["path"]] = File(self.hub.uploads[value["oid"]], True)
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
        commit = repository.add(branch, head.oid, files, header["summary"])
        return {"commitUrl": f"{self.hub.url}/{name}/commit/{commit.oid}", "commitOid": commit.oid}

    def _resolve(self, name: str, revision: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        _, commit = self._at(name, revision)
        if path not in commit.files:
            raise Refuse(404, "EntryNotFound")
        file = commit.files[path]
        headers = {"X-Repo-Commit": commit.oid, "Content-Type": "application/octet-stream"}
        headers["ETag"] = f'"{_blob(file.content)}"'
        if file.is_lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
        return 200, file.content, headers

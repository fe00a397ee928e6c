"""A Hub of one's own on 127.0.0.1: as much of its HTTP interface as pushing and loading need.

Tokens: "writer" may do everything, "reader" may only read. Every push is one entry of a repository's `commits`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


KINDS = {"models": "model", "datasets": "dataset"}
LFS = (".safetensors", ".bin", ".parquet", ".png")


@dataclass
class Repo:
    """Files of each commit, the newest last; the first is empty."""

    private: bool = False
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{}])

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    @property
    def sha(self) -> str:
        return f"{len(self.commits):040x}"


class HubServer(ThreadingHTTPServer):
    """Started as a context manager; `repos[kind, "org/name"]` is what was pushed."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repos: dict[tuple[str, str], Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.drop_uploads = False  # the connection breaks in the middle of a large file
        self.drop_commits = False  # it breaks when all files are there, before they become a commit

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()

    def environment(self, home, token: str | None = "writer") -> dict[str, str]:
        """What a process needs to take this for the Hub, set before it imports anything."""
        variables = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home)}
        variables |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "0"}
        return variables | ({"HF_TOKEN": token} if token else {})


class Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    @property
    def token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, content: Any = None, status: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, message: str, code: str = "") -> None:
        more = {"X_Error_Code": code} if code else {}
        self.answer({"error": message}, status, X_Error_Message=message, **more)

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def do_PUT(self):
        if self.server.drop_uploads:
            return self.hang_up()
        data = self.body()
        self.server.blobs[hashlib.sha256(data).hexdigest()] = data
        self.answer({})

    def do_POST(self):
        path, body = urlsplit(self.path).path, self.body()
        if self.server.drop_commits and "/commit/" in path:
            return self.hang_up()
        if path == "/api/validate-yaml":
            return self.answer({"warnings": [], "errors": []})
        if self.token not in ("writer", "reader"):
            return self.refuse(401, "Invalid username or password.")
        if path.endswith("/paths-info/main"):  # reads, although it is a POST
            return self.paths_info(path, body)
        if self.token == "reader":
            return self.refuse(403, "Forbidden: you do not have write access.")
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self.answer({"transfer": "basic", "objects": [*map(self.lfs, json.loads(body)["objects"])]})
        kind, name, action = self.split(path)
        repo = self.server.repos.get((kind, name))
        if repo is None:
            return self.refuse(404, "Repository not found", "RepoNotFound")
        if action.startswith("preupload/"):
            paths = [file["path"] for file in json.loads(body)["files"]]
            found = [
                {"path": name, "uploadMode": "lfs" if name.endswith(LFS) else "regular", "shouldIgnore": False}
                for name in paths
            ]
            return self.answer({"files": found})
        if action.startswith("commit/"):
            return self.commit(repo, name, body)
        self.refuse(404, "no such call")

    def create(self, wanted: dict[str, Any]) -> None:
        kind, name = wanted.get("type") or "model", f"{wanted.get('organization') or 'writer'}/{wanted['name']}"
        url = f"{self.server.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if (kind, name) in self.server.repos:
            return self.answer({"error": "You already created this repo", "url": url}, 409)
        self.server.repos[kind, name] = Repo(wanted.get("private") or wanted.get("visibility") == "private")
        self.answer({"url": url})

    def lfs(self, wanted: dict[str, Any]) -> dict[str, Any]:
        actions = {"upload": {"href": f"{self.server.url}/lfs/{wanted['oid']}"}}
        return wanted | ({} if wanted["oid"] in self.server.blobs else {"actions": actions})

    def commit(self, repo: Repo, name: str, body: bytes) -> None:
        files = dict(repo.files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        repo.commits.append(files)
        self.answer(
            {"success": True, "commitOid": repo.sha, "commitUrl": f"{self.server.url}/{name}/commit/{repo.sha}"}
        )

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        url = urlsplit(self.path)
        path = unquote(url.path)
        if path == "/api/whoami-v2":
            known = self.token in ("writer", "reader")
            return (
                self.answer({"name": self.token, "type": "user"}) if known else self.refuse(401, "Invalid credentials.")
            )
        if "/resolve/" in path:
            where, _, rest = path.strip("/").partition("/resolve/")
            kind = "dataset" if where.startswith("datasets/") else "model"
            return self.resolve((kind, where.removeprefix("datasets/")), rest.partition("/")[2])
        kind, name, action = self.split(path)
        repo = self.server.repos.get((kind, name))
        if repo is None or (repo.private and self.token not in ("writer", "reader")):
            return self.refuse(404, "Repository not found", "RepoNotFound")
        if action == "auth-check/write" and self.token != "writer":
            return self.refuse(403, "Forbidden: you do not have write access.")
        if action.startswith("auth-check"):
            return self.answer({})
        if action.startswith("tree/"):
            below = "/".join(action.split("/")[2:])
            return self.answer(tree(repo.files, below, "recursive" in parse_qs(url.query)))
        siblings = [{"rfilename": file} for file in repo.files]
        self.answer({"id": name, "sha": repo.sha, "private": repo.private, "siblings": siblings, "tags": []})

    def split(self, path: str) -> tuple[str, str, str]:
        """Kind, id and what is wanted of /api/models/org/name/what/more."""
        _, kind, org, name, *action = [*path.strip("/").split("/"), "", "", ""]
        return KINDS.get(kind, ""), f"{org}/{name}", "/".join(action).strip("/")

    def paths_info(self, path: str, body: bytes) -> None:
        kind, name, _ = self.split(path)
        paths = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
        repo = self.server.repos[kind, name]
        self.answer([entry for entry in tree(repo.files, "", True) if entry["path"] in paths])

    def resolve(self, key: tuple[str, str], file: str) -> None:
        repo = self.server.repos.get(key)
        if repo is None or (repo.private and self.token not in ("writer", "reader")):
            return self.refuse(404, "Repository not found", "RepoNotFound")
        if file not in repo.files:
            return self.refuse(404, "Entry not found", "EntryNotFound")
        data = repo.files[file]
        self.answer(data, ETag=f'"{hashlib.sha256(data).hexdigest()}"', X_Repo_Commit=repo.sha)


def tree(files: dict[str, bytes], below: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders directly in a folder, or with `recursive` all below it."""
    prefix = f"{below}/" if below else ""
    inside = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
    found = [
        {"type": "file", "path": prefix + name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for name, data in inside.items()
        if recursive or "/" not in name
    ]
    folders = sorted({name.split("/")[0] for name in inside if "/" in name})
    return found + [{"type": "directory", "path": prefix + name, "oid": "0" * 40, "size": 0} for name in folders]

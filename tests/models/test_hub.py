"""Networks on the Hugging Face Hub, of which a small one runs here: the requests and answers are the real client's."""

import base64
import json
import threading
from collections.abc import Iterator
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import videonl
from tests.small_weights import CLIP
from videonl.cli.main import main
from videonl.errors import UserError
from videonl.models import ClipClassifier
from videonl.models.hub import is_hub_name, require_hub
from videonl.models.sharing import WRITTEN
from videonl.models.weights import Weights

REPO, SHA = "ann/tennis", "a" * 40


class Hub(ThreadingHTTPServer):
    """Keeps the files of one repository."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.got: list[str] = []


class Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def answer(self, content: object, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": SHA, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:  # http.server calls it so
        path, files = self.path.partition("?")[0], self.server.files
        if not files or REPO not in path:
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif path.startswith(f"/api/models/{REPO}/tree"):
            self.answer(
                [{"type": "file", "path": n, "size": len(c), "oid": sha1(c).hexdigest()} for n, c in files.items()]
            )
        elif path.startswith("/api/"):
            self.answer({"id": REPO, "sha": SHA, "siblings": [{"rfilename": name} for name in files]})
        else:
            name = path.rpartition("/")[2]
            self.server.got.append(name)
            self.answer(files[name], ETag=f'"{sha1(files[name]).hexdigest()}"')

    do_HEAD = do_GET  # noqa: N815  # likewise

    def do_POST(self) -> None:  # likewise
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Authorization"] == "Bearer hf_token"
        if "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
            self.answer({"files": files})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"http://{self.headers['Host']}/{REPO}/commit/{SHA}", "commitOid": SHA})
        else:
            self.answer({"url": f"http://{self.headers['Host']}/{REPO}", "errors": [], "warnings": []})

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The endpoint of this process, with a token and an empty cache."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is absent: pip install 'videonl[hub]'")
    from huggingface_hub import constants

    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    network = ClipClassifier("c2d_r50", 3, width=3)
    Weights(network.network.state_dict(), "x", network.settings, clip=CLIP, class_names=["a", "b", "c"]).save(
        tmp_path / "net.pt"
    )
    return tmp_path / "net.pt"


def test_what_is_pushed_is_loaded_and_stays_in_the_cache(
    hub: Hub, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["share", str(weights), "--out", str(tmp_path / "tennis"), "--license", "apache-2.0", "--push", REPO]
    assert main(words) == 0
    assert f"/{REPO}" in capfd.readouterr().out
    assert hub.files.keys() == {*WRITTEN} - {"evaluation.json"}
    assert f'videonl.load("hf://{REPO}")' in hub.files["README.md"].decode()
    original = videonl.load(weights, device="cpu")
    frames = original.preprocess(torch.randint(0, 256, (9, 41, 53, 3), dtype=torch.uint8))
    found = videonl.load(f"hf://{REPO}", device="cpu")
    assert {*hub.got} == {"model.safetensors", "config.json"}
    assert found.source == f"hf://{REPO}"
    with torch.inference_mode():
        assert torch.equal(found.network(frames), original.network(frames))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert main(["summary", "--checkpoint", f"hf://{REPO}"]) == 0
    assert videonl.load(Path(f"hf://{REPO}"), device="cpu").class_names == ["a", "b", "c"]


def test_without_a_hub_or_a_token_the_folder_is_written(
    hub: Hub, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["share", str(weights), "--out", str(tmp_path / "tennis"), "--push", REPO]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(words) == 2
    told = capfd.readouterr().err
    assert f"{REPO} was not uploaded (" in told and "the same command uploads it later" in told
    assert (tmp_path / "tennis" / "model.safetensors").is_file()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
    monkeypatch.delenv("HF_TOKEN")
    assert main(words) == 2
    assert "no token of the Hub is known" in capfd.readouterr().err
    assert not hub.files
    assert 'videonl.load("tennis")' not in (tmp_path / "tennis" / "README.md").read_text()
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    assert main(words) == 0
    assert "model.safetensors" in hub.files


def test_what_the_hub_has_not_is_one_line(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"hf://ann/golf is not in the cache and could not be downloaded \(") as refused:
        videonl.load("hf://ann/golf")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["hf://tennis", "hf://ann/tennis/model.ckpt", "hf://ann/ten nis"])
def test_names_that_cannot_be(name: str) -> None:
    assert is_hub_name(name)
    with pytest.raises(UserError, match=r"names no network of the Hub; write hf://user/name"):
        videonl.load(name)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videonl.models.hub.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"hf://ann/tennis needs huggingface_hub: pip install 'videonl\[hub\]'"):
        videonl.load("hf://ann/tennis")
    with pytest.raises(UserError, match=r"--push ann/tennis needs huggingface_hub"):
        require_hub("ann/tennis")
    with pytest.raises(UserError, match="--push tennis is not the name of a repository; write user/name"):
        require_hub("tennis")

"""Files from strangers: nothing in them is run, they open no other file and no address, they do not fill memory."""

import ast
import io
import json
import os
import socket
import threading
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from hiersum_hf import HierSumPipeline
from hiersum_hf.cli.main import main
from hiersum_hf.datasets.readers.feature_file import read_frame_features, stored_ids
from hiersum_hf.datasets.readers.side_files import read_features
from hiersum_hf.datasets.readers.tvsum import TVSumReader
from hiersum_hf.datasets.readers.youtube8m import add_features
from hiersum_hf.datasets.split_files import read_splits
from hiersum_hf.features.cache import stored_features
from hiersum_hf.features.text_encoder import load_text_encoder
from hiersum_hf.features.video_encoder import load_video_encoder
from hiersum_hf.files import npz_file
from hiersum_hf.hub.card import card_data
from hiersum_hf.records import Segment
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.texts.tracks import subtitle_tracks
from hiersum_hf.training.flags import read_recipe
from hiersum_hf.video.reader import iter_frames, probe
from hiersum_hf.video.writer import write_segments
from tests.makers.models import tiny_model
from tests.makers.videos import synthetic


REPO = Path(__file__).parents[1]
SOURCES = [*REPO.glob("hiersum_hf/**/*.py"), *REPO.glob("modeling/*.py"), *REPO.glob("scripts/**/*.py")]
SOURCES.remove(REPO / "scripts/quality/house.py")  # unpacks what git archived of this repository
# Calls that run what a file says, or write where it says.
NEVER = {
    *(
        "eval",
        "exec",
        "compile",
        "os.system",
        "os.popen",
        "pickle.load",
        "pickle.loads",
        "marshal.loads",
        "joblib.load",
    ),
    *("yaml.load", "yaml.full_load", "yaml.unsafe_load", "shutil.unpack_archive", "joblib.load", "shelve.open"),
}
ONLY_IN = {"h5py.File": {"h5_worker.py"}, "av.open": {"reader.py"}}  # for reading


def calls(path):
    """(name as written, call) of each call in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def constants(call):
    return {word.arg: getattr(word.value, "value", "not a constant") for word in call.keywords}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_call_gives_a_file_power(path):
    for name, call in calls(path):
        words, where = constants(call), f"{path.name}, line {call.lineno}: {name}"
        assert name not in NEVER, where
        assert not name.endswith((".extractall", ".extract")) or name == "extract.extract", where
        assert words.get("trust_remote_code", False) is False, where
        assert words.get("shell", False) is False, where
        assert name != "torch.load" or words.get("weights_only") is True, where
        assert name != "np.load" or words.get("allow_pickle") is False, where


def test_files_are_opened_in_one_place():
    """What is refused is refused there, for every command."""
    for path in REPO.glob("hiersum_hf/**/*.py"):
        for name, call in calls(path):
            if name in ONLY_IN and (len(call.args) < 2 or getattr(call.args[1], "value", "r").startswith("r")):
                assert path.name in ONLY_IN[name], f"{path.name}, line {call.lineno}: {name}"


@pytest.fixture
def address():
    """Of a server that nobody may call; the test fails if somebody does."""
    server, callers = socket.create_server(("127.0.0.1", 0)), []

    def answer():
        while True:
            try:
                connection, caller = server.accept()
            except OSError:
                return
            callers.append(caller)
            connection.close()

    threading.Thread(target=answer, daemon=True).start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    server.close()
    assert callers == []


HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
DISGUISED = {
    "list.mp4": "ffconcat version 1.0\nfile other.mp4\n",
    "net.mp4": "ffconcat version 1.0\nfile http://{address}/a.mp4\n",
    "local.m3u8": HLS.format("other.mp4"),
    "far.m3u8": HLS.format("http://{address}/a.ts"),
    "hls.ts": HLS.format("http://{address}/a.ts"),
    "stream.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "dash.mpd": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>http://{address}/a.mp4</BaseURL></MPD>',
    "words.txt": "no video at all",
}


@pytest.mark.parametrize("name", DISGUISED)
def test_a_file_that_points_to_others_is_no_video(name, address, tmp_path):
    synthetic(tmp_path / "other.mp4", [0.0, 0.04])
    path = tmp_path / name
    path.write_text(DISGUISED[name].replace("{address}", address))
    readers = [
        probe,
        subtitle_tracks,
        lambda p: next(iter_frames(p, 1)),
        lambda p: write_segments(p, [Segment(0.0, 1.0, 1.0)], tmp_path / "out.mp4"),
    ]
    for read in readers:
        with pytest.raises(ValueError, match=rf"{name}: expected a readable video"):
            read(path)
    assert main(["summarize", str(path), "--output", str(tmp_path / "out"), "--dry-run"]) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([name, "other.mp4"])


@pytest.mark.parametrize("name", ["12:30.mp4", "http:x.mp4", "pipe:0", "concat:other.mp4|other.mp4"])
def test_a_name_is_no_address(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    synthetic(tmp_path / "video.mp4", [0.0, 0.04])
    os.rename("video.mp4", name)
    assert len(list(iter_frames(name, 1000.0))) == 2


@pytest.mark.parametrize("name", ["a.mkv", "a.mov", "a.avi", "a.flv", "a.ts"])
def test_what_people_have_is_still_read(name, tmp_path):
    assert probe(synthetic(tmp_path / name, [k / 25 for k in range(25)])).width == 64


def feature_file(path, add):
    with h5py.File(path, "w") as file:
        file.attrs["sample_fps"], file.attrs["video_encoder"] = 1.0, "e"
        add(file)
    return path


def linked(file):
    file["v"] = h5py.ExternalLink("secret.h5", "/v")


def linked_below(file):
    file.create_group("v")["features"] = h5py.ExternalLink("secret.h5", "/v")
    file["v/times_s"] = np.arange(3.0)


def linked_twice(file):
    file["w"] = h5py.ExternalLink("secret.h5", "/")
    file["v"] = h5py.SoftLink("/w/v")


def stored_outside(file):
    file.create_dataset("v", (3, 4), "f4", external=[("secret.h5", 0, 48)])


def virtual(file):
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "v", (3, 4))
    file.create_virtual_dataset("v", layout)


def huge(file):
    file.create_dataset("v", (2**40, 1024), "f4", chunks=(1, 1024))


REFUSED = {
    linked: r"a\.h5: expected all data in the file itself, found a link out of it, 'v'",
    linked_below: r"a\.h5: .* a link out of it, 'v/features'",
    linked_twice: r"a\.h5: .* a link out of it, 'w'",
    stored_outside: r"a\.h5, video v: .* found an external one, whose numbers are in other files",
    virtual: r"a\.h5, video v: .* found a virtual one, whose numbers are in other files",
    huge: r"a\.h5, video v: expected at most \d+ bytes",
}


@pytest.mark.parametrize("add", REFUSED, ids=lambda add: add.__name__)
def test_hdf5_gives_only_what_is_in_the_file(add, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # HDF5 looks for the others here
    with h5py.File("secret.h5", "w") as file:
        file["v"] = np.ones((3, 4), np.float32)
    path = feature_file(tmp_path / "a.h5", add)
    with pytest.raises(ValueError, match=REFUSED[add]):
        read_frame_features(path, "v")
    with pytest.raises(ValueError, match=r"a\.h5"):
        TVSumReader(path).read("v")


def test_links_inside_a_file_are_as_good_as_data(tmp_path):
    def add(file):
        file["a"] = np.ones((3, 4), np.float32)
        file["soft"], file["hard"] = h5py.SoftLink("/a"), file["a"]
        file.create_group("loop")["again"] = file["/"]

    path = feature_file(tmp_path / "a.h5", add)
    assert stored_ids(path) == {"a", "soft", "hard", "loop"}
    for name in ("a", "soft", "hard"):
        assert read_frame_features(path, name)[0]["video_features"].sum() == 12


def test_features_are_never_added_to_another_file(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_group("v")
    before = (tmp_path / "other.h5").read_bytes()
    with h5py.File(tmp_path / "mr_hisum.h5", "w") as file:
        file["video_1"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/v")
    with pytest.raises(ValueError, match="a link out of it, 'video_1'"):
        add_features(tmp_path / "mr_hisum.h5", tmp_path / "out.h5", [], {"video_1": "AbCd"})
    assert (tmp_path / "other.h5").read_bytes() == before
    assert not (tmp_path / "out.h5").exists()


def test_a_bomb_of_features_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_file, "MAX_NPZ_BYTES", 2**20)
    np.savez_compressed(tmp_path / "bomb.npz", video_features=np.zeros((2**10, 2**10), np.float32))
    assert (tmp_path / "bomb.npz").stat().st_size < 2**14
    with pytest.raises(ValueError, match=r"bomb\.npz: .*more than 1048576 bytes unpacked"):
        read_features(tmp_path / "bomb.npz")


@pytest.mark.parametrize(("at", "value"), [(8, 1), (10, 77)], ids=["encrypted", "an unknown compression"])
def test_members_that_cannot_be_unpacked_are_named(at, value, tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, video_features=np.ones((2, 3)))
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\x01\x02") + at] = value
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: expected an \.npz file of arrays"):
        read_features(file)
    assert stored_features(file) is None


def test_an_array_that_claims_too_much_is_named(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (2**50,)})
    with zipfile.ZipFile(tmp_path / "claim.npz", "w") as archive:
        archive.writestr("video_features.npy", head.getvalue())
    with pytest.raises(ValueError, match=r"claim\.npz: expected an \.npz file of arrays"):
        read_features(tmp_path / "claim.npz")


MANY = f"a: &a [{', '.join('x' * 101)}]\ntrain_keys: [{', '.join(['*a'] * 101)}]\ntest_keys: [b]\n"


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {train_keys: [a], test_keys: [b]}\n<<: *a\n",
        "train_keys: !!python/object/apply:os.mkdir [ran]\ntest_keys: [b]\n",
        MANY,  # more than 10,000 values in 700 letters
    ],
)
def test_yaml_runs_nothing_and_does_not_grow(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("splits.yml").write_text(text)
    with pytest.raises(ValueError, match=r"splits\.yml: expected a mapping"):
        read_splits("splits.yml")
    with pytest.raises(ValueError, match=r"splits\.yml: expected a recipe"):
        read_recipe(Path("splits.yml"))
    Path("README.md").write_text(f"---\n{text}---\n")
    with pytest.raises(ValueError, match=r"README\.md: expected metadata in YAML"):
        card_data(tmp_path)
    assert not Path("ran").exists()


MARKER = "import pathlib\npathlib.Path('ran').touch()\n"


@pytest.fixture
def checkpoint(tmp_path, demo_extractor, monkeypatch):
    """A complete one, whose own code leaves the file `ran` where it is run."""
    monkeypatch.chdir(tmp_path)
    model = tiny_model(video_dim=32, text_dim=32)
    HierSumPipeline(model, feature_extractor=demo_extractor).save_pretrained("run")
    code = list(Path("run").glob("*.py"))
    assert len(code) > 3
    for file in code:
        file.write_text(MARKER + file.read_text())
    return Path("run")


def test_the_code_of_a_checkpoint_is_not_run(checkpoint):
    model, _ = load_checkpoint(checkpoint)
    assert type(model).__module__ == "hiersum_hf.modeling.modeling_hiersum"
    assert not Path("ran").exists()


def test_pickled_weights_are_not_read(checkpoint):
    model, _ = load_checkpoint(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    torch.save(model.state_dict(), checkpoint / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"run: expected a complete HierSum checkpoint"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("told", ["kernels-community/flash-attn2", {"": "kernels-community/flash-attn2"}])
def test_kernels_of_the_hub_are_not_asked_for(told, checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"attn_implementation": told}))
    with pytest.raises(ValueError, match="expected attention by Transformers itself, found code from the Hub"):
        load_checkpoint(checkpoint)


def test_an_index_and_an_adapter_name_safetensors_beside_them(checkpoint):
    model, _ = load_checkpoint(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    for file in ("none.txt", "below/none.safetensors"):
        index = {"metadata": {}, "weight_map": dict.fromkeys(model.state_dict(), file)}
        (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(ValueError, match=r"run: expected \.safetensors files beside"):
            load_checkpoint(checkpoint)
    torch.save({}, checkpoint / "adapter_model.bin")
    for kind in ("LORA", "XLORA"):
        adapter = {"peft_type": kind, "base_model_name_or_path": "org/base"}
        (checkpoint / "adapter_config.json").write_text(json.dumps(adapter))
        with pytest.raises(ValueError, match=r"run: expected a LoRA adapter in adapter_model\.safetensors"):
            load_checkpoint(checkpoint)
        (checkpoint / "adapter_model.safetensors").touch()  # the other kind is refused even so


@pytest.mark.parametrize("load", [load_video_encoder, load_text_encoder])
def test_the_code_of_an_encoder_is_not_run(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("enc").mkdir()
    Path("enc/evil.py").write_text(MARKER)
    names = '{"AutoConfig": "evil.C", "AutoModel": "evil.M", "AutoImageProcessor": "evil.P"}'
    Path("enc/config.json").write_text(f'{{"model_type": "evil", "auto_map": {names}}}')
    Path("enc/preprocessor_config.json").write_text(f'{{"image_processor_type": "P", "auto_map": {names}}}')
    with pytest.raises(ValueError, match="enc"):
        load("enc")
    assert not Path("ran").exists()

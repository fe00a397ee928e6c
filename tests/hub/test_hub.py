"""Pushing over real HTTP to a Hub on this machine, and loading from it where the package is not installed."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import parse_eval_result_entries

from hiersum_hf import HierSumPipeline
from hiersum_hf.cli.main import main
from hiersum_hf.evaluation.evaluate import evaluate_scores
from hiersum_hf.hub.benchmark import ENTRIES, write_benchmark
from hiersum_hf.hub.card import write_card
from hiersum_hf.hub.push import assemble_run, claim_repository, push
from hiersum_hf.results import Results
from hiersum_hf.scoring.checkpoint import load_checkpoint
from hiersum_hf.scoring.network import predict_scores
from hiersum_hf.training.lora import add_lora
from tests.makers.commands import SMALL, launch
from tests.makers.data_sets import prepared, write_sets
from tests.makers.hub_server import HubServer
from tests.makers.models import tiny_model
from tests.makers.processes import NO_PACKAGE


REPO = Path(__file__).parents[2]
CODE = [
    f"{name}_hiersum.py"
    for name in ("attention", "configuration", "errors", "feature_extraction", "inputs", "levels", "losses", "modeling")
]
COMPLETE = {
    *("config.json", "preprocessor_config.json", "model.safetensors", "pipeline_hiersum.py", "README.md", "LICENSE"),
    *("recipe.yaml", "results.json", "scores.png"),
    *(name for name in CODE if (REPO / "modeling" / name).exists()),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory, demo_records, demo_extractor):
    """What a finished run leaves, with pickles and checkpoints of the Trainer beside it."""
    folder, records = tmp_path_factory.mktemp("runs") / "run", demo_records[:4]
    model = tiny_model(video_dim=32, text_dim=32, default_level="both", trained_levels=["child", "parent"])
    HierSumPipeline(model, feature_extractor=demo_extractor).save_pretrained(folder)
    scores = {name: found["scores"] for name, found in predict_scores(model, demo_extractor, records).items()}
    results = evaluate_scores(records, scores, scorer="checkpoint", dataset="demo", part="test", level="both")
    results.write(folder / "results.json")
    write_card(folder, results, demo_extractor)
    (folder / "recipe.yaml").write_text("data: demo\n")
    (folder / "scores.png").write_bytes(b"\x89PNG")
    torch.save({"secret": 1}, folder / "training_args.bin")
    (folder / "checkpoint-4").mkdir()
    torch.save({}, folder / "checkpoint-4/optimizer.pt")
    return folder


def test_a_push_is_one_commit_with_all_that_is_needed_and_no_pickle(hub, run):
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    assert push(run, "org/hiersum", private=True) == f"{hub.url}/org/hiersum"
    repo = hub.repos["model", "org/hiersum"]
    assert (len(repo.commits), set(repo.files), repo.private) == (2, COMPLETE, True)
    assert repo.files["results.json"] == (run / "results.json").read_bytes()
    assert repo.files["LICENSE"] == (REPO / "LICENSE").read_bytes()
    assert b'from_pretrained("org/hiersum"' in repo.files["README.md"]
    assert before == {file: file.stat().st_mtime_ns for file in run.rglob("*")}, "the run was changed"


def test_a_second_push_replaces_the_first_in_one_commit(hub, run, tmp_path):
    push(run, "org/hiersum")
    bare = shutil.copytree(run, tmp_path / "bare", ignore=shutil.ignore_patterns("results.json", "scores.png"))
    push(bare, "org/hiersum")
    repo = hub.repos["model", "org/hiersum"]
    assert len(repo.commits) == 3
    assert set(repo.files) == COMPLETE - {"results.json", "scores.png"}, "figures of other weights would stay"
    assert b"comes without results.json" in repo.files["README.md"]


def test_a_push_leaves_folders_alone_that_no_push_made(hub, run, demo_records, tmp_path):
    """Weights of a teacher, an adapter for a language, somebody's code: a pattern's * stands for folders too."""
    push(run, "org/hiersum")
    theirs = {"teacher/model.safetensors", "lora-de/adapter_config.json", "src/my_hiersum.py", "notes/LICENSE"}
    files = hub.repos["model", "org/hiersum"].files
    files.update(dict.fromkeys([*theirs, "model-00001-of-00002.safetensors", "old_hiersum.py"], b"x"))
    push(run, "org/hiersum")
    assert set(hub.repos["model", "org/hiersum"].files) == COMPLETE | theirs
    folder = prepared(tmp_path / "data", demo_records[:15], "demo")
    push(folder, "org/data")
    hub.repos["dataset", "org/data"].files.update({"data-extra/more.parquet": b"x", "data-00009.parquet": b"x"})
    push(folder, "org/data")
    files = set(hub.repos["dataset", "org/data"].files)
    assert files == {"data-00000.parquet", "dataset_info.json", "report.json", "README.md", "data-extra/more.parquet"}


@pytest.mark.slow
def test_a_public_repository_does_not_get_what_is_private(hub, run):
    push(run, "org/hiersum")
    with pytest.raises(ValueError, match="org/hiersum: expected a private repository, found a public one"):
        push(run, "org/hiersum", private=True)
    assert len(hub.repos["model", "org/hiersum"].commits) == 2
    push(run, "org/own", private=True)
    push(run, "org/own", private=True)


@pytest.mark.parametrize("moment", ["drop_uploads", "drop_commits"])
def test_a_broken_connection_leaves_the_repository_as_it_was(hub, run, tmp_path, monkeypatch, moment):
    push(run, "org/hiersum")
    other = tmp_path / "other"
    model, extractor = load_checkpoint(run)
    with torch.no_grad():
        model.frame_head.output.weight.add_(1)
    HierSumPipeline(model, feature_extractor=extractor).save_pretrained(other)
    setattr(hub, moment, True)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(ConnectionError, match=r"org/hiersum: .*the push broke off; .*whole or not at all"):
        push(other, "org/hiersum")
    assert len(hub.repos["model", "org/hiersum"].commits) == 2
    setattr(hub, moment, False)
    push(other, "org/hiersum")
    assert len(hub.repos["model", "org/hiersum"].commits) == 3


@pytest.mark.parametrize(
    ("token", "message"),
    [(None, "Run `hf auth login`"), ("stale", "Run `hf auth login`"), ("reader", "may write there")],
)
def test_without_token_or_rights_it_says_what_to_do(hub, monkeypatch, token, message):
    push_token = {"token": token} if token else {}
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PermissionError, match=f"org/hiersum.*{message}"):
        claim_repository("org/hiersum", **push_token)
    assert not hub.repos


def test_a_reader_may_not_write_to_what_is_there(hub, run):
    push(run, "org/hiersum")
    with pytest.raises(PermissionError, match="may write there"):
        claim_repository("org/hiersum", token="reader")


@pytest.mark.parametrize("repo_id", ["hiersum", "a/b/c", "org/hier sum", "org/--"])
def test_bad_ids_are_refused(hub, repo_id):
    with pytest.raises(ValueError, match=repo_id):
        claim_repository(repo_id)
    assert not hub.repos


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"config.json": b'{"model_type": "bert"}', "model.safetensors": b""}, "model_type 'bert'"),
        ({"a.h5": b""}, "a.h5"),
        ({"config.json": b"<html>"}, "config.json"),
        ({"config.json": b'["hiersum"]'}, "config.json"),
    ],
)
def test_a_repository_of_something_else_is_left_alone(hub, run, files, found):
    claim_repository("org/bert")
    hub.repos["model", "org/bert"].commits.append(files)
    with pytest.raises(
        ValueError, match=rf"org/bert: expected a new repository or one with a HierSum model, found {found}"
    ):
        push(run, "org/bert")
    assert hub.repos["model", "org/bert"].files == files


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin"])
def test_a_pickle_is_not_read(hub, run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    fake = shutil.copytree(run, tmp_path / "fake", ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))
    torch.save(Bomb(), fake / name)
    with pytest.raises(ValueError, match=rf"fake: expected weights as model.safetensors, found {name}\. Pickles"):
        push(fake, "org/fake")
    (fake / name).rename(fake / "adapter_model.bin")
    (fake / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    shutil.copy(run / "model.safetensors", fake)
    with pytest.raises(ValueError, match=r"fake: expected weights as adapter_model.safetensors, found adapter_model"):
        push(fake, "org/fake")
    assert not Path("exploded").exists()
    assert not hub.repos


def test_what_is_no_checkpoint_is_refused_before_the_hub_is_asked(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: expected the folder of a run"):
        push(tmp_path / "nowhere", "org/hiersum")
    other = shutil.copytree(run, tmp_path / "other")
    (other / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match=r"other: expected a checkpoint with model_type 'hiersum', found 'bert'"):
        push(other, "org/hiersum")
    with pytest.raises(ValueError, match="expected an adapter for base org/base, found an ordinary checkpoint"):
        push(run, "org/hiersum", base="org/base")
    half = shutil.copytree(run, tmp_path / "half")
    results = json.loads((half / "results.json").read_text())
    (half / "results.json").write_text(json.dumps({key: results[key] for key in results if key != "ci95"}))
    with pytest.raises(ValueError, match=r"results\.json: expected the results of an evaluation, found no ci95"):
        push(half, "org/hiersum")
    (half / "README.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(ValueError, match=r"README\.md: expected metadata in YAML"):
        push(half, "org/hiersum")


def test_a_card_of_other_terms_is_kept(run, tmp_path):
    """Converted weights are not the project's to license."""
    other = shutil.copytree(run, tmp_path / "other")
    (other / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\nNot for sale.\n")
    (tmp_path / "target").mkdir()
    assemble_run(other, tmp_path / "target")
    assert (tmp_path / "target/README.md").read_text() == (other / "README.md").read_text()
    assert not (tmp_path / "target/LICENSE").exists()


def test_a_card_of_ours_is_written_anew_with_the_terms_of_its_run(run, tmp_path):
    """A run that started from weights of other terms."""
    other = shutil.copytree(run, tmp_path / "other")
    (other / "README.md").write_text("---\nlicense: cc-by-nc-4.0\nlibrary_name: hiersum-hf\n---\n")
    (tmp_path / "target").mkdir()
    assemble_run(other, tmp_path / "target", "org/mine")
    card = (tmp_path / "target/README.md").read_text()
    assert "license: cc-by-nc-4.0" in card
    assert 'from_pretrained("org/mine"' in card
    assert not (tmp_path / "target/LICENSE").exists()


def test_other_terms_do_not_keep_the_licence_of_an_earlier_push(hub, run, tmp_path):
    push(run, "org/hiersum")
    other = shutil.copytree(run, tmp_path / "other")
    (other / "README.md").write_text("---\nlicense: unknown\n---\n")
    push(other, "org/hiersum")
    assert "LICENSE" not in hub.repos["model", "org/hiersum"].files


@pytest.fixture(scope="module")
def adapter(run):
    """A LoRA adapter of the run, which is a folder on this machine."""
    model, extractor = load_checkpoint(run)
    model.name_or_path = str(run)
    network = add_lora(model, 2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    folder = run.parent / "adapter"
    for part in (network, model.config, extractor):
        part.save_pretrained(folder)
    return folder


def test_an_adapter_is_pushed_with_the_hub_id_of_its_base(run, adapter, tmp_path):
    with pytest.raises(ValueError, match=r"adapter: expected an adapter whose base is on the Hub.*--base org/name"):
        assemble_run(adapter, tmp_path)
    assemble_run(adapter, tmp_path, "org/lora", base="org/hiersum")
    named = json.loads((tmp_path / "adapter_config.json").read_text())
    assert named["base_model_name_or_path"] == "org/hiersum"
    with pytest.raises(
        ValueError, match="repository of the adapter's own, found org/hiersum, its base, which would be"
    ):
        assemble_run(adapter, tmp_path, "org/HierSum", base="org/hiersum")
    assert "LoRA adapter of `org/hiersum`" in (tmp_path / "README.md").read_text()
    assert not (tmp_path / "model.safetensors").exists()


def test_a_prepared_data_set_goes_without_the_paths_of_this_machine(hub, demo_records, tmp_path):
    folder = prepared(tmp_path / "data", demo_records[:15], "demo")
    info = json.loads((folder / "dataset_info.json").read_text())
    info["reader"] = "ReplayReader(path=PosixPath('/home/me/curves.json'), threshold=0.2, quantile=None, intro_bins=2)"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    push(folder, "org/data")
    (_, files) = hub.repos["dataset", "org/data"].commits
    assert set(files) == {"data-00000.parquet", "dataset_info.json", "report.json", "README.md"}
    assert json.loads(files["dataset_info.json"])["reader"] == "ReplayReader(threshold=0.2, intro_bins=2)"
    push(folder, "org/data")
    (folder / "report.json").unlink()
    with pytest.raises(ValueError, match="not finished"):
        push(folder, "org/data")


def test_a_data_set_becomes_a_benchmark_that_a_checkpoint_enters(hub, run, demo_records, tmp_path):
    folder, results = prepared(tmp_path / "data", demo_records[:15], "demo"), Results.read(run / "results.json")
    theirs = "\n## Terms\nAsk us.\n"
    with (folder / "README.md").open("a") as card:
        card.write(theirs)
    write_benchmark(folder, replace(results, command="hiersum evaluate --data /home/me"))
    once = (folder / "README.md").read_text()
    write_benchmark(folder, results)
    assert (folder / "README.md").read_text() == once
    assert theirs in once
    for name in ("random", "position", "human", "oracle"):
        assert f"| {name} | {results.baselines[name].metrics['captured']:.4f} |" in once
    push(folder, "org/bench")
    data = hub.repos["dataset", "org/bench"]
    assert not any(b"/home/me" in file for file in data.files.values())
    tasks = yaml.safe_load(data.files["eval.yaml"])
    assert {*tasks} == {"name", "description", "evaluation_framework", "tasks"}
    assert {task["id"] for task in tasks["tasks"]} == {*results.ci95}
    assert all((task["config"], task["split"]) == ("default", "videos") for task in tasks["tasks"]), "as in its card"

    push(run, "org/hiersum", benchmark="org/bench")
    files = hub.repos["model", "org/hiersum"].files
    assert set(files) == COMPLETE | {ENTRIES}
    entered = parse_eval_result_entries(yaml.safe_load(files[ENTRIES]))
    assert {one.task_id: one.value for one in entered} == {name: results.metrics[name] for name in results.ci95}
    assert {(one.dataset_id, one.dataset_revision) for one in entered} == {("org/bench", data.sha)}
    assert {one.source_url for one in entered} == {f"{hub.url}/org/hiersum/blob/main/results.json"}
    push(run, "org/hiersum")
    assert set(hub.repos["model", "org/hiersum"].files) == COMPLETE, "figures of other weights would stay"


def test_a_benchmark_takes_results_of_its_own_videos_alone(hub, run, demo_records, tmp_path):
    folder, results = prepared(tmp_path / "data", demo_records[:15], "demo"), Results.read(run / "results.json")
    with pytest.raises(ValueError, match=r"org/bench: expected a benchmark, a data set on the Hub with eval\.yaml and"):
        push(run, "org/hiersum", benchmark="org/bench")
    push(folder, "org/bench")
    with pytest.raises(ValueError, match=r"org/bench: expected a benchmark, a data set on the Hub with eval\.yaml and"):
        push(run, "org/hiersum", benchmark="org/bench")
    write_benchmark(folder, replace(results, part="validation", data_fingerprint="other"))
    push(folder, "org/bench")
    told = "part validation, data_fingerprint other, found part test"
    with pytest.raises(ValueError, match=rf"org/bench: expected results\.json of its own videos and protocol, {told}"):
        push(run, "org/hiersum", benchmark="org/bench")
    with pytest.raises(ValueError, match=r"data: expected a checkpoint for benchmark org/bench, found a data set"):
        push(folder, "org/bench", benchmark="org/bench")
    bare = shutil.copytree(run, tmp_path / "bare", ignore=shutil.ignore_patterns("results.json"))
    with pytest.raises(ValueError, match=r"--benchmark org/bench: expected a run with results\.json, found none"):
        push(bare, "org/hiersum", benchmark="org/bench")
    assert [name for _, name in hub.repos] == ["org/bench"]


TRAIN = ["--data", "set.h5", "--output_dir", "run", *SMALL]
TO = ["--push_to_hub", "True", "--hub_model_id", "org/hiersum"]


@pytest.mark.slow
def test_a_run_survives_a_failed_push_and_says_how_to_try_again(hub, demo_records, tmp_path, monkeypatch, capsys):
    write_sets(tmp_path, demo_records)
    hub.drop_uploads = True
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert launch(tmp_path, [*TRAIN, *TO, "--save_strategy", "steps", "--save_steps", 2], monkeypatch) == 1
    err = capsys.readouterr().err
    assert "the push broke off" in err
    assert "The run is complete. Push it: hiersum push run org/hiersum" in err
    repo = hub.repos["model", "org/hiersum"]
    assert len(repo.commits) == 1, "neither the run nor a checkpoint of the Trainer"
    hub.drop_uploads = False
    assert main(["push", "run", "org/hiersum"]) == 0
    assert (len(repo.commits), set(repo.files)) == (2, COMPLETE)
    results = json.loads(repo.files["results.json"])
    assert results["labels"]["rule"] == {}
    assert 0 < results["labels"]["positive_rate"] < 1
    assert repo.files["scores.png"].startswith(b"\x89PNG")
    assert b"![" in repo.files["README.md"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--push_to_hub", "True"], "push_to_hub: expected False, found True without --hub_model_id"),
        (
            [*TO, "--hub_token", "hf_secret"],
            "hub_token: expected none, because recipe.yaml and the card show all flags",
        ),
        (["--hub_model_id", "org/hiersum"], "hub_model_id: expected it left out. A run is pushed once, at its end"),
        ([*TO, "--hub_strategy", "end"], "hub_strategy: expected it left out"),
        ([*TO, "--folds", "True"], "push_to_hub: expected False with --folds True"),
        (["--push_to_hub", "True", "--hub_model_id", "hiersum"], "hiersum: expected a Hub id 'org/name'"),
        ([*TO, "--checkpoint", ".", "--lora_r", "2"], "expected a --checkpoint on the Hub for an adapter"),
        ([*TO, "--checkpoint", "org/hiersum", "--lora_r", "2"], "repository of the adapter's own, found org/hiersum"),
    ],
)
def test_flags_of_a_push_are_refused_before_anything_is_read(hub, tmp_path, monkeypatch, capsys, words, message):
    assert launch(tmp_path, ["--data", "no.h5", "--output_dir", "run", "--use_cpu", True, *words], monkeypatch) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "hf_secret" not in err
    assert not hub.repos


def test_a_run_without_rights_ends_before_the_training(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "reader")
    assert launch(tmp_path, ["--data", "no.h5", "--output_dir", "run", "--use_cpu", True, *TO], monkeypatch) == 2
    assert "expected a token that may write there" in capsys.readouterr().err


PUSH = """
import sys
from datasets import load_dataset
from hiersum_hf import HierSumFeatureExtractor, HierSumModel, HierSumPipeline
from hiersum_hf.hub.push import push
run, adapter, data = sys.argv[1:]
push(adapter, "org/lora", base="org/hiersum")
push(data, "org/data")
model, extractor = HierSumModel.from_pretrained(run), HierSumFeatureExtractor.from_pretrained(run)
model.push_to_hub("org/parts")
extractor.push_to_hub("org/parts")
HierSumPipeline(model, feature_extractor=extractor).push_to_hub("org/pipeline")
"""
LOAD = """
from transformers import AutoFeatureExtractor, AutoModel, AutoProcessor, pipeline
trust = dict(trust_remote_code=True)
video = dict(np.load(sys.argv[1]))
task = "video-summarization"
found = dict()
for name in ("org/hiersum", "org/pipeline"):
    found[name] = pipeline(task, model=name, device="cpu", **trust)(video)["scores"]
for name in ("org/hiersum", "org/parts", "org/lora"):
    model = AutoModel.from_pretrained(name, **trust).eval()
    processor = AutoProcessor.from_pretrained(name, **trust)
    assert type(AutoFeatureExtractor.from_pretrained(name, **trust)) is type(processor)
    inputs = processor(**dict((key, [value]) for key, value in video.items()), level="joint")
    found["logits of " + name] = model(**inputs).frame_logits.detach().numpy()[0]

model = AutoModel.from_pretrained("org/hiersum", **trust)
model.train()
model(**inputs).frame_logits.mean().backward()
torch.optim.SGD(model.parameters(), 0.1).step()
model.eval().push_to_hub("org/second")
processor.push_to_hub("org/second")
found["logits of org/second"] = model(**inputs).frame_logits.detach().numpy()[0]
np.savez(sys.argv[2], **found)

from datasets import load_dataset
rows = load_dataset("org/data", split="videos")
print(json.dumps([rows.num_rows, rows[0]["video_id"]]))
"""
SECOND = """
from transformers import AutoFeatureExtractor, AutoModel
trust = dict(trust_remote_code=True)
video = dict(np.load(sys.argv[1]))
model = AutoModel.from_pretrained("org/second", **trust).eval()
inputs = AutoFeatureExtractor.from_pretrained("org/second", **trust)(
    **dict((key, [value]) for key, value in video.items()), level="joint")
np.savez(sys.argv[2], second=model(**inputs).frame_logits.detach().numpy()[0])
"""
WITH_PACKAGE = """
import sys
import numpy as np, torch
import hiersum_hf
from hiersum_hf.scoring.checkpoint import load_checkpoint
from transformers import AutoModel, AutoProcessor
video = dict(np.load(sys.argv[1]))
model, processor = AutoModel.from_pretrained("org/hiersum").eval(), AutoProcessor.from_pretrained("org/hiersum")
assert type(model) is hiersum_hf.HierSumModel and type(processor) is hiersum_hf.HierSumFeatureExtractor
lora, _ = load_checkpoint("org/lora")
inputs = processor(**dict((key, [value]) for key, value in video.items()), level="joint")
np.savez(sys.argv[2], model=model(**inputs).frame_logits.detach().numpy()[0],
    lora=lora(**inputs).frame_logits.detach().numpy()[0],
    pipeline=hiersum_hf.pipeline("org/hiersum", device="cpu")(video).scores["values"])
"""


@pytest.mark.slow
def test_what_was_pushed_gives_the_same_scores_where_the_package_is_missing(run, adapter, demo_records, tmp_path):
    record = demo_records[20]
    video = {
        "video_features": record.video_features,
        "frame_times_s": record.frame_times_s,
        "text_features": record.text_features,
        "text_times_s": np.array([(s.start_s, s.end_s) for s in record.sentences]),
        "description_features": record.description_features,
    }
    np.savez(tmp_path / "video.npz", **video)
    data = prepared(tmp_path / "data", demo_records[:15], "demo")
    places = iter(range(9))

    def fresh(server, words, **changes):
        """What a new process with an empty cache prints."""
        env = {"PATH": os.environ["PATH"], **server.environment(tmp_path / f"home{next(places)}"), **changes}
        done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def alone(code):
        return ["-c", NO_PACKAGE.format(repo=str(REPO)) + code, tmp_path / "video.npz", tmp_path / "found.npz"]

    with HubServer() as server:
        printed = fresh(server, [REPO / "scripts/export_to_hub.py", run, "org/hiersum"])
        assert printed == f"Pushed: {server.url}/org/hiersum\n"
        fresh(server, ["-c", PUSH, run, adapter, data])
        assert all(len(repo.commits) <= 3 for repo in server.repos.values())
        rows, first = json.loads(fresh(server, alone(LOAD)).splitlines()[-1])
        assert (rows, first) == (15, demo_records[0].video_id)
        found = dict(np.load(tmp_path / "found.npz"))
        fresh(server, alone(SECOND))
        second = np.load(tmp_path / "found.npz")["second"]
        assert {name for name in server.repos["model", "org/second"].files if name.endswith(".py")} >= COMPLETE & {
            *CODE
        }
        fresh(server, ["-c", WITH_PACKAGE, tmp_path / "video.npz", tmp_path / "found.npz"], HF_TOKEN="")
        here = dict(np.load(tmp_path / "found.npz"))

    def logits(folder):
        model, extractor = load_checkpoint(folder)
        inputs = extractor(**{key: [value] for key, value in video.items()}, level="joint")
        return model(**inputs).frame_logits.detach().numpy()[0]

    model, extractor = load_checkpoint(run)
    scores = HierSumPipeline(model, feature_extractor=extractor, device="cpu")(video).scores["values"]
    expected = {"org/hiersum": scores, "org/pipeline": scores, "logits of org/lora": logits(adapter)}
    expected |= dict.fromkeys(("logits of org/hiersum", "logits of org/parts"), logits(run))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(second, found["logits of org/second"], atol=1e-6)
    assert np.abs(second - logits(run)).max() > 1e-4, "the step moved nothing"
    assert np.abs(logits(adapter) - logits(run)).max() > 1e-4, "the adapter does nothing"
    for name, values in {"model": logits(run), "lora": logits(adapter), "pipeline": scores}.items():
        np.testing.assert_allclose(here[name], values, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_prepared_data_set_of_the_hub_is_evaluated_by_its_name(hub, demo_records, tmp_path, monkeypatch, capsys):
    folder = prepared(tmp_path / "data", demo_records[:15], "tvsum")
    push(folder, "org/data")
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "tvsum", "--scorer", "uniform", "--json", "--data"]
    figures = []
    for data in (str(folder), "org/data", "hf://datasets/org/data@main"):
        assert main([*words, data]) == 0
        figures.append(json.loads(capsys.readouterr().out)["metrics"])
    assert figures[0] == figures[1] == figures[2]
    assert main([*words, "org/none"]) == 2
    assert "org/none: expected a folder here, or a prepared data set on the Hub, found no data set" in (
        capsys.readouterr().err
    )

"""TVSum's and SumMe's texts lie in other files: a row given to the wrong moment would teach nonsense in silence."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pysubs2
import pytest

from hiersum_hf.datasets.readers.pickles import convert_pickled_arrays
from hiersum_hf.datasets.readers.tvsum import TVSumReader, read_tvsum
from hiersum_hf.datasets.readers.tvsum_ratings import read_ratings
from hiersum_hf.datasets.readers.tvsum_texts import POSITIONAL, positional_spans
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor, times_to_spans
from hiersum_hf.records import Encoders, Sentence
from hiersum_hf.scoring.collator import HierSumCollator
from hiersum_hf.texts.subtitles import write_srt
from tests.makers.tvsum import write_group


ROWS = np.arange(9, dtype=np.float32).reshape(3, 3)
ROBERTA = "some/roberta"


@pytest.fixture
def files(tmp_path):
    """Paths of a feature file (video_1 to video_3: 5 frames at 2 a second, frame 2 important), texts and captions."""
    with h5py.File(tmp_path / "eccv16_dataset_summe_google_pool5.h5", "w") as file:
        for k in (1, 2, 3):
            write_group(file, f"video_{k}", video_name=np.bytes_(f"Jump {k}"))
    return tmp_path


@pytest.fixture
def h5(files):
    return files / "eccv16_dataset_summe_google_pool5.h5"


def text_file(path, **arrays):
    with h5py.File(path / "text.h5", "w") as file:
        for name, rows in arrays.items():
            file[name] = rows
    return path / "text.h5"


def caption_file(path, times, texts=None, name="video_1", **more):
    texts = [f"Sentence {j}." for j in range(len(times))] if texts is None else texts
    (path / "captions.json").write_text(json.dumps({name: {"timestamps": times, "sentences": texts} | more}))
    return path / "captions.json"


def spans_of(record):
    return times_to_spans(record.frame_times_s, np.array([(s.start_s, s.end_s) for s in record.sentences])).tolist()


@pytest.mark.parametrize(
    ("num_frames", "num_texts", "spans"),
    [
        (10, 4, [[0, 3], [3, 6], [6, 9], [9, 10]]),
        (10, 5, [[0, 2], [2, 4], [4, 6], [6, 8], [8, 10]]),
        (10, 6, [[0, 2], [2, 4], [4, 6], [6, 8], [8, 10], [10, 10]]),
        (2, 4, [[0, 1], [1, 2], [2, 2], [2, 2]]),
        (1, 3, [[0, 1], [1, 1], [1, 1]]),
        (3, 1, [[0, 3]]),
    ],
)
def test_positional_times_mean_exactly_these_frames(tmp_path, num_frames, num_texts, spans):
    """c = ceil(N / M) frames a row, worked by hand; what is stored are times, and these must give the frames back."""
    assert positional_spans(num_frames, num_texts).tolist() == spans
    n = 15 * num_frames - 7
    with h5py.File(tmp_path / "set.h5", "w") as file:
        write_group(file, "video_1", n_frames=n, shots=((0, n - 1),), fps=29.97)
    rows = np.ones((num_texts, 3), np.float32)
    text = text_file(tmp_path, video_1=rows)
    reader = TVSumReader(tmp_path / "set.h5", text_features=text, text_encoder=ROBERTA, alignment=POSITIONAL)
    record = reader.read("video_1")
    assert len(record.frame_times_s) == num_frames
    expected = [span if span[0] < span[1] else [num_frames - 1] * 2 for span in spans]  # empty ones are at the last
    assert spans_of(record) == expected
    assert np.array_equal(record.text_features, rows)
    assert {s.text for s in record.sentences} == {""}
    assert record.sentence_labels.tolist() == [max(record.frame_labels[a:b], default=-100) for a, b in expected]


def test_a_converted_pickle_becomes_sentences_with_labels(files, h5):
    """From the file that A2Summ hands out to what the collator takes; the videos go by their SumMe names there."""
    np.save(files / "text_roberta.npy", {"Jump 1": ROWS, "Jump 2": np.zeros(0, np.float32)})
    with pytest.raises(ValueError, match=r"text_roberta\.npy: expected an \.h5, found a pickle; .*convert_pickled_arr"):
        TVSumReader(h5, text_features=files / "text_roberta.npy", text_encoder=ROBERTA, alignment=POSITIONAL)
    text = convert_pickled_arrays(files / "text_roberta.npy")
    reader = TVSumReader(h5, text_features=text, text_encoder=ROBERTA, alignment=POSITIONAL)
    assert reader.video_ids == ["video_1", "video_2", "video_3"]
    one, two, three = map(reader.read, reader.video_ids)
    assert one.sentences == (Sentence("", 0.0, 1.0), Sentence("", 1.0, 2.0), Sentence("", 2.0, 64 / 30))
    assert np.array_equal(one.text_features, ROWS)
    assert one.sentence_labels.tolist() == [0, 1, 0]
    assert one.source == f"{h5}; text features {text}, a2summ-positional"
    for record in (two, three):  # a video without text is a video, not an error
        assert (record.sentences, len(record.text_features), record.sentence_labels) == ((), 0, None)
        assert record.source == str(h5)
    assert {r.encoders for r in (one, two, three)} == {Encoders("googlenet-pool5", ROBERTA, 2.0)}
    assert reader.findings == {"without_text": ["video_3"]}
    collate = HierSumCollator(HierSumFeatureExtractor("googlenet-pool5", ROBERTA, 8, 3, 2.0))
    batch, derived = (collate([("child", record)]) for record in (one, replace(one, sentence_labels=None)))
    assert batch["text_spans"].tolist() == [[[0, 2], [2, 4], [4, 5]]]
    assert batch["sentence_labels"].equal(derived["sentence_labels"]), "the collator's own rule"


def test_captions_give_rows_their_words_and_times(files, h5):
    """Row j is sentence j, whatever the order of the times; the end is cut where the video ends."""
    captions = caption_file(files, [[1.0, 1.4], [0, 0.6], [1.9, 99]], [" She jumps. ", "They wait.", "Applause."])
    text = text_file(files, video_1=ROWS, video_2=ROWS[:2])
    reader = TVSumReader(h5, text_features=text, text_encoder=ROBERTA, captions=captions)
    record = reader.read("video_1")
    assert [s.text for s in record.sentences] == ["She jumps.", "They wait.", "Applause."]
    assert spans_of(record) == [[2, 3], [0, 2], [3, 5]]
    assert record.sentences[2].end_s == record.duration_s
    assert np.array_equal(record.text_features, ROWS)
    assert record.sentence_labels.tolist() == [1, 0, 0]
    assert record.source == f"{h5}; text features {text}; captions {captions}"
    with pytest.raises(ValueError, match=rf"text\.h5, id video_2: expected its sentences in {captions} or alignment"):
        reader.read("video_2")
    both = TVSumReader(h5, text_features=text, text_encoder=ROBERTA, captions=captions, alignment=POSITIONAL)
    assert both.read("video_1").sentences == record.sentences
    assert both.read("video_2").source.endswith("a2summ-positional")


def test_captions_alone_leave_features_to_be_computed(files, h5):
    captions = caption_file(files, [[0, 1], [1, 2]], name="Jump 2")
    reader = TVSumReader(h5, captions=captions)
    record = reader.read("video_2")
    assert [s.text for s in record.sentences] == ["Sentence 0.", "Sentence 1."]
    assert (len(record.text_features), record.encoders.text) == (0, "")
    assert record.sentence_labels.tolist() == [0, 1]
    assert record.source == f"{h5}; captions {captions}"
    assert reader.findings == {"without_text": ["video_1", "video_3"]}


def test_captions_of_spans_as_language_models_have_them_are_read(files, h5):
    spans = [
        {"start_mmss": "00:00", "end_mmss": "00:01", "caption": " She  jumps."},
        {"start_mmss": "0:01", "end_mmss": "1:02.5", "caption": "Applause."},
        {"start_mmss": "0:03", "end_mmss": "0:04", "caption": "Of equal spans the last lies behind the end."},
    ]
    meta = {"total_frames": 64, "fps": 30.0}
    (files / "captions.json").write_text(json.dumps({"video_1": {"sample_meta": meta, "captions": spans}}))
    record = TVSumReader(h5, captions=files / "captions.json").read("video_1")
    assert [(s.text, s.start_s) for s in record.sentences] == [("She jumps.", 0.0), ("Applause.", 1.0)]
    assert record.sentences[1].end_s == record.duration_s


@pytest.mark.parametrize("suffix", ["srt", "vtt", "ass"])
def test_a_folder_of_subtitles(files, h5, suffix):
    (files / "subs").mkdir()
    write_srt([Sentence("They wait.", 0, 0.6), Sentence("She jumps.", 1.0, 9.0)], files / "video_1.srt")
    pysubs2.load(str(files / "video_1.srt")).save(str(files / "subs" / f"video_1.{suffix}"))
    text = text_file(files, video_1=ROWS[:2])
    record = TVSumReader(h5, text_features=text, text_encoder=ROBERTA, captions=files / "subs").read("video_1")
    assert [s.text for s in record.sentences] == ["They wait.", "She jumps."]
    assert spans_of(record) == [[0, 2], [2, 5]]
    reader = TVSumReader(h5, None, text_file(files, video_1=ROWS), ROBERTA, captions=files / "subs")
    with pytest.raises(ValueError, match=r"id video_1: expected 2 rows, one for each sentence of .*subs, found 3"):
        reader.read("video_1")


def test_names_are_tried_in_order(test_data, tmp_path):
    """A2Summ's TVSum files say video_k, SumMe's the video's name, captions from elsewhere the YouTube id."""
    ratings = test_data / "tvsum" / "ydata-tvsum50.mat"
    video = read_ratings(ratings)[0]
    with h5py.File(tmp_path / "set.h5", "w") as file:
        shots = ((0, video.n_frames - 1),)
        write_group(file, "video_1", n_frames=video.n_frames, shots=shots, video_name=["Reifenwechsel ä"])
    names = ["video_1", "Reifenwechsel ä", video.video_id]
    while names:
        text = text_file(tmp_path, **{name: np.full((1, 3), i, np.float32) for i, name in enumerate(names)})
        reader = TVSumReader(tmp_path / "set.h5", ratings, text, ROBERTA, alignment=POSITIONAL)
        assert reader.read("video_1").text_features.tolist() == [[0, 0, 0]], f"{names[0]} comes first"
        names.pop(0)


def test_files_of_another_data_set_are_noticed(files, h5):
    """Else a whole run would train at child level without a single text."""
    text = text_file(files, video_77=ROWS)
    reader = TVSumReader(h5, text_features=text, text_encoder=ROBERTA, alignment=POSITIONAL)
    with pytest.raises(ValueError, match=rf"text\.h5: expected ids of {h5} such as video_1, found none"):
        _ = reader.video_ids


def test_the_length_in_the_captions_gives_the_frame_rate(files, h5):
    """SumMe's files carry none: at an assumed 30 frames a second the captions of a 25-fps video would drift."""
    record = TVSumReader(h5, captions=caption_file(files, [[2.2, 2.5]], duration=2.56)).read("video_1")
    assert record.duration_s == pytest.approx(2.56)
    assert record.frame_times_s.tolist() == pytest.approx([0, 0.6, 1.2, 1.8, 2.4])
    assert spans_of(record) == [[3, 5]]
    assert record.encoders.sample_fps == pytest.approx(25 / 15)
    for wrong in (0, -1, "2.56", float("inf")):
        with pytest.raises(ValueError, match=r"captions\.json, id video_1: expected a duration in seconds"):
            TVSumReader(h5, captions=caption_file(files, [[0, 1]], duration=wrong)).read("video_1")


def test_captions_of_a_video_of_another_length_are_refused(files, tmp_path):
    """Captions of two videos that changed places fit the longer one, sentence by sentence, and teach nonsense."""
    with h5py.File(tmp_path / "own.h5", "w") as file:
        write_group(file, "video_1", fps=30.0)  # 2.13 s
    wrong = caption_file(files, [[0, 1]], duration=1.5)
    message = (
        r"own\.h5, video video_1: .*captions\.json, id video_1: expected captions of this video, 2\.1 s, found .*1\.5 s"
    )
    with pytest.raises(ValueError, match=message):
        TVSumReader(tmp_path / "own.h5", captions=wrong).read("video_1")
    right = caption_file(files, [[0, 1]], duration=2.1)
    assert len(TVSumReader(tmp_path / "own.h5", captions=right).read("video_1").sentences) == 1


def test_unknown_frame_encoder_keeps_the_id_of_the_texts(tmp_path):
    """Without it, features of two text encoders could mix unnoticed."""
    with h5py.File(tmp_path / "own.h5", "w") as file:
        write_group(file, "video_1")
    text = text_file(tmp_path, video_1=ROWS)
    record = TVSumReader(tmp_path / "own.h5", None, text, ROBERTA, alignment=POSITIONAL).read("video_1")
    assert record.encoders == Encoders("unknown", ROBERTA, 2.0)
    assert read_tvsum(tmp_path / "own.h5")[0].encoders is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text_features": "t.h5", "alignment": POSITIONAL}, r"t\.h5: expected text_encoder, the id of what made"),
        (
            {"text_features": "t.h5", "text_encoder": ROBERTA},
            r"t\.h5: expected captions .* or alignment 'a2summ-positional' .*, found neither",
        ),
        (
            {"alignment": POSITIONAL},
            r"expected 'a2summ-positional' of text features or None, found .* no text features",
        ),
        (
            {"text_features": "t.h5", "text_encoder": ROBERTA, "alignment": "even"},
            r"alignment: expected 'a2summ-positional' .*, found 'even'",
        ),
    ],
)
def test_incomplete_arguments_are_refused_before_anything_is_read(tmp_path, arguments, message):
    if "text_features" in arguments:
        arguments = arguments | {"text_features": tmp_path / arguments["text_features"]}
    with pytest.raises(ValueError, match=message):
        TVSumReader(tmp_path / "none.h5", **arguments)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.where(np.eye(3), np.nan, 1.0), "features: expected finite values"),
        (np.ones((3, 4)), r"features: expected shape \(T, 3\), found \(3, 4\)"),
        (np.ones(3), r"features: expected shape \(T, 3\), found \(3,\)"),
        (np.array([b"text"]), r"features: expected shape \(T, 3\), found \(1,\)"),
    ],
)
def test_broken_rows_name_file_and_id(files, h5, rows, message):
    text = text_file(files, video_1=ROWS, video_2=rows)
    reader = TVSumReader(h5, text_features=text, text_encoder=ROBERTA, alignment=POSITIONAL)
    assert len(reader.read("video_1").sentences) == 3, "the other videos remain readable"
    with pytest.raises(ValueError, match=rf"pool5\.h5, video video_2: .*text\.h5, video video_2: {message}"):
        reader.read("video_2")


@pytest.mark.parametrize(
    ("times", "found"),
    [
        ([[1.0, 0.5]], "1.00 to 0.50 s"),
        ([[0, 1], [-0.5, 1]], "-0.50 to 1.00 s"),
        ([[2.2, 2.4]], "2.20 to 2.40 s"),
        ([[0, float("nan")]], "0.00 to nan s"),
    ],
)
def test_times_outside_the_video_are_refused(files, h5, times, found):
    """They belong to another video or another unit of time."""
    limits = r"expected 0 <= start <= end and start < 2\.13 s, the video's length, found "
    with pytest.raises(ValueError, match=r"captions\.json, id video_1: " + limits + found):
        TVSumReader(h5, captions=caption_file(files, times)).read("video_1")


@pytest.mark.parametrize(
    "entry",
    [
        None, 3, [], {}, {"timestamps": [[0, 1]]}, {"timestamps": [[0, 1]], "sentences": []},
        {"timestamps": [[0, 1, 2]], "sentences": ["a"]}, {"timestamps": [["x", 1]], "sentences": ["a"]},
        {"captions": 4}, {"captions": [{"start_mmss": "0:00", "caption": "a"}]},
        {"captions": [{"start_mmss": "0:00", "end_mmss": "1", "caption": "a"}]},
        {"captions": [], "sample_meta": {"total_frames": 9, "fps": 0}},
        {"captions": [{"start_mmss": "0", "caption": "a"}], "sample_meta": {"total_frames": 9, "fps": 3}},
        {"timestamps": [[0, 1]], "sentences": [7]}, {"timestamps": 4, "sentences": ["a"]},
    ],
)  # fmt: skip
def test_malformed_captions_name_file_and_id(files, h5, entry):
    (files / "captions.json").write_text(json.dumps({"video_1": entry}))
    with pytest.raises(ValueError, match=r"captions\.json, id video_1: expected timestamps \[\[start_s, end_s\]"):
        TVSumReader(h5, captions=files / "captions.json").read("video_1")


def test_missing_and_broken_files_are_named(files, h5):
    reader = TVSumReader(h5, captions=files / "captions.json")
    for read in (lambda: reader.video_ids, lambda: reader.read("video_1")):
        with pytest.raises(FileNotFoundError, match=r"captions\.json"):
            read()
    for text in ("{", "[]", ""):
        (files / "captions.json").write_text(text)
        with pytest.raises(ValueError, match=r"captions\.json: expected (JSON|a JSON object)"):
            reader.read("video_1")
    (files / "subs").mkdir()
    (files / "subs" / "video_1.srt").write_bytes(b"\x00\x01")
    with pytest.raises(ValueError, match=r"subs/video_1\.srt: expected a subtitle file"):
        TVSumReader(h5, captions=files / "subs").read("video_1")
    missing = TVSumReader(h5, text_features=files / "no.h5", text_encoder=ROBERTA, alignment=POSITIONAL)
    with pytest.raises(FileNotFoundError, match=r"no\.h5"):
        missing.read("video_1")


def test_texts_in_the_feature_file_are_not_replaced_in_silence(files):
    """The project's own extension of the format can hold sentences, or features by another encoder."""
    with h5py.File(files / "own.h5", "w") as file:
        write_group(file, "video_1", text_times=np.array([[0, 1.0]]), text_features=np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"own\.h5, video video_1: expected sentences only in other files, found 1 in"):
        TVSumReader(files / "own.h5", captions=caption_file(files, [[0, 1]])).read("video_1")
    with h5py.File(files / "own.h5", "a") as file:
        file["video_1"].attrs.update({"video_encoder": "v", "text_encoder": "another", "sample_fps": 2.0})
    text = text_file(files, video_1=ROWS)
    with pytest.raises(ValueError, match=r"text\.h5: expected text features by 'another' .*, found 'some/roberta'"):
        TVSumReader(files / "own.h5", None, text, ROBERTA, alignment=POSITIONAL).read("video_1")

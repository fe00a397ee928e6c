"""One reader for each data set of the field.

A reader is a small picklable object with

- `video_ids`: names of its videos in the order of the source, read without the features;
- `read(video_id)`: that video as a `hiersum_hf.records.VideoRecord`, or a ValueError that names file and video;
- `splits`: the parts that the source ships with; `findings`: what is odd about it, names by kind.

So every reader can be sampled, run in parallel, resumed and streamed by the same code, `hiersum_hf.datasets.prepare`.
"""

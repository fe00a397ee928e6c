#!/usr/bin/env bash
# torchmetrics 1.9.0: RetrievalMAP of equal scores depends on the order of the rows.
#
# Guess: equal scores share their rank, or the mean over their orders is taken, as in scikit-learn's average precision: which
#   row comes first must not matter, and constant scores get the share of relevant rows.
# Seen: equal scores come in whatever order the sort leaves them. The same rows turned around have another figure, in
#   few levels as with constant scores, where one that tells nothing gets twice what it should. No warning comes.
#
#   constant scores, 3 of 10 relevant: 0.242, turned around 0.639; scikit-learn 0.300 both times
#   scores in five levels: 0.604, turned around 0.600; scikit-learn 0.546 both times
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torchmetrics==1.9.0 torch==2.13.0 scikit-learn==1.9.1 numpy
"$place/venv/bin/python" - <<'PY'
import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torchmetrics.retrieval import RetrievalMAP


def figures(scores, relevant):
    """Return RetrievalMAP of the rows as they stand and turned around, and scikit-learn's two."""
    both = [(np.array(scores)[::step].copy(), np.array(relevant)[::step].copy()) for step in (1, -1)]
    found = []
    for one, target in both:
        rows = torch.zeros(len(one), dtype=torch.long)
        found.append(float(RetrievalMAP()(torch.tensor(one), torch.tensor(target), indexes=rows)))
    return [*found, *(float(average_precision_score(target, one)) for one, target in both)]


draw = np.random.default_rng(0)
for name, scores, relevant in (
    ("constant scores, 3 of 10 relevant", [0.5] * 10, [1] * 3 + [0] * 7),
    ("scores in five levels", draw.integers(1, 6, 60) / 5, draw.integers(0, 2, 60)),
):
    one, turned, same, again = figures(scores, relevant)
    assert abs(one - turned) > 0.002 and np.isclose(same, again) and not np.isclose(one, same), (one, turned, same, again)
    print(f"{name}: {one:.3f}, turned around {turned:.3f}; scikit-learn {same:.3f} both times")
PY

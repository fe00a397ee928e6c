#!/usr/bin/env bash
# datasets 5.2.0: one missing value makes float32 of whole numbers, which holds them to 16,777,216 only.
#
# Guess: with_format("numpy") makes float64 of integers with a missing one, as pandas and pyarrow do: frames, milliseconds and
#   ids below 2 ** 53 stay what they are.
# Seen: float32, and 20,000,001 ms (five and a half hours) become 20,000,000. The same number is right row by row,
#   without the missing value, and as Python, pandas or Arrow.
#
#   whole: [20000001 5] int64; with None: [20000000 nan] float32; row by row 20000001 int64; pandas 20000001 float64
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1 numpy pandas
HF_HOME="$place" "$place/venv/bin/python" - <<'PY'
import numpy as np
import pyarrow
from datasets import Dataset

END_MS = 20_000_001
data = Dataset.from_dict({"whole": [END_MS, 5], "missing": [END_MS, None], "row": [[END_MS, None], [END_MS]]})
arrays = data.with_format("numpy")[:]
whole, missing, row = arrays["whole"], arrays["missing"], arrays["row"][0]
alone, framed = data.with_format("numpy")[0]["missing"], data.with_format("pandas")[:]["missing"]
assert (whole.dtype, whole[0]) == (np.int64, END_MS) and (alone.dtype, alone) == (np.int64, END_MS)
assert missing.dtype == row.dtype == np.float32 and int(missing[0]) == int(row[0]) == END_MS - 1, (missing, row)
assert (framed.dtype, framed[0]) == (np.float64, END_MS) and data[0]["missing"] == END_MS
assert pyarrow.array([END_MS, None]).to_numpy(zero_copy_only=False).dtype == np.float64
print(
    f"whole: {whole} {whole.dtype}; with None: [{missing[0]:.0f} nan] {missing.dtype}; row by row {alone} {alone.dtype}; "
    f"pandas {framed[0]:.0f} {framed.dtype}"
)
PY

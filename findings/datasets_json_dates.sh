#!/usr/bin/env bash
# datasets 5.2.0 (pyarrow 26.0.1): strings of JSON become times where all of a column look like dates, and lose their zone.
#
# Guess: JSON tells strings from other values, so that load_dataset("json") keeps them: "007" and "2024-01-05" are names of
#   recordings as "soup" is. Guessing belongs to CSV, where nothing is told.
# Seen: "007" stays, but a column of "2024-01-05" and "2024-01-06" is read as datetime, which no other table knows as a name;
#   one name that is no date keeps all strings. "10:00:00Z" and "10:00:00" become the same value.
#
#   names 2024-01-05, 2024-01-06: timestamp[s], the first datetime.datetime(2024, 1, 5, 0, 0)
#   names 2024-01-05, soup: string, the first '2024-01-05'
#   names 007, 008: string, the first '007'
#   names 2024-01-05T10:00:00Z, 2024-01-05T10:00:00: timestamp[s], the first datetime.datetime(2024, 1, 5, 10, 0)
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1
cd "$place"
HF_HOME="$place" HF_HUB_OFFLINE=1 "$place/venv/bin/python" - <<'PY'
import datetime
import json
from pathlib import Path

import datasets

datasets.disable_progress_bars()
NAMES = {
    ("2024-01-05", "2024-01-06"): ("timestamp[s]", datetime.datetime(2024, 1, 5)),
    ("2024-01-05", "soup"): ("string", "2024-01-05"),
    ("007", "008"): ("string", "007"),
    ("2024-01-05T10:00:00Z", "2024-01-05T10:00:00"): ("timestamp[s]", datetime.datetime(2024, 1, 5, 10)),
}
for number, (names, expected) in enumerate(NAMES.items()):
    path = Path(f"{number}.jsonl")
    path.write_text("".join(json.dumps({"name": name}) + "\n" for name in names))
    data = datasets.load_dataset("json", data_files=str(path), split="train")
    found = data.features["name"].dtype, data[0]["name"]
    assert found == expected, (names, found)
    print(f"names {', '.join(names)}: {found[0]}, the first {found[1]!r}")
    assert "Z" not in names[0] or data[0] == data[1]
PY

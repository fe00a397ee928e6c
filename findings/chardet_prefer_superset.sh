#!/usr/bin/env bash
# chardet 7.7.0: detect(..., prefer_superset=True) names other letters than those that it detected.
#
# Guess: "superset" means an encoding that decodes everything the detected one does in the same way, and more, so that
#   asking for it can only help.
# Seen: ISO-8859-2, -5, -6 and -7 become Windows-1250, -1251, -1256 and -1253. These hold other letters at the same
#   bytes: Polish, Russian, Arabic and Greek texts that decode right without the flag come out wrong with it.
#
#   pl ISO-8859-2: right, with prefer_superset Windows-1250: wrong
#   el ISO-8859-7: right, with prefer_superset Windows-1253: wrong
#   ru ISO-8859-5: right, with prefer_superset Windows-1251: wrong
#   ar ISO-8859-6: right, with prefer_superset Windows-1256: wrong
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet chardet==7.7.0
"$place/venv/bin/python" - <<'PY'
import chardet

TEXTS = {
    ("pl", "ISO-8859-2", "Windows-1250"): "Dzień dobry. Dziś gotujemy pory. Najpierw myjemy je i kroimy w cienkie "
    "plasterki. Źródło, święta, żółty ser, ścieżka. ",
    ("el", "ISO-8859-7", "Windows-1253"): "Καλημέρα σε όλους. Σήμερα θα μαγειρέψουμε πράσα με λεμόνι. Πρώτα πλένουμε "
    "τα πράσα και τα κόβουμε. Άρωμα και γεύση. ",
    ("ru", "ISO-8859-5", "Windows-1251"): "Доброе утро. Сегодня мы готовим лук порей. Сначала моем и режем его "
    "тонкими кольцами. ",
    ("ar", "ISO-8859-6", "Windows-1256"): "صباح الخير. اليوم نطبخ الكراث. أولا نغسله ونقطعه شرائح رقيقة. هل أنتم مستعدون؟ ",
}
for (language, encoding, superset), text in TEXTS.items():
    raw = (text * 4).encode(encoding)
    plain, wide = (chardet.detect(raw, prefer_superset=flag)["encoding"] for flag in (False, True))
    assert (plain, wide) == (encoding, superset), (language, plain, wide)
    assert raw.decode(plain) == text * 4, language
    assert raw.decode(wide, "replace") != text * 4, language
    print(f"{language} {plain}: right, with prefer_superset {wide}: wrong")
PY

"""The app as a Space: push this file as app.py with a requirements.txt that says `hiersum-hf[app]`.

The Space's variable HIERSUM_MODEL names the checkpoint; without it a training-free scorer judges.
"""

import os

from hiersum_hf.app import serve


serve(os.environ.get("HIERSUM_MODEL") or None)

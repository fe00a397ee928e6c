"""A Space's app.py; HIERSUM_MODEL names its checkpoint, requirements.txt says `hiersum-hf[app]`."""

import os

from hiersum_hf.cli.app import serve


serve(os.environ.get("HIERSUM_MODEL") or None)

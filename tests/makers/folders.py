"""What lies in a folder, hidden files aside."""

import zipfile


def contents(folder):
    """Bytes by name; features that are packed by their own."""
    found = {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}
    for shard in folder.glob("features-*.zip"):
        del found[shard.name]
        with zipfile.ZipFile(shard) as archive:
            packed = {name: archive.read(name) for name in archive.namelist()}
        assert not packed.keys() & found.keys(), "nothing may be there twice"
        found |= packed
    return found

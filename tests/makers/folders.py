"""What lies in a folder."""


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}

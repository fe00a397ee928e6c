"""YAML from others, with a limit.

By aliases and merge keys a few lines may stand for more than memory and time hold.
"""

# mypy: disable-error-code="misc"
# (PyYAML brings no types: its loader counts as Any)

from __future__ import annotations

from typing import Any

import yaml

from hiersum_hf.modeling.errors_hiersum import InputError


MAX_VALUES = 10_000
MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Loader that refuses merge keys (<<).

    They are written out while the text is read, before anything can be counted.
    """

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, _ in node.value:
            if key.tag == MERGE:
                raise yaml.constructor.ConstructorError(
                    None, None, "found a merge key (<<), expected none", key.start_mark
                )
        super().flatten_mapping(node)


def load_yaml(text: str, limit: int = MAX_VALUES) -> Any:
    """Read a text in YAML, of plain types alone.

    Raises:
        ValueError: It stands for more values than `limit`, has merge keys, is no YAML or is nested too deep.
    """
    try:
        value = _Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(str(error)) from None
    # Count what the aliases stand for: each of their uses is walked again
    waiting, count = [value], 0
    while waiting and count <= limit:
        node, count = waiting.pop(), count + 1
        waiting += [*node, *node.values()] if isinstance(node, dict) else node if isinstance(node, list) else ()
    if count > limit:
        raise InputError(f"found more than {limit} values")
    return value

"""YAML that refuses a key given twice instead of keeping the last one."""

from __future__ import annotations

from typing import Any

import yaml


class UniqueKeyLoader(yaml.SafeLoader):
    """Safe loader that raises `yaml.constructor.ConstructorError` where a mapping has a key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is given twice", key_node.start_mark)
            seen.add(key)
        return dict(super().construct_mapping(node, deep=deep))


def load_unique(text: str) -> Any:
    """The value a YAML text holds.

    Raises:
        yaml.YAMLError: not YAML, or a key twice; most have the place in `problem_mark`.

    Examples:
        >>> load_unique("{a: 1, b: [2]}")
        {'a': 1, 'b': [2]}
    """
    return yaml.load(text, UniqueKeyLoader)

"""Names of classes in YAML, which else would be numbers and truth values: 007 is no 7, and ``no`` is no falsehood."""

import json
from typing import Any

import yaml

# Lists of names, by where they are in a configuration.
_NAMES = (("data", "classes"), ("data", "augmentation", "no_flip_classes"))
_FLAGS = tuple(f"--{'.'.join(keys)}" for keys in _NAMES)
_TEXT = "tag:yaml.org,2002:str"


def load_names_as_text(text: str) -> Any:
    """As ``yaml.safe_load``, with names of classes as they are written.

    >>> load_names_as_text("data: {classes: [007, no], seed: 007}")
    {'data': {'classes': ['007', 'no'], 'seed': 7}}
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        for keys in _NAMES:
            _retag(_find(node, keys))
        return loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()


def names_as_text(argument: str, flag: str) -> str:
    """The value of an option, with names of classes quoted, so that the parser takes them as they are written.

    >>> names_as_text("[007, a b, no]", "--data.classes"), names_as_text("[007]", "--data.loading.seed")
    ('["007", "a b", "no"]', '[007]')
    """
    if flag not in _FLAGS:
        return argument
    try:
        node = yaml.compose(argument, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return argument  # the parser says what is wrong with it
    if node is None or not _is_list_of_scalars(node):
        return argument
    return json.dumps([item.value for item in node.value])


def _find(node: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for name, value in node.value if name.value == key), None)
    return node


def _retag(node: Any) -> None:
    if _is_list_of_scalars(node):
        for item in node.value:
            item.tag = _TEXT


def _is_list_of_scalars(node: Any) -> bool:
    return isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value)

"""Puts a page together: one HTML file that holds its data, style and code, and opens from disk."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

_SHARED = ("unpacking.js",)


def self_contained(package: str, scripts: Sequence[str], title: str, data: Mapping[str, Any], media: str = "") -> str:
    """The text of a page.

    Args:
        package: Where ``page.html``, ``style.css`` and the scripts lie. The template has ``{{policy}}``, ``{{title}}``,
            ``{{style}}``, ``{{data}}`` and ``{{script}}``.
        scripts: Names of the scripts, in their order; they follow those that pages share.
        title: Any text.
        data: What the scripts read, plain data.
        media: Where the page may take films from, as a source list of a content security policy; by default nowhere.
    """
    style = _text(package, "style.css")
    code = "\n".join([*(_text(__package__, name) for name in _SHARED), *(_text(package, name) for name in scripts)])
    script = f'(() => {{\n"use strict";\n{code}\n}})();'
    # Nothing may be fetched, and no other code may run, whatever a name in the data holds.
    policy = (
        f"default-src 'none'; img-src data:; {f'media-src {media}; ' if media else ''}style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(title),
        "style": style,
        "script": script,
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    # In one pass, so that a name that looks like a placeholder stays a name.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _text(package, "page.html"))


def _text(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

"""Content blocks as Langflow's v1 endpoints show them.

Langflow 1.13 stores what it is sent and projects it when it answers (``lfx/schema/legacy_render.py``):
groups keep four fields; leaves lose ``id`` and ``contents``; top-level text is dropped, or becomes the
last leaf of an "Agent Steps" group; a flat log with a tool call in it gets such a group around it.
"""

from __future__ import annotations

from typing import Any

_AGENT_STEPS = "Agent Steps"


def project_content_blocks(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks in the shape of Langflow's v1 API. The argument is not changed."""
    groups = [block for block in blocks if _is_group(block)]
    leaves = [block for block in blocks if not _is_group(block)]
    if not groups:
        if any(leaf.get("type") == "tool_use" for leaf in leaves):
            return [_group(_AGENT_STEPS, leaves, allow_markdown=True, media_url=None)]
        return []
    answer = "".join(str(leaf.get("text", "")) for leaf in leaves if leaf.get("type") == "text")
    shown = []
    for block in groups:
        group = _group(
            block.get("title"),
            block.get("contents") or [],
            allow_markdown=block.get("allow_markdown", True),
            media_url=block.get("media_url"),
        )
        if answer and block.get("title") == _AGENT_STEPS:
            group["contents"].append(_answer_leaf(answer))
            answer = ""
        shown.append(group)
    return shown


def _is_group(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    if "type" in block and block["type"] == "group":
        return True
    return "type" not in block and "title" in block and "contents" in block


def _group(title: Any, leaves: Any, *, allow_markdown: Any, media_url: Any) -> dict[str, Any]:
    contents = [
        {name: value for name, value in leaf.items() if name not in ("id", "contents")}
        for leaf in leaves
        if isinstance(leaf, dict)
    ]
    return {"title": title, "contents": contents, "allow_markdown": allow_markdown, "media_url": media_url}


def _answer_leaf(text: str) -> dict[str, Any]:
    return {
        "type": "text",
        "duration": None,
        "header": {"title": "Output", "icon": "MessageSquare"},
        "text": text,
    }

"""SVG elements as markup that escapes what is put into it."""

from __future__ import annotations

from markupsafe import Markup, escape


def element(tag: str, *content: str, **attributes: str | float | None) -> Markup:
    """`<tag …>content</tag>`. Text of `content` is escaped unless it is markup.

    Attributes that are None are left out; `_` in a name means `-`, and one at its end is dropped (`class_`).
    """
    shown = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = "".join(escape(part) for part in content)
    return Markup(f"<{tag}{shown}>{inner}</{tag}>")  # noqa: S704 - every part is escaped above


def percent(share: float) -> str:
    """A share (0-1) of the width or height, as a coordinate."""
    return f"{100 * share:.2f}%"


def hidden(height: int, *content: str, kind: str) -> Markup:
    """A figure that repeats what the text beside it says, so that screen readers pass over it."""
    return element("svg", *content, class_=kind, width="100%", height=height, aria_hidden="true", focusable="false")


def titled(height: int, title: str, *content: str, kind: str) -> Markup:
    """A figure that says what it shows to those who cannot see it."""
    return element("svg", *content, class_=kind, width="100%", height=height, role="img", aria_label=title)

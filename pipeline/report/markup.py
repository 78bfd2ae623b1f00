"""HTML and SVG from Python values; whatever is not made here is escaped."""

from __future__ import annotations

from html import escape

_VOID = frozenset({"meta", "br", "img", "input", "link"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Content = str | int | float | None


def tag(name: str, /, *content: Content, **attributes: Content) -> Markup:
    """An element.

    Args:
        name: of the element.
        content: texts, numbers and `Markup`, one after the other; None is left out.
        attributes: their values; None is left out. `class_` is `class`, other underscores are hyphens.
    """
    values = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{values}>")
    return Markup(f"<{name}{values}>{joined(*content)}</{name}>")


def joined(*content: Content) -> Markup:
    """Pieces one after the other."""
    pieces = (piece if isinstance(piece, Markup) else escape(str(piece)) for piece in content if piece is not None)
    return Markup("".join(pieces))

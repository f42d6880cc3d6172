"""HTML and SVG as trees. Names and paths come from strangers: as text and attributes of a tree they are escaped."""

import base64
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

Child = Element | str | None


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """An element with its children, None being no child.

    Attributes lose the underscore at their end and have hyphens for others: ``class_``, ``data_task``, ``text_anchor``.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items()})
    for child in children:
        if child is None:
            continue
        if isinstance(child, Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + child
        else:
            made.text = (made.text or "") + child
    return made


def data_uri(file: bytes) -> str:
    """A PNG or JPEG file as the address of a picture."""
    kind = "png" if file.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def render(root: Element) -> str:
    """The text of a page."""
    return "<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="unicode", method="html") + "\n"

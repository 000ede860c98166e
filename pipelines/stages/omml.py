"""Formulas of Office (OMML; ECMA-376-1, 22.1) as text on one line, much as Unicode Technical Note 28 has
them: `(a+b)/2`, `x_i^2`, `√(x+1)`, `∑_(i=1)^n i`, `[a, b; c, d]`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

_MATH: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"


def linear(element: Any) -> str:
    """Return the text of an element of a formula; of one that is not known, the text inside of it."""
    name = _name(element)
    if name == "t":
        return element.text or ""
    if name.endswith("Pr"):
        return ""
    return _WRITERS.get(name, _inside)(element)


def _inside(element: Any) -> str:
    return "".join(linear(child) for child in element)


def _name(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else "Pr"


def _part(element: Any, name: str) -> str:
    """Return the text of a child, empty where there is none."""
    return "".join(linear(child) for child in element.findall(_MATH + name))


def _property(element: Any, name: str, default: str) -> str:
    found = element.find(f"{_MATH}{_name(element)}Pr/{_MATH}{name}")
    return default if found is None else found.get(f"{_MATH}val", "")


def _group(text: str) -> str:
    return text if len(text) == 1 or text.isalnum() else f"({text})"


def _script(mark: str, text: str) -> str:
    return f"{mark}{_group(text)}" if text else ""


def _scripts(element: Any) -> str:
    return _script("_", _part(element, "sub")) + _script("^", _part(element, "sup"))


def _scripted(element: Any) -> str:
    return _group(_part(element, "e")) + _scripts(element)


def _scripted_before(element: Any) -> str:
    return _scripts(element) + _group(_part(element, "e"))


def _fraction(element: Any) -> str:
    over = "¦" if _property(element, "type", "bar") == "noBar" else "/"
    return f"{_group(_part(element, 'num'))}{over}{_group(_part(element, 'den'))}"


def _root(element: Any) -> str:
    degree = _part(element, "deg")
    return f"{_group(degree) if degree else ''}√{_group(_part(element, 'e'))}"


def _operator(element: Any) -> str:
    return f"{_property(element, 'chr', '∫')}{_scripts(element)} {_part(element, 'e')}"


def _delimited(element: Any) -> str:
    parts = [linear(child) for child in element.findall(f"{_MATH}e")]
    inside = _property(element, "sepChr", "|").join(parts)
    if len(parts) == 1 and [_name(child) for child in element.find(f"{_MATH}e")] == ["m"]:
        # A matrix has brackets of its own.
        inside = inside[1:-1]
    return f"{_property(element, 'begChr', '(')}{inside}{_property(element, 'endChr', ')')}"


def _matrix(element: Any) -> str:
    rows = (", ".join(map(linear, row.findall(f"{_MATH}e"))) for row in element.findall(f"{_MATH}mr"))
    return f"[{'; '.join(rows)}]"


def _equations(element: Any) -> str:
    return "; ".join(map(linear, element.findall(f"{_MATH}e")))


def _function(element: Any) -> str:
    argument = _part(element, "e")
    return _part(element, "fName") + (argument if argument.startswith("(") else f"({argument})")


def _accented(element: Any) -> str:
    # A combining character stands behind the one that it is set on; the default is a circumflex.
    return _group(_part(element, "e")) + _property(element, "chr", "\u0302")


def _barred(element: Any) -> str:
    return _group(_part(element, "e")) + ("\u0305" if _property(element, "pos", "bot") == "top" else "\u0332")


def _below(element: Any) -> str:
    return _group(_part(element, "e")) + _script("_", _part(element, "lim"))


def _above(element: Any) -> str:
    return _group(_part(element, "e")) + _script("^", _part(element, "lim"))


_WRITERS: Final[Mapping[str, Callable[[Any], str]]] = {
    "f": _fraction,
    "sSup": _scripted,
    "sSub": _scripted,
    "sSubSup": _scripted,
    "sPre": _scripted_before,
    "rad": _root,
    "nary": _operator,
    "d": _delimited,
    "m": _matrix,
    "eqArr": _equations,
    "func": _function,
    "acc": _accented,
    "bar": _barred,
    "limLow": _below,
    "limUpp": _above,
}

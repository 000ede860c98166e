"""The rules of the house, read off the syntax tree: imports go one way, each library stays in its room."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("db", "platform", "deployments", "pipelines")
# What each room may import of the others.
ALLOWED = {
    "db": {"db"},
    "platform": {"db", "platform", "configs"},
    "deployments": {"db", "platform", "configs", "pipelines", "deployments"},
    "pipelines": {"db", "platform", "configs", "pipelines"},
}
# Libraries that have a room, as prefixes of paths in which they may be imported.
PLACES = {
    "ray": ("deployments/", "pipelines/"),
    "vllm": ("deployments/vllm_server.py",),
    "sqlalchemy": ("db/",),
    "asyncpg": ("db/",),
    "alembic": ("db/",),
    "pgqueuer": ("db/", "pipelines/consumer.py"),
    "qdrant_client": ("db/vectors/",),
    "qdrant_edge": ("db/vectors/",),
    "fastapi": ("platform/http/", "deployments/ingress.py"),
    "starlette": ("platform/http/", "deployments/ingress.py"),
    "redis": ("platform/",),
    "typer": ("platform/cli/",),
    "rich": ("platform/cli/", "platform/embedded/"),
}


def _files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def test_the_rooms_are_read() -> None:
    assert len(_files(*ROOMS)) > 100


@pytest.mark.parametrize("path", _files(*ROOMS), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports(path: Path) -> None:
    """Rooms import one way, and libraries only where they belong."""
    here = path.relative_to(ROOT).as_posix()
    for module in _imports(_parsed(path)):
        top, _, rest = module.partition(".")
        if top == "little_monster" and rest:
            room = rest.partition(".")[0]
            assert room in ALLOWED[here.split("/")[0]], f"{here} imports {module}"
        assert here.startswith(PLACES.get(top, ("",))), f"{here} imports {module}"


@pytest.mark.parametrize("path", _files("platform", "deployments", "pipelines"), ids=lambda path: path.name)
def test_sql_stands_only_in_db(path: Path) -> None:
    words = ("select ", "insert into ", "update ", "delete from ")
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.lstrip().lower()
            is_sql = text.startswith(words) and any(
                key in text for key in (" from ", " set ", " into ", " values")
            )
            assert not is_sql, f"{path.name}:{node.lineno} holds SQL"


@pytest.mark.parametrize(
    "path", _files("platform", "deployments", "pipelines", "db"), ids=lambda path: path.name
)
def test_fakes_stay_in_tests(path: Path) -> None:
    """What a user runs is never a fake."""
    assert "little_monster.platform.engines.fakes" not in set(_imports(_parsed(path)))


def test_no_package_marker_hides_the_standard_library() -> None:
    """With `platform/__init__.py`, `import platform` would find this project from the repository's root."""
    assert not (ROOT / "platform/__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_only_llm_imports_ray_serve_llm() -> None:
    """It costs a process 0.6 GB."""
    found = [
        path
        for path in _files(*ROOMS)
        if any(".llm" in name for name in _imports(_parsed(path)) if "ray" in name)
    ]
    assert [path.relative_to(ROOT).as_posix() for path in found] == ["deployments/vllm_server.py"]


def test_the_top_level_is_the_house() -> None:
    rooms = {
        "platform",
        "deployments",
        "pipelines",
        "db",
        "configs",
        "tests",
        "cluster.yaml",
        "pyproject.toml",
        "README.md",
    }
    mechanics = {"Makefile", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md"}
    local = {"var", "dist", "shared"}
    seen = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert rooms | mechanics <= seen <= rooms | mechanics | local

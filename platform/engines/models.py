"""Where a model's files are: a Python package that carries them, a folder, or a hub id."""

from importlib.util import find_spec
from pathlib import Path

from little_monster.platform.errors import ConfigurationError

PACKAGE = "package:"


def resolve_model(source: str) -> str:
    """Return a local folder for `package:NAME[/sub/folder]` and for a path that exists, else `source`
    itself, a hub id.

    Raises:
        ConfigurationError: the package is not installed, or an absolute path does not exist.
    """
    if source.startswith(PACKAGE):
        return str(_package_folder(source.removeprefix(PACKAGE)))
    path = Path(source).expanduser()
    if path.exists():
        return str(path.resolve())
    if path.is_absolute() or source.startswith("."):
        raise ConfigurationError(f"model source {source}: no such folder")
    return source


def model_name(source: str) -> str:
    """Return a short name of a model: that of its folder, or of the package that carries it."""
    parts = source.removeprefix(PACKAGE).rstrip("/").split("/")
    return parts[0] if parts[-1] == "model" else parts[-1]


def _package_folder(name: str) -> Path:
    package, _, below = name.partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            f"model source package:{name}: the Python package {package} is not installed"
        )
    return Path(spec.submodule_search_locations[0]) / below

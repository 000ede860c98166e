"""`little-monster version`."""

from importlib.metadata import version as package_version

from little_monster.platform.cli.terminal import output


def version() -> None:
    """Print the version."""
    output.print(package_version("little-monster"))

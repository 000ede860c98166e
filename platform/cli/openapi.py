"""`little-monster openapi`."""

import json
from contextlib import AbstractAsyncContextManager

from little_monster.platform.cli.terminal import output
from little_monster.platform.resources import Resources


def openapi() -> None:
    """Print the OpenAPI document of the HTTP API; nothing has to run."""
    # Only this verb needs the application, which takes a second to import.
    from little_monster.platform.http.app import create_app

    document = create_app(_nothing).openapi()
    output.file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _nothing() -> AbstractAsyncContextManager[Resources]:
    raise AssertionError("the document is made without resources")

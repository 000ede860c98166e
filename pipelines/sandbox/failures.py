"""Why a file cannot be read that its parser did not get to the end of."""

from little_monster.platform.errors import ReadFailure


def timeout(limit_s: float) -> ReadFailure:
    """Return the failure of a file that takes more time than a parser may have."""
    return ReadFailure(
        "parse_timeout",
        f"Reading the document took longer than {limit_s:.0f} seconds; split it, or export it again as a "
        "simpler file.",
    )


def out_of_memory() -> ReadFailure:
    """Return the failure of a file that needs more memory than a parser may have."""
    return ReadFailure(
        "parser_out_of_memory",
        "Reading the document needs more memory than is allowed; split it, or export it again as a simpler "
        "file.",
    )


def too_large() -> ReadFailure:
    """Return the failure of a file with more text than a parser may say."""
    return ReadFailure("output_too_large", "The document has more text than can be read; split it.")


def crashed() -> ReadFailure:
    """Return the failure of a file that ended its parser."""
    return ReadFailure(
        "parser_crashed",
        "The program that reads documents crashed on this one; open it in its own program and export it "
        "again.",
    )

"""The lines that the operator sees, and the breakdown that is kept."""

import pytest
from rich.console import Console

from little_monster.platform.embedded.board import Board
from little_monster.platform.embedded.process import Stopped


def test_each_stage_ends_in_a_line_with_its_time_and_outcome() -> None:
    console = Console(record=True, width=120)
    board = Board(console)
    with board.shown():
        with board.stage("postgres") as stage:
            stage.note = "18"
        board.skip("valkey", "yours")
        with pytest.raises(ValueError, match="no"), board.stage("ray"):
            raise ValueError("no")
        with pytest.raises(Stopped), board.stage("graph"):
            raise Stopped
    lines = console.export_text().splitlines()
    assert [line[0] for line in lines] == ["✓", "·", "✗", "·"]
    assert lines[0].endswith("s   18")
    assert lines[3].endswith("stopped")


def test_the_breakdown_has_every_stage_in_the_order_of_its_start() -> None:
    board = Board(Console(quiet=True))
    with board.stage("ray"), board.stage("postgres"):
        pass
    assert [stage["stage"] for stage in board.breakdown()] == ["ray", "postgres"]
    assert all(stage["seconds"] >= 0 for stage in board.breakdown())

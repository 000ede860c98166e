"""The models that are in memory: loaded when first asked for, at most so many."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Model = TypeVar("Model")


class Residents(Generic[Model]):
    """Models by their source.

    Args:
        load: loads one; blocks, and may raise.
        most: models in memory at most; one more drops the one that was longest not asked for, which those who
            have it may still use.
    """

    def __init__(self, load: Callable[[str], Model], *, most: int = 2) -> None:
        self._load, self._most = load, most
        self._models: OrderedDict[str, asyncio.Task[Model]] = OrderedDict()

    async def get(self, source: str) -> Model:
        """Return a model, loaded in a thread of its own when it is not there. Raises what `load` raises; the
        next to ask tries again.
        """
        task = self._models.get(source)
        if task is None:
            task = self._models[source] = asyncio.create_task(self._open(source))
        self._models.move_to_end(source)
        # Who gives up waiting does not end the loading for the others.
        return await asyncio.shield(task)

    async def _open(self, source: str) -> Model:
        try:
            model = await asyncio.to_thread(self._load, source)
        except BaseException:
            self._models.pop(source, None)
            raise
        while len(self._models) > self._most:
            self._models.popitem(last=False)
        return model

"""What the mock engine says, and when: the same for the endpoint and for the deployment."""

import asyncio
from collections.abc import AsyncGenerator

TOKENS = 50
INTERVAL_S = 0.020

_HEAD = '{"id":"mock","object":"chat.completion.chunk","created":0,"model":"mock","choices":['


async def frames() -> AsyncGenerator[str, None]:
    """Yield a frame a token, each at its time: an engine does not wait for those who read it."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    for index in range(TOKENS):
        await asyncio.sleep(begun + (index + 1) * INTERVAL_S - clock())
        yield f'data: {_HEAD}{{"index":0,"delta":{{"content":" word"}},"finish_reason":null}}]}}\n\n'
    usage = f'"usage":{{"prompt_tokens":1,"completion_tokens":{TOKENS},"total_tokens":{TOKENS + 1}}}'
    yield f'data: {_HEAD}{{"index":0,"delta":{{}},"finish_reason":"stop"}}]}}\n\n'
    yield f"data: {_HEAD}],{usage}}}\n\n"
    yield "data: [DONE]\n\n"

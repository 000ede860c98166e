"""What others check our access tokens with."""

from fastapi import APIRouter, Response

from little_monster.platform.errors import NotFound
from little_monster.platform.http.dependencies import ResourcesDep
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.schemas.keys import KeySet

router = APIRouter(tags=["auth"])


@router.get(
    "/.well-known/jwks.json",
    summary="Show the public keys of access tokens",
    responses=problem_responses(NotFound),
)
async def get_keys(response: Response, resources: ResourcesDep) -> KeySet:
    """Show the keys that access tokens are checked with. There are none where a secret signs them."""
    keys = resources.tokens.public_keys
    if not keys:
        raise NotFound("Access tokens are signed with a secret here; there is no public key.", code="no_keys")
    # Shorter than a token lives, so that who keeps them sees a new key in time.
    response.headers["Cache-Control"] = "public, max-age=300"
    return KeySet(keys=keys)

"""The vector index as a whole, for admins: another model, the same anew, and whether it has drifted."""

from fastapi import APIRouter, Response

from little_monster.platform.errors import Conflict, Forbidden, InvalidInput, Unauthenticated
from little_monster.platform.http.dependencies import CurrentUser, LoggedInUser, ResourcesDep
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.links import link
from little_monster.platform.http.schemas.jobs import JobView
from little_monster.platform.http.schemas.vector_index import (
    CollectionsView,
    CollectionView,
    IndexChange,
    Verification,
)
from little_monster.platform.services import vector_index

router = APIRouter(prefix="/admin/index", tags=["admin"])

_QUEUED = {"description": "The job will do it.", "headers": {"Location": {"schema": {"type": "string"}}}}


@router.get(
    "/collections",
    summary="List the collections of the vector index",
    responses=problem_responses(Unauthenticated, Forbidden),
)
async def list_collections(user: CurrentUser, resources: ResourcesDep) -> CollectionsView:
    """List the collections and their models, the one that is searched first; for admins."""
    rows = await vector_index.list_collections(resources, user)
    return CollectionsView(items=[CollectionView.of(row) for row in rows])


@router.post(
    "/changes",
    status_code=202,
    summary="Change the model of the vector index",
    responses={202: _QUEUED, **problem_responses(Unauthenticated, Forbidden, Conflict, InvalidInput)},
)
async def change_index(
    body: IndexChange, response: Response, user: LoggedInUser, resources: ResourcesDep
) -> JobView:
    """Queue a job that fills a new collection while the old one is searched, and then puts it in its place:
    `reembed` with another model, `rebuild` with the same; `rollback` puts the collection before back, and
    `drop_old` drops it. One at a time; for admins.

    With a `dataset` a model that answers its questions worse than the live one is refused: the job fails with
    `worse_model` and the numbers."""
    job = await vector_index.request_change(resources, user, body.change())
    response.headers["Location"] = link("jobs", job.id).href
    return JobView.of(job)


@router.post(
    "/verifications",
    status_code=202,
    summary="Compare the index and the storage with the database",
    responses={202: _QUEUED, **problem_responses(Unauthenticated, Forbidden, Conflict, InvalidInput)},
)
async def verify_index(
    body: Verification, response: Response, user: LoggedInUser, resources: ResourcesDep
) -> JobView:
    """Queue a job that counts what differs, in its result, and with `repair` mends it. One at a time; for
    admins."""
    job = await vector_index.request_verification(resources, user, repair=body.repair)
    response.headers["Location"] = link("jobs", job.id).href
    return JobView.of(job)

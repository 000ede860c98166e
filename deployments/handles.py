"""Serve's deployment handles, dressed as the engine protocols of the platform."""

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from little_monster.platform.engines.remote import (
    RemoteChatModel,
    RemoteCollections,
    RemoteEmbedder,
    RemoteModerator,
    RemoteRetriever,
    RemoteVectorIndex,
)

FAILURES: tuple[type[BaseException], ...] = (RayError, RayServeException)
"""What a handle raises when no replica took or finished a call: dead actors, full queues, a deployment that
is away."""


def chat_model(handle: DeploymentHandle) -> RemoteChatModel:
    """Dress a handle of `llm.ChatModel`."""
    return RemoteChatModel(
        handle.options(stream=True), ready=lambda: handle.ready.remote(), failures=FAILURES
    )


def embedder(handle: DeploymentHandle) -> RemoteEmbedder:
    """Dress a handle of `embedding.Embedding`."""
    return RemoteEmbedder(handle, failures=FAILURES)


def moderator(handle: DeploymentHandle) -> RemoteModerator:
    """Dress a handle of `moderation.Moderation`."""
    return RemoteModerator(handle, failures=FAILURES)


def retriever(handle: DeploymentHandle) -> RemoteRetriever:
    """Dress a handle of `retrieval.Retrieval` for searching passages."""
    return RemoteRetriever(handle, failures=FAILURES)


def vector_index(handle: DeploymentHandle) -> RemoteVectorIndex:
    """Dress a handle of `retrieval.Retrieval` for writing the index."""
    return RemoteVectorIndex(handle, failures=FAILURES)


def collections(handle: DeploymentHandle) -> RemoteCollections:
    """Dress a handle of `retrieval.Retrieval` for the collections of the index."""
    return RemoteCollections(handle, failures=FAILURES)

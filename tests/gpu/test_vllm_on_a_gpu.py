"""The llm deployment on a GPU replica, with the `vllm` package that ray[llm] pins."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import ray
import torch
from ray import serve

from little_monster.deployments.handles import chat_model
from little_monster.deployments.options import VllmModel
from little_monster.platform.embedded.chat_model import NAME, prepare_chat_model
from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.process import Waiter
from little_monster.platform.engines.protocols import ChatRequest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="needs an NVIDIA GPU and a CUDA build of PyTorch"
    ),
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs the gpu extra: pip install -e '.[gpu]'"),
]
MODEL = "smollm2-on-gpu"


def _options(folder: Path) -> VllmModel:
    return VllmModel(
        llm_config={
            "model_loading_config": {"model_id": MODEL, "model_source": str(folder)},
            "placement_group_config": {"bundle_per_worker": {"CPU": 1, "GPU": 1}},
            "engine_kwargs": {"max_model_len": 2048, "gpu_memory_utilization": 0.3},
        }
    )


async def test_a_gpu_replica_answers(tmp_path: Path) -> None:
    from little_monster.deployments.llm import build_llm

    data = DataFolder.at(tmp_path)
    data.prepare()
    prepare_chat_model(data, os.environ, Waiter())
    ray.init(num_gpus=1)
    try:
        handle = serve.run(build_llm(_options(data.models / NAME)), name="gpu", route_prefix=None)
        body = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}
        answer = await chat_model(handle).complete(ChatRequest(MODEL, {**body, "max_tokens": 24}, "gpu-test"))
        assert "Paris" in answer["choices"][0]["message"]["content"]
    finally:
        serve.shutdown()
        ray.shutdown()

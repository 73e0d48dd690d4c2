"""Runs the benchmark function of vLLM's ``bench serve`` without vLLM itself; called by ``peers.py``.

    python peers_vllm.py SOURCE URL STREAMS REQUESTS REPORT

SOURCE holds ``vllm/benchmarks`` as it is in vLLM's wheel. What that folder imports from the rest of vLLM (its
logger, data sets, tokenizers and command line) is replaced by empty stand-ins, so that no engine need be installed;
the request function, the timing and the statistics are vLLM's own.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import sys
from dataclasses import field, make_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

Sample = make_dataclass(
    "Sample",
    [
        ("prompt", str),
        ("prompt_len", int),
        ("expected_output_len", int),
        *(
            (name, Any, field(default=None))
            for name in (
                "multi_modal_data",
                "request_id",
                "chat_messages",
                "request_overrides",
                "timestamp",
                "lora_request",
            )
        ),
    ],
)


def stand_in(name: str, path: Path | None = None, **contents: Any) -> None:
    """Put a module with these contents in place of one that is not installed."""
    module = ModuleType(name)
    module.__dict__.update(contents)
    if path is not None:
        module.__path__ = [str(path)]
    sys.modules[name] = module


def load_benchmark(source: Path) -> ModuleType:
    """Import vLLM's serving benchmark from its sources alone."""
    sys.path.insert(0, str(source))
    stand_in("vllm", source / "vllm")
    stand_in("vllm.utils", source / "vllm" / "utils")
    stand_in("vllm.logger", init_logger=logging.getLogger)
    stand_in("vllm.tokenizers", TokenizerLike=object, get_tokenizer=None)
    stand_in("vllm.benchmarks.datasets", SampleRequest=Sample, add_dataset_parser=None, get_samples=None)
    stand_in("vllm.utils.argparse_utils", FlexibleArgumentParser=object)
    stand_in("vllm.utils.gc_utils", freeze_gc_heap=gc.freeze)
    stand_in("vllm.utils.network_utils", join_host_port=lambda host, port: f"{host}:{port}")
    return importlib.import_module("vllm.benchmarks.serve")


def main() -> None:
    """Run the benchmark and write its report as JSON."""
    source, url, streams, requests, report = sys.argv[1:]
    serve = load_benchmark(Path(source))
    samples = [
        Sample(f"Tell story number {number}.", 32, 64, request_id=f"r{number}") for number in range(int(requests))
    ]
    result = asyncio.run(
        serve.benchmark(
            task_type=serve.TaskType.GENERATION,
            endpoint_type="openai-responses",
            api_url=f"{url}/v1/responses",
            base_url=url,
            model_id="timed",
            model_name="timed",
            tokenizer=object(),  # without one it prints no times; what it would count is in the usage
            input_requests=samples,
            logprobs=None,
            request_rate=float("inf"),
            burstiness=1.0,
            disable_tqdm=True,
            num_warmups=0,
            profile=False,
            selected_percentile_metrics=["ttft", "itl"],
            selected_percentiles=[50, 99],
            ignore_eos=False,
            goodput_config_dict={},
            max_concurrency=int(streams),
            lora_modules=None,
            extra_headers=None,
            extra_body=None,
            ready_check_timeout_sec=0,
        )
    )
    Path(report).write_text(json.dumps({k: v for k, v in result.items() if not isinstance(v, list)}, default=str))


if __name__ == "__main__":
    main()

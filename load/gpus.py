"""The GPUs of this host, asked through NVIDIA's management library (NVML) by the package ``nvidia-ml-py``.

For a load that runs where the server runs, and has no DCGM exporter beside it. The package is the extra ``gpu``.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from typing import Any

from rejoinder.errors import UsageError


class Gpus:
    """All GPUs of the host. ``library`` is the module ``pynvml``, or something that answers like it.

    Raises :class:`UsageError` where there is no library, or no GPU.
    """

    def __init__(self, library: Any = None) -> None:
        self._library = _load() if library is None else library
        try:
            self._library.nvmlInit()
            count = self._library.nvmlDeviceGetCount()
            self._handles = [self._library.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        except self._library.NVMLError as error:
            raise UsageError(
                f"Cannot read the GPUs of this host: {error}.",
                "Omit --gpu, or read a DCGM exporter with --metrics.",
            ) from error
        if not self._handles:
            raise UsageError("This host has no GPU.", "Omit --gpu, or read a DCGM exporter with --metrics.")

    def read(self) -> dict[str, float]:
        """Return use in percent (mean), watts (sum) and MiB in use (sum); what a GPU does not tell is left out."""
        library = self._library
        use = self._all(lambda handle: library.nvmlDeviceGetUtilizationRates(handle).gpu)
        power = self._all(lambda handle: library.nvmlDeviceGetPowerUsage(handle) / 1e3)
        memory = self._all(lambda handle: self._used(handle) / 2**20)
        found = {"gpu_percent": sum(use) / len(use)} if use else {}
        found |= {"gpu_power": sum(power)} if power else {}
        return found | ({"gpu_memory": sum(memory)} if memory else {})

    def _used(self, handle: Any) -> int:
        """Return the bytes in use as ``nvidia-smi`` counts them: without those that the driver reserves."""
        version = getattr(self._library, "nvmlMemory_v2", None)
        if version is not None:
            with contextlib.suppress(self._library.NVMLError):  # drivers before 510
                return int(self._library.nvmlDeviceGetMemoryInfo(handle, version=version).used)
        return int(self._library.nvmlDeviceGetMemoryInfo(handle).used)

    def _all(self, ask: Any) -> list[float]:
        found = []
        for handle in self._handles:
            try:
                found.append(float(ask(handle)))
            except self._library.NVMLError:  # not every GPU tells everything, such as a slice of one
                continue
        return found


def _load() -> Any:
    try:
        return import_module("pynvml")
    except ImportError as error:
        raise UsageError(
            "--gpu needs the package nvidia-ml-py, which is not installed.",
            "Install it with `pip install 'rejoinder[gpu]'`.",
        ) from error

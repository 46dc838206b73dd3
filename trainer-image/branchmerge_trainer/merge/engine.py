"""Runs mergekit tensor by tensor, from and to files: never are all tensors in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from mergekit.architecture import get_architecture_info
from mergekit.config import MergeConfiguration
from mergekit.graph import Executor
from mergekit.io.tasks import LoaderCache, SaveTensor
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner
from transformers import set_seed


class TensorMerge:
    """A planned merge of every tensor."""

    def __init__(self, configuration: MergeConfiguration, out: Path, *, shard_bytes: int, seed: int) -> None:
        """`out` receives safetensors files of at most `shard_bytes` each (a larger tensor gets a file of its own)."""
        LoaderCache.loaders.clear()  # it is kept by path for the life of a process, and files at a path may change
        device = "cuda" if torch.cuda.is_available() else "cpu"
        options = MergeOptions(out_shard_size=shard_bytes, device=device, quiet=True)
        LoaderCache().setup(options=options)
        planner = MergePlanner(
            configuration,
            get_architecture_info(configuration, options),
            options=options,
            out_model_config=configuration.models[0].model.config(),
        )
        targets = planner.plan_to_disk(out_path=str(out))
        self.tensors = sum(isinstance(target, SaveTensor) for target in targets)
        """Number of tensors that are merged."""
        self._executor = Executor(targets=targets, math_device=device, storage_device="cpu")
        self._seed = seed

    def run(self) -> Iterator[int]:
        """Merge; yields the number of tensors done after each.

        The seed rules methods that draw at random, and arcee_fusion, which samples tensors of over a million elements;
        the order of tensors is fixed, so equal seeds give equal bits on one kind of device.
        """
        set_seed(self._seed)
        done = 0
        for target, _ in self._executor.run(quiet=True):
            if isinstance(target, SaveTensor):
                done += 1
                yield done

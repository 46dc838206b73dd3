"""Keeps the log of a run for what its reader can act on."""

from __future__ import annotations

import os
import warnings

import torch


def quiet_libraries(device: torch.device) -> None:
    """Have libraries tell errors only, and draw no progress bars into a log file."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")  # of what DeepSpeed calls
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # texts are tokenized one by one
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # transformers imports DeepSpeed, which else looks for GPUs

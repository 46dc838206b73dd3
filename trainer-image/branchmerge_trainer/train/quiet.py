"""Keeps the log of a run for what its reader can act on."""

from __future__ import annotations

import logging
import os
import warnings

import torch

_CHATTY = ("deepspeed", "DeepSpeed", "torch.distributed")


def quiet_libraries(device: torch.device) -> None:
    """Have libraries tell errors only, and draw no progress bars into a log file."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="torch|transformers|deepspeed")
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # texts are tokenized one by one
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # transformers imports DeepSpeed, which else wonders about GPUs

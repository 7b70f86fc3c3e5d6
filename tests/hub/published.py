"""The tiny models in the files and under the names that the hub has of the real ones."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

from deployments.engines.analysis.mood.tiny_clap import write_clap
from deployments.engines.music.audiocraft import tiny_configs
from deployments.engines.music.audiocraft.tiny import ensure_tiny
from deployments.engines.separation.demucs.packages import load_separator

CLAP = "laion/larger_clap_music"
SMALL = "facebook/musicgen-small"
MELODY = "facebook/musicgen-melody"
STEREO = "facebook/musicgen-stereo-small"
_T5_WIDTH = 768


def musicgen(cache_dir: Path, tiny: str, name: str) -> dict[str, dict[str, bytes]]:
    """A MusicGen's repository and those of what it loads besides. Its text encoder is as wide as `t5-base`."""
    folder = ensure_tiny(tiny, cache_dir)
    package = torch.load(folder / "state_dict.bin", weights_only=True)
    package["xp.cfg"] = package["xp.cfg"].replace(tiny_configs.TEXT_ENCODER, "t5-base")
    for key, tensor in package["best_state"].items():
        if key.endswith("description.output_proj.weight"):
            package["best_state"][key] = torch.full((tensor.shape[0], _T5_WIDTH), 0.01)
    buffer = io.BytesIO()
    torch.save(package, buffer)
    codec = "compression_state_dict.bin"
    repositories = {
        name: {"state_dict.bin": buffer.getvalue(), codec: (folder / codec).read_bytes()},
        "t5-base": _t5(folder / "t5"),
    }
    if (folder / "demucs").is_dir():
        repositories["adefossez/HTDemucs"] = htdemucs(folder / "demucs")
    return repositories


def _t5(tiny: Path) -> dict[str, bytes]:
    from safetensors.torch import save
    from transformers import T5Config, T5EncoderModel

    config = T5Config.from_pretrained(tiny)
    config.d_model = _T5_WIDTH
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = T5EncoderModel(config).state_dict()
    del state["encoder.embed_tokens.weight"]
    files = {path.name: path.read_bytes() for path in tiny.iterdir()}
    files["config.json"] = config.to_json_string().encode()
    files["model.safetensors"] = save(state, metadata={"format": "pt"})
    return files


def htdemucs(folder: Path) -> dict[str, bytes]:
    """Demucs's repository `HTDemucs`, as its `tools/export_hf.py` writes it."""
    from safetensors.torch import save

    (network,) = load_separator(folder, "htdemucs").models
    args, kwargs = network._init_args_kwargs
    metadata = {
        "klass": f"{type(network).__module__}.{type(network).__name__}",
        "args": json.dumps(args),
        "kwargs": json.dumps(kwargs, default=_fraction),
    }
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    return {
        "htdemucs.yaml": b"models: ['955717e8']\n",
        "955717e8.safetensors": save(state, metadata=metadata),
    }


def clap(folder: Path) -> dict[str, bytes]:
    """With `pytorch_model.bin` alone, as LAION published it."""
    from safetensors.torch import load_file

    folder.mkdir()
    write_clap(folder)
    buffer = io.BytesIO()
    torch.save(load_file(folder / "model.safetensors"), buffer)
    (folder / "model.safetensors").unlink()
    return {path.name: path.read_bytes() for path in folder.iterdir()} | {
        "pytorch_model.bin": buffer.getvalue()
    }


def pointer(name: str) -> bytes:
    """The codec's file of a stereo MusicGen."""
    buffer = io.BytesIO()
    torch.save({"pretrained": name}, buffer)
    return buffer.getvalue()


def _fraction(value: Any) -> dict[str, Any]:
    return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}

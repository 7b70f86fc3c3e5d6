"""The newest checkpoints as what the server loads.

python -m training.starter.export --runs RUNS --package        # the weights that the package ships
python -m training.starter.export --runs RUNS --out FOLDER     # a checkpoint folder: MODEL=FOLDER make run
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from deployments.engines.music.audiocraft.importing import import_audiocraft
from deployments.engines.music.audiocraft.starter import write_starter
from deployments.engines.starter.packed import read_packed, write_packed
from deployments.engines.starter.weights import FOLDER, SEPARATOR_FILE
from training.starter.codec import load_codec
from training.starter.configs import starter_codec_config, starter_lm_config
from training.starter.lm import load_lm
from training.starter.separator import ARGUMENTS, load_separator_state

LARGEST_BYTES = 25_000_000


def export_packed(runs: Path, folder: Path) -> int:
    """All weights as the package has them; returns their size in bytes. Without a separator's checkpoint in
    `runs` the package's own is taken. Raises FileNotFoundError where a checkpoint is missing, ValueError where
    they are too big.
    """
    import_audiocraft()
    from omegaconf import OmegaConf

    def yaml(config: dict[str, Any]) -> str:
        return str(OmegaConf.to_yaml(OmegaConf.create(config)))

    model = load_lm(runs)
    folder.mkdir(parents=True, exist_ok=True)
    write_packed(
        folder / "codec.safetensors", load_codec(runs).state_dict(), {"config": yaml(starter_codec_config())}
    )
    write_packed(folder / "lm.safetensors", model.lm.state_dict(), {"config": yaml(starter_lm_config())})
    with tempfile.TemporaryDirectory() as draft:
        model.text.save_pretrained(draft)
        model.tokenizer.save_pretrained(draft)
        files = {
            path.name: path.read_text(encoding="utf-8")
            for path in Path(draft).iterdir()
            if path.suffix == ".json"
        }
        state = read_packed(Path(draft) / "model.safetensors")[0]
    write_packed(folder / "text.safetensors", state, files)
    if (runs / "separator" / "checkpoint.pt").exists():
        strings = {"arguments": json.dumps(ARGUMENTS)}
        write_packed(folder / SEPARATOR_FILE, load_separator_state(runs), strings)
    elif folder != FOLDER:
        (folder / SEPARATOR_FILE).write_bytes((FOLDER / SEPARATOR_FILE).read_bytes())
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if size > LARGEST_BYTES:
        raise ValueError(f"{size / 1e6:.1f} MB are more than the package may have")
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description="Export the starter's newest checkpoints.")
    parser.add_argument("--runs", type=Path, required=True)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--package", action="store_true", help="into the package, as the model `starter`")
    where.add_argument("--out", type=Path, help="into a new folder, to be served as MODEL=FOLDER")
    given = parser.parse_args()
    if given.package:
        print(f"{export_packed(given.runs, FOLDER) / 1e6:.1f} MB in {FOLDER}")
        return
    given.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as packed:
        export_packed(given.runs, Path(packed))
        write_starter(given.out, Path(packed))
    print(f"MODEL={given.out.resolve()} make run")


if __name__ == "__main__":
    main()

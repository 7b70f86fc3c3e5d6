"""What files a local separator's folder has, without torch and without opening a package.

A folder holds Demucs's packages: `<signature>[-<checksum>].th`, or `<signature>.safetensors` as on the hub, and
`<bag>.yaml` that lists the signatures of a bag and its weights. A single package needs no bag.
"""

from __future__ import annotations

from pathlib import Path

from deployments.engines.common.errors import ModelUnavailable

PACKAGE_SUFFIXES = (".th", ".safetensors")
_BAG_SUFFIX = ".yaml"


def is_folder_of_packages(folder: Path) -> bool:
    return folder.is_dir() and any(file.suffix in PACKAGE_SUFFIXES for file in folder.iterdir())


def model_of(folder: Path) -> str:
    """The name of the folder's bag, or the signature of its only package.

    Of several bags it is the one that is called as the folder is. Raises ModelUnavailable where there is no
    telling.
    """
    bags = sorted(file.stem for file in folder.iterdir() if file.suffix == _BAG_SUFFIX)
    packages = sorted(file.stem for file in folder.iterdir() if file.suffix in PACKAGE_SUFFIXES)
    if folder.name in bags:
        return folder.name
    if len(bags) == 1:
        return bags[0]
    if not bags and len(packages) == 1:
        return packages[0].rsplit("-", 1)[0]
    raise ModelUnavailable(
        f"{folder.name} holds {len(bags)} bags and {len(packages)} packages; one bag, one that is called as the "
        "folder is, or a single package can be loaded"
    )

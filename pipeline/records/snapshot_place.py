"""Where the pictures of a store's events are."""

from __future__ import annotations

from pathlib import Path

from pipeline.records.address import StoreAddress

SNAPSHOTS = "_snapshots"
"""How the folder's name ends."""


def snapshot_folder(address: StoreAddress) -> Path:
    """The folder beside the store, or in the working folder for a database."""
    return address.beside(SNAPSHOTS)


def snapshot_reference(address: StoreAddress, path: Path) -> str:
    """What the store keeps: relative to a file's folder, so that both can be moved together; absolute otherwise."""
    return path.resolve().as_posix() if address.path is None else f"{path.parent.name}/{path.name}"


def snapshot_path(address: StoreAddress, reference: str) -> Path | None:
    """The file of a reference; None for an address on the network."""
    if "://" in reference:
        return None
    path = Path(reference)
    return path if path.is_absolute() or address.path is None else address.path.parent / path

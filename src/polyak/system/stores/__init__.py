"""Which store an address is of: one in a folder, or at any URL that fsspec knows (S3, GCS, ...)."""

from pathlib import Path

from polyak.errors import UsageError
from polyak.system.stores.folder import Folder
from polyak.system.stores.store import Store

WRAPPERS = (
    *("arrow_hdfs", "async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "dask", "data", "dir"),
    *(
        "filecache",
        "generic",
        "gist",
        "git",
        "github",
        "jlab",
        "jupyter",
        "libarchive",
        "pyscript",
        "reference",
        "root",
    ),
    *("simplecache", "tar", "zip"),
)
"""What fsspec knows besides stores: what wraps another, computes its content, or cannot be written to."""


def store_at(address: str) -> Store:
    """What lies at a folder or a URL; nothing is looked at yet.

    Raises:
        UsageError: there is no such kind of store, or its package is not installed; the message says which.
    """
    protocol, parted, rest = address.partition("://")
    if not parted or protocol in ("file", "local"):
        return Folder(Path(rest if parted else address))
    if protocol in WRAPPERS:
        raise UsageError(f"{address} is no place of its own: {protocol}:// reads what is elsewhere; name that")
    from polyak.system.stores.remote import remote_at

    return remote_at(address)

"""Local clips on their way to the file service: a look at the file, and a streamed upload."""

from omniedit.evolink.digest import ClipDigest, changed, check_size, digest_clip
from omniedit.evolink.uploads import Uploader

__all__ = ["ClipDigest", "Uploader", "changed", "check_size", "digest_clip"]

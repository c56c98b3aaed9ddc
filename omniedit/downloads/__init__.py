"""Results on their way to the disk: part file, ranges, digest, lock, atomic placement."""

from omniedit.downloads.copying import copy_result
from omniedit.downloads.downloader import Downloader
from omniedit.downloads.placing import tidy
from omniedit.downloads.target import check_target, saved_file, verify

__all__ = ["Downloader", "check_target", "copy_result", "saved_file", "tidy", "verify"]

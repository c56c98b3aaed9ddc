"""Clips on this machine and the file service, fitted to what the use cases call."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.downloads.placement import saved_file
from omniedit.downloads.transfer import Downloader
from omniedit.edits.ports import Progress, Retry
from omniedit.edits.requests import is_local
from omniedit.evolink.uploads import ClipDigest, Uploader, changed, check_size, digest_clip
from omniedit.http.urls import without_query
from omniedit.media import is_available
from omniedit.models import SavedFile, UploadedClip
from omniedit.system.folders import private_folder

if TYPE_CHECKING:
    from omniedit.http.client import HttpClient
    from omniedit.http.ranges import Incomplete
    from omniedit.media import ClipFacts, Piece

_LONGEST_STEM: Final = 50  # characters, of four bytes at most


class LocalClips:
    """Clips on this machine.

    Args:
        connect: Returns the HTTP client, when first needed.
        find_service: Returns the file service's URL and the key, when something is uploaded.
        allow_internal: Ask also hosts of this machine and network for clips.
        sleep: Rests between two attempts.
    """

    def __init__(
        self,
        connect: Callable[[], "HttpClient"],
        find_service: Callable[[], tuple[str, str]],
        *,
        allow_internal: bool,
        sleep: Callable[[float], object],
    ) -> None:
        self._connect = connect
        self._find_service = find_service
        self._allow_internal = allow_internal
        self._sleep = sleep
        self._facts: dict[tuple[str, str], tuple[tuple[int, int] | None, ClipFacts]] = {}
        self._digests: dict[str, tuple[tuple[int, int] | None, ClipDigest]] = {}

    @property
    def can_look(self) -> bool:
        """Whether the extra `media` is installed."""
        return is_available()

    def look(self, video: str, *, name: str | None = None) -> "ClipFacts | Incomplete":
        """Return what a clip is; of a URL little more than the header is read.

        Args:
            video: Path or URL.
            name: What messages call it, where that is something else.
        """
        from omniedit.http.ranges import look_at_url
        from omniedit.media import probe

        if is_local(video):
            # Once, however many pieces or lines a clip has.
            key, state = (_name_of(Path(video)), name or video), _state_of(Path(video))
            known = self._facts.get(key)
            if known is None or known[0] != state:
                known = self._facts[key] = state, probe(Path(video), name=name or video)
            return known[1]
        return look_at_url(
            self._connect(),
            video,
            lambda file: probe(file, name=without_query(video), reads_all=file.is_small),
            allow_internal=self._allow_internal,
        )

    @contextmanager
    def fetched(
        self, url: str, *, folder: Path, on_progress: Progress, on_retry: Retry
    ) -> Generator[Path]:
        """Hold the clip of a URL in a private file."""
        downloader = Downloader(
            self._connect(), sleep=self._sleep, public_only=not self._allow_internal
        )
        with downloader.fetch(
            url, what="clip", folder=folder, on_progress=on_progress, on_retry=on_retry
        ) as path:
            yield path

    @contextmanager
    def prepared(
        self, source: Path, *, start_s: float | None, end_s: float | None, folder: Path
    ) -> Generator[Path]:
        """Hold a clip that was cut, converted, or both, in a private file."""
        from omniedit.media import prepare

        with private_folder(folder) as private:
            # There must be room for more in a name.
            target = private / f"{source.stem[:_LONGEST_STEM]}.mp4"
            prepare(source, target, start_s=start_s, end_s=end_s)
            self._check_is_same(source)
            check_size(
                target.stat().st_size,
                name=f"what {source} becomes",
                hint="make it smaller with another program, or host it as an MP4 and give its URL",
            )
            yield target

    def plan_split(
        self, source: Path, *, start_s: float | None, end_s: float | None
    ) -> "Sequence[Piece]":
        """Return the pieces of a clip that the service takes."""
        from omniedit.media import plan_split

        return plan_split(source, start_s=start_s, end_s=end_s)

    @contextmanager
    def joined(
        self,
        pieces: "Sequence[Piece]",
        results: Sequence[Path],
        *,
        original: Path,
        original_start_s: float | None,
        new_audio: bool,
        folder: Path,
    ) -> Generator[tuple[SavedFile, float]]:
        """Hold the results of pieces as one clip in a private file.

        With it comes by how much a result was shorter (negative: longer) than its piece, at worst.
        """
        from omniedit.media import join

        self._check_is_same(original)
        with private_folder(folder) as private:
            joined = join(
                pieces,
                results,
                target := private / "joined.mp4",
                original=original,
                original_start_s=original_start_s,
                new_audio=new_audio,
            )
            yield saved_file(target), joined.largest_gap_s

    def digest(self, path: Path, *, check: bool) -> str:
        """Return the SHA-256 of a clip that may be uploaded."""
        return self._digest(path, check=check).sha256

    def upload(self, path: Path, *, on_progress: Progress) -> UploadedClip:
        """Upload a clip, which must be what it was when it was looked at."""
        self._check_is_same(path)
        expected = self._digest(path, check=False)
        return self._uploader().upload(path, expected=expected, on_progress=on_progress)

    def check_service(self) -> None:
        """Find out whether the file service answers."""
        self._uploader().check_service()

    def _digest(self, path: Path, *, check: bool) -> ClipDigest:
        """Read a clip once, however many edits are made of it."""
        state = _state_of(path)
        known = self._digests.get(_name_of(path))
        if known is None or known[0] != state:
            known = self._digests[_name_of(path)] = state, digest_clip(path, check=check)
        return known[1]

    def _check_is_same(self, path: Path) -> None:
        """Refuse a clip that is not what it was when its digest was taken.

        Raises:
            LocalError: It changed.
        """
        known = self._digests.get(_name_of(path))
        if known is not None and known[0] != _state_of(path):
            raise changed(path)

    def _uploader(self) -> Uploader:
        files_url, key = self._find_service()
        return Uploader(self._connect(), files_url=files_url, key=key)


def _name_of(path: Path) -> str:
    return str(path.absolute())


def _state_of(path: Path) -> tuple[int, int] | None:
    """Return what changes with a file's content; None where it cannot be looked at."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns

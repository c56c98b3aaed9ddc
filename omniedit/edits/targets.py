"""Where a result goes: a file, a folder, or standard output."""

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from omniedit.errors import InvalidInputError
from omniedit.models import TASK_PREFIX, Sound, clip_name
from omniedit.system.files import file_name, is_folder, stable_path
from omniedit.system.windows import is_reserved_name

STDOUT: Final = "-"
_END_OF_ID: Final = 8
_END_OF_IDENTITY: Final = 6
_LONG_END_OF_IDENTITY: Final = 12
_LONGEST_STEM: Final = 80
_LONGEST_WORDS: Final = 40
_NOT_ASCII_WORD: Final = re.compile(r"[^A-Za-z0-9]+")
_NOT_IN_STEM: Final = re.compile(r"[^\w.-]")
_MOST_STEM_BYTES: Final = 200
_MOST_NAME_BYTES: Final = 240
"""The longest default name; file systems take 255 bytes, and something may be appended."""


class Target(NamedTuple):
    """The file of one result."""

    path: Path  # as it is opened
    shown: str  # as the user typed it
    sound: Sound = Sound.NEW
    overwrite: bool = False  # replace an existing file
    is_extra: bool = False  # an extra file beside the requested one, not reported to the user

    @property
    def served(self) -> "Target":
        """The file for the result as served, if this is one with another sound."""
        shown = served_path(self.shown)
        path = stable_path(Path(shown))
        return Target(path, shown, overwrite=self.overwrite, is_extra=True)

    def numbered(self, index: int) -> "Target":
        """Return the file of the result with this index: `out.mp4`, `out-2.mp4`, and so on."""
        if index == 0:
            return self
        path = PurePosixPath(self.shown)
        shown = str(path.with_name(numbered(path.name, index)))
        return self._replace(path=stable_path(Path(shown)), shown=shown)


class Destination(NamedTuple):
    """Where results go: the value of `--output` or `--download`."""

    text: str | None  # None: a default name in the current folder
    overwrite: bool = False  # see `Target`

    @property
    def is_stdout(self) -> bool:
        """Whether the file is streamed to standard output."""
        return self.text == STDOUT

    @property
    def is_folder(self) -> bool:
        """Whether files in it get names chosen by omniedit."""
        return self.text is None or self.text.endswith(("/", "\\")) or is_folder(self.text)

    @property
    def is_named_folder(self) -> bool:
        """Whether it is a folder named by the user: file names in it end in part of the task ID."""
        return self.text is not None and self.is_folder

    def check_count(self, count: int) -> None:
        """Refuse a single file as the destination of several tasks.

        Raises:
            InvalidInputError: If the destination is not a folder.
        """
        if count > 1 and not self.is_folder:
            msg = f"{count} tasks cannot be saved as one file: {self.text}"
            raise InvalidInputError(msg, code="needs_folder", hint=f"name a folder: `{self.text}/`")

    def target(
        self,
        video: str | None,
        task_id: str | None,
        *,
        sound: Sound = Sound.NEW,
    ) -> Target | None:
        """Return the target of a task's first result; None if it goes to standard output.

        Without a task ID only the folder of the target is final, not the name.
        """
        if self.is_stdout:
            return None
        if self.is_folder:
            name = f"{clip_stem(video)}-{_end_of_id(task_id or '')}{_sound_suffix(sound)}.mp4"
            return self._within_folder(file_name(name), sound=sound)
        return self._target(str(self.text), sound=sound)

    def target_of_edit(
        self,
        video: str | None,
        prompt: str | None,
        identity: str,
        task_id: str | None,
        *,
        sound: Sound = Sound.NEW,
    ) -> Target | None:
        """Return the target of an edit's result; None if its name depends on an unknown task ID."""
        if self.text is None:
            name = default_name(video, prompt, identity, sound=sound)
            return self._within_folder(name, sound=sound)
        if self.is_named_folder and task_id is None:
            return None
        return self.target(video, task_id, sound=sound)

    def target_of_joined(
        self, video: str, prompt: str, identity: str, *, sound: Sound = Sound.NEW
    ) -> Target:
        """Return the target of a clip that is joined from several results."""
        if self.is_folder:
            return self._within_folder(default_name(video, prompt, identity, sound=sound))
        return self._target(str(self.text))

    def _within_folder(self, name: str, *, sound: Sound = Sound.NEW) -> Target:
        shown = name if self.text is None else str(Path(self.text) / name)
        return self._target(shown, sound=sound)

    def _target(self, shown: str, *, sound: Sound = Sound.NEW) -> Target:
        return Target(stable_path(Path(shown)), shown, sound, overwrite=self.overwrite)


def default_name(
    video: str | None,
    prompt: str | None,
    identity: str,
    *,
    is_long: bool = False,
    sound: Sound = Sound.NEW,
) -> str:
    """Return the default name of an edit's result.

    Args:
        video: The clip.
        prompt: The prompt; the name includes its first words.
        identity: The edit's identity; the name includes its first digits.
        is_long: Include more digits, because the usual number is not enough to be unique.
        sound: The sound; the name includes it unless it is the service's.
    """
    digits = identity[: _LONG_END_OF_IDENTITY if is_long else _END_OF_IDENTITY]
    words = _first_words(prompt or "")
    digits += _sound_suffix(sound)
    rest = f"-{words}-{digits}.mp4" if words else f"-{digits}.mp4"
    room = _MOST_NAME_BYTES - len(rest.encode())
    stem = clip_stem(video).encode()[:room].decode(errors="ignore").rstrip("-.")
    return file_name(stem + rest)


def served_path(path: str) -> str:
    """Return where the result as served is kept: `out.served.mp4` beside `out.mp4`."""
    stem, suffix = os.path.splitext(path)  # noqa: PTH122 - a manifest may have 100,000 lines
    return f"{stem}.served{suffix}"


def numbered(name: str, index: int) -> str:
    """Return the name of the file with this index: `name.mp4`, `name-2.mp4`, and so on."""
    path = PurePosixPath(name)
    return name if index == 0 else f"{path.stem}-{index + 1}{path.suffix}"


def _first_words(prompt: str) -> str:
    """Return the first words of a prompt, reduced to letters and digits and joined by `-`."""
    text = unicodedata.normalize("NFC", prompt[:_MOST_NAME_BYTES])
    if text.isascii():
        spaced = _NOT_ASCII_WORD.sub(" ", text)
    else:
        spaced = "".join(character if _is_word_character(character) else " " for character in text)
    words, *others = spaced.split() or [""]
    words = words[:_LONGEST_WORDS]
    for word in others:
        if len(words) + 1 + len(word) > _LONGEST_WORDS:
            break
        words += f"-{word}"
    return words


def _is_word_character(character: str) -> bool:
    # In many scripts vowels are marks on letters (categories Mn and Mc).
    return character.isalnum() or unicodedata.category(character) in {"Mn", "Mc"}


def clip_stem(video: str | None) -> str:
    """Return the clip's name without its suffix, reduced to letters, digits, `-`, `_` and `.`."""
    if not video:
        return "clip"
    if video.startswith(TASK_PREFIX):
        return _end_of_id(video.removeprefix(TASK_PREFIX))
    stem = os.path.splitext(clip_name(video))[0]  # noqa: PTH122 - a manifest may have 100,000 lines
    kept = _NOT_IN_STEM.sub("-", unicodedata.normalize("NFC", stem))
    kept = kept.strip("-.")[:_LONGEST_STEM].encode()[:_MOST_STEM_BYTES].decode(errors="ignore")
    stem = kept.strip("-.") or "clip"
    # Windows reserves names such as `con.cut-…`; avoid them on every system, so that a folder can
    # be copied to Windows.
    return f"clip-{stem}" if is_reserved_name(f"{stem}-") else stem


def _sound_suffix(sound: Sound) -> str:
    return "" if sound is Sound.NEW else f"-{sound}"


def _end_of_id(task_id: str) -> str:
    return task_id[-_END_OF_ID:].strip("-.") or "task"

"""Where a result goes: a file, a folder, or standard output."""

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from omniedit.edits.clips import clip_name
from omniedit.errors import InvalidInputError, LocalError
from omniedit.models import TASK_PREFIX, Sound, is_local
from omniedit.system.files import is_folder, settled_path
from omniedit.system.windows import is_reserved_name

STDOUT: Final = "-"
_END_OF_ID: Final = 8
_END_OF_IDENTITY: Final = 6
_LONG_END_OF_IDENTITY: Final = 12
_LONGEST_STEM: Final = 80
_LONGEST_WORDS: Final = 40
_NO_ASCII_WORD: Final = re.compile(r"[^A-Za-z0-9]+")
_NO_STEM: Final = re.compile(r"[^\w.-]")
_MOST_NAME_BYTES: Final = 240
"""Of a default name: a system takes 255, and something may be added."""


class Target(NamedTuple):
    """One result's place: as it is opened, and as the user gave it."""

    path: Path
    shown: str
    is_aside: bool = False  # kept beside what was asked for, and not announced


class Destination(NamedTuple):
    """What `--output` or `--download` named; None for the command's default name here."""

    text: str | None
    is_aside: bool = False  # it names what is kept beside what was asked for

    @property
    def is_stdout(self) -> bool:
        """Whether the file is streamed to standard output."""
        return self.text == STDOUT

    @property
    def is_folder(self) -> bool:
        """Whether files get names of their own below it."""
        return self.text is None or self.text.endswith(("/", "\\")) or is_folder(self.text)

    @property
    def is_named_folder(self) -> bool:
        """Whether it is a folder in which a file's name holds the end of its task's ID."""
        return self.text is not None and self.is_folder

    def check_count(self, count: int) -> None:
        """Refuse one name for several tasks.

        Raises:
            InvalidInputError: If the destination is no folder.
        """
        if count > 1 and not self.is_folder:
            msg = f"{count} tasks cannot be saved as one file: {self.text}"
            raise InvalidInputError(msg, code="needs_folder", hint=f"name a folder: `{self.text}/`")

    def target(
        self,
        video: str | None,
        task_id: str | None,
        *,
        index: int = 0,
        sound: Sound = Sound.NEW,
    ) -> Target:
        """Return the place of a task's result; its second one is `name-2.mp4`.

        Without a task ID the name is not yet the final one; its folder is.
        """
        if self.is_folder:
            name = f"{clip_stem(video)}-{_end_of(task_id or '')}{_end_for(sound)}.mp4"
            return self._within_folder(numbered(name, index))
        path = PurePosixPath(self.text or "")
        shown = str(path.with_name(numbered(path.name, index))) if index else str(self.text)
        return _target(shown, is_aside=self.is_aside)

    def target_of_edit(
        self,
        video: str | None,
        prompt: str | None,
        identity: str,
        task_id: str | None,
        *,
        sound: Sound = Sound.NEW,
    ) -> Target | None:
        """Return the place of an edit's result; None while a folder's name needs the task ID."""
        if self.text is None:
            return self._within_folder(default_name(video, prompt, identity, sound=sound))
        if self.is_named_folder and task_id is None:
            return None
        return self.target(video, task_id, sound=sound)

    def target_of_joined(
        self, video: str, prompt: str, identity: str, *, sound: Sound = Sound.NEW
    ) -> Target:
        """Return the place of a clip that was joined of several results."""
        if self.text is None or self.is_folder:
            return self._within_folder(default_name(video, prompt, identity, sound=sound))
        return _target(self.text)

    def _within_folder(self, name: str) -> Target:
        return _target(name if self.text is None else str(Path(self.text) / name))


def _target(shown: str, *, is_aside: bool = False) -> Target:
    return Target(settled_path(Path(shown)), shown, is_aside=is_aside)


def default_name(
    video: str | None,
    prompt: str | None,
    identity: str,
    *,
    is_long: bool = False,
    sound: Sound = Sound.NEW,
) -> str:
    """Return the name of an edit's result where the user gave none.

    Args:
        video: The clip.
        prompt: Its first words tell one edit of a clip from another.
        identity: Its first digits tell apart what has the same words.
        is_long: Whether the usual number of digits does not.
        sound: Named where it is not the service's.
    """
    digits = identity[: _LONG_END_OF_IDENTITY if is_long else _END_OF_IDENTITY]
    words = _first_words(prompt or "")
    digits += _end_for(sound)
    rest = f"-{words}-{digits}.mp4" if words else f"-{digits}.mp4"
    room = _MOST_NAME_BYTES - len(rest.encode())
    stem = clip_stem(video).encode()[:room].decode(errors="ignore").rstrip("-.")
    return stem + rest


def served_destination(target: Target) -> Destination:
    """Return where a result stays as it was served, beside a file with another sound."""
    path = Path(target.shown)
    name = path.with_name(f"{path.stem}.served{path.suffix}")
    return Destination(str(name), is_aside=True)


def numbered(name: str, index: int) -> str:
    """Return the name of the file with this index: `name.mp4`, `name-2.mp4`, and so on."""
    path = PurePosixPath(name)
    return name if index == 0 else f"{path.stem}-{index + 1}{path.suffix}"


def refuse_source(video: str | None, target: Path) -> None:
    """Refuse to replace the clip on this machine that a result is to be made from.

    Raises:
        LocalError: If both are one file, by whichever names and links.
    """
    if not video or not is_local(video):
        return
    try:
        is_source = Path(video).samefile(target)
    except (OSError, ValueError):
        # One of them does not exist.
        return
    if is_source:
        raise target_is_source(target)


def target_is_source(target: Path) -> LocalError:
    """Return the error for a target that is the clip."""
    msg = f"{target} is the clip that is edited: a result never replaces it"
    return LocalError(msg, code="target_is_source", hint="choose another name for the result")


def _first_words(prompt: str) -> str:
    """Return the first words of a prompt, of letters and digits alone, joined by `-`."""
    text = unicodedata.normalize("NFC", prompt[:_MOST_NAME_BYTES])
    if text.isascii():
        spaced = _NO_ASCII_WORD.sub(" ", text)
    else:
        spaced = "".join(character if _is_of_word(character) else " " for character in text)
    words, *others = spaced.split() or [""]
    words = words[:_LONGEST_WORDS]
    for word in others:
        if len(words) + 1 + len(word) > _LONGEST_WORDS:
            break
        words += f"-{word}"
    return words


def _is_of_word(character: str) -> bool:
    # The vowels of many scripts are marks on letters.
    return character.isalnum() or unicodedata.category(character) in {"Mn", "Mc"}


def clip_stem(video: str | None) -> str:
    """Return the clip's name without ending, of letters, digits, `-`, `_` and `.` alone."""
    if not video:
        return "clip"
    if video.startswith(TASK_PREFIX):
        return _end_of(video.removeprefix(TASK_PREFIX))
    stem = os.path.splitext(clip_name(video))[0]  # noqa: PTH122 - a manifest may have 100,000 lines
    kept = _NO_STEM.sub("-", unicodedata.normalize("NFC", stem))
    stem = kept.strip("-.")[:_LONGEST_STEM].strip("-.") or "clip"
    # As `con.cut-…` would be; everywhere, so that a folder can be moved to another system.
    return f"clip-{stem}" if is_reserved_name(f"{stem}-") else stem


def _end_for(sound: Sound) -> str:
    return "" if sound is Sound.NEW else f"-{sound}"


def _end_of(task_id: str) -> str:
    return task_id[-_END_OF_ID:].strip("-.") or "task"

"""Locks beside the journal: of an edit, of a submission, of an upload."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from omniedit.errors import JournalError, LocalError
from omniedit.system.folders import make_private_folder
from omniedit.system.locks import hold


@contextmanager
def held_lock(folder: Path, name: str, sleep: Callable[[float], object]) -> Generator[None]:
    """Hold a lock for a block; wait until whoever has it lets go.

    Raises:
        JournalError: It cannot be made.
    """
    with ExitStack() as stack:
        try:
            make_private_folder(folder)
            stack.enter_context(hold(folder / f"{name}.lock", sleep=sleep))
        except OSError as error:
            msg = f"cannot make {folder}: {error.strerror}"
            raise JournalError(msg) from None
        except LocalError as error:
            raise JournalError(error.message) from error
        yield

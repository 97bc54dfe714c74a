"""Errors that a user can cause or meet; each carries the exit code of the command line (DESIGN §8)."""

from __future__ import annotations


class NhnasError(Exception):
    """Base of every error that is not our own bug.

    The message is what the user reads: one line a problem, saying where, what was expected and
    what to do.
    """

    exit_code = 1


class InputError(NhnasError):
    """A file, an option or a request that cannot be used as it is."""

    exit_code = 2


class BusyError(NhnasError):
    """Another command holds this spec."""

    exit_code = 3


class TrainingError(NhnasError):
    """Training did not recover although it went back to its last good point."""

    exit_code = 4


class StorageError(NhnasError):
    """Reading or writing failed: disk full, no permission, damaged device."""

    exit_code = 5


class Interrupted(NhnasError):  # noqa: N818 - the field's word, as in KeyboardInterrupt
    """The command was asked to stop, saved its state and can be continued by the same command."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number

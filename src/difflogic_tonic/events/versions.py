"""Versions of what this room computes, apart from the code so that reading them loads nothing."""

SEMANTICS_VERSION = 1
"""Raised when the same recording and recipe give other frames than before: caches made earlier are then not found."""

DIGITS_VERSION = 1
"""Raised when any byte of a DIGITS_DVS recording changes."""

IMAGE_VERSION = 1
"""Raised when the same image gives another frame than before."""

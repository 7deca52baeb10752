"""What a person reads for the names that core uses."""

from core.dropout import TECHNIQUES

NO_DROPOUT = "No dropout"


def techniques() -> dict[str, str]:
    """Technique name → title, the run without dropout first."""
    return {"none": NO_DROPOUT, **{name: cls.title or name for name, cls in TECHNIQUES.items()}}

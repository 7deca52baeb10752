"""``python -m app.bench``: findings as JSON lines; what could not be measured, and why, beside them."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from app.bench import browsers, pages, starts, uploads, viewers
from app.bench.server import serving
from core.bench import Finding
from core.bench.show import as_json
from core.runs.schema import to_json


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m app.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick: bool = parser.parse_args().quick
    # What a library prints must not stand between the findings.
    out, sys.stdout = sys.stdout, sys.stderr
    for finding in measure(quick):
        print(to_json(as_json(finding)), file=out, flush=True)


def measure(quick: bool) -> Iterator[Finding]:
    """All there is; each server has a home of its own, gone afterwards."""
    yield from uploads.measure(5 if quick else 15)
    with tempfile.TemporaryDirectory(prefix="dropscope-bench-") as folder:
        with serving(Path(folder) / "few") as server:
            yield from as_far_as_it_goes(
                pages.measure(server, 5 if quick else 15),
                browsers.measure(server, 3 if quick else 9),
                starts.measure(server, 3 if quick else 7),
                viewers.measure(server, 5 if quick else 10),
            )
        if not quick:  # making so many runs takes its time
            with serving(Path(folder) / "many") as server:
                yield from as_far_as_it_goes(pages.measure_many(server, 1000, 7))


def as_far_as_it_goes(*parts: Iterator[Finding]) -> Iterator[Finding]:
    """All findings of all parts; one that takes too long, or fails, is told and left, and the next one begins."""
    for part in parts:
        try:
            yield from part
        except (TimeoutError, RuntimeError) as error:
            print(f"Not measured to the end: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()

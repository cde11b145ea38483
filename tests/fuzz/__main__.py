"""
Fuzz one parser, guided by coverage.

    python -m tests.fuzz PARSER [--seconds 600]

A parser is a module ``target_PARSER.py`` in this folder with ``one(data)``, which raises
only when it found a fault, and ``SEEDS``. What reaches new code is added to
``corpus/PARSER``, which the tests replay; a fault is written to ``fault-...`` in the
working directory and ends the run with an error. Needs the extra ``fuzz`` (atheris).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Read the command line, lay out the seeds, run."""
    import atheris

    parsers = sorted(path.stem[7:] for path in HERE.glob("target_*.py"))
    options = argparse.ArgumentParser(description="Fuzz one parser, guided by coverage.")
    options.add_argument("parser", choices=parsers)
    options.add_argument("--seconds", type=int, default=600)
    chosen = options.parse_args()
    with atheris.instrument_imports(include=["grenache_py"]):
        target = importlib.import_module(f"tests.fuzz.target_{chosen.parser}")
    corpus = HERE / "corpus" / chosen.parser
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = Path(tempfile.mkdtemp(prefix=f"fuzz-{chosen.parser}-"))
    for seed in target.SEEDS:
        (seeds / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    print(
        f"{chosen.parser}: {len(target.SEEDS)} seeds, {len(list(corpus.iterdir()))} in the corpus"
    )
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={chosen.seconds}",
            "-max_len=2048",
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
            "-artifact_prefix=fault-",
            str(corpus),
            str(seeds),
        ],
        target.one,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Run the benchmarks and write RESULTS.md."""

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks import machine
from likeness.files import write_text
from likeness.nets.memory import keep_freed_memory

HERE = Path(__file__).parent
HEADER = "| what | ours | baseline | its time | ratio | goal |\n|---|---|---|---|---|---|\n"


def main(names: list[str]) -> None:
    """Run the scripts `names`, or all, and replace their tables in RESULTS.md."""
    scripts = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    unknown = set(names) - set(scripts)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(scripts)}")
    # numpy's linear algebra counts its threads once, when it is loaded; idle ones spin, and count as CPU time.
    if len(names) == 1 and os.environ.get("OMP_NUM_THREADS") == "1":
        measure(names[0])
        return
    # Each in a process of its own: the peak of memory that one reports is not another's.
    for name in names or scripts:
        command = [sys.executable, "-m", "benchmarks", name]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)


def measure(name: str) -> None:
    """Run the script `name` here, and replace its table in RESULTS.md."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does; the baselines gain by it as well
    results = HERE / "RESULTS.md"
    tables = _read(results)
    load = os.getloadavg()[0]
    script = importlib.import_module(f"benchmarks.{name}")
    rows = script.main()
    text = f"{machine()}; load {load:.1f} before; {time.strftime('%Y-%m-%d')}\n\n{HEADER}"
    tables[name] = text + "".join(row.line() + "\n" for row in rows)
    if hasattr(script, "FIGURE"):
        tables[name] += f"\n![{name}]({script.FIGURE})\n"
    print(f"## {name}\n\n{tables[name]}")
    body = "".join(f"\n## {title}\n\n{table.strip()}\n" for title, table in sorted(tables.items()))
    write_text(results, f"# Measured speed\n\nWritten by `python -m benchmarks`.\n{body}")


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    parts = path.read_text(encoding="utf-8").split("\n## ")[1:]
    return {part.split("\n", 1)[0].strip(): part.split("\n", 1)[1] for part in parts}


if __name__ == "__main__":
    main(sys.argv[1:])

"""`python fake_wrangler.py FOLDER ARGUMENTS…`: imitates wrangler and records its calls.

FOLDER/calls.jsonl      a line per call: arguments, standard input, names of environment variables
FOLDER/answers.json     {first words of a command: [exit code, standard output, standard error]}; default: success
"""

import json
import os
import shutil
import sys
from pathlib import Path


def main() -> int:
    folder, arguments = Path(sys.argv[1]), sys.argv[2:]
    call = {"arguments": arguments, "stdin": sys.stdin.read(), "environment": sorted(os.environ)}
    with (folder / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(call) + "\n")
    if "--dry-run" in arguments:
        out = Path(arguments[arguments.index("--outdir") + 1])
        shutil.copytree("worker", out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree("python_modules", out / "python_modules")
        (out / "README.md").write_text("wrangler's note")
    command = " ".join(arguments)
    for words, (code, out_text, error_text) in json.loads((folder / "answers.json").read_text()).items():
        if command.startswith(words):
            sys.stdout.write(out_text)
            sys.stderr.write(error_text)
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())

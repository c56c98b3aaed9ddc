"""One edit, for the action: inputs from its environment, outputs to the job's files."""

import hashlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

_OPTIONS = {
    "--output": "EDIT_OUTPUT",
    "--max-credits": "EDIT_MAX_CREDITS",
    "--model": "EDIT_MODEL",
}


def main() -> int:
    """Run omniedit, write the outputs, and return its exit status."""
    clip, prompt = os.environ["EDIT_CLIP"], os.environ["EDIT_PROMPT"]
    # With the same ID, a run that is repeated finds the edit that it has paid for.
    parts = [clip, prompt, os.environ.get("EDIT_MODEL")]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    options = [f"--request-id={os.environ['GITHUB_RUN_ID']}-{digest[:32]}"]
    for option, name in _OPTIONS.items():
        if value := os.environ.get(name):
            options.append(f"{option}={value}")
    options.append(f"--summary={os.environ['GITHUB_STEP_SUMMARY']}")
    ended = subprocess.run(  # noqa: S603 - no shell: every input is one argument, or stdin
        [
            sys.executable,
            "-m",
            "omniedit",
            "edit",
            "--json",
            "--prompt-file=-",
            *options,
            "--",
            clip,
        ],
        input=prompt.encode(errors="surrogateescape"),
        stdout=subprocess.PIPE,
        check=False,
    )
    _write_outputs(json.loads(ended.stdout))
    return ended.returncode


def _write_outputs(document: dict[str, list[dict[str, object]]]) -> None:
    task = next(iter(document["tasks"]), {"saved": []})
    saved: list[dict[str, str]] = task["saved"]  # type: ignore[assignment]
    outputs = {
        "path": saved[-1]["path"] if saved else "",
        "task-id": task.get("task_id") or "",
        "credits": "" if task.get("credits_used") is None else task["credits_used"],
    }
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        for name, value in outputs.items():
            # A random delimiter, so that no value can end early and set another output.
            mark = secrets.token_hex(16)
            file.write(f"{name}<<{mark}\n{value}\n{mark}\n")


if __name__ == "__main__":
    sys.exit(main())

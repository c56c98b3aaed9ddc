"""Waiting for a thousand tasks in one process: the real loop over real HTTP, in fast-forward.

The process does not sleep between two rounds: its clock leaps ahead instead. The cost of a round
is real, and so is every request.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks.startup import spare_environ
from tests.benchmarks.verdicts import Verdict

TASKS: Final = 1000
_SERVER: Final = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

reads = {}

def task(task_id):
    reads[task_id] = count = reads.get(task_id, 0) + 1
    is_done = count > 20
    return {
        "id": task_id, "object": "video.generation.task", "created": 1757156493,
        "model": "gemini-omni-flash-video-edit", "progress": 100 if is_done else 5 * (count - 1),
        "status": "completed" if is_done else "processing", "type": "video",
        "task_info": {"estimated_time": 400, "can_cancel": True},
        "results": ["https://files.example.com/" + task_id + ".mp4"] if is_done else [],
        "usage": {"billing_rule": "per_second", "credits_reserved": 32.0, "user_group": "default"},
    }

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        size = int(self.headers["content-length"])
        asked = json.loads(self.rfile.read(size))["task_ids"]
        body = json.dumps({"data": [task(one) for one in asked]}).encode()
        head = f"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(body)}"
        self.wfile.write(head.encode() + b"\\r\\n\\r\\n" + body)
        self.wfile.flush()

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
_CLIENT: Final = """
import json, sys, time
from tests.benchmarks.memory import peak_kib
from omniedit.cli.context import Context
from omniedit.journal import JournalUse
from omniedit.edits.poller import Poller
from omniedit.models import Task
from omniedit.system import Clock

leapt, requests, rounds, cpu = 0.0, 0, [], []

def leap(_, seconds):
    global leapt
    leapt += seconds
    return False

environ = {"OMNIEDIT_BASE_URL": sys.argv[1], "OMNIEDIT_API_KEY": "sk-b", "OMNIEDIT_STATE_DIR": sys.argv[2]}
clock = Clock(monotonic=lambda: time.monotonic() + leapt, wait=leap)
context = Context(environ, clock=clock)
count = int(sys.argv[3])
context.board.expect(count)
with context.session(JournalUse.REQUIRED) as session:
    waiting = Poller(session, timeout_s=86400)
    now = time.time()
    for number in range(count):
        task = Task(task_id=f"task-unified-1757156493-{number:08}", status="processing", created_at=now)
        session.journal.record_adopted(task, origin=session.origin)
        waiting.add(session.journal.find_task(task.task_id), is_fresh=True)
    get_tasks = session.service.get_tasks

    def counted(ids, **options):
        global requests
        requests += 1
        now = session.monotonic()
        if not rounds or now - rounds[-1] > 10:
            rounds.append(now)
            cpu.append(time.process_time())
        return get_tasks(ids, **options)

    session.service.get_tasks = counted
    ended = sum(1 for _ in waiting.to_the_end())
    # All of them end in the last round.
    took, waited_cpu = rounds[-1] - rounds[0], cpu[-1] - cpu[0]
    end_cpu = time.process_time() - cpu[-1]
print(json.dumps({
    "ended": ended, "took": took, "cpu": waited_cpu, "end_cpu": end_cpu, "requests": requests,
    "rounds": len(rounds), "shortest": min(b - a for a, b in zip(rounds, rounds[1:])), "rss": peak_kib(),
}))
"""


def measure() -> Iterator[Verdict]:
    """Wait for all tasks, and yield what it cost."""
    server = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        with tempfile.TemporaryDirectory() as folder:
            ended = subprocess.run(
                [sys.executable, "-c", _CLIENT, url, folder, str(TASKS)],
                env=spare_environ(Path(folder) / "home"),
                capture_output=True,
                check=True,
                text=True,
            )
    finally:
        server.kill()
        server.communicate()
    found: dict[str, float] = json.loads(ended.stdout)
    assert found["ended"] == TASKS, found
    share = 100 * found["cpu"] / found["took"]
    yield Verdict(
        what="share of a core while waiting for all", measured=share, target=0.3, unit="%"
    )
    yield Verdict(
        what="CPU to complete a task, including its commit",
        measured=1000 * found["end_cpu"] / TASKS,
        target=None,
        unit="ms",
    )
    yield Verdict(what="memory", measured=found["rss"] / 1024, target=40, unit="MiB")
    per_round = found["requests"] / found["rounds"]
    yield Verdict(what="requests per round", measured=per_round, target=20, unit="")
    yield Verdict(
        what="shortest time between rounds",
        measured=found["shortest"],
        target=20,
        unit="s",
        is_least=True,
    )

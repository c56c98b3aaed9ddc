"""The `omniedit` command for shells: the server in `hurried.py` runs it in a tenth of the time.

It is copied to a folder next to the server's socket, after lines that call the interpreter.
It imports only built-in modules, because it must start fast.
"""

import marshal
import posix
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

_signal = __import__("_signal")  # `signal` itself takes a millisecond to import
PASSED_ON = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM)


def is_open(number: int) -> bool:
    try:
        posix.fstat(number)
    except OSError:
        return False
    return True


# Check first: the socket below would take the number of a closed stream.
numbers = [number for number in range(3) if is_open(number)]
server = socket(AF_UNIX, SOCK_STREAM)
server.connect(f"{sys.argv[0].rpartition('/')[0]}/../socket")
request = marshal.dumps((sys.argv[1:], posix.environ, posix.getcwd(), numbers))
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
rights = [(SOL_SOCKET, SCM_RIGHTS, streams)] if streams else []
server.sendmsg([len(request).to_bytes(8, "little")], rights)
server.sendall(request)
for number in PASSED_ON:
    if _signal.getsignal(number) is not _signal.SIG_IGN:
        _signal.signal(number, lambda received, _: server.sendall(bytes([received])))
status = int.from_bytes(server.recv(2), "little", signed=True)
if status < 0:
    # End by the same signal as the command.
    if -status in PASSED_ON:
        _signal.signal(-status, _signal.SIG_DFL)
    posix.kill(posix.getpid(), -status)
posix._exit(status)

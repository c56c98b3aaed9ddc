"""`omniedit` for shells: has the server in `hurried.py` carry it out, in a twentieth of the time.

Called with the path of the server's socket, and the command line. It imports what the interpreter
has built in, and nothing else.
"""

import marshal
import posix
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

door = socket(AF_UNIX, SOCK_STREAM)
door.connect(sys.argv[1])
request = marshal.dumps((sys.argv[2:], posix.environ, posix.getcwd()))
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
door.sendmsg([len(request).to_bytes(8, "little")], [(SOL_SOCKET, SCM_RIGHTS, streams)])
door.sendall(request)
# Nothing comes where a signal has ended it, which is a failure here.
posix._exit(int.from_bytes(door.recv(1) or b"\xff"))

"""
HTTP/1.1, the server's side, without I/O: requests as they are read, and pages to answer with.

Pure. The grape, the RPC server and the exchange's HTTP port share it.
"""

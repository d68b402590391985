"""What runs outside the enclave: gate, runner, watcher, console and the command line."""

import logging

# Processes that log set a handler of their own. A command tells a person what went wrong by its error alone,
# and without this line Python would print warnings beside it.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# httpx tells each request with its whole URL, and the path of an RPC URL is often an access token (OP-04).
logging.getLogger("httpx").setLevel(logging.WARNING)

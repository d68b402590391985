"""What runs outside the enclave: gate, runner, watcher, console and the command line."""

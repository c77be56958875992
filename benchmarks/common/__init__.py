"""What the benchmarks share: the machine, child processes, tables and the files of results."""

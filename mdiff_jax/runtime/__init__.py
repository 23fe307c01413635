"""Running a process: devices, files, signals, logs."""

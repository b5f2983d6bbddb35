//! The test harness: starts real workloads and the daemon, and waits for what they print.

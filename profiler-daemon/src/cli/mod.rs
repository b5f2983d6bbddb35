//! Arguments into settings, and terminal output.

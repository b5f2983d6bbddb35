//! Processes of the host: registry, mappings, executables, selection.

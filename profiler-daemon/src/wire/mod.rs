//! What crosses to and from the kernel half.

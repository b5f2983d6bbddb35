//! Thin handlers: extract a selector, call one function, return.

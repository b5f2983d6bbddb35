//! Which modules are the C library, its threads, its loader or the kernel's part of it: they run on behalf of others.

/// Whether the file name of a module, perhaps with its path, is of the C library, its threads or its loader.
pub fn is_c_library(module: &str) -> bool {
    let name = file_name(module);
    let of = |library: &str| is_of(name, library);
    of("libc") && is_shared_object(name)
        || of("libpthread")
        || of("librt") && is_shared_object(name)
        || name.starts_with("ld-linux")
        || name.starts_with("ld-musl")
        || of("ld") && is_shared_object(name)
        || matches!(name, "[vdso]" | "linux-vdso.so.1")
}

/// Whether a module is the library of mathematical functions, which stands beside the C library.
pub fn is_math_library(module: &str) -> bool {
    let name = file_name(module);
    is_of(name, "libm") && is_shared_object(name)
}

fn file_name(module: &str) -> &str {
    module.rsplit('/').next().unwrap_or(module)
}

fn is_of(name: &str, library: &str) -> bool {
    name.strip_prefix(library).is_some_and(|rest| rest.starts_with(['.', '-']))
}

fn is_shared_object(name: &str) -> bool {
    name.ends_with(".so") || name.contains(".so.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_c_library_and_its_loader_count_as_such() {
        for (module, expected) in [
            ("libc.so.6", true),
            ("/lib/x86_64-linux-gnu/libc-2.31.so", true),
            ("libc.musl-x86_64.so.1", true),
            ("ld-linux-x86-64.so.2", true),
            ("ld-musl-aarch64.so.1", true),
            ("ld-2.31.so", true),
            ("libpthread-2.31.so", true),
            ("libpthread.so.0", true),
            ("[vdso]", true),
            ("libcurl.so.4", false),
            ("libcrypto.so.3", false),
            ("libm.so.6", false),
            ("libc-client", false),
            ("ld-app", false),
        ] {
            assert_eq!(is_c_library(module), expected, "{module}");
        }
        assert!(is_math_library("libm.so.6") && is_math_library("/lib/libm-2.31.so"));
        assert!(!is_math_library("libmvec.so.1") && !is_math_library("libc.so.6") && !is_math_library("libm"));
    }
}

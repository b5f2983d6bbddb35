//! From what the benchmark's own file says about its frames to its unwind table, in rows per second.

use std::fs::File;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use profiler_daemon::unwind::Source;

/// Times the table, and its key per byte that is read.
pub(crate) fn bench(criterion: &mut Criterion) {
    let file = File::open("/proc/self/exe").expect("a process can read its own file");
    let source = Source::open(&file).expect("Rust programs describe their frames");
    let mut group = criterion.benchmark_group("unwind");
    group.throughput(Throughput::Elements(source.build().rows.len() as u64));
    group.bench_function("build", |bencher| bencher.iter(|| black_box(&source).build()));
    group.throughput(Throughput::Bytes(source.bytes()));
    group.bench_function("open_and_key", |bencher| {
        bencher.iter(|| Source::open(black_box(&file)).map(|source| source.key()));
    });
    group.finish();
}

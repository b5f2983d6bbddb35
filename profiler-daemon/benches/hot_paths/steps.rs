//! The pure steps the kernel half takes per context switch, run on the host.

use std::hint::black_box;

use criterion::Criterion;
use profiler_common::ledger::{Ledger, Opening, Reading, phase};
use profiler_common::record::Totals;
use profiler_common::strat::Strat;
use profiler_common::wait_class;

use crate::record::PERIOD_NS;

/// Times the books of one switch off and on, and one decision of STRAT.
pub(crate) fn bench(criterion: &mut Criterion) {
    criterion.bench_function("ledger/switch_out_and_in", |bencher| {
        let (mut ledger, mut at) = (opened(), Reading::default());
        bencher.iter(|| switch_pair(black_box(&mut ledger), &mut at));
    });
    criterion.bench_function("strat/sample", |bencher| {
        let (mut strat, mut seed) = (Strat::default(), 1u64);
        bencher.iter(|| strat.sample(black_box(20_000), PERIOD_NS, |bound| random(&mut seed) % bound));
    });
}

fn opened() -> Ledger {
    let mut ledger = Ledger {
        since_ns: 0,
        cpu_seen_ns: 0,
        run_delay_seen_ns: 0,
        last_off_ns: 0,
        last_steal_ns: 0,
        last_off_account: 0,
        phase: 0,
        account: 0,
        flags: 0,
        padding: [0; 4],
        totals: Totals::ZERO,
    };
    ledger.open(Opening { phase: phase::ON, ..Opening::default() });
    ledger
}

/// 5 µs on a CPU, then 20 µs off it, 1 µs of them queueing.
fn switch_pair(ledger: &mut Ledger, at: &mut Reading) {
    at.now_ns += 5_000;
    at.cpu_ns += 5_000;
    ledger.switch_out(*at, wait_class::IPC, 0);
    at.now_ns += 20_000;
    at.run_delay_ns += 1_000;
    black_box(ledger.switch_in(*at));
}

/// xorshift.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

//! A load that computes and hardly switches: one thread that counts what it has done, and tells on each line of its input.

use std::io::{BufRead, stdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// The argument that makes this program the load.
pub(crate) const ARGUMENT: &str = "compute";

const TURNS: u32 = 1000;

/// Computes until the end of its input.
pub(crate) fn run() -> Result<()> {
    let done = Arc::new(AtomicU64::new(0));
    let counter = done.clone();
    thread::spawn(move || compute(&counter));
    println!("ready {}", std::process::id());
    for line in stdin().lock().lines() {
        line.context("failed to read the standard input")?;
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_s = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
        println!("{}", json!({ "done": done.load(Ordering::Relaxed), "cpu_s": cpu_s }));
    }
    Ok(())
}

fn compute(done: &AtomicU64) {
    let mut value = 88_172_645_463_325_252_u64;
    loop {
        for _ in 0..TURNS {
            value ^= value << 13;
            value ^= value >> 7;
            value ^= value << 17;
        }
        std::hint::black_box(value);
        done.fetch_add(1, Ordering::Relaxed);
    }
}

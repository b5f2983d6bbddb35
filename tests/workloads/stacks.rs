//! Stacks of a Rust program, built for release: panics caught far away, drops, trait objects, iterators, sorting, text.
//!
//! Prints `ready PID`, waits for a line, and lets three threads compute until the end of its input. Then it prints
//! `done`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, mpsc};
use std::thread;

static ENDED: AtomicBool = AtomicBool::new(false);
static SINK: AtomicU64 = AtomicU64::new(0);
static GATE: Mutex<u64> = Mutex::new(0);

fn churn(mut value: u64, turns: u32) -> u64 {
    for _ in 0..turns {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    value
}

#[inline(never)]
fn leaf(value: u64) -> u64 {
    churn(value, 200)
}

/// Computes when it is dropped, also while a panic passes.
struct Guard(u64);

impl Drop for Guard {
    #[inline(never)]
    fn drop(&mut self) {
        SINK.fetch_add(leaf(self.0), Relaxed);
    }
}

#[inline(never)]
fn panic_below(value: u64, depth: u64) -> u64 {
    let guard = Guard(value);
    if depth == 0 {
        resume_unwind(Box::new(leaf(value)));
    }
    let text = "x".repeat(depth as usize % 30);
    panic_below(leaf(value) ^ text.len() as u64, depth - 1) + guard.0
}

#[inline(never)]
fn catch(value: u64) -> u64 {
    let caught = catch_unwind(AssertUnwindSafe(|| panic_below(value, value % 30)));
    caught.unwrap_or_else(|payload| payload.downcast_ref::<u64>().map_or(0, |value| leaf(*value)))
}

trait Shape {
    fn measure(&self, value: u64, depth: u64) -> u64;
}

struct Plain;
struct Listed(Vec<u64>);
struct Named(String);

impl Shape for Plain {
    fn measure(&self, value: u64, depth: u64) -> u64 {
        if depth == 0 { leaf(value) } else { make(value).measure(leaf(value), depth - 1) + 1 }
    }
}

impl Shape for Listed {
    fn measure(&self, value: u64, depth: u64) -> u64 {
        let sum = self.0.iter().map(|item| leaf(item ^ value)).fold(value, u64::wrapping_add);
        if depth == 0 { sum } else { make(sum).measure(value, depth - 1) ^ sum }
    }
}

impl Shape for Named {
    fn measure(&self, value: u64, depth: u64) -> u64 {
        let mut room = [0u64; 200];
        room[value as usize % 200] = leaf(value);
        let below = if depth == 0 { 0 } else { make(value).measure(leaf(value), depth - 1) };
        below + room[self.0.len()] + self.0.bytes().map(u64::from).sum::<u64>()
    }
}

#[inline(never)]
fn make(value: u64) -> Box<dyn Shape> {
    match value % 3 {
        0 => Box::new(Plain),
        1 => Box::new(Listed(vec![value; 10])),
        _ => Box::new(Named(format!("{value:x}"))),
    }
}

#[inline(never)]
fn sort(mut value: u64) -> u64 {
    let mut numbers: Vec<u64> = (0..300).map(|_| { value = churn(value, 1); value }).collect();
    numbers.sort_by(|a, b| churn(*a, 3).cmp(&churn(*b, 3)));
    let mut texts: Vec<String> = numbers.iter().take(60).map(u64::to_string).collect();
    texts.sort_unstable_by_key(|text| text.bytes().rev().collect::<Vec<u8>>());
    numbers[7] ^ texts[7].len() as u64
}

#[inline(never)]
fn with_containers(mut value: u64) -> u64 {
    let mut counts = HashMap::new();
    let mut ordered = BTreeMap::new();
    for _ in 0..100 {
        value = churn(value, 2);
        *counts.entry(value % 50).or_insert(0u64) += 1;
        ordered.insert(format!("{}", value % 1000), value as f64 / 3.0);
    }
    let mut text = String::new();
    for (key, number) in &ordered {
        let _ = write!(text, "{key:>8} {number:.3} {:?}\n", counts.get(&(key.len() as u64)));
    }
    text.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>() as u64 ^ value
}

#[inline(never)]
fn with_closures(value: u64) -> u64 {
    let mut step: Box<dyn Fn(u64) -> u64> = Box::new(leaf);
    for at in 0..12 {
        step = Box::new(move |value| step(leaf(value.wrapping_add(at))) ^ at);
    }
    step(value)
}

#[inline(never)]
fn with_a_lock(value: u64) -> u64 {
    let mut held = GATE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    *held = leaf(*held ^ value);
    *held
}

#[inline(never)]
fn with_a_channel(value: u64) -> u64 {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        scope.spawn(move || (0..20).try_for_each(|at| sender.send(leaf(value + at))));
        receiver.iter().fold(0, u64::wrapping_add)
    })
}

fn compute(mut value: u64) {
    while !ENDED.load(Relaxed) {
        value = catch(value) ^ make(value).measure(value, value % 60);
        value = value.wrapping_add(sort(value)) ^ with_containers(value) ^ with_closures(value) ^ with_a_lock(value);
        if value % 256 == 0 {
            value ^= with_a_channel(value);
        }
    }
    SINK.fetch_add(value, Relaxed);
}

fn main() {
    println!("ready {}", std::process::id());
    let mut byte = [0];
    let mut input = std::io::stdin().lock();
    let _ = input.read(&mut byte);
    let threads = [1, 2, 3].map(|seed| thread::spawn(move || compute(88172645463325252 + seed)));
    while matches!(input.read(&mut byte), Ok(1)) {}
    ENDED.store(true, Relaxed);
    for thread in threads {
        let _ = thread.join();
    }
    println!("done");
}

//! The test harness: starts real workloads and the daemon, asks it over HTTP, and compares with the kernel's own books.
//!
//! Nothing here knows how the daemon works inside, but for [`oracle`]: it is started as a process and asked as a user would
//! ask it.

pub mod activity;
pub mod books;
pub mod cgroup;
pub mod client;
pub mod daemon;
pub mod database;
pub mod estimate;
pub mod ground_truth;
pub mod host;
pub mod interpreter;
pub mod java;
pub mod java_truth;
pub mod jvm;
pub mod kernel_books;
pub mod load;
pub mod nginx;
pub mod oracle;
pub mod postgres;
pub mod program;
pub mod python;
pub mod python_truth;
pub mod quota;
pub mod redis;
pub mod span;
pub mod stacks;
pub mod uvicorn;
pub mod waiting;
pub mod workload;

pub use books::{Books, FunctionRow, Hotspots};
pub use client::Response;
pub use daemon::Daemon;
pub use host::{LiveHost, live_host, tell};
pub use interpreter::Interpreter;
pub use program::{Program, poll_until};
pub use quota::Quota;
pub use workload::Workload;

//! The globals of the kernel half that describe this kernel: one row for each field it reads.

use super::btf::Btf;
use super::kallsyms::KernelSymbols;

/// The value of an offset whose field this kernel does not have; must match the kernel half.
const ABSENT: u32 = u32::MAX;

/// How essential a field is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing works without it.
    Required,
    /// Without it something is classified less exactly.
    Optional,
}
use Need::{Optional, Required};

/// A global, the struct, the path to the field, and how essential it is.
type Row = (&'static str, &'static str, &'static [&'static str], Need);

const FIELDS: &[Row] = &[
    ("TASK_PID", "task_struct", &["pid"], Required),
    ("TASK_TGID", "task_struct", &["tgid"], Required),
    ("TASK_COMM", "task_struct", &["comm"], Required),
    ("TASK_FLAGS", "task_struct", &["flags"], Required),
    ("TASK_ON_CPU", "task_struct", &["on_cpu"], Required),
    ("TASK_START", "task_struct", &["start_boottime"], Required),
    ("TASK_LEADER", "task_struct", &["group_leader"], Required),
    ("TASK_SIGNAL", "task_struct", &["signal"], Required),
    ("TASK_FILES", "task_struct", &["files"], Required),
    ("TASK_STACK", "task_struct", &["stack"], Required),
    ("TASK_RUN_DELAY", "task_struct", &["sched_info", "run_delay"], Required),
    ("TASK_CPU_TIME", "task_struct", &["se", "sum_exec_runtime"], Required),
    ("TASK_CFS_RQ", "task_struct", &["se", "cfs_rq"], Optional),
    ("CFS_RQ_THROTTLE_COUNT", "cfs_rq", &["throttle_count"], Optional),
    ("TASK_THROTTLED", "task_struct", &["throttled"], Optional),
    ("CFS_RQ_QUEUE", "cfs_rq", &["rq"], Optional),
    ("TASK_PREEMPT_COUNT", "task_struct", &["thread_info", "preempt_count"], Optional),
    ("TASK_SOFT_INTERRUPTS", "task_struct", &["softirq_disable_cnt"], Optional),
    ("TASK_THREAD_STATUS", "task_struct", &["thread_info", "status"], Optional),
    ("SIGNAL_LIVE", "signal_struct", &["live", "counter"], Required),
    ("FILES_TABLE", "files_struct", &["fdt"], Required),
    ("TABLE_SIZE", "fdtable", &["max_fds"], Required),
    ("TABLE_FILES", "fdtable", &["fd"], Required),
    ("FILE_INODE", "file", &["f_inode"], Required),
    ("FILE_OPERATIONS", "file", &["f_op"], Required),
    ("FILE_PRIVATE", "file", &["private_data"], Required),
    ("INODE_MODE", "inode", &["i_mode"], Required),
    ("OPERATIONS_POLL", "file_operations", &["poll"], Required),
    ("SOCKET_SOCK", "socket", &["sk"], Required),
    ("SOCK_FAMILY", "sock", &["__sk_common", "skc_family"], Required),
    ("SOCK_STATE", "sock", &["__sk_common", "skc_state"], Required),
    ("SOCK_PORT", "sock", &["__sk_common", "skc_num"], Required),
    ("SOCK_PEER_PORT", "sock", &["__sk_common", "skc_dport"], Required),
    ("SOCK_PEER_ADDRESS4", "sock", &["__sk_common", "skc_daddr"], Required),
    ("SOCK_PEER_ADDRESS6", "sock", &["__sk_common", "skc_v6_daddr"], Optional),
    ("SOCK_OWN_ADDRESS4", "sock", &["__sk_common", "skc_rcv_saddr"], Required),
    ("SOCK_OWN_ADDRESS6", "sock", &["__sk_common", "skc_v6_rcv_saddr"], Optional),
    ("SOCK_PROTOCOL", "sock", &["sk_protocol"], Required),
    ("SOCK_PEER_PID", "sock", &["sk_peer_pid"], Required),
    ("PID_NUMBERS", "pid", &["numbers"], Required),
    ("LOCAL_SOCK_ADDRESS", "unix_sock", &["addr"], Optional),
    ("CONNECTION_BIND", "inet_connection_sock", &["icsk_bind_hash"], Optional),
    ("BIND_REUSE", "inet_bind_bucket", &["fastreuse"], Optional),
    ("EVENTS_READY", "eventpoll", &["rdllist"], Optional),
    ("EVENT_READY_LINK", "epitem", &["rdllink"], Optional),
    ("EVENT_FILE", "epitem", &["ffd", "file"], Optional),
    ("INODE_DEVICE", "inode", &["i_rdev"], Required),
    ("INODE_NUMBER", "inode", &["i_ino"], Required),
    ("AREA_LENGTH", "vm_unmapped_area_info", &["length"], Optional),
];

/// A struct and the path to a field in it.
type Candidate = (&'static str, &'static [&'static str]);

/// Fields whose name or form differs between kernels or architectures.
const ALTERNATIVES: &[(&str, &[Candidate])] = &[
    ("TASK_STATE", &[("task_struct", &["__state"]), ("task_struct", &["state"])]),
    ("TASK_THREAD_POINTER", &[("task_struct", &["thread", "fsbase"]), ("task_struct", &["thread", "uw", "tp_value"])]),
    ("REGS_SYSCALL", &[("pt_regs", &["orig_ax"]), ("pt_regs", &["syscallno"])]),
    ("REGS_ARGUMENT0", &[("pt_regs", &["di"]), ("pt_regs", &["orig_x0"])]),
];

/// One-bit fields: the global of the byte, and of the mask.
const BITS: &[(&str, &str, &str)] = &[
    ("TASK_IN_IOWAIT", "TASK_IN_IOWAIT_MASK", "in_iowait"),
    ("TASK_IN_MEMSTALL", "TASK_IN_MEMSTALL_MASK", "in_memstall"),
    ("TASK_FROZEN", "TASK_FROZEN_MASK", "frozen"),
];

/// The functions that tell kinds of descriptors apart.
const POLL_FUNCTIONS: &[(&str, &str)] = &[
    ("EVENTS_POLL", "ep_eventpoll_poll"),
    ("TIMER_POLL", "timerfd_poll"),
    ("PROCESS_POLL", "pidfd_poll"),
    ("EVENT_COUNTER_POLL", "eventfd_poll"),
    ("SIGNALS_POLL", "signalfd_poll"),
    ("FILE_CHANGES_POLL", "inotify_poll"),
];

/// What the kernel half is told about this kernel.
#[derive(Debug, Default)]
pub struct Offsets {
    /// 32-bit globals.
    pub words: Vec<(&'static str, u32)>,
    /// 64-bit globals.
    pub addresses: Vec<(&'static str, u64)>,
    /// Fields nothing works without, which this kernel lacks.
    pub missing: Vec<String>,
    /// Fields this kernel lacks whose absence costs exactness.
    pub absent: Vec<&'static str>,
    /// Whether the kernel half can tell in which context a thread is woken.
    pub knows_context: bool,
}

/// Looks every field up.
pub fn resolve_offsets(btf: &Btf, symbols: &KernelSymbols) -> Offsets {
    let mut offsets = Offsets::default();
    for (global, structure, path, need) in FIELDS {
        offsets.add(global, btf.field(structure, path).map(|field| field.byte), *need);
    }
    for (global, candidates) in ALTERNATIVES {
        let found = candidates.iter().find_map(|(structure, path)| btf.field(structure, path));
        offsets.add(global, found.map(|field| field.byte), Required);
    }
    offsets.add_bits(btf);
    offsets.add_registers(btf);
    offsets.add_symbols(symbols);
    offsets.add_per_cpu(btf);
    let has_state = btf.tracepoint_argument_is_integer("sched_switch", 3);
    offsets.words.push(("HAS_PREVIOUS_STATE", u32::from(has_state)));
    offsets.words.push(("IS_AARCH64", u32::from(cfg!(target_arch = "aarch64"))));
    offsets
}

impl Offsets {
    fn add(&mut self, global: &'static str, byte: Option<u32>, need: Need) {
        match (byte, need) {
            (Some(_), _) => {}
            (None, Required) => self.missing.push(global.to_owned()),
            (None, Optional) => self.absent.push(global),
        }
        self.words.push((global, byte.unwrap_or(ABSENT)));
    }

    fn add_bits(&mut self, btf: &Btf) {
        for (byte, mask, name) in BITS {
            let field = btf.field("task_struct", &[name]);
            self.add(byte, field.map(|field| field.byte), Optional);
            self.words.push((mask, field.map_or(0, |field| field.mask)));
        }
    }

    /// System call arguments after the first, and where the registers lie on the kernel stack.
    fn add_registers(&mut self, btf: &Btf) {
        let general = btf.field("pt_regs", &["regs"]).map(|field| field.byte);
        for (global, name, index) in
            [("REGS_ARGUMENT1", "si", 1), ("REGS_ARGUMENT2", "dx", 2), ("REGS_ARGUMENT3", "r10", 3)]
        {
            let named = btf.field("pt_regs", &[name]).map(|field| field.byte);
            self.add(global, named.or(general.map(|start| start + index * 8)), Required);
        }
        let size = btf.size("pt_regs").unwrap_or_default();
        self.words.push(("STACK_REGS", KERNEL_STACK_BYTES - size));
    }

    /// Where variables of a CPU lie as seen from its run queue, which is one of them and the only one a task leads to.
    fn add_per_cpu(&mut self, btf: &Btf) {
        let queue = btf.per_cpu("runqueues").map(|place| place.offset);
        let variable = |name: &str| Some((btf.per_cpu(name)?, queue?));
        let distance = |name: &str, structure: &str, path: &[&str]| {
            let ((place, queue), field) = (variable(name)?, btf.field(structure, path)?);
            Some((u64::from(place.offset + field.byte).wrapping_sub(queue.into()), field))
        };
        // A variable of its own up to Linux 6.1 and from 6.15 on.
        let own = variable("__preempt_count").map(|(place, queue)| u64::from(place.offset).wrapping_sub(queue.into()));
        let count = own.or_else(|| Some(distance("pcpu_hot", "pcpu_hot", &["preempt_count"])?.0));
        self.addresses.push(("PREEMPT_COUNT_DISTANCE", count.unwrap_or_default()));
        let interrupt = distance("hrtimer_bases", "hrtimer_cpu_base", &["in_hrtirq"]);
        self.addresses.push(("TIMER_INTERRUPT_DISTANCE", interrupt.map_or(0, |(distance, _)| distance)));
        self.words.push(("TIMER_INTERRUPT_MASK", interrupt.map_or(0, |(_, field)| field.mask)));
        let running = distance("timer_bases", "timer_base", &["running_timer"]);
        self.addresses.push(("TIMER_RUNNING_DISTANCE", running.map_or(0, |(distance, _)| distance)));
        let size = btf.size("timer_base").unwrap_or_default();
        let wheels = btf.per_cpu("timer_bases").map_or(0, |place| place.bytes.checked_div(size).unwrap_or_default());
        self.words.push(("TIMER_BASE_BYTES", size));
        self.words.push(("TIMER_BASES", wheels));
        let has = |structure: &str, path: &[&str]| btf.field(structure, path).is_some();
        let leads_to_queue = has("task_struct", &["se", "cfs_rq"]) && has("cfs_rq", &["rq"]);
        self.knows_context = count.is_some() && leads_to_queue || has("task_struct", &["thread_info", "preempt_count"]);
    }

    fn add_symbols(&mut self, symbols: &KernelSymbols) {
        for (global, symbol) in POLL_FUNCTIONS {
            self.addresses.push((global, symbols.address(symbol).unwrap_or_default()));
        }
    }
}

/// `THREAD_SIZE` on x86_64 and on aarch64 with 4 KiB pages. Only the hash variant, for kernels before 5.15, depends on it.
const KERNEL_STACK_BYTES: u32 = 16 << 10;

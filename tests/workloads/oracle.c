// The oracle of stacks: walks every thread that stops, by an unwinder that shares nothing with the one under test.
//
//   oracle PID...
//
// Traces all threads of the processes and of their descendants, prints `ready THREADS`, and goes on until a line or the
// end of its input; then it lets go of all and prints `done`. At each stop of a thread (a signal before it is
// delivered, or an event such as a clone) it walks the thread's user stack and prints one line:
//
//   stop PID TID STOPPED_NS RESUMED_NS WHY END FRAME...
//
// with times of the monotonic clock around the stop, WHY a signal's number, `exec` or `event`, and END `whole`, `deep`
// or `broken`. The innermost FRAME comes first: an address in hexadecimal, followed by `!` if a signal interrupted it
// there, by `~` if it lies in memory that no file is mapped to, which is where code is generated, and, if nothing is
// said about its frame, by `*` if its instructions tell the next one and by `?` if that is a guess. SIGSTOP is
// swallowed, so a thread that is sent one stops for the walk and no longer; every other signal is passed on. Before the
// first stop with an address in a mapping it has not told yet, it prints the process's executable mappings, after one
// line `maps PID`:
//
//   map PID START END OFFSET PATH
//
// The registers at such a stop are those of the user code; a system call that is to be started again is not yet
// rewound.
//
// The unwinder is libdw of elfutils. It reads .eh_frame by itself, evaluates every expression, knows the trampoline of
// signal handlers by its augmentation, and follows the frame pointer only where nothing else is said, as the unwinder
// under test does. Where a function of which nothing is said was interrupted before it had a frame of its own, its
// instructions are looked at first: most of Chromium has no unwind information. The C library's own unwinder, run by
// the thread itself at the same stop, finds the same frames: the live tests check that, and found no difference in some
// 80,000 stacks. A walk takes 10 to 35 us.
//
// Others were tried. libunwind 1.6.2 agrees in C and C++ programs, but takes 0.3 to 1.7 ms, puts an address on the
// stack in place of a frame behind the vdso (Python, JVM), and loses libc's outermost frames in 99 % of Chromium's
// stacks. gdb is far too slow, and loses Chromium's stacks where functions have no symbols. The C library's unwinder
// itself would have to run inside every program, and crashes where a signal meets it installing a context.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_FRAMES = 1024, PAGE = 4096 };
enum { OPTIONS = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC };

// An executable mapping; one without a file may hold generated code.
struct range {
    uint64_t start, end;
    bool has_file;
};

struct process {
    pid_t pid;
    Dwfl *dwfl;
    struct range *ranges;
    size_t range_count;
    struct process *next;
};

struct thread {
    pid_t tid;
    struct process *process;
    struct thread *next;
};

struct frame {
    uint64_t pc;
    bool activation, interrupted, generated, guessed, by_instructions;
};

// The stop that is being walked.
static struct walk {
    struct process *process;
    struct user_regs_struct registers;
    uint64_t page_address;
    uint8_t page[PAGE];
    struct frame frames[MOST_FRAMES];
    int count;
    bool above_trampoline;
} walk;

static struct process *processes;
static struct thread *threads;

static uint64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000ull + at.tv_nsec;
}

static pid_t process_of(pid_t tid) {
    char path[64], line[256];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    FILE *file = fopen(path, "r");
    while (file && !pid && fgets(line, sizeof line, file))
        sscanf(line, "Tgid: %d", &pid);
    if (file)
        fclose(file);
    return pid;
}

// What libdw asks of a stopped thread.

static pid_t no_more_threads(Dwfl *dwfl, void *argument, void **thread) {
    (void)dwfl, (void)argument, (void)thread;
    return 0;
}

static bool find_thread(Dwfl *dwfl, pid_t tid, void *argument, void **thread) {
    (void)dwfl, (void)tid;
    *thread = argument;
    return true;
}

static bool read_page(uint64_t address) {
    struct iovec local = {walk.page, PAGE}, remote = {(void *)address, PAGE};
    walk.page_address = address;
    if (process_vm_readv(walk.process->pid, &local, 1, &remote, 1, 0) == PAGE)
        return true;
    walk.page_address = 1;
    return false;
}

static bool read_word(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *word, void *argument) {
    (void)dwfl, (void)argument;
    uint8_t bytes[8];
    for (int at = 0; at < 8; at++) {
        uint64_t page = (address + at) & ~(uint64_t)(PAGE - 1);
        if (walk.page_address != page && !read_page(page))
            return false;
        bytes[at] = walk.page[(address + at) & (PAGE - 1)];
    }
    memcpy(word, bytes, 8);
    return true;
}

static bool give_registers(Dwfl_Thread *thread, void *argument) {
    (void)argument;
    const struct user_regs_struct *r = &walk.registers;
    const Dwarf_Word by_number[] = {r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi, r->rbp, r->rsp, r->r8,
                                    r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip};
    return dwfl_thread_state_registers(thread, 0, 17, by_number);
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
    .next_thread = no_more_threads,
    .get_thread = find_thread,
    .memory_read = read_word,
    .set_initial_registers = give_registers,
};

// Debug information kept apart is not looked for: a program at run time has none.
static int no_debug_file(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base, const char *file,
                         const char *link, GElf_Word crc, char **found) {
    (void)module, (void)user, (void)name, (void)base, (void)file, (void)link, (void)crc, (void)found;
    return -1;
}

static const Dwfl_Callbacks module_callbacks = {
    .find_elf = dwfl_linux_proc_find_elf,
    .find_debuginfo = no_debug_file,
};

// Processes and their mappings.

static bool is_file(const char *name) {
    static const char *const no_files[] = {"/memfd:", "/dev/", "/SYSV"};
    for (size_t at = 0; at < sizeof no_files / sizeof *no_files; at++)
        if (!strncmp(name, no_files[at], strlen(no_files[at])))
            return false;
    return name[0] == '/' || !strcmp(name, "[vdso]") || !strcmp(name, "[vsyscall]");
}

static void read_ranges(struct process *process) {
    char path[64], line[8192];
    snprintf(path, sizeof path, "/proc/%d/maps", process->pid);
    FILE *file = fopen(path, "r");
    process->range_count = 0;
    printf("maps %d\n", process->pid);
    while (file && fgets(line, sizeof line, file)) {
        unsigned long start, end, offset;
        char permissions[5];
        int name = 0;
        line[strcspn(line, "\n")] = 0;
        int found = sscanf(line, "%lx-%lx %4s %lx %*s %*s %n", &start, &end, permissions, &offset, &name);
        if (found < 4 || permissions[2] != 'x')
            continue;
        process->ranges = realloc(process->ranges, (process->range_count + 1) * sizeof *process->ranges);
        process->ranges[process->range_count++] = (struct range){start, end, is_file(line + name)};
        printf("map %d %lx %lx %lx %s\n", process->pid, start, end, offset, line + name);
    }
    if (file)
        fclose(file);
}

static const struct range *find_range(const struct process *process, uint64_t address) {
    for (size_t at = 0; at < process->range_count; at++)
        if (address >= process->ranges[at].start && address < process->ranges[at].end)
            return &process->ranges[at];
    return 0;
}

// Reads the mappings, for the first time or again. Modules that are where they were keep what was read of them.
static void read_mappings(struct process *process) {
    read_ranges(process);
    bool first = !process->dwfl;
    if (first)
        process->dwfl = dwfl_begin(&module_callbacks);
    dwfl_report_begin(process->dwfl);
    dwfl_linux_proc_report(process->dwfl, process->pid);
    dwfl_report_end(process->dwfl, 0, 0);
    if (first)
        dwfl_attach_state(process->dwfl, 0, process->pid, &thread_callbacks, 0);
}

static void forget_mappings(struct process *process) {
    if (process->dwfl)
        dwfl_end(process->dwfl);
    process->dwfl = 0;
    process->range_count = 0;
}

static struct process *find_process(pid_t pid) {
    for (struct process *each = processes; each; each = each->next)
        if (each->pid == pid)
            return each;
    struct process *fresh = calloc(1, sizeof *fresh);
    fresh->pid = pid;
    fresh->next = processes;
    return processes = fresh;
}

static struct thread *find_thread_of(pid_t tid) {
    for (struct thread *each = threads; each; each = each->next)
        if (each->tid == tid)
            return each;
    return 0;
}

static struct thread *add_thread(pid_t tid) {
    struct thread *known = find_thread_of(tid);
    if (known)
        return known;
    struct thread *fresh = calloc(1, sizeof *fresh);
    fresh->tid = tid;
    fresh->process = find_process(process_of(tid));
    fresh->next = threads;
    return threads = fresh;
}

static void remove_process_without_threads(struct process *process) {
    for (struct thread *each = threads; each; each = each->next)
        if (each->process == process)
            return;
    struct process **link = &processes;
    while (*link != process)
        link = &(*link)->next;
    *link = process->next;
    forget_mappings(process);
    free(process->ranges);
    free(process);
}

static void remove_thread(pid_t tid) {
    struct thread **link = &threads;
    while (*link && (*link)->tid != tid)
        link = &(*link)->next;
    if (!*link)
        return;
    struct thread *gone = *link;
    *link = gone->next;
    remove_process_without_threads(gone->process);
    free(gone);
}

// The walk.

// Whether there is unwind information for an address, and whether it is that of the trampoline a signal handler returns
// to.
static bool find_rule(uint64_t address, bool *is_trampoline) {
    Dwfl_Module *module = dwfl_addrmodule(walk.process->dwfl, address);
    Dwarf_Addr bias;
    Dwarf_CFI *table = module ? dwfl_module_eh_cfi(module, &bias) : 0;
    Dwarf_Frame *frame;
    *is_trampoline = false;
    if (!table || dwarf_cfi_addrframe(table, address - bias, &frame) != 0)
        return false;
    dwarf_frame_info(frame, 0, 0, is_trampoline);
    free(frame);
    return true;
}

// libdw calls both a trampoline and what lies beyond it an activation; only the latter was interrupted.
static int take_frame(Dwfl_Frame *state, void *argument) {
    (void)argument;
    if (walk.count == MOST_FRAMES)
        return DWARF_CB_ABORT;
    struct frame *frame = &walk.frames[walk.count];
    *frame = (struct frame){0};
    if (!dwfl_frame_pc(state, &frame->pc, &frame->activation))
        return DWARF_CB_ABORT;
    frame->interrupted = walk.above_trampoline;
    frame->guessed = !find_rule(frame->pc - !frame->activation, &walk.above_trampoline);
    walk.count++;
    return DWARF_CB_OK;
}

static const char *walk_rest(pid_t tid) {
    switch (dwfl_getthread_frames(walk.process->dwfl, tid, take_frame, 0)) {
    case 0: return "whole";
    case 1: return "deep";
    default: return "broken";
    }
}

static bool is_code(uint64_t address, const char *bytes, size_t count) {
    uint64_t words[2] = {0};
    return count <= sizeof words && read_word(0, address, &words[0], 0) && read_word(0, address + 8, &words[1], 0) &&
           !memcmp(words, bytes, count);
}

// How many words lie on the stack above the return address of a function of which nothing is said, if the instruction
// it was interrupted at tells: the frame pointer is the caller's then. Otherwise -1.
static int words_pushed(uint64_t pc) {
    static const char mark[] = "\xf3\x0f\x1e\xfa", push_and_move[] = "\x55\x48\x89\xe5";
    // About to return, to jump to another function, or in a stub of the linkage table, before or after its push.
    if (is_code(pc, "\xc3", 1) || is_code(pc, "\xff\x25", 2) || (is_code(pc, "\x68", 1) && is_code(pc + 5, "\xe9", 1)))
        return 0;
    if (is_code(pc, "\xe9", 1) && is_code(pc - 5, "\x68", 1))
        return 1;
    // At its first instruction, or between the two that set the frame pointer.
    if (is_code(is_code(pc, mark, 4) ? pc + 4 : pc, push_and_move, 4))
        return 0;
    return is_code(pc - 1, push_and_move, 4) ? 1 : -1;
}

// Whether the instruction before is a call, to an address or through a register or memory.
static bool is_after_call(uint64_t pc) {
    for (int bytes = 2; bytes <= 7; bytes++) {
        uint64_t word;
        if (is_code(pc - bytes, "\xff", 1) && read_word(0, pc - bytes, &word, 0) && (word >> 11 & 7) == 2)
            return true;
    }
    return is_code(pc - 5, "\xe8", 1);
}

// Whether a function that was called at its first instruction returns there: behind a call, or to where signal handlers do,
// which the kernel calls.
static bool is_way_back(uint64_t pc) {
    bool is_trampoline;
    return is_after_call(pc) || (find_rule(pc - 1, &is_trampoline) && is_trampoline);
}

// Walks past an innermost function of which nothing is said, by its instructions: until it has a frame of its own, the
// frame pointer leads past its caller.
static void step_over_undescribed(void) {
    uint64_t leaf = walk.registers.rip, sp = walk.registers.rsp, pc;
    bool ignored;
    int words = find_rule(leaf, &ignored) ? -1 : words_pushed(leaf);
    if (words < 0 || !read_word(0, sp + words * 8, &pc, 0) || !is_way_back(pc))
        return;
    walk.frames[walk.count++] = (struct frame){.pc = leaf, .activation = true, .by_instructions = true};
    walk.registers.rip = pc;
    walk.registers.rsp = sp + words * 8 + 8;
}

static const char *walk_once(pid_t tid) {
    struct user_regs_struct registers = walk.registers;
    walk.count = 0;
    walk.above_trampoline = false;
    walk.page_address = 1;
    step_over_undescribed();
    const char *end = walk_rest(tid);
    walk.registers = registers;
    return end;
}

// Looks up where the frames lie. False if an address is in no mapping that was read.
static bool place_frames(void) {
    bool all = true;
    for (int at = 0; at < walk.count; at++) {
        const struct range *range = find_range(walk.process, walk.frames[at].pc);
        walk.frames[at].generated = range && !range->has_file;
        all = all && range;
    }
    return all;
}

static const char *walk_thread(pid_t tid) {
    if (!walk.process->dwfl)
        read_mappings(walk.process);
    const char *end = walk_once(tid);
    if (place_frames())
        return end;
    read_mappings(walk.process);
    end = walk_once(tid);
    place_frames();
    return end;
}

static void print_stop(pid_t tid, uint64_t stopped_ns, const char *why, const char *end) {
    printf("stop %d %d %lu %lu %s %s", walk.process->pid, tid, stopped_ns, now_ns(), why, end);
    for (int at = 0; at < walk.count; at++) {
        const struct frame *frame = &walk.frames[at];
        const char *interrupted = frame->interrupted ? "!" : "", *generated = frame->generated ? "~" : "";
        const char *doubt = frame->guessed ? "?" : frame->by_instructions ? "*" : "";
        printf(" %lx%s%s%s", frame->pc, interrupted, generated, doubt);
    }
    putchar('\n');
}

// What to do at a stop.

static void report(pid_t tid, const char *why) {
    uint64_t stopped_ns = now_ns();
    walk.process = add_thread(tid)->process;
    if (ptrace(PTRACE_GETREGS, tid, 0, &walk.registers) == 0)
        print_stop(tid, stopped_ns, why, walk_thread(tid));
}

// A thread that executes a program becomes the leader; the others are gone.
static void follow_exec(pid_t leader) {
    struct process *process = add_thread(leader)->process;
    forget_mappings(process);
    for (struct thread *each = threads, *next; each; each = next) {
        next = each->next;
        if (each->process == process && each->tid != leader)
            remove_thread(each->tid);
    }
}

static void meet_stop(pid_t tid, int status) {
    char number[16];
    int signal = WSTOPSIG(status), event = status >> 16;
    add_thread(tid);
    if (event == PTRACE_EVENT_EXEC)
        follow_exec(tid);
    snprintf(number, sizeof number, "%d", signal);
    report(tid, event == PTRACE_EVENT_EXEC ? "exec" : event ? "event" : number);
    bool pass_on = event == 0 && signal != SIGSTOP;
    ptrace(PTRACE_CONT, tid, 0, pass_on ? signal : 0);
}

static void meet(pid_t tid, int status) {
    if (WIFSTOPPED(status))
        meet_stop(tid, status);
    else
        remove_thread(tid);
}

static void meet_all(void) {
    int status;
    pid_t tid;
    while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
        meet(tid, status);
    fflush(stdout);
}

// Attaching and letting go.

static bool seize_threads(pid_t pid) {
    char path[64];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        pid_t tid = atoi(entry->d_name);
        if (!tid || find_thread_of(tid) || ptrace(PTRACE_SEIZE, tid, 0, OPTIONS) != 0)
            continue;
        add_thread(tid);
        found = true;
    }
    if (folder)
        closedir(folder);
    return found;
}

static pid_t parent_of(pid_t pid) {
    char path[64], line[256];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file && !parent && fgets(line, sizeof line, file))
        sscanf(line, "PPid: %d", &parent);
    if (file)
        fclose(file);
    return parent;
}

static bool is_process_known(pid_t pid) {
    for (struct process *each = processes; each; each = each->next)
        if (each->pid == pid)
            return true;
    return false;
}

// Seizes children of known processes, and threads made since. False if there was nothing new.
static bool seize_more(void) {
    bool found = false;
    DIR *folder = opendir("/proc");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        pid_t pid = atoi(entry->d_name);
        if (pid && (is_process_known(pid) || is_process_known(parent_of(pid))))
            found = seize_threads(pid) || found;
    }
    if (folder)
        closedir(folder);
    return found;
}

static void let_go_of(pid_t tid, int status) {
    int signal = WSTOPSIG(status);
    bool pass_on = status >> 16 == 0 && signal != SIGSTOP;
    ptrace(PTRACE_DETACH, tid, 0, pass_on ? signal : 0);
}

// Interrupts every thread and detaches from it. A stop that is still on its way is undone.
static void let_go(void) {
    uint64_t deadline = now_ns() + 5000000000ull;
    for (struct thread *each = threads; each; each = each->next)
        ptrace(PTRACE_INTERRUPT, each->tid, 0, 0);
    while (threads && now_ns() < deadline) {
        int status;
        pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);
        if (tid < 0)
            break;
        if (tid == 0) {
            poll(0, 0, 1);
            continue;
        }
        pid_t pid = process_of(tid);
        if (WIFSTOPPED(status)) {
            let_go_of(tid, status);
            kill(pid, SIGCONT);
        }
        remove_thread(tid);
    }
}

int main(int count, char **arguments) {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, 0);
    int stops = signalfd(-1, &children, SFD_NONBLOCK);
    struct pollfd wake[] = {{.fd = stops, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
    setvbuf(stdout, 0, _IOFBF, 1 << 16);
    for (int at = 1; at < count; at++)
        seize_threads(atoi(arguments[at]));
    while (seize_more())
        meet_all();
    int seized = 0;
    for (struct thread *each = threads; each; each = each->next)
        seized++;
    printf("ready %d\n", seized);
    while (!wake[1].revents) {
        meet_all();
        struct signalfd_siginfo ignored;
        poll(wake, 2, -1);
        while (read(stops, &ignored, sizeof ignored) > 0)
            ;
    }
    let_go();
    printf("done\n");
    return 0;
}

// Waits for files and for pages: reads and writes that reach the disk, journals, cold maps, reclaim. The argument is a folder
// on a disk, `$WAITS_CGROUP` the folder of a cgroup of this program's own.
#include "waits.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FILE_BYTES (32L << 20)
#define BLOCK_BYTES (128L << 10)
#define BLOCKS (FILE_BYTES / BLOCK_BYTES)
#define PAGE_BYTES 4096
#define KEPT_BYTES (64L << 20)

static char path[512];
static int file;
static char *buffer, *map;
static volatile char sink;

// Opens a file of this case's own, with flags.
static void open_file(int flags) { file = must(open(path, flags | O_CLOEXEC, 0600)); }

static void name_file(const char *name) {
    snprintf(path, sizeof path, "%s/waits-%d-%s", argument, getpid(), name);
    say_subject("%s", path);
}

static void write_file(void) {
    name_file("data");
    open_file(O_RDWR | O_CREAT);
    buffer = must(mmap(0, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
    memset(buffer, 7, BLOCK_BYTES);
    for (long i = 0; i < BLOCKS; i++)
        must(pwrite(file, buffer, BLOCK_BYTES, i * BLOCK_BYTES));
    must(fsync(file));
}

static void drop_pages(void) { posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED); }

// Each call another block.
static long next_block(void) {
    static long block;
    return block++ * 7919 % BLOCKS * BLOCK_BYTES;
}

// ---- reads and writes ----------------------------------------------------------------------------------------------

static void prepare_direct(void) {
    write_file();
    close(file);
    open_file(O_RDONLY | O_DIRECT);
}

static void read_direct(void) {
    while (runs())
        WAIT(must(pread(file, buffer, BLOCK_BYTES, next_block())));
}

static void read_cold(void) {
    for (long i = 0; runs(); i++) {
        if (i % BLOCKS == 0)
            drop_pages();
        WAIT(must(pread(file, buffer, BLOCK_BYTES, next_block())));
    }
}

static void prepare_synchronous(void) {
    write_file();
    close(file);
    open_file(O_RDWR | O_SYNC);
}

static void write_synchronous(void) {
    while (runs())
        WAIT(must(pwrite(file, buffer, PAGE_BYTES, next_block())));
}

static void sync_file(void) {
    while (runs()) {
        must(pwrite(file, buffer, PAGE_BYTES, next_block()));
        WAIT(must(fsync(file)));
    }
}

// ---- changes of a folder ---------------------------------------------------------------------------------------------

static char folder[512];

// A folder whose changes are on the disk when a call returns.
static void prepare_folder(void) {
    name_file("folder");
    strcpy(folder, path);
    must(mkdir(folder, 0700));
    int fd = must(open(folder, O_RDONLY)), flags = 0;
    must(ioctl(fd, FS_IOC_GETFLAGS, &flags));
    flags |= FS_DIRSYNC_FL;
    must(ioctl(fd, FS_IOC_SETFLAGS, &flags));
    close(fd);
}

static void change_folder(void) {
    char from[600], to[600];
    snprintf(from, sizeof from, "%s/a", folder);
    snprintf(to, sizeof to, "%s/b", folder);
    close(must(open(from, O_RDWR | O_CREAT, 0600)));
    while (runs()) {
        WAIT(must(rename(from, to)));
        WAIT(must(rename(to, from)));
    }
}

// ---- pages -----------------------------------------------------------------------------------------------------------

static void prepare_map(void) {
    write_file();
    map = must(mmap(0, FILE_BYTES, PROT_READ, MAP_SHARED, file, 0));
    must(madvise(map, FILE_BYTES, MADV_RANDOM));
}

// A page that is in memory no longer; once through the file, all are dropped again.
static const char *cold_page(void) {
    static long page;
    long at = page++ * PAGE_BYTES % FILE_BYTES;
    if (at == 0) {
        must(madvise(map, FILE_BYTES, MADV_DONTNEED));
        drop_pages();
    }
    return map + at;
}

static void fault_page(void) {
    while (runs()) {
        const char *page = cold_page();
        begin_wait();
        sink = *page;
        end_wait();
    }
}

static int null_pipe[2];

static void prepare_pipe(void) {
    prepare_map();
    must(pipe(null_pipe));
}

// The page is missing in the middle of a call that itself would not wait.
static void fault_in_write(void) {
    char byte[16];
    while (runs()) {
        const char *page = cold_page();
        WAIT(must(write(null_pipe[1], page, sizeof byte)));
        must(read(null_pipe[0], byte, sizeof byte));
    }
}

// ---- memory ------------------------------------------------------------------------------------------------------------

// Holds the lock of the address space for reading while pages are made.
static void make_pages(void) {
    must(madvise(map, KEPT_BYTES, 23 /* MADV_POPULATE_WRITE */));
    must(madvise(map, KEPT_BYTES, MADV_DONTNEED));
}

static void prepare_pages(void) {
    map = must(mmap(0, KEPT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    must(madvise(map, KEPT_BYTES, MADV_NOHUGEPAGE));
    start_other_thread(make_pages);
}

// Needs the same lock for writing.
static void change_maps(void) {
    while (runs()) {
        char *one = WAIT(must(mmap(0, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
        WAIT(must(munmap(one, PAGE_BYTES)));
    }
}

// The program is in a cgroup with less memory than the file has: what it writes must reach the disk to make room.
static void prepare_limited(void) {
    char procs[512];
    snprintf(procs, sizeof procs, "%s/cgroup.procs", getenv("WAITS_CGROUP"));
    int group = must(open(procs, O_WRONLY | O_CLOEXEC));
    must(write(group, "0", 1));
    close(group);
    write_file();
}

static void write_much(void) {
    map = must(mmap(0, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    for (long at = 0; runs(); at = (at + BLOCK_BYTES) % FILE_BYTES) {
        if (at == 0) {
            // Nothing to read back: a page that was never written is made, not read.
            must(ftruncate(file, 0));
            must(ftruncate(file, FILE_BYTES));
        }
        WAIT((memset(map + at, 7, BLOCK_BYTES), 0));
    }
}

static const struct wait_case cases[] = {
    {"read_direct", prepare_direct, read_direct},
    {"read_cold", write_file, read_cold},
    {"write_synchronous", prepare_synchronous, write_synchronous},
    {"sync_file", write_file, sync_file},
    {"change_folder", prepare_folder, change_folder},
    {"fault_page", prepare_map, fault_page},
    {"fault_in_write", prepare_pipe, fault_in_write},
    {"change_maps", prepare_pages, change_maps},
    {"reclaim", prepare_limited, write_much},
};
PROGRAM(cases)

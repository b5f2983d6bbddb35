// Waits for other threads: locks of every kind, conditions, semaphores, barriers, ends. The argument is a folder.
#include "waits.h"
#include <errno.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/sem.h>

static char path[512];

// ---- locks that another holds most of the time -----------------------------------------------------------------------------

// Two locks, of which the other thread holds one at any time: whoever asks for both in turn always waits.
static void (*lock)(int which), (*unlock)(int which);
static sem_t held;

static void hold_alternately(void) {
    static int holds;
    if (!holds++) {
        lock(0);
        sem_post(&held);
    }
    pause_ns(PAUSE_NS);
    lock(1);
    unlock(0);
    pause_ns(PAUSE_NS);
    lock(0);
    unlock(1);
}

static void hold_in_thread(void (*take)(int), void (*give)(int)) {
    lock = take;
    unlock = give;
    sem_init(&held, 0, 0);
    start_other_thread(hold_alternately);
    sem_wait(&held);
}

static void take_locks(void) {
    while (runs()) {
        WAIT((lock(0), 0));
        unlock(0);
        WAIT((lock(1), 0));
        unlock(1);
    }
}

static pthread_mutex_t mutexes[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static void lock_mutex(int which) { pthread_mutex_lock(&mutexes[which]); }
static void unlock_mutex(int which) { pthread_mutex_unlock(&mutexes[which]); }
static void prepare_mutex(void) { hold_in_thread(lock_mutex, unlock_mutex); }

static void prepare_priority_mutex(void) {
    pthread_mutexattr_t inherits;
    pthread_mutexattr_init(&inherits);
    pthread_mutexattr_setprotocol(&inherits, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&mutexes[0], &inherits);
    pthread_mutex_init(&mutexes[1], &inherits);
    prepare_mutex();
}

static pthread_rwlock_t rwlocks[2] = {PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER};
static void unlock_rwlock(int which) { pthread_rwlock_unlock(&rwlocks[which]); }

static void write_lock(int which) { pthread_rwlock_wrlock(&rwlocks[which]); }
static void read_lock(int which) { pthread_rwlock_rdlock(&rwlocks[which]); }

static void prepare_rwlock(void) { hold_in_thread(write_lock, unlock_rwlock); }

// The other thread has taken its locks for writing; from here on they are asked for to read.
static void read_locks(void) {
    while (runs()) {
        WAIT((read_lock(0), 0));
        unlock_rwlock(0);
        WAIT((read_lock(1), 0));
        unlock_rwlock(1);
    }
}

static void name_lock(void) {
    snprintf(path, sizeof path, "%s/waits-%d", argument, getpid());
    say_subject("%s", path);
    close(must(open(path, O_RDWR | O_CREAT, 0600)));
}

static int file = -1;

// Locks of a file lie with the process, or with the open file: each side has its own.
static void flock_file(int which) {
    (void)which;
    if (file < 0)
        file = must(open(path, O_RDWR));
    must(flock(file, LOCK_EX));
}

static void unflock_file(int which) {
    (void)which;
    must(flock(file, LOCK_UN));
}

static void set_lock(int which, int kind) {
    if (file < 0)
        file = must(open(path, O_RDWR));
    struct flock range = {.l_type = kind, .l_whence = SEEK_SET, .l_start = which, .l_len = 1};
    must(fcntl(file, F_SETLKW, &range));
}

static void lock_range(int which) { set_lock(which, F_WRLCK); }
static void unlock_range(int which) { set_lock(which, F_UNLCK); }

static int ready_pipe[2];

static void hold_range(void) {
    lock_range(0);
    must(write(ready_pipe[1], "x", 1));
    for (;;) {
        pause_ns(PAUSE_NS);
        lock_range(1);
        unlock_range(0);
        pause_ns(PAUSE_NS);
        lock_range(0);
        unlock_range(1);
    }
}

static void await_holder(void) {
    char byte;
    must(read(ready_pipe[0], &byte, 1));
}

static void prepare_range(void) {
    name_lock();
    must(pipe(ready_pipe));
    lock = lock_range;
    unlock = unlock_range;
    start_other(hold_range);
    await_holder();
}

static int back_pipe[2];

// Takes the whole file again once the one who waited for it has let it go.
static void hold_when_asked(void) {
    char byte;
    for (;;) {
        flock_file(0);
        must(write(ready_pipe[1], "x", 1));
        pause_ns(PAUSE_NS);
        unflock_file(0);
        must(read(back_pipe[0], &byte, 1));
    }
}

static void prepare_flock(void) {
    name_lock();
    must(pipe(ready_pipe));
    must(pipe(back_pipe));
    start_other(hold_when_asked);
}

static void take_flock(void) {
    while (runs()) {
        await_holder();
        WAIT((flock_file(0), 0));
        unflock_file(0);
        must(write(back_pipe[1], "x", 1));
    }
}

// ---- what another thread says ------------------------------------------------------------------------------------------------

static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int told, taken;

static void tell(void) {
    pause_ns(PAUSE_NS);
    pthread_mutex_lock(&mutexes[0]);
    told++;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutexes[0]);
}

static void prepare_condition(void) { start_other_thread(tell); }

static void await_condition(void) {
    while (runs()) {
        pthread_mutex_lock(&mutexes[0]);
        while (told <= taken)
            WAIT(pthread_cond_wait(&condition, &mutexes[0]));
        taken = told;
        pthread_mutex_unlock(&mutexes[0]);
    }
}

static sem_t semaphore;

static void post(void) {
    pause_ns(PAUSE_NS);
    sem_post(&semaphore);
}

static void prepare_semaphore(void) {
    sem_init(&semaphore, 0, 0);
    start_other_thread(post);
}

static void await_semaphore(void) {
    while (runs())
        WAIT(must(sem_wait(&semaphore)));
}

static pthread_barrier_t barrier;

static void reach_barrier(void) {
    pause_ns(PAUSE_NS);
    pthread_barrier_wait(&barrier);
}

static void prepare_barrier(void) {
    pthread_barrier_init(&barrier, 0, 2);
    start_other_thread(reach_barrier);
}

static void await_barrier(void) {
    while (runs())
        WAIT((pthread_barrier_wait(&barrier), 0));
}

static void *live_shortly(void *unused) {
    pause_ns(PAUSE_NS);
    return unused;
}

static void join_threads(void) {
    while (runs()) {
        pthread_t thread;
        if (pthread_create(&thread, 0, live_shortly, 0))
            fail("pthread_create");
        WAIT(pthread_join(thread, 0));
    }
}

static int old_semaphore;

static void post_old(void) {
    do
        pause_ns(PAUSE_NS);
    while (semop(old_semaphore, &(struct sembuf){0, 1, 0}, 1) == 0);
}

static void prepare_old_semaphore(void) {
    old_semaphore = must(semget(IPC_PRIVATE, 1, 0600));
    start_other(post_old);
}

static void await_old_semaphore(void) {
    while (runs())
        WAIT(must(semop(old_semaphore, &(struct sembuf){0, -1, 0}, 1)));
    must(semctl(old_semaphore, 0, IPC_RMID));
}

static const struct wait_case cases[] = {
    {"mutex", prepare_mutex, take_locks},
    {"priority_mutex", prepare_priority_mutex, take_locks},
    {"rwlock_write", prepare_rwlock, take_locks},
    {"rwlock_read", prepare_rwlock, read_locks},
    {"flock", prepare_flock, take_flock},
    {"fcntl", prepare_range, take_locks},
    {"condition", prepare_condition, await_condition},
    {"semaphore", prepare_semaphore, await_semaphore},
    {"barrier", prepare_barrier, await_barrier},
    {"join", nothing, join_threads},
    {"semop", prepare_old_semaphore, await_old_semaphore},
};
PROGRAM(cases)

/*
 * What a program asks of the file system below one directory, in order, as a log: for LD_PRELOAD.
 *
 * POWER_ROOT: the directory, absolute and without links.  POWER_LOG: the log, made anew.
 * POWER_MARK: a file; what is written to it becomes a mark in the log.
 *
 * A record, little-endian:
 *
 *     kind u8   fd i32   aux i32   offset u64   path u32   other u32   data u32   then the three
 *
 *     O open  (aux: flags)     W write at offset       T truncate to offset   A allocate up to offset
 *     S fsync, fdatasync       R rename path to other  U unlink               M mkdir
 *     D rmdir                  C close                 ! mark                 X what is not modelled
 *
 * A lock is held over each call and its record, so the log has the one order in which things happened.
 * Stores into a mapping are not seen: a writable shared mapping of anything but a lock file is an X.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536
#define PATH 4096
enum { OTHER = 0, BELOW = 1, MARK = 2 };

static char kind_of[FDS];
static char root[PATH], mark[PATH];
static size_t root_len;
static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

/* By the loader, where the three are set; by a process that was forked and has set them since. */
__attribute__((constructor)) void power_begin(void)
{
    const char *r = getenv("POWER_ROOT"), *l = getenv("POWER_LOG"), *m = getenv("POWER_MARK");
    if (!r || !l || !m)
        return;
    snprintf(root, sizeof root, "%s", r);
    snprintf(mark, sizeof mark, "%s", m);
    root_len = strlen(root);
    log_fd = syscall(SYS_openat, AT_FDCWD, l, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        abort();
}

static void put(const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t n = syscall(SYS_write, log_fd, at, size);
        if (n <= 0)
            abort();
        at += n;
        size -= n;
    }
}

static void note(char kind, int fd, int aux, uint64_t offset, const char *path, const char *other,
                 const struct iovec *parts, size_t data)
{
    int saved = errno;
    struct __attribute__((packed)) {
        char kind;
        int32_t fd, aux;
        uint64_t offset;
        uint32_t path, other, data;
    } head = {kind, fd, aux, offset, path ? strlen(path) : 0, other ? strlen(other) : 0, data};
    put(&head, sizeof head);
    put(path, head.path);
    put(other, head.other);
    for (; data; parts++) {
        size_t n = parts->iov_len < data ? parts->iov_len : data;
        put(parts->iov_base, n);
        data -= n;
    }
    errno = saved;
}

/* The absolute path; whether it is the root or below it. */
static int resolve(int at, const char *path, char *out)
{
    char link[64];
    out[0] = 0;
    if (log_fd < 0 || !path)
        return 0;
    if (path[0] == '/') {
        snprintf(out, PATH, "%s", path);
    } else {
        ssize_t n;
        if (at == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        n = readlink(link, out, PATH - 1);
        if (n < 0)
            return 0;
        snprintf(out + n, PATH - n, "/%s", path);
    }
    return !strncmp(out, root, root_len) && (out[root_len] == '/' || !out[root_len]);
}

static int is(int fd, int kind)
{
    return log_fd >= 0 && fd >= 0 && fd < FDS && kind_of[fd] == kind;
}

#define LOCKED(call)                                                                                 \
    do {                                                                                             \
        pthread_mutex_lock(&lock);                                                                   \
        call;                                                                                        \
        pthread_mutex_unlock(&lock);                                                                 \
    } while (0)

static int opened(int at, const char *path, int flags, mode_t mode)
{
    char full[PATH];
    int fd;
    pthread_mutex_lock(&lock);
    fd = syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && fd < FDS) {
        kind_of[fd] = OTHER;
        if (resolve(at, path, full)) {
            kind_of[fd] = BELOW;
            note('O', fd, flags, 0, full, NULL, NULL, 0);
        } else if (log_fd >= 0 && !strcmp(full, mark)) {
            kind_of[fd] = MARK;
        }
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(name)                                                                                   \
    int name(const char *path, int flags, ...)                                                       \
    {                                                                                                \
        va_list rest;                                                                                \
        va_start(rest, flags);                                                                       \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                      \
        va_end(rest);                                                                                \
        return opened(AT_FDCWD, path, flags, mode);                                                  \
    }
#define OPENAT(name)                                                                                 \
    int name(int at, const char *path, int flags, ...)                                               \
    {                                                                                                \
        va_list rest;                                                                                \
        va_start(rest, flags);                                                                       \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                      \
        va_end(rest);                                                                                \
        return opened(at, path, flags, mode);                                                        \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
int creat(const char *path, mode_t mode)
{
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd)
{
    int done;
    LOCKED({
        if (is(fd, BELOW))
            note('C', fd, 0, 0, NULL, NULL, NULL, 0);
        if (fd >= 0 && fd < FDS)
            kind_of[fd] = OTHER;
        done = syscall(SYS_close, fd);
    });
    return done;
}

/* offset < 0: at the descriptor's own place. */
static ssize_t written(int fd, const struct iovec *parts, int count, off_t offset)
{
    ssize_t n;
    if (!is(fd, BELOW) && !is(fd, MARK))
        return offset < 0 ? syscall(SYS_writev, fd, parts, count)
                          : syscall(SYS_pwritev, fd, parts, count, offset, (long)0);
    LOCKED({
        n = offset < 0 ? syscall(SYS_writev, fd, parts, count)
                       : syscall(SYS_pwritev, fd, parts, count, offset, (long)0);
        if (n > 0 && is(fd, MARK)) {
            note('!', fd, 0, 0, NULL, NULL, parts, n);
        } else if (n > 0) {
            int saved = errno;
            if (offset < 0)
                offset = lseek(fd, 0, SEEK_CUR) - n;
            errno = saved;
            note('W', fd, 0, offset, NULL, NULL, parts, n);
        }
    });
    return n;
}

ssize_t write(int fd, const void *data, size_t size)
{
    struct iovec part = {(void *)data, size};
    return written(fd, &part, 1, -1);
}
ssize_t writev(int fd, const struct iovec *parts, int count) { return written(fd, parts, count, -1); }
#define PWRITE(name)                                                                                 \
    ssize_t name(int fd, const void *data, size_t size, off_t offset)                                \
    {                                                                                                \
        struct iovec part = {(void *)data, size};                                                    \
        return written(fd, &part, 1, offset);                                                        \
    }
#define PWRITEV(name)                                                                                \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset)                         \
    {                                                                                                \
        return written(fd, parts, count, offset);                                                    \
    }
PWRITE(pwrite)
PWRITE(pwrite64)
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define ON_FD(name, kind, arguments, call, aux, offset)                                              \
    int name arguments                                                                               \
    {                                                                                                \
        int done;                                                                                    \
        LOCKED({                                                                                     \
            done = call;                                                                             \
            if (!done && is(fd, BELOW))                                                              \
                note(kind, fd, aux, offset, NULL, NULL, NULL, 0);                                    \
        });                                                                                          \
        return done;                                                                                 \
    }
ON_FD(fsync, 'S', (int fd), syscall(SYS_fsync, fd), 0, 0)
ON_FD(fdatasync, 'S', (int fd), syscall(SYS_fdatasync, fd), 1, 0)
ON_FD(ftruncate, 'T', (int fd, off_t size), syscall(SYS_ftruncate, fd, size), 0, size)
ON_FD(ftruncate64, 'T', (int fd, off_t size), syscall(SYS_ftruncate, fd, size), 0, size)
ON_FD(fallocate, 'A', (int fd, int mode, off_t at, off_t size), syscall(SYS_fallocate, fd, mode, at, size),
      mode, at + size)
ON_FD(fallocate64, 'A', (int fd, int mode, off_t at, off_t size),
      syscall(SYS_fallocate, fd, mode, at, size), mode, at + size)
int posix_fallocate(int fd, off_t at, off_t size) { return fallocate(fd, 0, at, size) ? errno : 0; }
int posix_fallocate64(int fd, off_t at, off_t size) { return posix_fallocate(fd, at, size); }

/* An operation on names, which cannot be undone by the one who asked: noted when it was done. */
static int named(char kind, int at, const char *path, int at2, const char *path2, long a, long number)
{
    char full[PATH], full2[PATH];
    int done, below, below2 = 0;
    LOCKED({
        below = resolve(at, path, full);
        if (path2)
            below2 = resolve(at2, path2, full2);
        done = path2 ? syscall(number, at, path, at2, path2, a) : syscall(number, at, path, a);
        if (!done && (below || below2))
            note(path2 && below != below2 ? 'X' : kind, -1, a, 0, full, path2 ? full2 : NULL, NULL, 0);
    });
    return done;
}

int rename(const char *a, const char *b) { return named('R', AT_FDCWD, a, AT_FDCWD, b, 0, SYS_renameat2); }
int renameat(int at, const char *a, int at2, const char *b) { return named('R', at, a, at2, b, 0, SYS_renameat2); }
int renameat2(int at, const char *a, int at2, const char *b, unsigned flags)
{
    return named(flags ? 'X' : 'R', at, a, at2, b, flags, SYS_renameat2);
}
int unlink(const char *a) { return named('U', AT_FDCWD, a, 0, NULL, 0, SYS_unlinkat); }
int rmdir(const char *a) { return named('D', AT_FDCWD, a, 0, NULL, AT_REMOVEDIR, SYS_unlinkat); }
int unlinkat(int at, const char *a, int flags)
{
    return named(flags & AT_REMOVEDIR ? 'D' : 'U', at, a, 0, NULL, flags, SYS_unlinkat);
}
int mkdir(const char *a, mode_t mode) { return named('M', AT_FDCWD, a, 0, NULL, mode, SYS_mkdirat); }
int mkdirat(int at, const char *a, mode_t mode) { return named('M', at, a, 0, NULL, mode, SYS_mkdirat); }

/* Not modelled: the run must not pass as if it had been. */
int link(const char *a, const char *b) { return named('X', AT_FDCWD, a, AT_FDCWD, b, 0, SYS_linkat); }
int linkat(int at, const char *a, int at2, const char *b, int flags) { return named('X', at, a, at2, b, flags, SYS_linkat); }
int truncate(const char *path, off_t size)
{
    char full[PATH];
    if (resolve(AT_FDCWD, path, full))
        LOCKED(note('X', -1, 0, size, full, NULL, NULL, 0));
    return syscall(SYS_truncate, path, size);
}
/* Refused, as of files that cannot be copied so: whoever copies one writes it then, which is seen. */
ssize_t sendfile(int to, int from, off_t *offset, size_t size)
{
    if (is(to, BELOW)) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_sendfile, to, from, offset, size);
}
ssize_t sendfile64(int to, int from, off_t *offset, size_t size) { return sendfile(to, from, offset, size); }
ssize_t copy_file_range(int from, off_t *at, int to, off_t *at2, size_t size, unsigned flags)
{
    if (is(to, BELOW))
        LOCKED(note('X', to, 0, 0, "copy_file_range", NULL, NULL, 0));
    return syscall(SYS_copy_file_range, from, at, to, at2, size, flags);
}
static void *mapped(void *where, size_t size, int access, int flags, int fd, off_t offset)
{
    if ((access & PROT_WRITE) && (flags & MAP_SHARED) && is(fd, BELOW))
        LOCKED(note('X', fd, access, offset, "mmap", NULL, NULL, 0));
    return (void *)syscall(SYS_mmap, where, size, access, flags, fd, offset);
}
void *mmap(void *where, size_t size, int access, int flags, int fd, off_t offset)
{
    return mapped(where, size, access, flags, fd, offset);
}
void *mmap64(void *where, size_t size, int access, int flags, int fd, off_t offset)
{
    return mapped(where, size, access, flags, fd, offset);
}

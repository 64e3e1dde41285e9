/*
 * What a worker may still do once it reads a process: everything below is given up for good, before the first byte of foreign memory
 * is looked at. A hostile heap that took the worker over could read what the daemon may read, and answer nonsense; it could write
 * to no process, no file and no socket but the daemon's, and start nothing.
 *
 *  - the user becomes that of the process, where we are root; of the capabilities CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH stay
 *    (the files of a process may be readable by nobody else), without them the bounding set and new privileges (prctl(2));
 *  - descriptors: 0 to 2 are /dev/null, the channel is SANDBOX_CHANNEL, which no open() can return (RLIMIT_NOFILE is below it);
 *  - system calls (libseccomp): those of reading. open() only to read, process_vm_readv() only of this process, of ptrace() no request
 *    that writes but the one register of a system call to restart, write() and sendto() only to the channel; pwrite()
 *    to a file in memory, there being no other that is open for writing. What isn't allowed fails
 *    with EPERM: an odd library call must not cost the worker. openat2(), whose flags no filter can see, stays for paths within the
 *    root of the process; with it a file of the process's own user could be emptied, as that user can anyway.
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

#define SANDBOX_CHANNEL 1000

/* Move `channel` to its place and close all other descriptors. */
gboolean sandbox_descriptors(int channel);
/* Become the worker of process `pid`, which belongs to uid and gid. False: something could not be given up; *what says what. */
gboolean sandbox_enter(pid_t pid, uid_t uid, gid_t gid, const char **what);

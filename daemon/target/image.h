/*
 * Saved images: a snapshot in a file of our own, smaller than a core file and complete: what the interpreter's layout is stands in it, and
 * the read-only data of libraries too, so that any machine can read it.
 *
 * The file, all numbers little endian:
 *
 *   OFFSET SIZE
 *        0   16  "reftop image 1\n\0"
 *       16       sections, each:
 *                  4  kind    4  0
 *                  8  bytes of the content    8  bytes stored    8  address (PAGES; else 0)
 *                  the content, compressed with zstd where fewer bytes are stored
 *
 *   META     lines "name=value": process, snapshot, interpreter, and "layout.NAME=OFFSET"; text is escaped as in JSON strings
 *   MAPS     as /proc/PID/maps
 *   THREADS  lines "tid state name call", registers as 27 words follow in hexadecimal
 *   REGIONS  {start, size, mapping, 0} as 64-bit words each: addresses that can be read; where no PAGES are they read as zeros
 *   PAGES    bytes at an address, at most PIECE, in ascending order
 *   END      the file is complete
 *
 * Unknown kinds are skipped. A file without END lost what was behind its last PAGES.
 */
#pragma once
#include <sys/stat.h>

#include "daemon/target/snapshot.h"

/* Whether the file behind `fd` begins like one. */
bool image_is_one(int fd);
/* Open it as a target; takes `fd`. Errors: FAILED (corrupt, of a later version). */
target_t *image_open(int fd, const struct stat *status, const char *path, GError **error);

/*
 * Write a snapshot of `target` (extent SNAPSHOT_ALL) to `fd`. *bytes: size of the file. Errors: FAILED.
 */
bool image_save(int fd, const target_t *target, const snapshot_t *snapshot, uint64_t *bytes, GError **error);

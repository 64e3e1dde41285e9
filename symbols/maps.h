/*
 * The memory maps of a process: what lies where, and of which file (proc_pid_maps(5)).
 *
 * Paths are those the target sees; open one with maps_open(), which goes by the target's own root, so that a container or
 * chroot works.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct mapping {
	uint64_t start, end; /* [start, end), page aligned */
	uint64_t offset;     /* of start in the file, bytes */
	uint64_t inode;      /* 0: no file */
	uint32_t device_major, device_minor;
	bool readable, writable, executable, shared;
	bool deleted; /* the file was unlinked or replaced */
	const char
		*path; /* owned by the maps; "" for anonymous memory, "[heap]", "[stack]", "/lib/…"; unescaped bytes */
};

/* Whether it is of a file, and nobody may write there: code and constants (and, in a process, what the dynamic linker is done with). */
static inline bool mapping_is_constant(const struct mapping *mapping)
{
	return mapping->path[0] == '/' && !mapping->writable;
}

typedef struct maps {
	struct mapping *mappings; /* sorted by start */
	size_t n;
	GStringChunk *strings;
} maps_t;

/* Parse the text of a maps file (`size` bytes; foreign: anything malformed is an error of SYMBOLS_ERROR). */
struct maps *maps_parse(const char *text, size_t size, GError **error);
/* The maps of a live process. Errors: GONE, DENIED, FAILED. */
struct maps *maps_read(pid_t pid, GError **error);
void maps_free(struct maps *maps);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(maps_t, maps_free)

/* The mapping that holds `address`, or NULL. */
const struct mapping *maps_find(const struct maps *maps, uint64_t address);

/*
 * An open descriptor (O_RDONLY | O_CLOEXEC) of the file behind a mapping of process `pid`: /proc/PID/root/<path> when that is
 * still the mapped file (device and inode compared), else /proc/PID/map_files/… where permitted. -1 with errno set otherwise.
 * Nothing of it is ever executed.
 */
int maps_open(pid_t pid, const struct mapping *mapping);

/* The same for a file by its absolute path as process `pid` sees it (/proc/PID/root/<path>). */
int maps_open_path(pid_t pid, const char *path);

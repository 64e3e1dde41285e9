/* Writing an image. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/error.h"
#include "daemon/target/image_private.h"
#include "daemon/target/target.h"

#define LEVEL 1 /* of zstd: heaps shrink to a quarter at some 500 MB a second; higher levels gain little */

#define NUMBER(member)                                                                                                 \
	{                                                                                                              \
#member, offsetof(interpreter_t, member), sizeof(((interpreter_t *)0)->member)                         \
	}
const struct image_number image_numbers[] = {
	NUMBER(version),        NUMBER(debug),     NUMBER(free_threaded),  NUMBER(trace_refs),
	NUMBER(symbols_found),  NUMBER(origin),    NUMBER(bias),           NUMBER(image_start),
	NUMBER(image_end),      NUMBER(runtime),   NUMBER(gc_generation0), NUMBER(interp_head),
	NUMBER(thread_current), NUMBER(gil_cond),  NUMBER(all_blocks),     NUMBER(raw_blocks),
	NUMBER(arenas),         NUMBER(maxarenas), NUMBER(method_cache),   NUMBER(type_type),
};
const size_t image_n_numbers = G_N_ELEMENTS(image_numbers);

uint64_t image_number_get(const interpreter_t *interpreter, const struct image_number *number)
{
	uint64_t value = 0;
	memcpy(&value, (const char *)interpreter + number->position, number->size);
	return value;
}

void image_number_set(interpreter_t *interpreter, const struct image_number *number, uint64_t value)
{
	if (number->size == sizeof(bool))
		value = value != 0;
	memcpy((char *)interpreter + number->position, &value, number->size);
}

struct writer {
	int fd;
	uint64_t bytes;
	void *packed;
	size_t room;
	const target_t *target;
	const snapshot_t *snapshot;
	GError **error;
};

static bool write_all(struct writer *writer, const void *bytes, size_t size)
{
	size_t have = 0;
	while (have < size) {
		ssize_t n = write(writer->fd, (const char *)bytes + have, size - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error_set(writer->error, TARGET_ERROR, REFTOP_ERROR_FAILED, g_strerror(errno), NULL,
				  "cannot write the image");
			return false;
		}
		have += (size_t)n;
	}
	writer->bytes += size;
	return true;
}

static bool write_section(struct writer *writer, enum image_kind kind, uint64_t address, const void *bytes, size_t size)
{
	struct image_section section = {.kind = kind, .size = size, .stored = size, .address = address};
	size_t bound = ZSTD_compressBound(size);
	if (bound > writer->room) {
		g_free(writer->packed);
		writer->packed = g_malloc(bound);
		writer->room = bound;
	}
	size_t packed = size ? ZSTD_compress(writer->packed, writer->room, bytes, size, LEVEL) : 0;
	bool smaller = size && !ZSTD_isError(packed) && packed < size;
	if (smaller)
		section.stored = packed;
	return write_all(writer, &section, sizeof(section)) &&
	       write_all(writer, smaller ? writer->packed : bytes, section.stored);
}

/* ---- what isn't memory ---- */

static void put_text(GString *text, const char *name, const char *value)
{
	g_autofree char *escaped = g_strescape(value, NULL);
	g_string_append_printf(text, "%s=%s\n", name, escaped);
}

static void put_number(GString *text, const char *name, int64_t value)
{
	g_string_append_printf(text, "%s=%" G_GINT64_FORMAT "\n", name, value);
}

static bool write_meta(struct writer *writer)
{
	const target_t *target = writer->target;
	const snapshot_t *snapshot = writer->snapshot;
	const interpreter_t *interpreter = target->interpreter;
	g_autoptr(GString) text = g_string_new(NULL);
	put_number(text, "pid", target->pid);
	put_number(text, "start_time", target->start_time);
	put_number(text, "time", snapshot->time_us);
	put_number(text, "consistent", snapshot->consistent);
	put_number(text, "missing", (int64_t)snapshot->bytes_missing);
	put_text(text, "exe", target->exe);
	for (char **argument = target->cmdline; *argument; argument++)
		put_text(text, "argument", *argument);
	put_text(text, "path", interpreter->path);
	put_text(text, "version_text", interpreter->version_text);
	put_number(text, "block_alignment", interpreter->layout.shape.block_alignment);
	for (size_t i = 0; i < image_n_numbers; i++)
		put_number(text, image_numbers[i].name, (int64_t)image_number_get(interpreter, &image_numbers[i]));
	for (size_t i = 0; i < py_layout_n_fields; i++) {
		uint32_t value;
		memcpy(&value, (const char *)&interpreter->layout + py_layout_fields[i].position, sizeof(value));
		g_string_append_printf(text, "layout.%s=%u\n", py_layout_fields[i].name, value);
	}
	return write_section(writer, IMAGE_META, 0, text->str, text->len);
}

static bool write_maps(struct writer *writer)
{
	const struct maps *maps = writer->snapshot->maps;
	g_autoptr(GString) text = g_string_new(NULL);
	for (size_t i = 0; i < maps->n; i++) {
		const struct mapping *at = &maps->mappings[i];
		g_string_append_printf(text,
				       "%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x %c%c%c%c %" G_GINT64_MODIFIER
				       "x %x:%x %" G_GINT64_MODIFIER "u",
				       at->start, at->end, at->readable ? 'r' : '-', at->writable ? 'w' : '-',
				       at->executable ? 'x' : '-', at->shared ? 's' : 'p', at->offset, at->device_major,
				       at->device_minor, at->inode);
		/* a newline in a path would be another mapping */
		g_string_append_printf(text, " %s%s\n", strchr(at->path, '\n') ? "" : at->path,
				       at->deleted ? " (deleted)" : "");
	}
	return write_section(writer, IMAGE_MAPS, 0, text->str, text->len);
}

static bool write_threads(struct writer *writer)
{
	g_autoptr(GString) text = g_string_new(NULL);
	for (size_t i = 0; i < writer->snapshot->n_threads; i++) {
		const struct snapshot_thread *thread = &writer->snapshot->threads[i];
		g_autofree char *name = g_strndup(thread->name, sizeof(thread->name));
		g_autofree char *escaped = g_strescape(name, NULL);
		g_string_append_printf(text, "%d %c %d", thread->tid, thread->state ? thread->state : '?',
				       thread->has_registers);
		for (size_t k = 0; k < G_N_ELEMENTS(thread->registers); k++)
			g_string_append_printf(text, " %" G_GINT64_MODIFIER "x", thread->registers[k]);
		g_string_append_printf(text, " %s\n", escaped);
	}
	return write_section(writer, IMAGE_THREADS, 0, text->str, text->len);
}

/* ---- memory ---- */

/*
 * Of executables and libraries all but code, which no object is in. The interpreter's own file whole: where the linker put read-only data and
 * code together, names of types are among it.
 */
static bool wanted(const struct writer *writer, const struct memory_region *region)
{
	const struct maps *maps = writer->snapshot->maps;
	const interpreter_t *interpreter = writer->target->interpreter;
	if (region->mapping >= maps->n)
		return true;
	const struct mapping *mapping = &maps->mappings[region->mapping];
	bool inside = region->start >= interpreter->image_start && region->start < interpreter->image_end;
	return inside || mapping->path[0] != '/' || !mapping->executable || mapping->writable;
}

static bool is_zero(const uint8_t *bytes, uint64_t size)
{
	return !bytes[0] && (size == 1 || !memcmp(bytes, bytes + 1, size - 1));
}

static bool write_range(struct writer *writer, uint64_t start, uint64_t end)
{
	const struct memory *memory = &writer->snapshot->memory;
	while (start < end) {
		uint64_t size = MIN(end - start, IMAGE_PIECE);
		const uint8_t *bytes = memory_at(memory, start, size);
		/* behind the end of a file there may be a part of a piece */
		while (!bytes && size > 4096) {
			size = 4096;
			bytes = memory_at(memory, start, size);
		}
		if (bytes && !is_zero(bytes, size) && !write_section(writer, IMAGE_PAGES, start, bytes, size))
			return false;
		start += size;
	}
	return true;
}

/* The runs of a region that hold something; all of it where that isn't known. */
static bool write_region(struct writer *writer, const struct memory_region *region, guint *run)
{
	const struct snapshot_private *own = writer->snapshot->private;
	uint64_t end = region->start + region->size;
	if (region->lazy || !own)
		return write_range(writer, region->start, end);
	while (*run < own->copied->len) {
		const struct presence_run *at = &g_array_index(own->copied, struct presence_run, *run);
		if (at->start >= end)
			break;
		if (at->end > region->start && !write_range(writer, MAX(at->start, region->start), MIN(at->end, end)))
			return false;
		if (at->end > end)
			break;
		(*run)++;
	}
	return true;
}

static bool write_memory(struct writer *writer)
{
	const struct memory *memory = &writer->snapshot->memory;
	g_autoptr(GArray) regions = g_array_new(FALSE, TRUE, sizeof(struct image_region));
	for (size_t i = 0; i < memory->n_regions; i++) {
		const struct memory_region *at = &memory->regions[i];
		struct image_region region = {at->start, at->size, at->mapping, 0};
		if (wanted(writer, at))
			g_array_append_val(regions, region);
	}
	if (!write_section(writer, IMAGE_REGIONS, 0, regions->data, regions->len * sizeof(struct image_region)))
		return false;
	guint run = 0;
	for (size_t i = 0; i < memory->n_regions; i++) {
		if (wanted(writer, &memory->regions[i]) && !write_region(writer, &memory->regions[i], &run))
			return false;
	}
	return true;
}

bool image_save(int fd, const target_t *target, const snapshot_t *snapshot, uint64_t *bytes, GError **error)
{
	struct writer writer = {.fd = fd, .target = target, .snapshot = snapshot, .error = error};
	bool good = write_all(&writer, IMAGE_MAGIC, sizeof(IMAGE_MAGIC)) && write_meta(&writer) &&
		    write_maps(&writer) && write_threads(&writer) && write_memory(&writer) &&
		    write_section(&writer, IMAGE_END, 0, NULL, 0);
	g_free(writer.packed);
	*bytes = writer.bytes;
	return good;
}

#include "symbols/version.h"

#include <string.h>

#define CHUNK (256u << 10)
/* longer than any version text with its build date and compiler */
#define OVERLAP 512u
/* no interpreter's writable data is larger; an embedding program's may be, and is looked at up to here */
#define SCAN_MAX (256u << 20)

void version_format(uint32_t version, char text[VERSION_TEXT_MAX])
{
	unsigned level = version >> 4 & 0xf, serial = version & 0xf;
	int n = g_snprintf(text, VERSION_TEXT_MAX, "%u.%u.%u", version >> 24, version >> 16 & 0xff,
			   version >> 8 & 0xff);
	if (level == 0xa || level == 0xb || level == 0xc)
		g_snprintf(text + n, VERSION_TEXT_MAX - (gulong)n, "%s%u",
			   level == 0xa   ? "a"
			   : level == 0xb ? "b"
					  : "rc",
			   serial);
}

static bool number(const char **at, const char *end, unsigned max, unsigned *value)
{
	const char *start = *at;
	*value = 0;
	for (; *at < end && g_ascii_isdigit(**at); (*at)++) {
		*value = *value * 10 + (unsigned)g_ascii_digit_value(**at);
		if (*value > max)
			return false;
	}
	return *at > start;
}

uint32_t version_parse(const char *text, size_t size)
{
	const char *at = text, *end = text + size;
	unsigned major, minor, micro, level = 0xf, serial = 0;
	if (!number(&at, end, 9, &major) || at == end || *at++ != '.' || !number(&at, end, 255, &minor) || at == end ||
	    *at++ != '.' || !number(&at, end, 255, &micro))
		return 0;
	if (end - at > 1 && (*at == 'a' || *at == 'b')) {
		level = *at++ == 'a' ? 0xa : 0xb;
		if (!number(&at, end, 15, &serial))
			return 0;
	} else if (end - at > 2 && at[0] == 'r' && at[1] == 'c') {
		level = 0xc;
		at += 2;
		if (!number(&at, end, 15, &serial))
			return 0;
	}
	return major << 24 | minor << 16 | micro << 8 | level << 4 | serial;
}

bool version_is_supported(uint32_t version)
{
	struct py_shape shape;
	return py_shape_find(version, false, &shape);
}

/* "%.80s (%.80s) %.80s" or, in older ones, "%.80s (%.80s) \n%.80s": version, build, compiler in brackets */
static uint32_t version_text(const char *text, size_t size)
{
	uint32_t version = version_parse(text, size);
	if (!version || (version >> 24 != 2 && version >> 24 != 3))
		return 0;
	size_t line = size < OVERLAP ? size : OVERLAP;
	const char *zero = memchr(text, '\0', line);
	if (!zero)
		return 0;
	line = (size_t)(zero - text);
	const char *build = memchr(text, '(', line);
	if (!build || build - text > 40 || build[-1] != ' ')
		return 0;
	const char *close = g_strrstr_len(text, (gssize)line, ")"), *compiler = g_strrstr_len(text, (gssize)line, "[");
	return close && compiler && compiler > build ? version : 0;
}

static uint32_t range_scan(uint64_t start, uint64_t end, const struct interpreter_access *access, uint64_t *address)
{
	g_autofree char *buffer = g_malloc(CHUNK + OVERLAP);
	uint64_t kept = 0; /* bytes of the last chunk in front of this one */
	for (uint64_t at = start; at < end;) {
		uint64_t size = end - at < CHUNK ? end - at : CHUNK;
		if (!access->read(access->context, at, buffer + kept, size)) {
			/* a hole (memory that is protected, say): go on behind the page */
			at = (at & ~4095ull) + 4096;
			kept = 0;
			continue;
		}
		uint64_t n = kept + size;
		for (uint64_t i = 0; i + 8 < n; i++) {
			if (buffer[i + 1] != '.' || (buffer[i] != '2' && buffer[i] != '3') ||
			    (i && (g_ascii_isdigit(buffer[i - 1]) || buffer[i - 1] == '.')))
				continue;
			uint32_t version = version_text(buffer + i, n - i);
			if (version) {
				if (address)
					*address = at - kept + i;
				return version;
			}
		}
		kept = n < OVERLAP ? n : OVERLAP;
		memmove(buffer, buffer + n - kept, kept);
		at += size;
	}
	return 0;
}

uint32_t version_scan(const struct elf_file *elf, uint64_t bias, const struct interpreter_access *access,
		      uint64_t *address)
{
	for (size_t i = 0; i < elf->n_segments; i++) {
		const GElf_Phdr *segment = &elf->segments[i];
		if (!(segment->p_flags & PF_W))
			continue;
		uint64_t start = bias + segment->p_vaddr;
		uint64_t size = segment->p_memsz < SCAN_MAX ? segment->p_memsz : SCAN_MAX;
		uint32_t version = range_scan(start, start + size, access, address);
		if (version)
			return version;
	}
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* what follows the digits of a version in a file name, or NULL when there is no version */
static const char *name_version(const char *path, uint32_t *version)
{
	const char *name = base_name(path), *at, *end = name + strlen(name);
	unsigned major, minor;
	if (g_str_has_prefix(name, "libpython"))
		at = name + strlen("libpython");
	else if (g_str_has_prefix(name, "python"))
		at = name + strlen("python");
	else if ((at = strstr(name, ".cpython-")))
		at += strlen(".cpython-");
	else
		return NULL;
	if (at < end && g_ascii_isdigit(*at) && at[1] != '.') {
		/* cpython-312 */
		major = (unsigned)g_ascii_digit_value(*at++);
		if (!number(&at, end, 99, &minor))
			return NULL;
	} else if (!number(&at, end, 9, &major) || at == end || *at++ != '.' || !number(&at, end, 99, &minor)) {
		return NULL;
	}
	*version = major << 24 | minor << 16 | 0xf0;
	return at;
}

uint32_t version_from_name(const char *path)
{
	uint32_t version;
	return name_version(path, &version) ? version : 0;
}

void version_flags_from_name(const char *path, bool *debug, bool *free_threaded)
{
	uint32_t version;
	const char *at = name_version(path, &version);
	*debug = *free_threaded = false;
	if (at && !strncmp(at, "-dbg", 4))
		*debug = true; /* Debian's python3.11-dbg */
	for (; at && *at && g_ascii_isalpha(*at); at++) {
		*debug |= *at == 'd';
		*free_threaded |= *at == 't';
	}
}

#include "daemon/heap/str.h"

#include "daemon/heap/object.h"
#include "daemon/heap/type.h"

bool str_read(const heap_t *heap, uint64_t address, struct str *str)
{
	const struct py_layout *layout = heap->layout;
	const uint8_t *bytes =
		address && address % 8 == 0 ? memory_at(heap->memory, address, layout->ascii_size) : NULL;
	uint64_t flags;
	return bytes && memory_u64(heap->memory, object_type_address(layout, bytes) + layout->tp_flags, &flags) &&
	       flags & PY_FLAG_UNICODE && str_read_at(heap, address, bytes, str);
}

bool str_equals(const heap_t *heap, uint64_t address, const char *text)
{
	const struct py_layout *layout = heap->layout;
	struct str str;
	size_t length = strlen(text);
	/* most differ in length: no more of them is looked at */
	const uint8_t *bytes =
		address && address % 8 == 0 ? memory_at(heap->memory, address, layout->ascii_size) : NULL;
	if (!bytes || load_u64(bytes, layout->str_length) != length)
		return false;
	if (!str_read(heap, address, &str) || !str.ascii || str.length != length || !str.data)
		return false;
	const void *data = memory_at(heap->memory, str.data, length);
	return data && memcmp(data, text, length) == 0;
}

char *str_text(const heap_t *heap, uint64_t address, uint64_t max)
{
	struct str str;
	if (!str_read(heap, address, &str))
		return NULL;
	if (!str.length)
		return g_strdup("");
	if (!str.kind || !str.data)
		return NULL;
	uint64_t n = MIN(str.length, max);
	/* not there: no need to ask for as much memory as it says it has */
	uint8_t byte;
	if (!memory_u8(heap->memory, str.data + n * str.kind - 1, &byte))
		return NULL;
	g_autofree uint8_t *units = g_try_malloc(n * str.kind);
	if (!units || !memory_read(heap->memory, str.data, units, n * str.kind))
		return NULL;
	g_autoptr(GString) text = g_string_sized_new(n + 1);
	for (uint64_t i = 0; i < n; i++) {
		uint32_t point = 0;
		memcpy(&point, units + i * str.kind, str.kind);
		/* lone surrogates and other things no UTF-8 can say */
		g_string_append_unichar(text, g_unichar_validate(point) && point ? point : 0xfffd);
	}
	return g_string_free(g_steal_pointer(&text), FALSE);
}

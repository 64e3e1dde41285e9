#include "daemon/heap/lines.h"

#define UNIT         2    /* bytes of a code unit */
#define LINE_UNKNOWN -128 /* 3.10: these bytes have no line */
#define VARINT_BITS  6
#define VARINT_MORE  64

static int of_lnotab(const uint8_t *table, size_t size, int first, int64_t at)
{
	int64_t line = first, address = 0;
	for (size_t i = 0; i + 1 < size; i += 2) {
		address += table[i];
		if (address > at)
			break;
		line += (int8_t)table[i + 1];
	}
	return (int)line;
}

static int of_linetable(const uint8_t *table, size_t size, int first, int64_t at)
{
	int64_t line = first, start = 0;
	for (size_t i = 0; i + 1 < size; i += 2) {
		int64_t end = start + table[i];
		int8_t delta = (int8_t)table[i + 1];
		if (delta != LINE_UNKNOWN)
			line += delta;
		if (at >= start && at < end)
			return delta == LINE_UNKNOWN ? LINE_NONE : (int)line;
		start = end;
	}
	return LINE_NONE;
}

/* what is left of a table of locations */
struct cursor {
	const uint8_t *at, *end;
};

static uint32_t next_byte(struct cursor *cursor)
{
	return cursor->at < cursor->end ? *cursor->at++ : 0;
}

static uint32_t next_varint(struct cursor *cursor)
{
	uint32_t byte = next_byte(cursor), value = byte & (VARINT_MORE - 1);
	for (unsigned shift = VARINT_BITS; byte & VARINT_MORE; shift += VARINT_BITS) {
		byte = next_byte(cursor);
		if (shift < 32)
			value |= (byte & (VARINT_MORE - 1)) << shift;
	}
	return value;
}

static int64_t next_signed(struct cursor *cursor)
{
	uint32_t value = next_varint(cursor);
	return value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
}

/* kinds of an entry (CPython Include/internal/pycore_code.h, enum _PyCodeLocationInfoKind) */
enum { SHORT_LAST = 9, ONE_LINE_0 = 10, ONE_LINE_LAST = 12, NO_COLUMNS = 13, LONG = 14, NO_LOCATION = 15 };

static int of_locations(const uint8_t *table, size_t size, int first, int64_t at)
{
	struct cursor cursor = {table, table + size};
	int64_t line = first, start = 0;
	while (cursor.at < cursor.end) {
		uint32_t head = next_byte(&cursor), kind = head >> 3 & 15;
		int64_t end = start + ((head & 7) + 1) * UNIT;
		if (kind <= SHORT_LAST) {
			next_byte(&cursor);
		} else if (kind <= ONE_LINE_LAST) {
			line += kind - ONE_LINE_0;
			next_byte(&cursor);
			next_byte(&cursor);
		} else if (kind != NO_LOCATION) {
			line += next_signed(&cursor);
			for (int i = 0; kind == LONG && i < 3; i++)
				next_varint(&cursor);
		}
		if (at >= start && at < end)
			return kind == NO_LOCATION ? LINE_NONE : (int)line;
		start = end;
	}
	return LINE_NONE;
}

int line_of(enum py_lines kind, const uint8_t *table, size_t size, int first, int64_t at)
{
	if (at < 0)
		return first;
	switch (kind) {
	case PY_LINES_LNOTAB:
		return of_lnotab(table, size, first, at);
	case PY_LINES_LINETABLE:
		return of_linetable(table, size, first, at);
	case PY_LINES_LOCATIONS:
		return of_locations(table, size, first, at);
	}
	return LINE_NONE;
}

#include "daemon/heap/values.h"

#include <math.h>

#include "base/text.h"
#include "daemon/heap/dict.h"
#include "daemon/heap/str.h"
#include "daemon/heap/type.h"

#define MAX_DEPTH      3
#define MAX_ITEMS      4
#define MAX_ATTRIBUTES 4
#define MAX_DIGITS     64 /* of 30 bits: longer ints are told by their size */
#define DIGIT_BITS     30
#define BILLION        1000000000u
#define MAX_BASES      64
#define ELLIPSIS       "\u2026"

struct printer {
	references_t *references;
	heap_t *heap;
	GString *text;
	size_t width;
};

struct attribute {
	uint64_t name, value;
	const char *slot;
};

struct attributes {
	struct attribute items[32];
	size_t n;
	uint64_t dict;
};

static void print_object(struct printer *printer, uint64_t address, int depth);

static bool full(const struct printer *printer)
{
	return printer->text->len >= printer->width;
}

/* text in quotes, escaped, as much as there is room for */
static void print_quoted(struct printer *printer, const char *prefix, const char *bytes, size_t size, bool cut)
{
	g_autofree char *escaped = text_escape(bytes, size);
	g_string_append_printf(printer->text, "%s'%s%s'", prefix, escaped, cut ? ELLIPSIS : "");
}

static size_t room(const struct printer *printer)
{
	return printer->width > printer->text->len + 8 ? printer->width - printer->text->len : 8;
}

static void print_str(struct printer *printer, uint64_t address)
{
	struct str str;
	size_t max = room(printer);
	g_autofree char *text = str_read(printer->heap, address, &str) ? str_text(printer->heap, address, max) : NULL;
	if (text)
		print_quoted(printer, "", text, strlen(text), str.length > max);
	else
		g_string_append(printer->text, "<str>");
}

static void print_bytes(struct printer *printer, const struct object *object)
{
	const struct py_layout *layout = printer->heap->layout;
	uint64_t size = load_u64(object->bytes, layout->ob_size), max = room(printer);
	const char *bytes =
		size ? memory_at(printer->heap->memory, object->address + layout->bytes_ob_sval, MIN(size, max)) : "";
	g_autoptr(GString) shown = g_string_new(NULL);
	for (uint64_t i = 0; bytes && i < MIN(size, max); i++) {
		if (bytes[i] >= ' ' && bytes[i] < 127 && bytes[i] != '\\')
			g_string_append_c(shown, bytes[i]);
		else
			g_string_append_printf(shown, "\\x%02x", (uint8_t)bytes[i]);
	}
	g_string_append_printf(printer->text, "b'%s%s'", shown->str, size > max ? ELLIPSIS : "");
}

/* Digits of base 2^30, least significant first, to decimal: by repeated division by a billion. */
static void print_digits(struct printer *printer, uint32_t *digits, size_t n, bool negative)
{
	g_autoptr(GString) groups = g_string_new(NULL);
	while (n && !digits[n - 1])
		n--;
	do {
		uint64_t rest = 0;
		for (size_t i = n; i-- > 0;) {
			uint64_t value = rest << DIGIT_BITS | (digits[i] & ((1u << DIGIT_BITS) - 1));
			digits[i] = (uint32_t)(value / BILLION);
			rest = value % BILLION;
		}
		while (n && !digits[n - 1])
			n--;
		char group[16];
		g_snprintf(group, sizeof(group), n ? "%09u" : "%u", (unsigned)rest);
		g_string_prepend(groups, group);
	} while (n);
	if (groups->len > MAX(printer->width, 40))
		g_string_append_printf(printer->text, "<int of %zu digits>", groups->len);
	else
		g_string_append_printf(printer->text, "%s%s", negative ? "-" : "", groups->str);
}

/* up to 3.11 the sign is that of ob_size; since, it is in the low bits of lv_tag (CPython Include/cpython/longintrepr.h) */
static void print_int(struct printer *printer, const struct object *object)
{
	const struct py_layout *layout = printer->heap->layout;
	uint64_t n;
	bool negative;
	if (heap_has(layout->long_tag)) {
		uint64_t tag = load_u64(object->bytes, layout->long_tag);
		n = tag >> 3;
		negative = (tag & 3) == 2;
	} else {
		int64_t size = load_i64(object->bytes, layout->ob_size);
		negative = size < 0;
		n = (uint64_t)(negative ? -size : size);
	}
	uint32_t digits[MAX_DIGITS] = {0};
	if (n > MAX_DIGITS)
		g_string_append_printf(printer->text, "<int of about %" G_GUINT64_FORMAT " bits>", n * DIGIT_BITS);
	else if (n && !memory_read(printer->heap->memory, object->address + layout->long_digit, digits,
				   n * sizeof(digits[0])))
		g_string_append(printer->text, "<int>");
	else
		print_digits(printer, digits, n, negative && n);
}

/* the shortest decimal that is this number, as repr() prints it */
static void print_float(struct printer *printer, const struct object *object)
{
	double value;
	char text[G_ASCII_DTOSTR_BUF_SIZE];
	memcpy(&value, object->bytes + printer->heap->layout->float_ob_fval, sizeof(value));
	for (int precision = 1; precision <= 17; precision++) {
		char format[8];
		g_snprintf(format, sizeof(format), "%%.%dg", precision);
		g_ascii_formatd(text, sizeof(text), format, value);
		if (isnan(value) || g_ascii_strtod(text, NULL) == value)
			break;
	}
	g_string_append(printer->text, text);
	if (!strpbrk(text, ".einf"))
		g_string_append(printer->text, ".0");
}

/* ---- containers ---- */

static void print_items(struct printer *printer, uint64_t items, uint64_t n, const char *open, const char *close,
			int depth)
{
	g_string_append(printer->text, open);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t item;
		if (i)
			g_string_append(printer->text, ", ");
		if (i == MAX_ITEMS || full(printer) || !memory_u64(printer->heap->memory, items + 8 * i, &item)) {
			g_string_append_printf(printer->text, ELLIPSIS " %" G_GUINT64_FORMAT " in all", n);
			break;
		}
		print_object(printer, item, depth + 1);
	}
	g_string_append(printer->text, close);
}

static void print_dict(struct printer *printer, uint64_t dict, int depth)
{
	struct dict_iter iter;
	struct dict_item item;
	uint64_t used = 0;
	memory_u64(printer->heap->memory, dict + printer->heap->layout->ma_used, &used);
	g_string_append_c(printer->text, '{');
	bool more = dict_iter_init(&iter, printer->heap, dict);
	for (size_t i = 0; more && dict_iter_next(&iter, &item); i++) {
		if (i)
			g_string_append(printer->text, ", ");
		if (i == MAX_ITEMS || full(printer)) {
			g_string_append_printf(printer->text, ELLIPSIS " %" G_GUINT64_FORMAT " in all", used);
			break;
		}
		print_object(printer, item.key, depth + 1);
		g_string_append(printer->text, ": ");
		print_object(printer, item.value, depth + 1);
	}
	g_string_append_c(printer->text, '}');
}

static void print_set(struct printer *printer, const struct object *object, int depth)
{
	const struct py_layout *layout = printer->heap->layout;
	uint64_t table = load_u64(object->bytes, layout->set_table), mask = load_u64(object->bytes, layout->set_mask);
	uint64_t used = load_u64(object->bytes, layout->set_used), shown = 0;
	bool frozen = strcmp(object->type->qualname, "frozenset") == 0;
	g_string_append(printer->text, frozen ? "frozenset({" : "{");
	for (uint64_t i = 0; i <= mask && i < 4096; i++) {
		uint64_t key, hash, entry = table + i * layout->set_entry_size;
		if (!memory_u64(printer->heap->memory, entry + layout->set_entry_key, &key) || !key ||
		    !memory_u64(printer->heap->memory, entry + layout->set_entry_hash, &hash) || hash == UINT64_MAX)
			continue;
		if (shown)
			g_string_append(printer->text, ", ");
		if (shown++ == MAX_ITEMS || full(printer)) {
			g_string_append_printf(printer->text, ELLIPSIS " %" G_GUINT64_FORMAT " in all", used);
			break;
		}
		print_object(printer, key, depth + 1);
	}
	g_string_append(printer->text, frozen ? "})" : "}");
}

/* ---- instances ---- */

static void take_attribute(void *context, const struct reference *reference)
{
	struct attributes *attributes = context;
	if (reference->kind == REFERENCE_SLOT && reference->field && strcmp(reference->field, "__dict__") == 0)
		attributes->dict = reference->target;
	if (reference->kind != REFERENCE_ATTRIBUTE || attributes->n == G_N_ELEMENTS(attributes->items))
		return;
	attributes->items[attributes->n++] = (struct attribute){reference->name, reference->target, reference->field};
}

static void find_attributes(struct printer *printer, const struct object *object, struct attributes *attributes)
{
	struct dict_iter iter;
	struct dict_item item;
	attributes->n = 0;
	attributes->dict = 0;
	references_begin(printer->references, take_attribute, NULL, attributes);
	references_of_object(printer->references, object);
	if (attributes->n || !attributes->dict || !dict_iter_init(&iter, printer->heap, attributes->dict))
		return;
	while (attributes->n < G_N_ELEMENTS(attributes->items) && dict_iter_next(&iter, &item))
		attributes->items[attributes->n++] = (struct attribute){item.key, item.value, NULL};
}

static bool is_enum(const struct printer *printer, const struct type *type)
{
	uint64_t meta = 0;
	memory_u64(printer->heap->memory, type->address + printer->heap->layout->ob_type, &meta);
	const struct type *metatype = type_get(printer->heap, meta);
	return metatype && strcmp(metatype->module, "enum") == 0;
}

static const char *attribute_name(const struct printer *printer, const struct attribute *attribute, char **owned)
{
	if (attribute->slot)
		return attribute->slot;
	g_autofree char *raw = str_text(printer->heap, attribute->name, 64);
	return *owned = raw ? text_escape(raw, strlen(raw)) : g_strdup("?");
}

static void print_instance(struct printer *printer, const struct object *object, int depth)
{
	const struct type *type = object->type;
	struct attributes attributes;
	find_attributes(printer, object, &attributes);
	if (is_enum(printer, type)) {
		for (size_t i = 0; i < attributes.n; i++) {
			g_autofree char *name =
				attributes.items[i].slot ? NULL : str_text(printer->heap, attributes.items[i].name, 16);
			g_autofree char *member = name && strcmp(name, "_name_") == 0
							  ? str_text(printer->heap, attributes.items[i].value, 64)
							  : NULL;
			if (!member)
				continue;
			g_autofree char *escaped = text_escape(member, strlen(member));
			g_string_append_printf(printer->text, "%s.%s", type->qualname, escaped);
			return;
		}
	}
	g_string_append_printf(printer->text, "<%s", type->qualname);
	for (size_t i = 0; depth < MAX_DEPTH - 1 && i < attributes.n; i++) {
		g_autofree char *owned = NULL;
		if (i == MAX_ATTRIBUTES || full(printer)) {
			g_string_append(printer->text, " " ELLIPSIS);
			break;
		}
		g_string_append_printf(printer->text, " %s=", attribute_name(printer, &attributes.items[i], &owned));
		print_object(printer, attributes.items[i].value, depth + 1);
	}
	g_string_append_c(printer->text, '>');
}

/* `<function Cart.add>`: a name that one of the fields holds */
static void print_named(struct printer *printer, const struct object *object, const char *what, uint32_t field)
{
	uint64_t name = heap_has(field) ? load_u64(object->bytes, field) : 0;
	g_autofree char *text = str_text(printer->heap, name, 128);
	g_autofree char *escaped = text ? text_escape(text, strlen(text)) : NULL;
	g_string_append_printf(printer->text, "<%s%s%s>", what, escaped ? " " : "", escaped ? escaped : "");
}

static void print_type(struct printer *printer, uint64_t address)
{
	const struct type *type = type_get(printer->heap, address);
	bool plain = !type || !*type->module || strcmp(type->module, "builtins") == 0;
	if (type)
		g_string_append_printf(printer->text, "<class %s%s%s>", plain ? "" : type->module, plain ? "" : ".",
				       type->qualname);
	else
		g_string_append(printer->text, "<class>");
}

static void print_method(struct printer *printer, const struct object *object)
{
	const struct py_layout *layout = printer->heap->layout;
	struct object function;
	if (object_at(printer->heap, load_u64(object->bytes, layout->im_func), &function) &&
	    strcmp(function.type->qualname, "function") == 0)
		print_named(printer, &function, "bound method", layout->func_qualname);
	else
		g_string_append(printer->text, "<bound method>");
}

static bool print_by_name(struct printer *printer, const struct object *object, int depth)
{
	const struct py_layout *layout = printer->heap->layout;
	const char *name = object->type->qualname;
	if (strcmp(object->type->module, "builtins") != 0)
		return false;
	if (strcmp(name, "NoneType") == 0)
		g_string_append(printer->text, "None");
	else if (strcmp(name, "float") == 0)
		print_float(printer, object);
	else if (depth < MAX_DEPTH && (strcmp(name, "set") == 0 || strcmp(name, "frozenset") == 0))
		print_set(printer, object, depth);
	else if (strcmp(name, "function") == 0)
		print_named(printer, object, "function", layout->func_qualname);
	else if (strcmp(name, "method") == 0)
		print_method(printer, object);
	else if (strcmp(name, "module") == 0)
		print_named(printer, object, "module", layout->md_name);
	else if (strcmp(name, "code") == 0)
		print_named(printer, object, "code",
			    heap_has(layout->co_qualname) ? layout->co_qualname : layout->co_name);
	else
		return false;
	return true;
}

static bool is_bool(const struct type *type)
{
	return strcmp(type->qualname, "bool") == 0 && strcmp(type->module, "builtins") == 0;
}

static void print_bool(struct printer *printer, const struct object *object)
{
	uint32_t digit = 0;
	memory_u32(printer->heap->memory, object->address + printer->heap->layout->long_digit, &digit);
	const struct py_layout *layout = printer->heap->layout;
	bool zero = heap_has(layout->long_tag) ? (load_u64(object->bytes, layout->long_tag) & 3) == 1
					       : load_u64(object->bytes, layout->ob_size) == 0;
	g_string_append(printer->text, zero || !digit ? "False" : "True");
}

static void print_object(struct printer *printer, uint64_t address, int depth)
{
	const struct py_layout *layout = printer->heap->layout;
	struct object object;
	if (!object_at(printer->heap, address, &object)) {
		g_string_append(printer->text, "?");
		return;
	}
	const struct type *type = object.type;
	bool deep = depth >= MAX_DEPTH;
	if (type->flags & PY_FLAG_TYPE) {
		print_type(printer, address);
	} else if (type->flags & PY_FLAG_HEAPTYPE && is_enum(printer, type)) {
		print_instance(printer, &object, depth);
	} else if (type->flags & PY_FLAG_UNICODE) {
		print_str(printer, address);
	} else if (type->flags & PY_FLAG_BYTES) {
		print_bytes(printer, &object);
	} else if (is_bool(type)) {
		print_bool(printer, &object);
	} else if (type->flags & PY_FLAG_LONG) {
		print_int(printer, &object);
	} else if (type->kind == TYPE_DICT && !deep) {
		print_dict(printer, address, depth);
	} else if (type->kind == TYPE_LIST && !deep) {
		print_items(printer, load_u64(object.bytes, layout->list_ob_item),
			    load_u64(object.bytes, layout->ob_size), "[", "]", depth);
	} else if (type->kind == TYPE_TUPLE && !deep) {
		uint64_t n = load_u64(object.bytes, layout->ob_size);
		print_items(printer, address + layout->tuple_ob_item, n, "(", n == 1 ? ",)" : ")", depth);
	} else if (!print_by_name(printer, &object, depth)) {
		print_instance(printer, &object, depth);
	}
}

char *value_text(references_t *references, uint64_t address, size_t width)
{
	struct printer printer = {
		.references = references, .heap = references->heap, .text = g_string_new(NULL), .width = width};
	print_object(&printer, address, 0);
	/* a single item may still be wider than all was to be: cut between characters */
	if (g_utf8_strlen(printer.text->str, -1) > (glong)width + 16) {
		char *end = g_utf8_offset_to_pointer(printer.text->str, (glong)width);
		g_string_truncate(printer.text, (gsize)(end - printer.text->str));
		g_string_append(printer.text, ELLIPSIS);
	}
	return g_string_free(printer.text, FALSE);
}

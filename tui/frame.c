#include "tui/frame.h"

#include <string.h>

/* what stands for a glyph where there is only ASCII */
static const struct {
	gunichar glyph;
	char twin;
} twins[] = {
	{0x394, 'd'},  /* Δ */
	{0x3a3, 'S'},  /* Σ */
	{0x2026, '~'}, /* … */
	{0x25b2, '^'}, /* ▲ */
	{0x25bc, 'v'}, /* ▼ */
	{0x25cf, '*'}, /* ● */
	{0x25cb, 'o'}, /* ○ */
	{0xb7, '-'},   /* · */
	{0xb1, '~'},   /* ± */
	{0xb5, 'u'},   /* µ */
	{0x203a, '>'}, /* › */
	{0x2192, '>'}, /* → */
	{0x2500, '-'}, /* ─ */
	{0x2502, '|'}, /* │ */
	{0x250c, '+'}, /* ┌ */
	{0x2510, '+'}, /* ┐ */
	{0x2514, '+'}, /* └ */
	{0x2518, '+'}, /* ┘ */
};

static gunichar ascii_twin(gunichar c)
{
	if (c < 0x7f)
		return c;
	for (size_t i = 0; i < G_N_ELEMENTS(twins); i++)
		if (twins[i].glyph == c)
			return (gunichar)twins[i].twin;
	return '?';
}

/* GLib's tables rather than wcwidth(): the same in every locale, so a test sees what the terminal gets */
static int character_columns(gunichar c)
{
	if (c < 0x7f)
		return 1;
	if (g_unichar_iszerowidth(c))
		return 0;
	return g_unichar_iswide(c) ? 2 : 1;
}

void frame_init(struct frame *frame, int width, int height, gboolean ascii)
{
	memset(frame, 0, sizeof(*frame));
	frame->ascii = ascii;
	frame_resize(frame, width, height);
}

void frame_clear(struct frame *frame)
{
	g_clear_pointer(&frame->cells, g_free);
	frame->width = frame->height = 0;
}

void frame_resize(struct frame *frame, int width, int height)
{
	frame->width = CLAMP(width, 1, 1000);
	frame->height = CLAMP(height, 1, 1000);
	frame->cells = g_renew(struct cell, frame->cells, frame->width * frame->height);
	for (int y = 0; y < frame->height; y++)
		frame_fill(frame, y, 0, frame->width, ROLE_TEXT);
}

static struct cell *frame_cell(const struct frame *frame, int y, int x)
{
	return &frame->cells[y * frame->width + x];
}

/* No half of a wide character may stay behind when its other half is overwritten. */
static void cell_release(struct frame *frame, int y, int x)
{
	struct cell *cell = frame_cell(frame, y, x);
	if (cell->width == 0 && x > 0) {
		cell[-1].text[0] = ' ';
		cell[-1].text[1] = 0;
		cell[-1].width = 1;
	} else if (cell->width == 2 && x + 1 < frame->width) {
		cell[1].text[0] = ' ';
		cell[1].text[1] = 0;
		cell[1].width = 1;
	}
	memset(cell, 0, sizeof(*cell));
	cell->width = 1;
}

void frame_put(struct frame *frame, int y, int x, enum role role, gunichar c)
{
	if (frame->ascii)
		c = ascii_twin(c);
	int columns = character_columns(c);
	if (y < 0 || y >= frame->height || x < 0 || x + columns > frame->width || columns == 0)
		return;
	cell_release(frame, y, x);
	struct cell *cell = frame_cell(frame, y, x);
	cell->text[0] = c;
	cell->role = (guint8)role;
	if (columns == 1)
		return;
	cell_release(frame, y, x + 1);
	cell->width = 2;
	cell[1].width = 0;
	cell[1].role = (guint8)role;
}

static void cell_combine(struct cell *cell, gunichar c)
{
	for (int i = 1; i < CELL_CHARACTERS; i++)
		if (!cell->text[i]) {
			cell->text[i] = c;
			return;
		}
}

int frame_text(struct frame *frame, int y, int x, int width, enum role role, const char *text)
{
	int at = 0, last = -1;
	for (; *text; text = g_utf8_next_char(text)) {
		gunichar c = g_utf8_get_char_validated(text, -1);
		if (c == (gunichar)-1 || c == (gunichar)-2)
			break;
		if (frame->ascii)
			c = ascii_twin(c);
		int columns = character_columns(c);
		if (columns == 0) {
			if (last >= 0 && y >= 0 && y < frame->height && last < frame->width)
				cell_combine(frame_cell(frame, y, last), c);
			continue;
		}
		if (at + columns > width)
			break;
		frame_put(frame, y, x + at, role, c);
		last = x + at;
		at += columns;
	}
	return at;
}

int frame_printf(struct frame *frame, int y, int x, int width, enum role role, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	return frame_text(frame, y, x, width, role, text);
}

void frame_fill(struct frame *frame, int y, int x, int width, enum role role)
{
	if (y < 0 || y >= frame->height)
		return;
	for (int at = MAX(x, 0); at < x + width && at < frame->width; at++) {
		struct cell *cell = frame_cell(frame, y, at);
		memset(cell, 0, sizeof(*cell));
		cell->text[0] = ' ';
		cell->width = 1;
		cell->role = (guint8)role;
	}
}

void frame_paint(struct frame *frame, int y, int x, int width, enum role role)
{
	if (y < 0 || y >= frame->height)
		return;
	for (int at = MAX(x, 0); at < x + width && at < frame->width; at++)
		frame_cell(frame, y, at)->role = (guint8)role;
}

void frame_box(struct frame *frame, int y, int x, int height, int width, const char *title)
{
	for (int i = 0; i < height; i++) {
		gboolean edge = i == 0 || i == height - 1;
		frame_fill(frame, y + i, x, width, ROLE_TEXT);
		for (int j = 0; edge && j < width; j++)
			frame_put(frame, y + i, x + j, ROLE_DIM, 0x2500);
		frame_put(frame, y + i, x, ROLE_DIM, i == 0 ? 0x250c : edge ? 0x2514 : 0x2502);
		frame_put(frame, y + i, x + width - 1, ROLE_DIM, i == 0 ? 0x2510 : edge ? 0x2518 : 0x2502);
	}
	if (title && width > 6)
		frame_printf(frame, y, x + 2, width - 4, ROLE_VALUE, " %s ", title);
}

char *frame_dump(const struct frame *frame)
{
	g_autoptr(GString) out = g_string_new(NULL);
	for (int y = 0; y < frame->height; y++) {
		gsize end = out->len;
		for (int x = 0; x < frame->width; x++) {
			const struct cell *cell = frame_cell(frame, y, x);
			for (int i = 0; cell->width && i < CELL_CHARACTERS && cell->text[i]; i++)
				g_string_append_unichar(out, cell->text[i]);
			if (cell->width && (cell->text[0] != ' ' || cell->text[1]))
				end = out->len;
		}
		g_string_truncate(out, end);
		g_string_append_c(out, '\n');
	}
	return g_string_free(g_steal_pointer(&out), FALSE);
}

int text_columns(const char *text)
{
	int columns = 0;
	for (; *text; text = g_utf8_next_char(text)) {
		gunichar c = g_utf8_get_char_validated(text, -1);
		if (c == (gunichar)-1 || c == (gunichar)-2)
			break;
		columns += character_columns(c);
	}
	return columns;
}

/* The end of the first at most `columns` columns of text. */
static const char *text_head(const char *text, int columns)
{
	while (*text && character_columns(g_utf8_get_char(text)) <= columns) {
		columns -= character_columns(g_utf8_get_char(text));
		text = g_utf8_next_char(text);
	}
	return text;
}

char *text_cut(const char *text, int width)
{
	if (!g_utf8_validate(text, -1, NULL))
		return g_strdup("?");
	if (text_columns(text) <= width)
		return g_strdup(text);
	if (width < 1)
		return g_strdup("");
	g_autofree char *start = g_strndup(text, (gsize)(text_head(text, width - 1) - text));
	return g_strconcat(start, "…", NULL);
}

/* The start of the last `columns` columns of text that takes `all`. */
static const char *text_tail(const char *text, int all, int columns)
{
	while (*text && (all > columns || character_columns(g_utf8_get_char(text)) == 0)) {
		all -= character_columns(g_utf8_get_char(text));
		text = g_utf8_next_char(text);
	}
	return text;
}

char *text_elide(const char *text, int width)
{
	if (!g_utf8_validate(text, -1, NULL))
		return g_strdup("?");
	int all = text_columns(text);
	if (all <= width)
		return g_strdup(text);
	if (width < 1)
		return g_strdup("");
	/* the end of a dotted name says more than its beginning */
	int head = (width - 1) / 2, tail = width - 1 - head;
	g_autofree char *start = g_strndup(text, (gsize)(text_head(text, head) - text));
	return g_strconcat(start, "…", text_tail(text, all, tail), NULL);
}

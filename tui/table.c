#include "tui/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static gboolean column_shown(const struct table_column *column)
{
	return column->text || column->draw;
}

/* What a column takes when columns of a rank above 0 are there, too. */
static int ease(const struct table_column *column, int rank)
{
	return rank && column->ease ? column->ease : column->min;
}

/* The highest rank up to which all columns fit in `width`. */
static int rank_that_fits(const struct table_column *columns, size_t n, const int *ranks, int width, int name_width,
			  int skip)
{
	int rank = 0;
	for (int candidate = 0; candidate < TABLE_NEVER; candidate++) {
		int need = MAX(columns[0].min, MIN(ease(&columns[0], candidate), name_width)), skipped = 0;
		gboolean any = FALSE;
		for (size_t i = 1; i < n; i++) {
			int own = ranks ? ranks[i] : columns[i].rank;
			any |= own == candidate && column_shown(&columns[i]);
			if (!column_shown(&columns[i]) || own > candidate || skipped++ < skip)
				continue;
			need += 1 + ease(&columns[i], candidate);
		}
		if (need > width)
			break;
		if (any)
			rank = candidate;
	}
	return rank;
}

/* Give out room, column by column: first what each wants, then up to its maximum. Returns what is left. */
static int widen(struct table_layout *layout, int room, gboolean to_max, int name_width)
{
	for (int i = 0; i < layout->n && room > 0; i++) {
		struct table_place *place = &layout->places[i];
		int want = to_max && place->column->max ? place->column->max : place->column->want;
		if (i == 0)
			want = MIN(want, name_width);
		int more = CLAMP(want - place->width, 0, room);
		place->width += more;
		room -= more;
	}
	return room;
}

void table_arrange(struct table_layout *layout, const struct table_column *columns, size_t n, const int *ranks, int x,
		   int width, int name_width, int skip)
{
	memset(layout, 0, sizeof(*layout));
	int rank = rank_that_fits(columns, n, ranks, width, name_width, skip), room = width, skipped = 0;
	for (size_t i = 0; i < n && layout->n < TABLE_MAX_COLUMNS; i++) {
		const struct table_column *column = &columns[i];
		if (!column_shown(column) || (ranks ? ranks[i] : column->rank) >= TABLE_NEVER)
			continue;
		if (i > 0 && (ranks ? ranks[i] : column->rank) > rank) {
			layout->hidden++;
			continue;
		}
		if (i > 0 && skipped++ < skip)
			continue;
		int need = (i > 0) + column->min;
		if (i > 0 && need > room) {
			layout->hidden++;
			continue;
		}
		room -= need;
		layout->places[layout->n++] = (struct table_place){column, 0, column->min};
	}
	room = widen(layout, room, FALSE, name_width);
	widen(layout, room, TRUE, name_width);
	for (int i = 0; i < layout->n; i++) {
		layout->places[i].x = x;
		x += layout->places[i].width + 1;
	}
}

void table_draw_titles(struct frame *frame, int y, const struct table_layout *layout, const struct table_column *sorted,
		       gboolean descending)
{
	for (int i = 0; i < layout->n; i++) {
		const struct table_place *place = &layout->places[i];
		const char *title = place->column->title;
		int columns = MIN(text_columns(title), place->width);
		enum role role = place->column == sorted ? ROLE_SORTED : ROLE_TITLE;
		int x = place->column->left ? place->x : place->x + place->width - columns;
		frame_text(frame, y, x, columns, role, title);
		if (place->column != sorted)
			continue;
		/* the arrow stands in the gap to the column before, or behind a title that is aligned left */
		frame_put(frame, y, place->column->left ? x + columns : x - 1, role, descending ? 0x25bc : 0x25b2);
	}
}

void table_draw_row(struct frame *frame, int y, const struct table_layout *layout, const void *row, const void *context)
{
	for (int i = 0; i < layout->n; i++) {
		const struct table_place *place = &layout->places[i];
		const struct table_column *column = place->column;
		if (column->draw) {
			column->draw(frame, y, place->x, place->width, row, context);
			continue;
		}
		char text[TABLE_CELL] = "";
		column->text(row, context, place->width, text);
		int columns = MIN(text_columns(text), place->width);
		int x = column->left ? place->x : place->x + place->width - columns;
		frame_text(frame, y, x, columns, column->role ? column->role(row, context) : ROLE_TEXT, text);
	}
}

const struct table_column *table_column_at(const struct table_layout *layout, int x)
{
	for (int i = 0; i < layout->n; i++)
		if (x >= layout->places[i].x - 1 && x < layout->places[i].x + layout->places[i].width)
			return layout->places[i].column;
	return NULL;
}

/* "4.81M" with three digits, powers of 1000; sign is "", "+" or "-" */
static void compact(char out[TABLE_CELL], const char *sign, double value)
{
	static const char units[] = " kMGTPE";
	size_t unit = 0;
	while (value >= 999.5 && unit < sizeof(units) - 2) {
		value /= 1000;
		unit++;
	}
	int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
	if (unit)
		snprintf(out, TABLE_CELL, "%s%.*f%c", sign, digits, value, units[unit]);
	else
		snprintf(out, TABLE_CELL, "%s%.0f", sign, value);
}

static void number(char out[TABLE_CELL], int width, gint64 value, const char *plus)
{
	char digits[32];
	text_count(digits, value);
	snprintf(out, TABLE_CELL, "%s%s", value > 0 ? plus : "", digits);
	if ((int)strlen(out) > width)
		compact(out, value < 0 ? "-" : plus, fabs((double)value));
	if ((int)strlen(out) > width) {
		/* three digits are one too many: "+812k" in four columns */
		char *dot = strchr(out, '.');
		if (dot)
			memmove(dot, out + strlen(out) - 1, 2);
	}
}

void table_count(char out[TABLE_CELL], int width, gint64 value)
{
	if (value < 0)
		g_strlcpy(out, "-", TABLE_CELL);
	else
		number(out, width, value, "");
}

void table_change(char out[TABLE_CELL], int width, gint64 value)
{
	number(out, width, value, "+");
}

void table_bytes(char out[TABLE_CELL], gint64 value)
{
	char buffer[16];
	g_strlcpy(out, value < 0 ? "-" : text_bytes(buffer, value), TABLE_CELL);
}

void table_bytes_change(char out[TABLE_CELL], gint64 value)
{
	char buffer[16];
	snprintf(out, TABLE_CELL, "%s%s", value > 0 ? "+" : "", value ? text_bytes(buffer, value) : "0");
}

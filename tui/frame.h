/*
 * A frame: the cells of one screen, composed off screen. Everything the program draws goes into one; tui/term.c shows it through curses,
 * frame_dump() writes it as text. So what a test compares is what a person sees.
 *
 * Text is UTF-8, already escaped (base/text.h), and measured in columns: two for wide characters, none for combining ones. Nothing is
 * ever written outside the columns asked for; a wide character that would stick out is left away. A frame in ASCII replaces each
 * glyph by its twin and any other character by '?'.
 *
 * A cell has a role, not a colour; tui/term.c knows what a role looks like.
 */
#pragma once
#include <glib.h>

enum role {
	ROLE_TEXT,
	ROLE_DIM,   /* there, but not the point */
	ROLE_LABEL, /* names the value behind it */
	ROLE_VALUE,
	ROLE_TITLE,  /* the column titles' line */
	ROLE_SORTED, /* the title of the column sorted by */
	ROLE_SELECTED,
	ROLE_TAGGED,
	ROLE_MATCH, /* what the search found */
	ROLE_GROWS, /* steadily */
	ROLE_SHRINKS,
	ROLE_GRAPH,
	ROLE_CALM,  /* verdict: nothing grows */
	ROLE_ALARM, /* verdict: something does */
	ROLE_WARNING,
	ROLE_KEY, /* in the bottom line */
	ROLE_KEY_TEXT,
	ROLE_PROMPT,
	ROLES
};

#define CELL_CHARACTERS 3 /* a character and what combines with it */

struct cell {
	gunichar text[CELL_CHARACTERS]; /* 0-padded */
	guint8 width;                   /* columns; 0: the right half of the wide character before it */
	guint8 role;
};

struct frame {
	int width, height;
	gboolean ascii;
	struct cell *cells; /* height * width */
};

/* Storage the caller owns. A frame has at least one cell and at most 1000 x 1000. */
void frame_init(struct frame *frame, int width, int height, gboolean ascii);
void frame_clear(struct frame *frame);
/* New size, all blank. */
void frame_resize(struct frame *frame, int width, int height);

/*
 * Write text from column x on, in at most `width` columns; what doesn't fit is cut. Returns the columns written. Positions outside
 * of the frame are fine: nothing is written there.
 */
int frame_text(struct frame *frame, int y, int x, int width, enum role role, const char *text);
int frame_printf(struct frame *frame, int y, int x, int width, enum role role, const char *format, ...)
	G_GNUC_PRINTF(6, 7);
/* One character, at one place. */
void frame_put(struct frame *frame, int y, int x, enum role role, gunichar c);
/* Blank columns of a role. */
void frame_fill(struct frame *frame, int y, int x, int width, enum role role);
/* Change the role of cells, not what they show. */
void frame_paint(struct frame *frame, int y, int x, int width, enum role role);
/* A box with a title, blank inside, for menus. */
void frame_box(struct frame *frame, int y, int x, int height, int width, const char *title);

/* The screen as text: `height` lines without trailing blanks. Free with g_free(). */
char *frame_dump(const struct frame *frame);

/* Columns the text takes. */
int text_columns(const char *text);
/* A copy of at most `width` columns; what is too much is taken from the middle and "…" stands there. Free with g_free(). */
char *text_elide(const char *text, int width);
/* The same, but the end is what is left out. Free with g_free(). */
char *text_cut(const char *text, int width);

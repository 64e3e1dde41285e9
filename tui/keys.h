/*
 * Keys and what they do: one table, from which the help, the bottom line and the manual's key list are made.
 *
 * A key is a Unicode character or one of enum key; tui/term.c translates what the terminal sends.
 */
#pragma once
#include <glib.h>
#include <stddef.h>

enum key {
	KEY_OF_ESCAPE = 0x1b,
	KEY_OF_ENTER = '\n',
	KEY_OF_BACKSPACE = 0x7f,
	KEY_OF_REDRAW = 0x0c, /* ^L */
	KEY_OF_UP = 0x110000, /* beyond Unicode */
	KEY_OF_DOWN,
	KEY_OF_LEFT,
	KEY_OF_RIGHT,
	KEY_OF_PAGE_UP,
	KEY_OF_PAGE_DOWN,
	KEY_OF_HOME,
	KEY_OF_END,
	KEY_OF_F1,
	KEY_OF_F12 = KEY_OF_F1 + 11,
};

enum action {
	ACTION_NONE,
	ACTION_UP,
	ACTION_DOWN,
	ACTION_PAGE_UP,
	ACTION_PAGE_DOWN,
	ACTION_HOME,
	ACTION_END,
	ACTION_LEFT,
	ACTION_RIGHT,
	ACTION_ENTER,
	ACTION_TAB,
	ACTION_GRAPHS,
	ACTION_WATCH,
	ACTION_ASSESS,
	ACTION_AGAIN,
	ACTION_LOCALS,
	ACTION_BACK,
	ACTION_SEARCH,
	ACTION_NEXT,
	ACTION_PREVIOUS,
	ACTION_FILTER,
	ACTION_SORT,
	ACTION_INVERT,
	ACTION_TAG,
	ACTION_UNTAG,
	ACTION_PAUSE,
	ACTION_BASELINE,
	ACTION_SAVE,
	ACTION_SLOWER,
	ACTION_FASTER,
	ACTION_REDRAW,
	ACTION_HELP,
	ACTION_EARLIER,
	ACTION_LATER,
	ACTION_MUCH_EARLIER,
	ACTION_MUCH_LATER,
	ACTION_EARLIEST,
	ACTION_LATEST,
	ACTION_SUM,
	ACTION_TREE,
	ACTION_QUIT,
};

struct key_entry {
	int codes[4];      /* 0-terminated */
	const char *names; /* as a person calls them */
	enum action action;
	const char *hint; /* word for the bottom line; NULL: not there */
	const char *hint_key;
	const char *help;
};

/* In the order of the help; the bottom line takes them in the same order. */
extern const struct key_entry key_table[];
extern const size_t key_table_size;

enum action key_action(int code);

#include "tui/keys.h"

/* a row a key */
/* clang-format off */
const struct key_entry key_table[] = {
	{ { '?', KEY_OF_F1, 'h' }, "? F1", ACTION_HELP, "Help", "F1", "this help" },
	{ { KEY_OF_UP, 'k' }, "Up k", ACTION_UP, NULL, NULL, "one row up" },
	{ { KEY_OF_DOWN, 'j' }, "Down j", ACTION_DOWN, NULL, NULL, "one row down" },
	{ { KEY_OF_PAGE_UP, 0x02, 0x15 }, "PgUp", ACTION_PAGE_UP, NULL, NULL, "a page up" },
	{ { KEY_OF_PAGE_DOWN, 0x06, 0x04 }, "PgDn", ACTION_PAGE_DOWN, NULL, NULL, "a page down" },
	{ { KEY_OF_HOME, 'g' }, "Home g", ACTION_HOME, NULL, NULL, "the first row" },
	{ { KEY_OF_END, 'G' }, "End G", ACTION_END, NULL, NULL, "the last row" },
	{ { KEY_OF_LEFT }, "Left", ACTION_LEFT, NULL, NULL, "scroll the columns back" },
	{ { KEY_OF_RIGHT }, "Right", ACTION_RIGHT, NULL, NULL, "scroll the columns on: there are more than fit" },
	{ { KEY_OF_ENTER, '\r' }, "Enter", ACTION_ENTER, "Open", "Enter", "in: a process, a type's objects, what an object is held by or holds; unfold a thread; in a sum: whose they are" },
	{ { KEY_OF_ESCAPE, KEY_OF_BACKSPACE }, "Esc", ACTION_BACK, "Back", "Esc", "back; drop search and filter; to the list of processes" },
	{ { '\t' }, "Tab", ACTION_TAB, NULL, NULL, "the next screen; on an object the other half" },
	{ { ',' }, ",", ACTION_EARLIER, "Earlier", ",", "in a history: one sample back" },
	{ { '.' }, ".", ACTION_LATER, "Later", ".", "one sample on" },
	{ { '[' }, "[", ACTION_MUCH_EARLIER, NULL, NULL, "in a history: a twentieth of it back" },
	{ { ']' }, "]", ACTION_MUCH_LATER, NULL, NULL, "a twentieth on" },
	{ { '{' }, "{", ACTION_EARLIEST, NULL, NULL, "in a history: to its beginning" },
	{ { '}' }, "}", ACTION_LATEST, NULL, NULL, "to its end" },
	{ { '/', KEY_OF_F1 + 2 }, "/ F3", ACTION_SEARCH, "Search", "/", "search as you type; n and N go on" },
	{ { 'n' }, "n", ACTION_NEXT, "Native", "n", "the next match; on threads, while nothing is searched: native frames, too" },
	{ { 'N' }, "N", ACTION_PREVIOUS, NULL, NULL, "the match before" },
	{ { '\\', KEY_OF_F1 + 3 }, "\\ F4", ACTION_FILTER, "Filter", "\\", "show only rows that contain the text" },
	{ { KEY_OF_F1 + 5, '>', '<' }, "F6 > <", ACTION_SORT, "Sort", "F6", "choose the column to sort by (or click its title)" },
	{ { 'I' }, "I", ACTION_INVERT, NULL, NULL, "invert the order" },
	{ { 'b', 'B', KEY_OF_F1 + 6 }, "b F7", ACTION_BASELINE, "Baseline", "b", "count the changes from now on" },
	{ { 'z', 'Z' }, "z Z", ACTION_PAUSE, "Pause", "z", "take no samples until pressed again" },
	{ { 'u' }, "u", ACTION_ASSESS, "Unexpl", "u", "look for references nobody holds, now and then; again: don't" },
	{ { 'w', 'W' }, "w", ACTION_WATCH, "Watch", "w", "follow this object's reference count; again: don't" },
	{ { 't' }, "t", ACTION_GRAPHS, "Graphs", "t", "graphs of the type's history" },
	{ { 'l' }, "l", ACTION_LOCALS, "Locals", "l", "on threads: the values of local variables; again: don't" },
	{ { 'r', KEY_OF_F1 + 4 }, "r F5", ACTION_AGAIN, "Again", "r", "on objects and threads: look again" },
	{ { '+', '=' }, "+", ACTION_SLOWER, NULL, NULL, "a longer interval" },
	{ { '-', '_' }, "-", ACTION_FASTER, NULL, NULL, "a shorter interval" },
	{ { 'S' }, "S", ACTION_SUM, "Sum", "S", "on processes: the sum over the tagged ones, or over this one and all below it" },
	{ { 0 }, "t", ACTION_TREE, "Tree", "t", "on processes: as a tree, or one below the other" },
	{ { ' ' }, "Space", ACTION_TAG, NULL, NULL, "tag the row: it stays marked wherever it moves" },
	{ { 'U' }, "U", ACTION_UNTAG, NULL, NULL, "remove all tags" },
	{ { 's' }, "s", ACTION_SAVE, "Save", "s", "save the last sample to a JSON file" },
	{ { KEY_OF_REDRAW }, "^L", ACTION_REDRAW, NULL, NULL, "draw the screen anew" },
	{ { 'q', KEY_OF_F1 + 9 }, "q F10", ACTION_QUIT, "Quit", "q", "end; ^C does, too" },
};
/* clang-format on */

const size_t key_table_size = G_N_ELEMENTS(key_table);

enum action key_action(int code)
{
	for (size_t i = 0; i < key_table_size; i++)
		for (size_t j = 0; j < G_N_ELEMENTS(key_table[i].codes) && key_table[i].codes[j]; j++)
			if (key_table[i].codes[j] == code)
				return key_table[i].action;
	return ACTION_NONE;
}

/*
 * The manual, made from the tables of commands and options (tui/command.h) and hand-written sections
 * (tui/manual_text.c), as text for `reftop help`, as a manual page, as docs/manual.md, and as completions of shells.
 *
 * A section is paragraphs separated by empty lines. Lines that begin with two blanks stand as they are.
 */
#pragma once
#include <glib.h>

struct manual_section {
	const char *topic; /* of `reftop help TOPIC` */
	const char *title;
	const char *text;
	char *(*more)(void); /* appended as it stands, for what has a source of its own; g_free() it; or NULL */
};

/* ends with an empty entry */
extern const struct manual_section manual_sections[];

/* All commands, a line each. */
GString *manual_overview(void);
/* Help of a command, or a section; NULL: there is none of that name. */
GString *manual_topic(const char *name);

GString *manual_man(void);
GString *manual_markdown(void);
GString *completion_bash(void);
GString *completion_zsh(void);
GString *completion_fish(void);

/* What makes the format of that name; NULL: there is none. */
GString *(*manual_format(const char *name))(void);

/* texts of sections that have a file of their own */
extern const char manual_references[], manual_references_json[], manual_watching[], manual_protocol[], manual_cost[],
	manual_stacks_json[];

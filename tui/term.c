/* the wide functions of ncurses */
#define NCURSES_WIDECHAR 1
#include "tui/term.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "base/error.h"
#include "base/text.h"
#include "tui/keys.h"

static struct {
	gboolean open;
	gboolean color;
	int signals[2];        /* a pipe: the handler writes the signal's number */
	struct termios before; /* as the shell left it */
	char restore[256];     /* what to send to leave our modes, computed ahead: handlers may not call curses */
	size_t restore_size;
	struct sigaction old[64];
	gboolean hooked[64];
	void *stack; /* of the fatal handlers */
	SCREEN *screen;
} term = {.signals = {-1, -1}};

/* ---- looks ---- */

static const struct {
	short color; /* foreground, -1 the terminal's own */
	short background;
	attr_t attributes; /* with colours */
	attr_t plain;      /* without */
} looks[ROLES] = {
	[ROLE_TEXT] = {-1, -1, 0, 0},
	[ROLE_DIM] = {-1, -1, A_DIM, A_DIM},
	[ROLE_LABEL] = {COLOR_CYAN, -1, 0, 0},
	[ROLE_VALUE] = {-1, -1, A_BOLD, A_BOLD},
	[ROLE_TITLE] = {COLOR_BLACK, COLOR_GREEN, 0, A_REVERSE},
	[ROLE_SORTED] = {COLOR_BLACK, COLOR_CYAN, 0, A_REVERSE | A_BOLD},
	[ROLE_SELECTED] = {COLOR_BLACK, COLOR_CYAN, 0, A_REVERSE},
	[ROLE_TAGGED] = {COLOR_YELLOW, -1, A_BOLD, A_BOLD},
	[ROLE_MATCH] = {COLOR_MAGENTA, -1, A_BOLD, A_UNDERLINE},
	[ROLE_GROWS] = {COLOR_RED, -1, A_BOLD, A_BOLD},
	[ROLE_SHRINKS] = {COLOR_GREEN, -1, 0, 0},
	[ROLE_GRAPH] = {COLOR_BLUE, -1, A_BOLD, 0},
	[ROLE_CALM] = {COLOR_GREEN, -1, 0, 0},
	[ROLE_ALARM] = {COLOR_RED, -1, A_BOLD, A_BOLD},
	[ROLE_WARNING] = {COLOR_YELLOW, -1, A_BOLD, A_BOLD},
	[ROLE_KEY] = {-1, -1, A_BOLD, A_BOLD},
	[ROLE_KEY_TEXT] = {COLOR_BLACK, COLOR_CYAN, 0, A_REVERSE},
	[ROLE_PROMPT] = {COLOR_CYAN, -1, A_BOLD, A_BOLD},
};

static void start_colors(gboolean no_color)
{
	const char *variable = getenv("NO_COLOR");
	term.color = !no_color && !(variable && *variable) && has_colors();
	if (!term.color)
		return;
	start_color();
	use_default_colors();
	for (int role = 0; role < ROLES; role++)
		init_pair((short)(role + 1), looks[role].color, looks[role].background);
}

gboolean term_is_utf8(void)
{
	return !strcmp(nl_langinfo(CODESET), "UTF-8");
}

/* ---- signals ---- */

static void write_all(int fd, const char *bytes, size_t size)
{
	while (size) {
		ssize_t n = write(fd, bytes, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		bytes += n;
		size -= (size_t)n;
	}
}

/* Async-signal-safe: only write, tcsetattr and sigaction. */
static void restore_at_once(void)
{
	write_all(STDOUT_FILENO, term.restore, term.restore_size);
	tcsetattr(STDIN_FILENO, TCSANOW, &term.before);
}

static void on_event(int number)
{
	int saved = errno;
	char byte = (char)number;
	/* the pipe doesn't block; when it is full, somebody is going to wake up anyway */
	ssize_t n = write(term.signals[1], &byte, 1);
	(void)n;
	errno = saved;
}

static void on_fatal(int number)
{
	static volatile sig_atomic_t again;
	if (!again++) {
		restore_at_once();
		const char *name = number == SIGSEGV  ? "SIGSEGV"
				   : number == SIGBUS ? "SIGBUS"
				   : number == SIGFPE ? "SIGFPE"
				   : number == SIGILL ? "SIGILL"
						      : "SIGABRT";
		static const char begin[] = "reftop: crashed with ", end[] = "; the watched process goes on\n";
		write_all(STDERR_FILENO, begin, sizeof(begin) - 1);
		write_all(STDERR_FILENO, name, strlen(name));
		write_all(STDERR_FILENO, end, sizeof(end) - 1);
	}
	/* as if we had never been asked: core dump, status, a sanitizer's report */
	sigaction(number, &term.old[number], NULL);
	raise(number);
}

static void hook(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	sigemptyset(&action.sa_mask);
	struct sigaction *old = &term.old[number];
	sigaction(number, &action, old);
	/* curses puts its own handlers on these; what we go back to is the default */
	if (number == SIGINT || number == SIGTERM || number == SIGTSTP || number == SIGWINCH) {
		memset(old, 0, sizeof(*old));
		old->sa_handler = SIG_DFL;
	}
	term.hooked[number] = TRUE;
}

static void hook_signals(void)
{
	static const int events[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH};
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	/* a handler of its own stack survives a stack that ran over */
	term.stack = g_malloc(65536);
	stack_t stack = {.ss_sp = term.stack, .ss_size = 65536};
	sigaltstack(&stack, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(events); i++)
		hook(events[i], on_event, SA_RESTART);
	for (size_t i = 0; i < G_N_ELEMENTS(fatal); i++)
		hook(fatal[i], on_fatal, SA_ONSTACK | SA_NODEFER);
}

static void unhook_signals(void)
{
	for (int i = 0; i < (int)G_N_ELEMENTS(term.hooked); i++)
		if (term.hooked[i]) {
			sigaction(i, &term.old[i], NULL);
			term.hooked[i] = FALSE;
		}
	stack_t none = {.ss_flags = SS_DISABLE};
	sigaltstack(&none, NULL);
	g_clear_pointer(&term.stack, g_free);
}

/* ---- open and close ---- */

static void restore_add(const char *bytes)
{
	if (bytes && bytes != (char *)-1)
		term.restore_size = MIN(sizeof(term.restore) - 1, g_strlcpy(term.restore + term.restore_size, bytes,
									    sizeof(term.restore) - term.restore_size) +
									  term.restore_size);
}

static void compute_restore(void)
{
	static char sgr0[] = "sgr0", rmkx[] = "rmkx", cnorm[] = "cnorm", rmcup[] = "rmcup";
	term.restore_size = 0;
	restore_add("\033[?1006l\033[?1000l\033[?1002l");
	restore_add(tigetstr(sgr0));
	restore_add(tigetstr(rmkx));
	restore_add(tigetstr(cnorm));
	restore_add(tigetstr(rmcup));
}

static gboolean poor_terminal(GError **error)
{
	const char *type = getenv("TERM");
	g_autofree char *safe = text_escape(type ? type : "(not set)", 40);
	error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED, "its terminfo entry is missing or too poor",
		  "set TERM, e.g. TERM=xterm-256color", "cannot use a terminal of type %s", safe);
	return FALSE;
}

gboolean term_open(gboolean no_color, GError **error)
{
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		error_set(error, FACE_ERROR, REFTOP_ERROR_USAGE, "standard input and output are not a terminal",
			  "use `reftop histo`, or --dump-screen", "cannot show the live view");
		return FALSE;
	}
	if (pipe2(term.signals, O_CLOEXEC | O_NONBLOCK) != 0 || tcgetattr(STDIN_FILENO, &term.before) != 0) {
		error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED, g_strerror(errno), NULL, "cannot use the terminal");
		return FALSE;
	}
	term.screen = newterm(NULL, stdout, stdin);
	if (!term.screen)
		return poor_terminal(error);
	static char cup[] = "cup", clear_screen_name[] = "clear";
	if (!tigetstr(cup) || !tigetstr(clear_screen_name)) {
		endwin();
		delscreen(term.screen);
		return poor_terminal(error);
	}
	compute_restore();
	start_colors(no_color);
	cbreak();
	noecho();
	nonl();
	intrflush(stdscr, FALSE);
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	mousemask(BUTTON1_PRESSED | BUTTON1_CLICKED | BUTTON1_DOUBLE_CLICKED | BUTTON4_PRESSED | BUTTON5_PRESSED, NULL);
	mouseinterval(0); /* presses at once; double clicks are ours to tell */
	hook_signals();
	term.open = TRUE;
	return TRUE;
}

void term_close(void)
{
	if (!term.open)
		return;
	term.open = FALSE;
	mousemask(0, NULL);
	endwin();
	delscreen(term.screen);
	term.screen = NULL;
	unhook_signals();
	close(term.signals[0]);
	close(term.signals[1]);
	term.signals[0] = term.signals[1] = -1;
}

void term_suspend(void)
{
	endwin();
	struct sigaction ours, stop = {.sa_handler = SIG_DFL};
	sigaction(SIGTSTP, &stop, &ours);
	raise(SIGTSTP); /* returns when we are continued */
	sigaction(SIGTSTP, &ours, NULL);
	clearok(curscr, TRUE);
	refresh();
	curs_set(0);
}

/* ---- input ---- */

int term_input_fd(void)
{
	return STDIN_FILENO;
}

int term_signal_fd(void)
{
	return term.signals[0];
}

void term_size(int *width, int *height)
{
	getmaxyx(stdscr, *height, *width);
}

static void take_size(void)
{
	struct winsize size;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
		resizeterm(size.ws_row, size.ws_col);
}

static struct term_event signal_event(void)
{
	char number;
	struct term_event event = {TERM_NOTHING};
	if (read(term.signals[0], &number, 1) != 1)
		return event;
	switch (number) {
	case SIGWINCH:
		take_size();
		event.type = TERM_RESIZE;
		break;
	case SIGTSTP:
		event.type = TERM_STOP;
		break;
	default:
		event.type = TERM_END;
	}
	return event;
}

static struct term_event mouse_event(void)
{
	static gint64 last_time;
	static int last_y = -1;
	MEVENT mouse;
	struct term_event event = {TERM_NOTHING};
	if (getmouse(&mouse) != OK)
		return event;
	event.y = mouse.y;
	event.x = mouse.x;
	if (mouse.bstate & BUTTON4_PRESSED) {
		event.type = TERM_WHEEL;
		event.key = -3;
	} else if (mouse.bstate & BUTTON5_PRESSED) {
		event.type = TERM_WHEEL;
		event.key = 3;
	} else if (mouse.bstate & (BUTTON1_PRESSED | BUTTON1_CLICKED | BUTTON1_DOUBLE_CLICKED)) {
		gint64 now = g_get_monotonic_time();
		gboolean twice = mouse.y == last_y && now - last_time < 400000;
		event.type = twice ? TERM_DOUBLE_CLICK : TERM_CLICK;
		last_time = twice ? 0 : now;
		last_y = mouse.y;
	}
	return event;
}

static int translate_key(wint_t c)
{
	static const struct {
		int curses, ours;
	} keys[] = {
		{KEY_UP, KEY_OF_UP},       {KEY_DOWN, KEY_OF_DOWN},     {KEY_LEFT, KEY_OF_LEFT},
		{KEY_RIGHT, KEY_OF_RIGHT}, {KEY_PPAGE, KEY_OF_PAGE_UP}, {KEY_NPAGE, KEY_OF_PAGE_DOWN},
		{KEY_HOME, KEY_OF_HOME},   {KEY_END, KEY_OF_END},       {KEY_FIND, KEY_OF_HOME},
		{KEY_SELECT, KEY_OF_END},  {KEY_ENTER, KEY_OF_ENTER},   {KEY_BACKSPACE, KEY_OF_BACKSPACE},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
		if (keys[i].curses == (int)c)
			return keys[i].ours;
	if ((int)c >= KEY_F(1) && (int)c <= KEY_F(12))
		return KEY_OF_F1 + (int)c - KEY_F(1);
	return 0;
}

/* Whether the terminal is gone: readable, but nothing to read. */
static gboolean hung_up(void)
{
	struct pollfd fd = {STDIN_FILENO, POLLIN, 0};
	return poll(&fd, 1, 0) == 1 && fd.revents & (POLLHUP | POLLERR | POLLNVAL);
}

struct term_event term_read(void)
{
	struct term_event event = signal_event();
	if (event.type != TERM_NOTHING)
		return event;
	wint_t c;
	int kind = wget_wch(stdscr, &c);
	if (kind == ERR) {
		if (hung_up())
			event.type = TERM_END;
		return event;
	}
	if (kind == KEY_CODE_YES && c == KEY_MOUSE)
		return mouse_event();
	if (kind == KEY_CODE_YES && c == KEY_RESIZE) {
		event.type = TERM_RESIZE;
		return event;
	}
	event.type = TERM_KEY;
	event.key = kind == KEY_CODE_YES ? translate_key(c) : c == '\r' ? KEY_OF_ENTER : (int)c;
	return event;
}

/* ---- output ---- */

static void show_cell(int y, int x, const struct cell *cell)
{
	wchar_t text[CELL_CHARACTERS + 1] = {0};
	for (int i = 0; i < CELL_CHARACTERS; i++)
		text[i] = (wchar_t)cell->text[i];
	/* where the C library measures otherwise than GLib, the row must not shift */
	if (wcwidth(text[0]) != cell->width) {
		text[0] = cell->text[0] < 0x20 ? L' ' : L'?';
		text[1] = 0;
	}
	cchar_t character;
	attr_t attributes = term.color ? looks[cell->role].attributes : looks[cell->role].plain;
	if (setcchar(&character, text, attributes, term.color ? (short)(cell->role + 1) : 0, NULL) == OK)
		mvwadd_wch(stdscr, y, x, &character);
}

void term_show(const struct frame *frame, gboolean all)
{
	if (all)
		clearok(stdscr, TRUE);
	erase();
	for (int y = 0; y < frame->height; y++)
		for (int x = 0; x < frame->width; x++) {
			const struct cell *cell = &frame->cells[y * frame->width + x];
			if (cell->width)
				show_cell(y, x, cell);
		}
	refresh();
}

#include "tui/program.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

#define START_US (20 * G_USEC_PER_SEC) /* a program may be a script that starts the interpreter in the end */
#define RETRY_US 20000

struct program {
	pid_t pid;
	gboolean ended;
	int status; /* of waitpid(), once ended */
	char *log;
	char *name;
};

pid_t program_pid(const program_t *program)
{
	return program->pid;
}

const char *program_log(const program_t *program)
{
	return program->log;
}

const char *program_name(const program_t *program)
{
	return program->name;
}

void program_free(program_t *program)
{
	if (!program)
		return;
	g_free(program->log);
	g_free(program->name);
	g_free(program);
}

/* In the child: become the program. Writes errno to `report` when that fails. Only async-signal-safe calls. */
G_NORETURN static void become(char **argv, int log, int report)
{
	setpgid(0, 0);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	int input = open("/dev/null", O_RDONLY);
	if (input >= 0 && dup2(input, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
	    dup2(log, STDERR_FILENO) >= 0) {
		if (input > STDERR_FILENO)
			close(input);
		execvp(argv[0], argv);
	}
	int code = errno;
	if (write(report, &code, sizeof(code)) < 0)
		_exit(126);
	_exit(127);
}

/* errno of a failed exec, or 0 when the program runs: then the pipe was closed by the exec itself */
static int read_report(int fd)
{
	int code = 0;
	gssize n;
	do {
		n = read(fd, &code, sizeof(code));
	} while (n < 0 && errno == EINTR);
	return n == (gssize)sizeof(code) ? code : 0;
}

static gboolean spawn(program_t *program, char **argv, int log, GError **error)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC)) {
		error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED, g_strerror(errno), NULL, "cannot start %s",
			  program->name);
		return FALSE;
	}
	program->pid = fork();
	if (!program->pid)
		become(argv, log, ends[1]);
	int code = program->pid < 0 ? errno : 0;
	close(ends[1]);
	if (!code)
		code = read_report(ends[0]);
	close(ends[0]);
	if (!code)
		return TRUE;
	if (program->pid > 0)
		waitpid(program->pid, NULL, 0);
	error_set(error, FACE_ERROR, program->pid < 0 ? REFTOP_ERROR_FAILED : REFTOP_ERROR_USAGE, g_strerror(code),
		  NULL, "cannot start %s", program->name);
	return FALSE;
}

program_t *program_start(char **argv, enum program_output output, GError **error)
{
	g_autoptr(program_t) program = g_new0(program_t, 1);
	program->name = text_escape(argv[0], strlen(argv[0]));
	if (output == PROGRAM_TO_ERROR)
		return spawn(program, argv, STDERR_FILENO, error) ? g_steal_pointer(&program) : NULL;
	program->log = g_build_filename(g_get_tmp_dir(), "reftop-XXXXXX.log", NULL);
	int log = g_mkstemp_full(program->log, O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
	if (log < 0) {
		error_set(error, FACE_ERROR, REFTOP_ERROR_FAILED, g_strerror(errno),
			  "set TMPDIR to a directory that can be written",
			  "cannot create a file for the output of %s in %s", program->name, g_get_tmp_dir());
		return NULL;
	}
	gboolean started = spawn(program, argv, log, error);
	close(log);
	if (started)
		return g_steal_pointer(&program);
	g_unlink(program->log);
	return NULL;
}

/*
 * Whether the program ended, and only then collect it. While it is stopped for a snapshot we are its tracer, too, and then a plain
 * waitpid() tells the stop, which isn't meant for us, and isn't told again to the one who waits for it.
 */
static gboolean collect(program_t *program)
{
	siginfo_t info = {0};
	if (waitid(P_PID, (id_t)program->pid, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
		return FALSE;
	if (info.si_code != CLD_EXITED && info.si_code != CLD_KILLED && info.si_code != CLD_DUMPED)
		return FALSE;
	return waitpid(program->pid, &program->status, WNOHANG) == program->pid;
}

char *program_ended(program_t *program)
{
	if (!program->ended && collect(program))
		program->ended = TRUE;
	if (!program->ended)
		return NULL;
	if (WIFSIGNALED(program->status))
		return g_strdup_printf("killed by signal %d (%s)", WTERMSIG(program->status),
				       g_strsignal(WTERMSIG(program->status)));
	return g_strdup_printf("exit status %d", WEXITSTATUS(program->status));
}

int program_status(const program_t *program)
{
	return WIFSIGNALED(program->status) ? 128 + WTERMSIG(program->status) : WEXITSTATUS(program->status);
}

/* Whether an interpreter may still come up after this error: what isn't one yet is UNKNOWN, half of one may fail in
 * other ways. */
static gboolean may_start(const GError *error)
{
	return error->code == REFTOP_ERROR_UNKNOWN || error->code == REFTOP_ERROR_FAILED ||
	       error->code == REFTOP_ERROR_GONE;
}

source_t *program_source(program_t *program, const struct live_options *options, GError **error)
{
	gint64 end = g_get_monotonic_time() + START_US;
	for (;;) {
		g_autoptr(GError) problem = NULL;
		source_t *source = source_live_new(program->pid, options, &problem);
		if (source)
			return source;
		g_autofree char *ended = program_ended(program);
		if (ended) {
			g_autofree char *fix =
				program->log ? g_strdup_printf("its output is in %s", program->log) : NULL;
			error_set(error, FACE_ERROR, REFTOP_ERROR_GONE, ended, fix,
				  "%s ended before it could be watched", program->name);
			return NULL;
		}
		if (!may_start(problem) || g_get_monotonic_time() > end) {
			g_propagate_error(error, g_steal_pointer(&problem));
			return NULL;
		}
		g_usleep(RETRY_US);
	}
}

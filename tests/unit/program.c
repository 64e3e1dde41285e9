#include "tui/program.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

/* wait for the end without collecting the status, which is program_ended()'s */
static void wait_for_end(program_t *program)
{
	siginfo_t info;
	g_assert_cmpint(waitid(P_PID, (id_t)program_pid(program), &info, WEXITED | WNOWAIT), ==, 0);
}

static void check_run(const char *script, const char *expected_end, const char *expected_output)
{
	char *argv[] = {"/bin/sh", "-c", (char *)script, NULL};
	g_autoptr(GError) error = NULL;
	g_autoptr(program_t) program = program_start(argv, PROGRAM_TO_FILE, &error);
	g_assert_no_error(error);
	wait_for_end(program);
	g_autofree char *end = program_ended(program);
	g_assert_cmpstr(end, ==, expected_end);
	g_autofree char *again = program_ended(program);
	g_assert_cmpstr(again, ==, expected_end);
	g_autofree char *output = NULL;
	g_assert_true(g_file_get_contents(program_log(program), &output, NULL, NULL));
	g_assert_cmpstr(output, ==, expected_output);
	g_assert_cmpint(g_unlink(program_log(program)), ==, 0);
}

static void test_ends(void)
{
	check_run("echo out; echo err >&2; exit 3", "exit status 3", "out\nerr\n");
	check_run("cat; echo end", "exit status 0", "end\n"); /* standard input is empty */
	check_run("kill -9 $$", "killed by signal 9 (Killed)", "");
	/* what we ignore or block it does not: a shell can't trap again what it found ignored */
	check_run("kill -PIPE $$; echo ignored", "killed by signal 13 (Broken pipe)", "");
}

static void test_own_group(void)
{
	char *argv[] = {"/bin/sh", "-c", "read line < \"$0\"", NULL, NULL};
	g_autofree char *fifo = g_strdup_printf("%s/reftop-test-fifo-%d", g_get_tmp_dir(), (int)getpid());
	g_unlink(fifo);
	g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
	argv[3] = fifo;
	g_autoptr(program_t) program = program_start(argv, PROGRAM_TO_FILE, NULL);
	g_assert_null(program_ended(program));
	g_assert_cmpint(getpgid(program_pid(program)), ==, program_pid(program));
	kill(program_pid(program), SIGTERM);
	wait_for_end(program);
	g_autofree char *end = program_ended(program);
	g_assert_cmpstr(end, ==, "killed by signal 15 (Terminated)");
	g_unlink(fifo);
	g_unlink(program_log(program));
}

static void check_no_start(const char *path, const char *why)
{
	char *argv[] = {(char *)path, NULL};
	g_autoptr(GError) error = NULL;
	g_assert_null(program_start(argv, PROGRAM_TO_FILE, &error));
	g_assert_error(error, FACE_ERROR, REFTOP_ERROR_USAGE);
	g_assert_nonnull(strstr(error->message, why));
}

static void test_no_start(void)
{
	check_no_start("/nonexistent/program", "No such file or directory");
	check_no_start("/etc/passwd", "Permission denied");
	check_no_start("no-such-program-anywhere", "No such file or directory");
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/program/ends", test_ends);
	g_test_add_func("/program/own-group", test_own_group);
	g_test_add_func("/program/no-start", test_no_start);
	return g_test_run();
}

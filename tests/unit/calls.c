#include "daemon/target/calls.h"

#include <glib.h>
#include <string.h>
#include <sys/syscall.h>

/* a stack with a timespec, and the code in front of a `syscall` */
#define STACK 0x7ffff0000000ull
#define CODE  0x7ffff1000000ull
#define TIME  (STACK + 0x100)
#define AFTER (CODE + 0x100)

static uint8_t stack[4096], code[4096];
static struct memory_region regions[] = {{.start = STACK, .size = sizeof(stack), .bytes = stack},
					 {.start = CODE, .size = sizeof(code), .bytes = code}};

/* The number that a call which goes on as restart_syscall() turns out to have. */
static int64_t restarted(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	struct memory memory;
	struct snapshot_call call = {.in_call = true,
				     .number = SYS_restart_syscall,
				     .arguments = {a, b, c, d, e, f},
				     .stack_pointer = STACK,
				     .instruction = AFTER};
	memory_init(&memory, regions, G_N_ELEMENTS(regions));
	call_restarted(&call, &memory);
	return call.number;
}

static void set_time(uint64_t seconds, uint64_t part)
{
	memcpy(stack + (TIME - STACK), &seconds, 8);
	memcpy(stack + (TIME - STACK) + 8, &part, 8);
}

static void test_code(void)
{
	const uint8_t move[] = {0xb8, 0xca, 0, 0, 0}; /* mov $202,%eax */
	memcpy(code + (AFTER - CODE) - 20, move, sizeof(move));
	g_assert_cmpint(restarted(1, 2, 3, 4, 5, 6), ==, SYS_futex);
	memset(code, 0, sizeof(code));
}

static void test_arguments(void)
{
	set_time(3600, 5);
	/* as 3.14 in Debian sid waits for a lock: FUTEX_WAIT_BITSET_PRIVATE, and with FUTEX_CLOCK_REALTIME */
	g_assert_cmpint(restarted(STACK + 8, 0x89, 0, TIME, 0, 0xffffffff), ==, SYS_futex);
	g_assert_cmpint(restarted(STACK + 8, 0x189, 0, TIME, 0, 0xffffffff), ==, SYS_futex);
	g_assert_cmpint(restarted(1, 0, TIME, TIME, 0, 0), ==, SYS_clock_nanosleep);
	g_assert_cmpint(restarted(STACK, 3, 5000, 0, 0, 0), ==, SYS_poll);
}

/* what may be anything stays what the kernel calls it */
static void test_not_known(void)
{
	g_assert_cmpint(restarted(0, 0, 5000, 0, 0, 0), ==, SYS_restart_syscall); /* poll() of nothing */
	g_assert_cmpint(restarted(STACK + 8, 0x89, 0, TIME, 0, 7), ==, SYS_poll); /* of 137 descriptors */
	g_assert_cmpint(restarted(0x1000, 0x89, 0, TIME, 0, 0xffffffff), ==, SYS_restart_syscall);
	g_assert_cmpint(restarted(TIME, TIME, 0, 0, 0, 0), ==, SYS_restart_syscall);
	set_time(1, 1000000000);
	g_assert_cmpint(restarted(1, 0, TIME, 0, 0, 0), ==, SYS_restart_syscall);
	g_assert_cmpint(restarted(STACK + sizeof(stack) - 8, 2, 5000, 0, 0, 0), ==, SYS_restart_syscall);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/calls/restarted/by-code", test_code);
	g_test_add_func("/calls/restarted/by-arguments", test_arguments);
	g_test_add_func("/calls/restarted/not-known", test_not_known);
	return g_test_run();
}

/* Which threads must be stopped, told by the words that name who has a lock. */
#include <glib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/target/hold.h"

struct place {
	int mem; /* an address is an offset of it */
	GArray *locks;
};

static void place_open(struct place *place)
{
	place->mem = memfd_create("mem", MFD_CLOEXEC);
	g_assert_cmpint(place->mem, >=, 0);
	place->locks = g_array_new(FALSE, FALSE, sizeof(struct hold_lock));
}

static void place_close(struct place *place)
{
	close(place->mem);
	g_array_unref(place->locks);
}

static void may_have(struct place *place, uint64_t word, uint64_t value, pid_t tid)
{
	struct hold_lock lock = {word, value, tid};
	g_array_append_val(place->locks, lock);
}

static void names(struct place *place, uint64_t word, uint64_t value)
{
	g_assert_cmpint(pwrite(place->mem, &value, sizeof(value), (off_t)word), ==, sizeof(value));
}

static void test_one_lock(void)
{
	struct place place;
	place_open(&place);
	may_have(&place, 64, 0x1000, 11);
	may_have(&place, 64, 0x2000, 12);
	names(&place, 64, 0x2000);
	g_autoptr(GArray) tids = hold_threads(place.locks, place.mem);
	g_assert_nonnull(tids);
	g_assert_cmpuint(tids->len, ==, 1);
	g_assert_cmpint(g_array_index(tids, pid_t, 0), ==, 12);
	g_assert_true(hold_stands(place.locks, place.mem, tids));
	names(&place, 64, 0x1000);
	g_assert_false(hold_stands(place.locks, place.mem, tids));
	names(&place, 64, 0x3000); /* a thread that nobody knows of */
	g_assert_null(hold_threads(place.locks, place.mem));
	g_assert_false(hold_stands(place.locks, place.mem, tids));
	place_close(&place);
}

static void test_two_locks(void)
{
	struct place place;
	place_open(&place);
	may_have(&place, 64, 0x1000, 11);
	may_have(&place, 128, 0x2000, 12);
	may_have(&place, 128, 0x3000, 13);
	names(&place, 64, 0x1000);
	g_assert_null(hold_threads(place.locks, place.mem)); /* the second word isn't there */
	names(&place, 128, 0x3000);
	g_autoptr(GArray) tids = hold_threads(place.locks, place.mem);
	g_assert_cmpuint(tids->len, ==, 2);
	g_assert_cmpint(g_array_index(tids, pid_t, 0), ==, 11);
	g_assert_cmpint(g_array_index(tids, pid_t, 1), ==, 13);
	names(&place, 128, 0x2000);
	g_assert_false(hold_stands(place.locks, place.mem, tids));
	place_close(&place);
}

static void test_no_lock(void)
{
	struct place place;
	place_open(&place);
	g_assert_null(hold_threads(place.locks, place.mem));
	may_have(&place, 0, 0, 11); /* a version without one, or where it isn't known */
	names(&place, 0, 0);
	g_assert_null(hold_threads(place.locks, place.mem));
	place_close(&place);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/hold/one-lock", test_one_lock);
	g_test_add_func("/hold/two-locks", test_two_locks);
	g_test_add_func("/hold/no-lock", test_no_lock);
	return g_test_run();
}
